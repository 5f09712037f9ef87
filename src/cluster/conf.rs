//! The text of ceph.conf, as a pure function of what is asked.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use super::ClusterSpec;

/// What a small cluster on one host needs, and what makes it quick to start.
/// `options` of the job win over these.
const SETTINGS: &[(&str, &str)] = &[
    // One host, no second copy.
    ("osd_pool_default_size", "1"),
    ("osd_pool_default_min_size", "1"),
    ("osd_crush_chooseleaf_type", "0"),
    ("osd_crush_initial_weight", "1"),
    ("mon_allow_pool_size_one", "true"),
    // A nearly full disk is the host's affair, not the monitors': they end at so
    // many of a hundred, which is gigabytes of a large disk, and need megabytes.
    ("mon_data_avail_crit", "-1"),
    ("mon_data_avail_warn", "-1"),
    // The pools stay as they were made, so that all their parts can be counted.
    ("osd_pool_default_pg_autoscale_mode", "off"),
    ("mon_max_pg_per_osd", "1000"),
    ("auth_allow_insecure_global_id_reclaim", "false"),
    ("memstore_device_bytes", "4294967296"),
    ("bluestore_block_size", "10737418240"),
    // The monitors collect changes for a second before they agree on them, wait
    // five for one that missed an election, and metadata servers speak up every
    // four: nothing in a day, but most of the time of a start.
    ("paxos_propose_interval", "0.02"),
    ("paxos_min_wait", "0.01"),
    ("mon_election_timeout", "1"),
    ("mds_beacon_interval", "0.5"),
    // Errors also go to standard error, which is the same file.
    ("log_to_stderr", "false"),
    ("err_to_stderr", "true"),
];

/// For so long an OSD serves without a new promise of the others that it may, as a
/// multiple of `osd_heartbeat_grace` (20 s); 0.8 by itself. After a stop of about as
/// long it holds back what is asked of it until another OSD answers. Where nobody
/// else has a copy, that may be for good (16.2, `active+clean+laggy`). Where somebody
/// has, an OSD that takes over waits for so long.
pub(super) const LEASE_WITHOUT_COPIES: (&str, &str) = ("osd_pool_default_read_lease_ratio", "30");

/// The directory, below the one for state, through which daemons reach the
/// logs: whatever the name of the real one, this needs no quoting.
pub(super) const LOGS: &str = "logs";

/// The v1 and v2 ports of a monitor.
pub(super) fn ports(index: u32) -> (u32, u32) {
    (6789 + index, 3300 + index)
}

/// A monitor's addresses in the form `monmaptool` and `mon_host` take.
pub(super) fn monitor_addresses(address: Ipv4Addr, index: u32) -> String {
    let (v1, v2) = ports(index);
    format!("[v2:{address}:{v2},v1:{address}:{v1}]")
}

/// All monitors, as the kernel's mount takes them (v1).
pub(super) fn mount_addresses(address: Ipv4Addr, count: u32) -> String {
    (0..count)
        .map(|index| format!("{address}:{}", ports(index).0))
        .collect::<Vec<_>>()
        .join(",")
}

/// ceph.conf. It holds no secret. `state` has the daemons' data, keys and
/// sockets.
pub(super) fn ceph_conf(spec: &ClusterSpec, fsid: &str, address: Ipv4Addr, state: &Path) -> String {
    let state = state.display();
    let mut options: BTreeMap<String, String> = SETTINGS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let mon_host: Vec<String> = (0..spec.mon)
        .map(|index| monitor_addresses(address, index))
        .collect();
    for (name, value) in [
        ("fsid", fsid.to_owned()),
        ("mon_host", mon_host.join(" ")),
        ("public_addr", address.to_string()),
        ("cluster_addr", address.to_string()),
        ("keyring", format!("{state}/keyring")),
        ("run_dir", state.to_string()),
        ("admin_socket", format!("{state}/$name.asok")),
        ("mon_data", format!("{state}/$name")),
        ("mgr_data", format!("{state}/$name")),
        ("osd_data", format!("{state}/$name")),
        ("mds_data", format!("{state}/$name")),
        // No kernel client needs the manager's Python modules; loading them
        // takes seconds of processor time. An empty directory has none.
        ("mgr_module_path", format!("{state}/modules")),
        ("log_file", format!("{state}/{LOGS}/$name.log")),
        ("crash_dir", format!("{state}/crash")),
        ("osd_objectstore", spec.objectstore.name().to_owned()),
    ] {
        options.insert(name.to_owned(), value);
    }
    for (name, value) in &spec.options {
        options.insert(canonical(name), value.clone());
    }
    if options["osd_pool_default_size"] == "1" {
        let (name, value) = LEASE_WITHOUT_COPIES;
        options
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    let mut text = String::from("[global]\n");
    for (name, value) in options {
        text.push_str(&name);
        text.push_str(" = ");
        text.push_str(&value);
        text.push('\n');
    }
    text
}

/// Ceph takes `mds session timeout`, `mds-session-timeout` and
/// `mds_session_timeout` for the same.
pub(super) fn canonical(name: &str) -> String {
    name.trim().replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(yaml: &str) -> String {
        let spec: ClusterSpec = serde_yaml::from_str(yaml).unwrap();
        ceph_conf(&spec, "F", Ipv4Addr::new(10, 99, 0, 1), Path::new("/s"))
    }

    #[test]
    fn every_option_is_there_once_and_the_job_wins() {
        let text = conf("options: {'osd pool default-size': '3', ms_type: async}");
        assert!(text.contains("\nosd_pool_default_size = 3\n"), "{text}");
        assert!(text.contains("\nms_type = async\n"), "{text}");
        assert_eq!(text.matches("osd_pool_default_size").count(), 1, "{text}");
    }

    #[test]
    fn a_lease_is_long_only_where_there_is_no_second_copy() {
        let lease = |yaml| {
            let text = conf(yaml);
            let line = text.lines().find(|line| line.contains("read_lease"));
            line.map(str::to_owned)
        };
        let long = "osd_pool_default_read_lease_ratio = 30";
        assert_eq!(lease("{}").as_deref(), Some(long));
        assert_eq!(lease("options: {osd pool default size: '2'}"), None);
        let asked = lease("options: {osd pool default read lease ratio: '2'}");
        assert_eq!(
            asked.as_deref(),
            Some("osd_pool_default_read_lease_ratio = 2")
        );
    }

    #[test]
    fn each_monitor_has_ports_of_its_own() {
        let text = conf("mon: 2");
        let expected = "mon_host = [v2:10.99.0.1:3300,v1:10.99.0.1:6789] [v2:10.99.0.1:3301,v1:10.99.0.1:6790]";
        assert!(text.contains(expected), "{text}");
        assert_eq!(
            mount_addresses(Ipv4Addr::new(10, 99, 0, 1), 2),
            "10.99.0.1:6789,10.99.0.1:6790"
        );
    }
}
