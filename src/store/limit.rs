//! How long and how much is kept, and which of many things are too old or too
//! much. Pure; caches and run directories are pruned by the same rule.

use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use serde::Deserialize;

/// What is kept. Without either bound everything is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// What was used longer ago than this goes.
    pub keep: Option<Duration>,
    /// Bytes that all may have together; what was used longest ago goes first.
    pub max_size: Option<u64>,
}

/// A limit as people write it: `{ keep: 14d, max_size: 40GiB }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, with = "crate::duration::optional")]
    keep: Option<Duration>,
    #[serde(default)]
    max_size: Option<String>,
}

impl Limit {
    /// Whether it keeps everything.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.keep.is_none() && self.max_size.is_none()
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let written = Written::deserialize(from)?;
        let max_size = written.max_size.as_deref().map(parse_size).transpose();
        Ok(Self {
            keep: written.keep,
            max_size: max_size.map_err(D::Error::custom)?,
        })
    }
}

/// A size such as `40GiB`, in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| format!("{text:?} is not a size such as 40GiB"))?;
    Ok(size.as_u64())
}

/// One of many things that may have to go.
#[derive(Debug, Clone, Copy)]
pub struct Over {
    /// When it was last used.
    pub used: SystemTime,
    /// Bytes.
    pub size: u64,
}

/// Has `remove` remove what a limit does not keep, used longest ago first: what
/// is too old, and then as many as are too much. `remove` gets a place in `all`,
/// which need not be in any order, and says whether it is gone: what is not (it
/// is in use) goes on counting. Returns how many bytes are left.
pub fn remove_over<E>(
    all: &[Over],
    limit: &Limit,
    now: SystemTime,
    mut remove: impl FnMut(usize) -> Result<bool, E>,
) -> Result<u64, E> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&place| all[place].used);
    let mut left: u64 = all.iter().map(|one| one.size).sum();
    for place in order {
        // What is of the future was used just now.
        let age = now.duration_since(all[place].used).unwrap_or_default();
        let old = limit.keep.is_some_and(|keep| age >= keep);
        let much = limit.max_size.is_some_and(|most| left > most);
        if (old || much) && remove(place)? {
            left -= all[place].size;
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86400);

    fn gone(days: &[(u32, u64)], keep: Option<u32>, max_size: Option<u64>) -> Vec<usize> {
        let now = SystemTime::UNIX_EPOCH + DAY * 1000;
        let all: Vec<Over> = days
            .iter()
            .map(|&(days, size)| Over {
                used: now - DAY * days,
                size,
            })
            .collect();
        let keep = keep.map(|days| DAY * days);
        let mut gone = Vec::new();
        let remove = |place| {
            gone.push(place);
            // The second one is in use.
            Ok::<_, ()>(place != 1)
        };
        remove_over(&all, &Limit { keep, max_size }, now, remove).unwrap();
        gone
    }

    #[test]
    fn what_is_old_goes_and_of_the_rest_what_is_too_much() {
        let held = [(1, 10), (20, 30), (3, 40), (30, 5)];
        assert_eq!(gone(&held, None, None), [0; 0]);
        assert_eq!(gone(&held, Some(20), None), [3, 1]);
        assert_eq!(gone(&held, None, Some(85)), [0; 0]);
        assert_eq!(gone(&held, None, Some(84)), [3]);
        // What is in use is asked, and the next goes in its place.
        assert_eq!(gone(&held, None, Some(79)), [3, 1, 2]);
        assert_eq!(gone(&held, Some(25), Some(40)), [3, 1, 2]);
        assert_eq!(gone(&held, None, Some(0)), [3, 1, 2, 0]);
    }

    #[test]
    fn limits_are_written_as_people_do() {
        let read = |text| serde_yaml::from_str::<Limit>(text);
        let limit = read("{ keep: 14d, max_size: 40GiB }").unwrap();
        assert_eq!(limit.keep, Some(DAY * 14));
        assert_eq!(limit.max_size, Some(40 << 30));
        assert!(read("{}").unwrap().is_none());
        for (wrong, said) in [
            ("{ keep: soon }", "\"soon\" is not a time"),
            ("{ max_size: big }", "\"big\" is not a size"),
            ("{ keeps: 1d }", "unknown field `keeps`"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
