//! UTF-16 to UTF-8, for logs that Windows wrote; everything else as it is.

use std::borrow::Cow;

/// Decodes a stream that begins with a UTF-16 byte order mark.
#[derive(Debug, Default)]
pub struct Decoder {
    order: Order,
    /// Bytes that do not make a whole unit, or a beginning that may become a
    /// mark.
    rest: Vec<u8>,
    /// The first half of a pair.
    high: Option<u16>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The first bytes have not come.
    #[default]
    Unknown,
    /// No UTF-16.
    Bytes,
    Little,
    Big,
}

impl Decoder {
    /// The next chunk, decoded.
    pub fn push<'a>(&mut self, chunk: &'a [u8]) -> Cow<'a, [u8]> {
        if self.order == Order::Bytes {
            return Cow::Borrowed(chunk);
        }
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(chunk);
        if self.order == Order::Unknown {
            // A console may print such bytes by mistake: what a log begins with
            // is ASCII.
            self.order = match bytes.as_slice() {
                []
                | [0xff | 0xfe]
                | [0xff, 0xfe]
                | [0xfe, 0xff]
                | [0xff, 0xfe, _]
                | [0xfe, 0xff, 0] => {
                    self.rest = bytes;
                    return Cow::Borrowed(&[]);
                }
                [0xff, 0xfe, _, 0, ..] => Order::Little,
                [0xfe, 0xff, 0, _, ..] => Order::Big,
                _ => Order::Bytes,
            };
            if self.order == Order::Bytes {
                return Cow::Owned(bytes);
            }
            bytes.drain(..2);
        }
        let mut units = bytes.chunks_exact(2);
        let mut out = String::with_capacity(bytes.len() / 2);
        for pair in units.by_ref() {
            let unit = match self.order {
                Order::Big => u16::from_be_bytes([pair[0], pair[1]]),
                _ => u16::from_le_bytes([pair[0], pair[1]]),
            };
            self.unit(unit, &mut out);
        }
        self.rest = units.remainder().to_vec();
        Cow::Owned(out.into_bytes())
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.rest);
        if matches!(self.order, Order::Little | Order::Big) {
            return Vec::new();
        }
        rest
    }

    fn unit(&mut self, unit: u16, out: &mut String) {
        let units = self.high.take().into_iter().chain([unit]);
        let last = unit;
        for decoded in char::decode_utf16(units) {
            match decoded {
                Ok(c) => out.push(c),
                Err(error)
                    if error.unpaired_surrogate() == last && (0xd800..0xdc00).contains(&last) =>
                {
                    self.high = Some(last);
                }
                Err(_) => out.push(char::REPLACEMENT_CHARACTER),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], cut: usize) -> String {
        let mut decoder = Decoder::default();
        let mut out = decoder.push(&bytes[..cut]).into_owned();
        out.extend_from_slice(&decoder.push(&bytes[cut..]));
        out.extend(decoder.finish());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn both_orders_however_they_are_cut() {
        let text = "BUG: \u{1f41b}\n";
        let mut little = vec![0xff, 0xfe];
        let mut big = vec![0xfe, 0xff];
        for unit in text.encode_utf16() {
            little.extend(unit.to_le_bytes());
            big.extend(unit.to_be_bytes());
        }
        for bytes in [little, big, text.as_bytes().to_vec(), vec![0xff]] {
            let whole = decoded(&bytes, 0);
            assert_eq!(whole == text, bytes.len() > 1, "{whole:?}");
            for cut in 0..=bytes.len() {
                assert_eq!(decoded(&bytes, cut), whole, "cut at {cut}");
            }
        }
        let broken = [0xff, 0xfe, 0x62, 0x00, 0x00, 0xd8, 0x61, 0x00];
        assert_eq!(decoded(&broken, 3), "b\u{fffd}a");
        // What is none stays as it is.
        assert_eq!(decoded(b"\xff\xfe[ 1.5] x", 1), "\u{fffd}\u{fffd}[ 1.5] x");
    }
}
