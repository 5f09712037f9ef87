//! How long kvet waits for what is outside it: QEMU, daemons, a namespace's first
//! process. Each wait's usual length stands where the wait is; tests of what
//! happens when something is frozen ask for a part of it.

use std::sync::OnceLock;
use std::time::Duration;

/// Says which part of the usual time is waited, in percent.
const VARIABLE: &str = "KVET_PATIENCE";

/// The time to wait, given the usual one.
pub(crate) fn of(usual: Duration) -> Duration {
    static PERCENT: OnceLock<u32> = OnceLock::new();
    let percent = PERCENT.get_or_init(|| percent(std::env::var(VARIABLE).ok().as_deref()));
    usual * *percent / 100
}

/// A part makes sense only if something is left of the time, and it is one.
fn percent(said: Option<&str>) -> u32 {
    let said = said.and_then(|text| text.parse().ok());
    said.filter(|percent| (1..=100).contains(percent))
        .unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_to_all_of_the_time() {
        assert_eq!(percent(Some("20")), 20);
        for nonsense in [None, Some("0"), Some("101"), Some("-1"), Some("fast")] {
            assert_eq!(percent(nonsense), 100);
        }
    }
}
