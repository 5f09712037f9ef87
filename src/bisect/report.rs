//! What a bisection comes to: the culprit, the table that confirms it, and the
//! lines to send. Pure: made from what the log has.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::candidates::Kind;

/// The version of the report's shape.
pub const VERSION: u32 = 1;

/// How many digits of a commit's id a `Fixes:` line has.
const SHORT: usize = 12;

/// A candidate as the report names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Its full name: a commit's id, a version, a patch, an option.
    pub name: String,
    /// A commit's or patch's subject; empty otherwise.
    pub subject: String,
    /// A commit's author; empty otherwise.
    pub author: String,
    /// The probability that it is the culprit.
    pub probability: f64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// One of these; several if no test can tell them apart.
    Culprit {
        /// The candidates.
        suspects: Vec<Suspect>,
        /// How likely it is one of them.
        probability: f64,
    },
    /// The rate never changes between the ends.
    None {
        /// How likely that is.
        probability: f64,
    },
    /// The search ended without an answer.
    Open {
        /// Why.
        reason: String,
        /// The likeliest so far.
        suspects: Vec<Suspect>,
    },
}

/// One row of the final table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `parent`, `culprit`, `tip` or `tip with the revert`.
    pub what: String,
    /// What was booted.
    pub name: String,
    /// Boots that showed the target.
    pub hits: u32,
    /// Boots that told something.
    pub boots: u32,
    /// The title of what most of the hits showed; nothing if there were none.
    #[serde(default)]
    pub showed: Option<String>,
}

/// A row's rate with its interval, and how it compares with the row above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The 95 % interval of the rate.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The probability of a difference like that to the row above, or a larger
    /// one, if there were none; nothing for the first row.
    pub p_value: Option<f64>,
}

/// What the search believed after one test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The candidate that was tested, or what is before all of them, in full.
    pub candidate: String,
    /// What was seen or said: `hit`, `clean`, `skipped`, `same image`, `said good`,
    /// `said bad`, `forgotten`.
    pub saw: String,
    /// How many candidates hold the culprit at the confidence asked for.
    pub left: usize,
    /// The probability that none of them is.
    pub none: f64,
    /// The likeliest candidates, in full, with their probability.
    pub likeliest: Vec<(String, f64)>,
}

/// What a search cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Kernels built.
    pub builds: u32,
    /// Time of the builds, seconds.
    pub build_seconds: f64,
    /// Boots that told something.
    pub boots: u32,
    /// Time of the boots, seconds.
    pub boot_seconds: f64,
}

/// A whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this shape.
    pub version: u32,
    /// What was searched.
    pub searched: Kind,
    /// How many candidates there were.
    pub candidates: usize,
    /// The good end.
    pub good: String,
    /// The bad end.
    pub bad: String,
    /// The culprit cures the bug.
    pub fixed: bool,
    /// The confidence that was asked for.
    pub confidence: f64,
    /// What was found.
    pub finding: Finding,
    /// The title of the target as it was seen.
    pub target: String,
    /// The rates: with the bug, and without.
    pub rates: (f64, f64),
    /// The table.
    pub table: Vec<Row>,
    /// Candidates that could not be tested, and why.
    pub skipped: Vec<(String, String)>,
    /// Other findings, and the candidates that had them.
    pub others: Vec<(String, Vec<String>)>,
    /// Whom to tell, as `get_maintainer.pl` has it.
    pub recipients: Vec<String>,
    /// What whoever reads this should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was found is the newer end, which stands for all commits that were not
    /// searched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands_in: bool,
    /// What the search believed after each test, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What it cost.
    pub cost: Cost,
}

