//! The guest's network: one interface with the fixed address of QEMU's user
//! network, set up over rtnetlink without any program.

use std::io;
use std::net::Ipv4Addr;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

/// The interface that virtio-net makes.
pub(super) const INTERFACE: &str = "eth0";

/// What QEMU's user network expects without DHCP.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const PREFIX: u8 = 24;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

// linux/rtnetlink.h, linux/if_addr.h, linux/if.h
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFLA_ADDRESS: u16 = 1;
const RTA_GATEWAY: u16 = 5;
const AF_INET: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// Brings the interface up, gives it its address and the default route.
pub(super) fn configure() -> io::Result<()> {
    ask(&messages(index()?))
}

/// Gives the interface another hardware address.
pub(super) fn set_hardware_address(address: [u8; 6]) -> io::Result<()> {
    ask(&[hardware_address(index()?, address)])
}

fn index() -> io::Result<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{INTERFACE}/ifindex"))?
        .trim()
        .parse()
        .map_err(io::Error::other)
}

/// Sends the requests, each when the one before was granted.
fn ask(messages: &[Vec<u8>]) -> io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    for message in messages {
        rustix::net::sendto(
            &socket,
            message,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )?;
        let mut answer = [0; 1024];
        let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
        acknowledged(&answer[..length])?;
    }
    Ok(())
}

/// The request for another hardware address.
fn hardware_address(index: u32, address: [u8; 6]) -> Vec<u8> {
    // struct ifinfomsg: family, padding, type, index, flags, change mask.
    let mut link = vec![0, 0, 0, 0];
    link.extend(index.to_ne_bytes());
    link.extend([0; 8]);
    // struct rtattr: 4 bytes and 6 of address, to a multiple of 4.
    link.extend(10u16.to_ne_bytes());
    link.extend(IFLA_ADDRESS.to_ne_bytes());
    link.extend(address);
    link.extend([0, 0]);
    request(RTM_NEWLINK, &link)
}

/// The three requests, in order.
fn messages(index: u32) -> [Vec<u8>; 3] {
    let number = index.to_ne_bytes();
    // struct ifinfomsg: family, padding, type, index, flags, change mask.
    let mut link = vec![0, 0, 0, 0];
    link.extend(number);
    link.extend(IFF_UP.to_ne_bytes());
    link.extend(IFF_UP.to_ne_bytes());
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    let mut address = vec![AF_INET, PREFIX, 0, 0];
    address.extend(number);
    attribute(&mut address, IFA_LOCAL, ADDRESS);
    attribute(&mut address, IFA_ADDRESS, ADDRESS);
    // struct rtmsg: family, lengths of destination and source, tos, table,
    // protocol, scope (0: universe), type, flags.
    let mut route = vec![AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST];
    route.extend(0u32.to_ne_bytes());
    attribute(&mut route, RTA_GATEWAY, GATEWAY);
    [
        request(RTM_NEWLINK, &link),
        request(RTM_NEWADDR, &address),
        request(RTM_NEWROUTE, &route),
    ]
}

/// struct rtattr: length with header, type, value; all of it 8 bytes long.
fn attribute(to: &mut Vec<u8>, kind: u16, value: Ipv4Addr) {
    to.extend(8u16.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value.octets());
}

/// struct nlmsghdr (length, type, flags, sequence, port) before the payload.
fn request(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE).to_ne_bytes());
    message.extend([0; 8]);
    message.extend_from_slice(payload);
    message
}

/// An answer is `NLMSG_ERROR` with a negative error number, or 0 for success.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let code = answer
        .get(16..20)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    // A route or an address that is there already is as good.
    if code == 0 || -code == rustix::io::Errno::EXIST.raw_os_error() {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(-code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_lengths_they_state() {
        let address = hardware_address(2, [2, 0, 0, 0, 0, 1]);
        let messages = messages(2);
        let messages = messages.iter().chain([&address]);
        for (message, expected) in messages.zip([32, 40, 36, 44]) {
            let stated = u32::from_ne_bytes(message[..4].try_into().unwrap());
            assert_eq!((stated as usize, message.len()), (expected, expected));
        }
    }

    #[test]
    fn refusals_are_errors() {
        let mut answer = vec![0; 20];
        assert!(acknowledged(&answer).is_ok());
        answer[16..].copy_from_slice(&(-19i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer).unwrap_err().raw_os_error(), Some(19));
        assert!(acknowledged(&answer[..10]).is_err());
    }
}
