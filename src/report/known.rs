//! What was known before a run, and what became of it: which entries of the
//! lists of known findings were seen, which have expired, and which have not
//! shown for so long that they could go.

use jiff::civil::Date;

use super::model::{ArmReport, KnownIn, KnownReport, Report};
use crate::detect::{Mute, Muted};
use crate::job::Rules;
use crate::record::{Past, Stream};
use crate::verdict::vanished;

/// What became of each known finding, in the plan's order.
#[must_use]
pub fn known(
    mutes: &[Mute],
    at: &[String],
    day: Date,
    arms: &[ArmReport],
    past: Option<&Past>,
    rules: &Rules,
) -> Vec<KnownReport> {
    let entry = |(place, mute): (usize, &Mute)| {
        let (title, signature) = match &mute.what {
            Muted::Title(pattern) => (Some(pattern.clone().into()), None),
            Muted::Signature(pattern) => (None, Some(pattern.clone().into())),
        };
        let seen: Vec<KnownIn> = arms.iter().filter_map(|arm| seen_in(mute, arm)).collect();
        let streams = past.and_then(|past| past.known.get(place));
        let streams = streams.map_or(&[][..], Vec::as_slice);
        let gone_for = if seen.is_empty() {
            gone_for(mute, streams, arms, rules)
        } else {
            None
        };
        KnownReport {
            title,
            signature,
            reason: mute.reason.clone(),
            link: mute.link.clone(),
            since: mute.since.clone(),
            until: mute.until.clone(),
            expires: mute.expires.map(|day| day.to_string()),
            at: at.get(place).cloned().unwrap_or_default(),
            expired: mute.is_expired(day),
            seen,
            gone_for,
        }
    };
    mutes.iter().enumerate().map(entry).collect()
}

fn is_for(mute: &Mute, arm: &ArmReport) -> bool {
    // Earlier kvets did not record the kernel of an arm.
    let kernel = arm.kernel.as_ref();
    kernel.is_none_or(|kernel| mute.is_for(&kernel.release))
}

/// In how many of an arm's trials a known finding was seen, whether it was
/// passed over or has expired; `None` if in none.
fn seen_in(mute: &Mute, arm: &ArmReport) -> Option<KnownIn> {
    if !is_for(mute, arm) {
        return None;
    }
    let mut seen = KnownIn {
        arm: arm.name.clone(),
        hits: 0,
        trials: 0,
        titles: Vec::new(),
    };
    for trial in &arm.trials {
        let named = trial.findings.iter().filter(|finding| {
            let target = trial.judged.outcome == crate::outcome::Outcome::Target
                && trial.judged.reason == finding.title;
            !target && mute.names(&finding.title, &finding.signature)
        });
        let mut any = false;
        for finding in named {
            any = true;
            if !seen.titles.contains(&finding.title) {
                seen.titles.push(finding.title.clone());
            }
        }
        seen.hits += u32::from(any);
        // One that showed it told that, whatever it came to.
        seen.trials += u32::from(any || trial.judged.outcome.tells());
    }
    (seen.hits > 0).then_some(seen)
}

/// Trials that say something of the kernel.
fn telling(arm: &ArmReport, workload: Option<&str>) -> u32 {
    let trials = arm.trials.iter().filter(|trial| {
        let of_workload = workload.is_none_or(|workload| trial.workload == workload);
        of_workload && trial.judged.outcome.tells()
    });
    u32::try_from(trials.count()).unwrap_or(u32::MAX)
}

/// For how many trials a finding that this run did not show has not shown, if
/// that speaks against the rate at which it did in every workload that ever
/// showed it.
fn gone_for(mute: &Mute, streams: &[Stream], arms: &[ArmReport], rules: &Rules) -> Option<u32> {
    let alpha = rules.confidence.alpha();
    let mut all = 0_u32;
    let mut gone = !streams.is_empty();
    for stream in streams {
        let arms = arms.iter().filter(|arm| is_for(mute, arm));
        let now: u32 = arms.map(|arm| telling(arm, Some(&stream.workload))).sum();
        let clean = stream.since.saturating_add(now);
        gone &= vanished(stream.hits, stream.trials, clean) <= alpha;
        all = all.saturating_add(clean);
    }
    gone.then_some(all)
}

/// What a reader must know of known findings, a sentence each: what was passed
/// over and why, what has expired, and what could be removed.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let mut sentences = Vec::new();
    for known in &report.known {
        if known.expired {
            let day = known.expires.as_deref().unwrap_or_default();
            let name = known.with_place();
            let counts = if known.seen.is_empty() {
                "would count again"
            } else {
                "counts again"
            };
            sentences.push(format!(
                "known until {day} only, and {counts}: {name}: {}",
                known.why()
            ));
            continue;
        }
        for seen in &known.seen {
            for title in &seen.titles {
                sentences.push(format!(
                    "known, not counted: {title} (in {}, {} of {} trials): {}",
                    seen.arm,
                    seen.hits,
                    seen.trials,
                    known.why()
                ));
            }
        }
        if let Some(trials) = known.gone_for {
            sentences.push(format!(
                "known, has not shown in {trials} trials, could be removed: {}",
                known.with_place()
            ));
        }
    }
    if report.known.is_empty() {
        // A report of an earlier kvet has the titles alone.
        let mut titles: Vec<(&str, &str)> = Vec::new();
        for arm in &report.arms {
            for title in arm.trials.iter().flat_map(|trial| &trial.judged.known) {
                titles.push((title, &arm.name));
            }
        }
        titles.sort_unstable();
        titles.dedup();
        let told = titles.iter();
        sentences
            .extend(told.map(|(title, arm)| format!("known, not counted: {title} (in {arm})")));
    }
    sentences
}