/// The 95 % interval of a rate, by Wilson's score.
#[must_use]
pub fn interval(hits: u32, boots: u32) -> (f64, f64) {
    const Z: f64 = 1.959_963_985;
    if boots == 0 {
        return (0.0, 1.0);
    }
    let n = f64::from(boots);
    let rate = f64::from(hits) / n;
    let scale = 1.0 + Z * Z / n;
    let middle = (rate + Z * Z / (2.0 * n)) / scale;
    let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// A bisection has fewer boots than this.
const MOST_BOOTS: u32 = 1 << 20;

/// Fisher's exact test, two-sided: the probability of a table as unlikely as this
/// one, if both rows had the same rate; one of a table that cannot be.
#[must_use]
pub fn p_value((hits, boots): (u32, u32), (other_hits, other_boots): (u32, u32)) -> f64 {
    // Rows come from records, too, which may be anybody's.
    if hits > boots || other_hits > other_boots || boots.max(other_boots) > MOST_BOOTS {
        return 1.0;
    }
    let (all_hits, all) = (hits + other_hits, boots + other_boots);
    let ln_factorials: Vec<f64> = (0..=all)
        .scan(0.0, |sum, k| {
            *sum += f64::from(k.max(1)).ln();
            Some(*sum)
        })
        .collect();
    let ln_factorial = |n: u32| ln_factorials[n as usize];
    let ways = |n: u32, k: u32| -> f64 { ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k) };
    let chance =
        |k: u32| (ways(boots, k) + ways(other_boots, all_hits - k) - ways(all, all_hits)).exp();
    let seen = chance(hits);
    (all_hits.saturating_sub(other_boots)..=boots.min(all_hits))
        .map(chance)
        // Equal tables may differ in the last digits.
        .filter(|&other| other <= seen * (1.0 + 1e-9))
        .sum::<f64>()
        .min(1.0)
}

impl Report {
    /// The table's rows, compared.
    #[must_use]
    pub fn compared(&self) -> Vec<Compared> {
        self.table
            .iter()
            .enumerate()
            .map(|(index, row)| {
                let (low, high) = interval(row.hits, row.boots);
                let above = index.checked_sub(1).map(|above| &self.table[above]);
                Compared {
                    low,
                    high,
                    p_value: above
                        .map(|above| p_value((row.hits, row.boots), (above.hits, above.boots))),
                }
            })
            .collect()
    }

    /// The `Fixes:` line of a patch that mends the culprit; only if it is one
    /// commit.
    #[must_use]
    pub fn fixes(&self) -> Option<String> {
        // A line without its subject is not one.
        let suspect = self.only_commit().filter(|one| !one.subject.is_empty())?;
        let id = suspect.name.get(..SHORT)?;
        Some(format!("Fixes: {id} (\"{}\")", suspect.subject))
    }

    /// The paragraph for a mail that has the regression tracked.
    #[must_use]
    pub fn regzbot(&self) -> Option<String> {
        let suspect = self.only_commit()?;
        let mut text = format!("#regzbot introduced: {}\n", suspect.name.get(..SHORT)?);
        if !self.target.is_empty() {
            let _ = writeln!(text, "#regzbot title: {}", self.target);
        }
        Some(text)
    }

    fn only_commit(&self) -> Option<&Suspect> {
        match &self.finding {
            Finding::Culprit { suspects, .. }
                if suspects.len() == 1
                    && self.searched == Kind::Git
                    && !self.fixed
                    && !self.stands_in =>
            {
                suspects.first()
            }
            _ => None,
        }
    }

