//! What a run is told of the runs before: how long things took, and how often
//! the plan's known findings have shown. Pure.

use std::collections::BTreeMap;

use super::figures::median;
use super::index::StreamRow;
use crate::detect::Mute;
use crate::record::Stream;

/// How many of the last times count: a host changes, and a job does.
const LAST: usize = 5;

/// The usual time of each thing, from times by name with the last one first.
pub(super) fn usual(times: Vec<(String, f64)>) -> BTreeMap<String, f64> {
    let mut by_name: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, seconds) in times {
        let times = by_name.entry(name).or_default();
        if times.len() < LAST && seconds.is_finite() && seconds >= 0.0 {
            times.push(seconds);
        }
    }
    let usual = by_name.into_iter();
    usual
        .filter_map(|(name, times)| Some((name, median(times)?)))
        .collect()
}

/// The usual one of some times, the last one first.
pub(super) fn usual_one(times: Vec<f64>) -> Option<f64> {
    median(times.into_iter().take(LAST).collect())
}

/// The workloads that ever showed a known finding, and how often: until they
/// last did, and how many trials there were since. Runs whose kernel it is not
/// for do not count.
pub(super) fn streams(mute: &Mute, rows: &[StreamRow]) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for row in rows.iter().filter(|row| mute.is_for(&row.release)) {
        let at = streams.iter().position(|of| of.workload == row.workload);
        let at = at.unwrap_or_else(|| {
            streams.push(Stream {
                workload: row.workload.clone(),
                hits: 0,
                trials: 0,
                since: 0,
            });
            streams.len() - 1
        });
        let stream = &mut streams[at];
        stream.since = stream.since.saturating_add(row.tells);
        if row.hits > 0 {
            stream.hits = stream.hits.saturating_add(row.hits);
            stream.trials = stream.trials.saturating_add(stream.since);
            stream.since = 0;
        }
    }
    streams.retain(|stream| stream.hits > 0);
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_times_count() {
        let time = |seconds: f64| ("a".to_owned(), seconds);
        let times = [1.0, 2.0, 3.0, 4.0, 5.0, 1000.0, 1000.0].map(time);
        assert!((usual(times.to_vec())["a"] - 3.0).abs() < 1e-9);
        assert_eq!(usual_one(vec![4.0, 2.0]), Some(3.0));
        assert_eq!(usual_one(Vec::new()), None);
    }

    #[test]
    fn trials_count_until_it_last_showed_and_since() {
        let row = |release: &str, workload: &str, hits| StreamRow {
            release: release.to_owned(),
            workload: workload.to_owned(),
            hits,
            tells: 3,
        };
        let mutes: Vec<Mute> =
            serde_yaml::from_str("[{ title: x, reason: r, since: '7.0' }]").unwrap();
        let rows = [
            row("7.3.4", "a", 0),
            row("7.3.4", "a", 2),
            row("7.3.4", "b", 0),
            row("7.3.4", "a", 0),
            // Not for this kernel.
            row("6.12.1", "a", 3),
            row("7.3.5", "a", 0),
        ];
        let expected = Stream {
            workload: "a".to_owned(),
            hits: 2,
            trials: 6,
            since: 6,
        };
        assert_eq!(streams(&mutes[0], &rows), [expected]);
    }
}
