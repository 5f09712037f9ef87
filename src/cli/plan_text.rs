//! A plan in parts, as text, as data, and as CI services take it. Pure.

use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use crate::job::{Part, Plan};
use crate::printable::{printable, printable_json, printable_lines};
use crate::store::Key;
use crate::tested::Answer;

/// A run that is shared.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Shared {
    /// Its name among the runs of this plan.
    pub group: String,
    /// What decides its answer.
    pub question: Option<Key>,
    /// Its kernels' sources, pinned.
    pub sources: Vec<String>,
    /// What was answered already, if there is nothing new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The parts to run; none if there is nothing new.
    pub parts: Vec<Row>,
}

/// A part.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// Which part.
    pub part: Part,
    /// What it has, in a few words.
    pub name: String,
    /// Its trials; at most, if they go on until there is a verdict.
    pub trials: u64,
    /// What `kvet run JOB` takes for it. No word needs quoting.
    pub arguments: String,
}

impl Row {
    /// The row of a part's plan; `None` for a plan that is not a part.
    pub(super) fn of(plan: &Plan, words: &[String]) -> Option<Self> {
        let part_of = plan.part_of.as_ref()?;
        let whole = &part_of.whole;
        let arms = plan.arms.iter().map(|arm| {
            let all = whole.arms.iter().find(|other| other.name == arm.name);
            let all = all.map_or(0, |all| all.workloads.len());
            if arm.workloads.len() == all {
                arm.name.clone()
            } else {
                format!("{} ({})", arm.name, arm.workloads.join(" "))
            }
        });
        let name = arms.collect::<Vec<_>>().join(", ");
        let mut words = words.to_vec();
        words.extend(["--part".to_owned(), part_of.part.to_string()]);
        Some(Self {
            part: part_of.part,
            name: cut(&name),
            trials: plan.arms.iter().map(|arm| u64::from(arm.planned())).sum(),
            arguments: words.join(" "),
        })
    }
}

/// Names of CI jobs are cut by their services, at other places each.
fn cut(name: &str) -> String {
    const LONGEST: usize = 80;
    if name.chars().nth(LONGEST).is_none() {
        return name.to_owned();
    }
    let kept = name.chars().take(LONGEST - 1);
    kept.chain(['\u{2026}']).collect()
}

/// "nothing new: linux-7.3.4 was tested on …: fixed (DIR)".
pub(super) fn nothing_new(answer: &Answer) -> String {
    let text = format!(
        "nothing new: {} was tested on {}: {} ({})",
        answer.sources.join(", "),
        answer.at.strftime("%F"),
        answer.verdict.name(),
        answer.run
    );
    printable(&text)
}

pub(super) fn text(job: &str, shared: &[Shared]) -> String {
    let mut out = String::new();
    for run in shared {
        if let Some(answer) = &run.answer {
            let _ = writeln!(out, "{}", nothing_new(answer));
            continue;
        }
        let trials: u64 = run.parts.iter().map(|row| row.trials).sum();
        let _ = writeln!(
            out,
            "{} of {job}: {} parts, {trials} trials",
            run.sources.join(", "),
            run.parts.len()
        );
        for row in &run.parts {
            let _ = writeln!(out, "  {}: {} trials of {}", row.part, row.trials, row.name);
            let _ = writeln!(out, "    kvet run {job} {}", row.arguments);
        }
    }
    if shared.iter().any(|run| run.parts.len() > 1) {
        let _ = writeln!(
            out,
            "each with --out DIR of its own; then `kvet join DIR... --out RUN` has the verdict"
        );
    }
    printable_lines(&out)
}

pub(super) fn json(job: &str, shared: &[Shared]) -> String {
    let value = json!({ "version": 1, "job": job, "runs": shared });
    printable_json(&format!("{value:#}\n"))
}

/// What a step of GitHub Actions appends to `$GITHUB_OUTPUT`: whether there is
/// anything to do, a matrix of parts, and the names of the runs that these make.
pub(super) fn github(shared: &[Shared]) -> String {
    let mut parts = Vec::new();
    for run in shared {
        for row in &run.parts {
            parts.push(json!({
                "group": run.group,
                "number": row.part.number,
                "part": row.part,
                "name": format!("{} {}: {}", run.group, row.part, row.name),
                "arguments": row.arguments,
            }));
        }
    }
    let runs = shared.iter().filter(|run| !run.parts.is_empty());
    let runs: Vec<&str> = runs.map(|run| run.group.as_str()).collect();
    let new = !parts.is_empty();
    let parts = json!({ "include": parts });
    format!("new={new}\nparts={parts}\nruns={}\n", runs.join(" "))
}

/// A child pipeline of GitLab's. What its jobs do stands in the file that it
/// includes; one without a job would be an error.
pub(super) fn gitlab(job: &str, include: &str, shared: &[Shared]) -> String {
    let quoted = |text: &str| json!(text).to_string();
    let mut out = String::from("# Made by `kvet plan`.\n");
    if shared.iter().all(|run| run.parts.is_empty()) {
        let said: Vec<String> = shared
            .iter()
            .filter_map(|run| run.answer.as_ref())
            .map(nothing_new)
            .collect();
        let said = said.join("; ").replace('\'', "");
        let _ = writeln!(out, "\"nothing new\":");
        let _ = writeln!(out, "  script: [{}]", quoted(&format!("echo '{said}'")));
        return out;
    }
    let _ = writeln!(out, "include: [{{ local: {} }}]", quoted(include));
    let _ = writeln!(out, "stages: [parts, verdict]");
    let _ = writeln!(out, "variables: {{ KVET_JOB: {} }}", quoted(job));
    for run in shared.iter().filter(|run| !run.parts.is_empty()) {
        for row in &run.parts {
            let name = format!("{} {}: {}", run.group, row.part, row.name);
            let place = format!("parts/{}/{}", run.group, row.part.number);
            let _ = writeln!(
                out,
                "\n{}:\n  extends: .kvet-part\n  stage: parts\n  variables:\n    \
                 KVET_ARGUMENTS: {}\n    KVET_PART: {}",
                quoted(&name),
                quoted(&row.arguments),
                quoted(&place)
            );
        }
        let _ = writeln!(
            out,
            "\n{}:\n  extends: .kvet-verdict\n  stage: verdict\n  variables:\n    KVET_GROUP: {}",
            quoted(&format!("verdict {}", run.group)),
            quoted(&run.group)
        );
    }
    out
}
