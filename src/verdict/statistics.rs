//! How sure a verdict is.

/// Fisher's exact test, one-sided: the probability to see at most `hits` target
/// trials among `trials` of the fix, if the fix changed nothing and the
/// `control_hits` of `control_trials` came from the same kernel behaviour.
/// Small means the patch made the difference. Between 0 and 1.
#[must_use]
pub(super) fn chance(hits: u32, trials: u32, control_hits: u32, control_trials: u32) -> f64 {
    let all_hits = hits + control_hits;
    let all = trials + control_trials;
    if all == 0 {
        return 1.0;
    }
    let ways = |n: u32, k: u32| -> f64 { ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k) };
    let total = ways(all, all_hits);
    let least = all_hits.saturating_sub(control_trials);
    (least..=hits.min(all_hits))
        .map(|k| (ways(trials, k) + ways(control_trials, all_hits - k) - total).exp())
        .sum::<f64>()
        .min(1.0)
}

fn ln_factorial(n: u32) -> f64 {
    (2..=n).map(|k| f64::from(k).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::chance;

    #[test]
    fn known_tables() {
        // 3 of 3 against 0 of 3: one way in C(6,3) = 20.
        assert!((chance(0, 3, 3, 3) - 0.05).abs() < 1e-12);
        // No difference proves nothing.
        assert!((chance(3, 3, 3, 3) - 1.0).abs() < 1e-12);
        assert!((chance(0, 3, 0, 3) - 1.0).abs() < 1e-12);
        // 1 of 10 against 9 of 10: (1 + 100) / C(20,10), by hand.
        let ways = 10.0 * 10.0 + 1.0;
        assert!((chance(1, 10, 9, 10) - ways / 184_756.0).abs() < 1e-12);
    }
}