    /// The report as text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write_finding(&mut text);
        self.write_table(&mut text);
        self.write_rest(&mut text);
        text
    }

    fn write_finding(&self, text: &mut String) {
        let noun = self.searched.noun();
        let did = if self.fixed { "cured" } else { "brought" };
        let target = if self.target.is_empty() {
            "the target"
        } else {
            &self.target
        };
        match &self.finding {
            Finding::Culprit {
                suspects,
                probability,
            } => {
                let likely = percent(*probability);
                if let [suspect] = &suspects[..] {
                    let _ = writeln!(text, "{} {did} {target} ({likely})", self.named(suspect));
                    if !suspect.author.is_empty() {
                        let _ = writeln!(text, "  author: {}", suspect.author);
                    }
                } else {
                    let _ = writeln!(
                        text,
                        "one of these {noun}s {did} {target} ({likely}); no test tells them apart:"
                    );
                    for suspect in suspects {
                        let _ = writeln!(text, "  {}", self.named(suspect));
                    }
                }
            }
            Finding::None { probability } => {
                let _ = writeln!(
                    text,
                    "no {noun} between {} and {} changes how often {target} shows ({})",
                    self.good,
                    self.bad,
                    percent(*probability)
                );
            }
            Finding::Open { reason, suspects } => {
                let _ = writeln!(text, "no answer: {reason}");
                for suspect in suspects {
                    let likely = percent(suspect.probability);
                    let _ = writeln!(text, "  {likely}  {}", self.named(suspect));
                }
            }
        }
    }

    fn named(&self, suspect: &Suspect) -> String {
        let name = match self.searched {
            Kind::Git => suspect.name.get(..SHORT).unwrap_or(&suspect.name),
            _ => &suspect.name,
        };
        if suspect.subject.is_empty() || suspect.subject == suspect.name {
            name.to_owned()
        } else {
            format!("{name} (\"{}\")", suspect.subject)
        }
    }

    fn write_table(&self, text: &mut String) {
        if self.table.is_empty() {
            return;
        }
        let width = self
            .table
            .iter()
            .map(|row| row.what.len())
            .max()
            .unwrap_or(0);
        text.push('\n');
        for (row, compared) in self.table.iter().zip(self.compared()) {
            let _ = write!(
                text,
                "  {:width$}  {} of {}  ({} to {})",
                row.what,
                row.hits,
                row.boots,
                percent(compared.low),
                percent(compared.high)
            );
            if let Some(p) = compared.p_value {
                let _ = write!(text, "  p = {}", Short(p));
            }
            let showed = row.showed.as_deref();
            let showed = showed.map_or_else(String::new, |title| format!("  {title}"));
            let _ = writeln!(text, "  {}{showed}", row.name);
        }
    }

    fn write_rest(&self, text: &mut String) {
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        for line in [self.fixes(), self.regzbot()].into_iter().flatten() {
            let _ = writeln!(text, "\n{}", line.trim_end());
        }
        for recipient in &self.recipients {
            let _ = writeln!(text, "Cc: {recipient}");
        }
        if !self.skipped.is_empty() {
            let _ = writeln!(text, "\nnot tested:");
            for (name, reason) in &self.skipped {
                let _ = writeln!(text, "  {name}: {reason}");
            }
        }
        if !self.others.is_empty() {
            let _ = writeln!(text, "\nalso seen, and not counted:");
            for (title, at) in &self.others {
                let _ = writeln!(text, "  {title}: {}", at.join(", "));
            }
        }
        let cost = self.cost;
        let _ = writeln!(
            text,
            "\n{} builds in {}, {} boots in {}",
            cost.builds,
            duration(cost.build_seconds),
            cost.boots,
            duration(cost.boot_seconds)
        );
    }
}

/// A number with two digits that count.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 >= 0.01 {
            write!(f, "{:.2}", self.0)
        } else {
            write!(f, "{:.0e}", self.0)
        }
    }
}

/// A probability in percent, never more certain than it is.
#[must_use]
pub fn percent(probability: f64) -> String {
    let percent = probability * 100.0;
    if percent > 99.0 {
        format!("{:.1} %", (percent * 10.0).floor() / 10.0)
    } else {
        format!("{percent:.0} %")
    }
}