/// The entry that makes a title a known one, for reports that tell of each
/// finding.
pub(super) fn entry<'a>(report: &'a Report, title: &str) -> Option<&'a KnownReport> {
    let mut entries = report.known.iter().filter(|known| !known.expired);
    entries.find(|known| {
        let mut seen = known.seen.iter().flat_map(|seen| &seen.titles);
        seen.any(|seen| seen == title)
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::outcome::Outcome;

    const DAY: Date = jiff::civil::date(2026, 1, 2);

    fn mutes(yaml: &str) -> Vec<Mute> {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn arms(shows: bool) -> Vec<ArmReport> {
        let mut trials = vec![
            fixture::trial(1, Outcome::Clean, ""),
            fixture::trial(2, Outcome::Clean, ""),
            fixture::trial(3, Outcome::Harness, "the host was too busy"),
        ];
        if shows {
            trials[1].findings = vec![fixture::finding("WARNING in f")];
        }
        vec![fixture::arm("fixed", false, trials)]
    }

    fn told(yaml: &str, shows: bool, streams: Vec<Stream>) -> (Vec<KnownReport>, Vec<String>) {
        let past = Past {
            known: vec![streams],
            ..Past::default()
        };
        let at = ["known.yaml:1".to_owned()];
        let arms = arms(shows);
        let rules = Rules::default();
        let known = known(&mutes(yaml), &at, DAY, &arms, Some(&past), &rules);
        let mut report = fixture::of(arms);
        report.known.clone_from(&known);
        (known, sentences(&report))
    }

    fn stream(hits: u32, trials: u32, since: u32) -> Vec<Stream> {
        vec![Stream {
            workload: "example".to_owned(),
            hits,
            trials,
            since,
        }]
    }

    const ENTRY: &str = "[{ title: 'WARNING in f', reason: old, link: 'https://x/1' }]";

    #[test]
    fn what_was_passed_over_is_told_with_its_reason() {
        let (known, said) = told(ENTRY, true, Vec::new());
        assert_eq!((known[0].seen[0].hits, known[0].seen[0].trials), (1, 2));
        assert_eq!(
            said,
            ["known, not counted: WARNING in f (in fixed, 1 of 2 trials): old, https://x/1"]
        );
        let other = "[{ title: 'WARNING in f', reason: old, until: '6.12' }]";
        assert_eq!(told(other, true, Vec::new()).1, [""; 0]);
    }

    #[test]
    fn one_that_has_expired_is_told_whether_it_shows_or_not() {
        let entry = "[{ title: 'WARNING in f', reason: old, expires: 2026-01-01 }]";
        let said = |shows| told(entry, shows, Vec::new()).1;
        assert_eq!(
            said(true),
            ["known until 2026-01-01 only, and counts again: WARNING in f (known.yaml:1): old"]
        );
        assert!(said(false)[0].contains("would count again"));
    }

    /// Whoever reads a report, in whichever form, sees what was passed over.
    #[test]
    fn every_form_tells_what_was_known_and_why() {
        use super::super::*;
        let report = fixture::known();
        let page = html(&report, &Stories::new());
        for (name, text) in [
            ("human", human(&report, Style::Plain)),
            ("junit", junit(&report)),
            ("ktap", ktap(&report)),
            ("kcidb", kcidb(&report).to_string()),
            ("markdown", markdown(&report)),
            (
                "mail",
                mail(&report).replace("\n   ", "").replace("\n  ", " "),
            ),
            ("html", page),
        ] {
            assert!(text.contains("it is old"), "{name}: {text}");
        }
    }

    /// 3 of 3 and then 0 of 3 is no chance; 1 of 3 and then 0 of 3 may well be.
    #[test]
    fn one_that_does_not_show_for_as_long_as_its_rate_needs_could_go() {
        let gone = |shows, streams| told(ENTRY, shows, streams).0[0].gone_for;
        assert_eq!(gone(false, stream(3, 3, 1)), Some(3));
        assert_eq!(gone(false, stream(2, 3, 0)), None);
        assert_eq!(gone(false, stream(1, 3, 1)), None);
        assert_eq!(gone(false, stream(1, 3, 30)), Some(32));
        // It shows, or was never seen.
        assert_eq!(gone(true, stream(3, 3, 100)), None);
        assert_eq!(gone(false, Vec::new()), None);
        // Another workload may still have it.
        let mut two = stream(3, 3, 10);
        two.extend(stream(1, 2, 0));
        two[1].workload = "another".to_owned();
        assert_eq!(gone(false, two), None);
        let said = told(ENTRY, false, stream(3, 3, 1)).1;
        assert_eq!(
            said,
            ["known, has not shown in 3 trials, could be removed: WARNING in f (known.yaml:1)"]
        );
    }

    #[test]
    fn no_more_trials_showed_it_than_there_were() {
        let mut arms = arms(true);
        for trial in &mut arms[0].trials {
            trial.findings = vec![fixture::finding("WARNING in f")];
        }
        let known = known(&mutes(ENTRY), &[], DAY, &arms, None, &Rules::default());
        assert_eq!((known[0].seen[0].hits, known[0].seen[0].trials), (3, 3));
    }
}