fn duration(seconds: f64) -> String {
    let seconds = std::time::Duration::from_secs(seconds.max(0.0).round() as u64);
    humantime::format_duration(seconds).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(number: u32) -> Suspect {
        Suspect {
            name: format!("{number:040x}"),
            subject: "ceph: do not wait for async iput".to_owned(),
            author: "A Person <a@example.org>".to_owned(),
            probability: 0.97,
        }
    }

    fn row(what: &str, hits: u32, boots: u32) -> Row {
        Row {
            what: what.to_owned(),
            name: "a".repeat(12),
            hits,
            boots,
            showed: None,
        }
    }

    fn report() -> Report {
        Report {
            version: VERSION,
            searched: Kind::Git,
            candidates: 64,
            good: "v7.2".to_owned(),
            bad: "v7.3".to_owned(),
            fixed: false,
            confidence: 0.95,
            finding: Finding::Culprit {
                suspects: vec![suspect(0xabc)],
                probability: 0.9999,
            },
            target: "INFO: task hung in ceph_writepages_start".to_owned(),
            rates: (0.9, 0.0),
            table: vec![row("parent", 0, 12), row("culprit", 12, 12)],
            skipped: vec![("b".repeat(40), "does not build".to_owned())],
            others: vec![("WARNING in x".to_owned(), vec!["c".repeat(12)])],
            recipients: vec!["ceph-devel@vger.kernel.org".to_owned()],
            notes: vec!["read this".to_owned()],
            steps: vec![Step {
                candidate: "d".repeat(40),
                saw: "hit".to_owned(),
                left: 3,
                none: 0.01,
                likeliest: vec![("e".repeat(40), 0.5)],
            }],
            stands_in: false,
            cost: Cost {
                builds: 7,
                build_seconds: 600.0,
                boots: 20,
                boot_seconds: 900.0,
            },
        }
    }

    #[test]
    fn known_intervals_and_p_values() {
        let (low, high) = interval(0, 10);
        assert!(low == 0.0 && (high - 0.2775).abs() < 1e-4, "{high}");
        let (low, high) = interval(5, 10);
        assert!((low - 0.2366).abs() < 1e-4 && (high - 0.7634).abs() < 1e-4);
        // 0 of 3 against 3 of 3: 2 of the 20 tables.
        assert!((p_value((0, 3), (3, 3)) - 0.1).abs() < 1e-12);
        assert!((p_value((2, 5), (2, 5)) - 1.0).abs() < 1e-9);
        assert!((p_value((0, 0), (3, 3)) - 1.0).abs() < 1e-9);
        // No tables: of a damaged record.
        assert!((p_value((5, 3), (1, 3)) - 1.0).abs() < 1e-9);
        assert!((p_value((1, u32::MAX), (1, u32::MAX)) - 1.0).abs() < 1e-9);
        assert!(p_value((200_000, 400_000), (100_000, 400_000)) < 1e-9);
        // 5 of 305 against 0 of 910, as a mail about a rare oops had it.
        let p = p_value((5, 305), (0, 910));
        assert!(p < 0.002 && p > 0.0005, "{p}");
    }

    #[test]
    fn the_text_has_what_is_sent() {
        let text = report().text();
        assert!(text.contains("Fixes: 000000000000 (\"ceph: do not wait for async iput\")\n"));
        assert!(text.contains("#regzbot introduced: 000000000000\n"));
        assert!(text.contains("brought INFO: task hung"), "{text}");
        assert!(text.contains("culprit  12 of 12"), "{text}");
        assert!(text.contains("(99.9 %)"), "{text}");
        assert!(text.contains("p = "), "{text}");
    }

    #[test]
    fn only_one_commit_that_brought_a_bug_gets_a_fixes_line() {
        let mut several = report();
        several.finding = Finding::Culprit {
            suspects: vec![suspect(1), suspect(2)],
            probability: 0.99,
        };
        assert_eq!(several.fixes(), None);
        assert!(several.text().contains("no test tells them apart"));
        let mut cured = report();
        cured.fixed = true;
        assert_eq!((cured.fixes(), cured.regzbot()), (None, None));
        assert!(cured.text().contains(" cured "));
        let mut release = report();
        release.searched = Kind::Versions;
        assert_eq!(release.fixes(), None);
    }

    #[test]
    fn certainty_is_never_rounded_up() {
        assert_eq!(percent(0.99999), "99.9 %");
        assert_eq!(percent(0.954), "95 %");
        assert_eq!(percent(1.0), "100.0 %");
    }

    #[test]
    fn the_json_comes_back() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
