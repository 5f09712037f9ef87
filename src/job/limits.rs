//! What a job may ask for at most. A job can come from anywhere; a typing error
//! or a hostile file should say so at once, and not take the host down or put a
//! run's directory somewhere else.

use std::time::Duration;

use super::load::{JobError, Text};
use super::spec::{Job, Trials};

/// Trials of one arm and workload. At a second each, hours.
pub const MOST_TRIALS: u32 = 10_000;

/// Trials of a whole run.
pub(super) const MOST_PLANNED: u32 = 100_000;

/// Arms of a job, and workloads.
const MOST_LISTED: usize = 256;

/// Virtual CPUs of a machine: what QEMU's machine types all take.
const MOST_CPUS: u32 = 255;

/// Memory of a machine, in MiB: less than a kernel boots with, and more than
/// hosts have.
const MEMORY: std::ops::RangeInclusive<u32> = 64..=(1 << 20);

/// How many times as long a storm may be made.
const MOST_STORMS: u32 = 1000;

/// How long anything that a job gives a time may take.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a name. It becomes part of file names, which have at most 255.
const LONGEST_NAME: usize = 64;

/// Bytes of an added command line. x86 kernels take 2048 in all.
const LONGEST_COMMAND_LINE: usize = 1024;

/// Checks everything that has a limit and needs no look-up.
pub(super) fn check(text: &Text, job: &Job) -> Result<(), JobError> {
    name(text, &["name"], "a job", &job.name)?;
    match job.trials {
        Trials::Number(number) => trials(text, &["trials"], number)?,
        Trials::Until { most, .. } => {
            trials(text, &["trials", "most"], most.unwrap_or(MOST_TRIALS))?;
        }
    }
    arms(text, job)?;
    machine(text, job)?;
    bisection(text, job)?;
    workloads(text, job)?;
    command_line(text, &job.kernel.command_line)?;
    if let Some(notify) = &job.notify {
        let wrong = |(message, help)| text.error(&["notify", "body"], message, help);
        notify.body.check().map_err(wrong)?;
    }
    for (index, table) in job.counters.iter().enumerate() {
        let parts = |c: char| c.is_whitespace() || c == '/';
        let column = table.reached.as_deref();
        if column.is_some_and(|column| column.is_empty() || column.contains(parts)) {
            return Err(text.error(
                &["counters", &index.to_string(), "reached"],
                "`reached` must be the name of one column".to_owned(),
                Some("write it as the table's first line has it, a single word".to_owned()),
            ));
        }
    }
    for (index, measure) in job.compare.iter().enumerate() {
        if !measure.times.is_finite() {
            let place = ["compare", &index.to_string(), "times"];
            return Err(text.error(&place, "`times` must be a number".to_owned(), None));
        }
    }
    Ok(())
}

/// Whether a job can have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    is_plain(name) && name.len() <= LONGEST_NAME
}

/// Refuses a name that cannot stand for a file or directory as it is.
pub(super) fn name(text: &Text, place: &[&str], what: &str, name: &str) -> Result<(), JobError> {
    if is_name(name) {
        return Ok(());
    }
    // A name can be as long as the file.
    let shown: String = name.chars().take(LONGEST_NAME).collect();
    let more = if shown.len() < name.len() { "…" } else { "" };
    Err(text.error(
        place,
        format!("{what} cannot be called `{shown}{more}`: the name is a directory's, too"),
        Some(format!(
            "use letters, digits and - _ + . , a letter or digit first, {LONGEST_NAME} at most"
        )),
    ))
}

/// Whether a name can stand for a directory as it is, so that no two arms share
/// one.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

fn arms(text: &Text, job: &Job) -> Result<(), JobError> {
    if job.arms.is_empty() {
        return Err(text.error(&["arms"], "a job needs at least one arm".to_owned(), None));
    }
    few(text, "arms", job.arms.len())?;
    for (arm, spec) in &job.arms {
        name(text, &["arms", arm], "an arm", arm)?;
        if let Some(number) = spec.trials {
            trials(text, &["arms", arm, "trials"], number)?;
        }
    }
    Ok(())
}

fn few(text: &Text, what: &str, count: usize) -> Result<(), JobError> {
    if count <= MOST_LISTED {
        return Ok(());
    }
    let place = [if what == "workloads" {
        "workload"
    } else {
        what
    }];
    let message = format!("a job can have {MOST_LISTED} {what}, and this one has {count}");
    Err(text.error(&place, message, Some("make several jobs of it".to_owned())))
}

fn trials(text: &Text, place: &[&str], number: u32) -> Result<(), JobError> {
    let message = match number {
        0 => "an arm without trials shows nothing".to_owned(),
        1..=MOST_TRIALS => return Ok(()),
        more => format!("{more} trials are more than the {MOST_TRIALS} that kvet makes"),
    };
    let help = format!("use 1 to {MOST_TRIALS}");
    Err(text.error(place, message, Some(help)))
}

fn machine(text: &Text, job: &Job) -> Result<(), JobError> {
    let hardware = job.machine.hardware();
    let limits = [
        ("cpus", hardware.cpus, 1..=MOST_CPUS, ""),
        ("memory", hardware.memory, MEMORY, " MiB"),
    ];
    for (what, number, allowed, unit) in limits {
        if !allowed.contains(&number) {
            let message = format!("a machine cannot have `{what}: {number}`");
            let help = format!("use {} to {}{unit}", allowed.start(), allowed.end());
            return Err(text.error(&["machine", what], message, Some(help)));
        }
    }
    Ok(())
}

/// Checks what a job says for bisections.
fn bisection(text: &Text, job: &Job) -> Result<(), JobError> {
    // What is no number is not 1, either.
    let is_one = |rate: &f64| (rate - 1.0).abs() <= f64::EPSILON;
    if let Some(rate) = job.rate.filter(|rate| !is_one(rate)) {
        let message = format!("`rate: {rate}` cannot be said");
        let help = "only `rate: 1`, for a bug that shows in every trial; any other is learned";
        return Err(text.error(&["rate"], message, Some(help.to_owned())));
    }
    few(text, "amplify", job.amplify.len())?;
    for (index, variation) in job.amplify.iter().enumerate() {
        let index_text = index.to_string();
        let place = |key: &'static str| ["amplify", &index_text, key].map(str::to_owned);
        name(
            text,
            &["amplify", &index_text, "name"],
            "a variation",
            &variation.name,
        )?;
        let earlier = &job.amplify[..index];
        if earlier.iter().any(|other| other.name == variation.name) {
            let message = format!("two variations are called `{}`", variation.name);
            let help = Some("give each a name of its own".to_owned());
            return Err(text.error(&["amplify", &index_text, "name"], message, help));
        }
        let limits = [
            ("cpus", variation.cpus, 1..=MOST_CPUS),
            ("memory", variation.memory, MEMORY),
            ("storms", variation.storms, 1..=MOST_STORMS),
        ];
        for (what, number, allowed) in limits {
            let Some(number) = number.filter(|number| !allowed.contains(number)) else {
                continue;
            };
            let place = place(what);
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            let message = format!("a variation cannot have `{what}: {number}`");
            let help = format!("use {} to {}", allowed.start(), allowed.end());
            return Err(text.error(&place, message, Some(help)));
        }
    }
    Ok(())
}

fn workloads(text: &Text, job: &Job) -> Result<(), JobError> {
    few(text, "workloads", job.workload.len())?;
    for (index, spec) in job.workload.iter().enumerate() {
        let Some(timeout) = spec.timeout else {
            continue;
        };
        if timeout.is_zero() || timeout > LONGEST {
            let index = index.to_string();
            let places: [&[&str]; 3] = [
                &["workload", &index, "timeout"],
                &["workload", "timeout"],
                &["workload"],
            ];
            let message = "a trial's time is more than nothing and at most a day".to_owned();
            return Err(text.error_at_first(&places, message, None));
        }
    }
    Ok(())
}

fn command_line(text: &Text, words: &str) -> Result<(), JobError> {
    let place = ["kernel", "command_line"];
    if words.len() > LONGEST_COMMAND_LINE {
        let message = format!("a kernel takes no more than {LONGEST_COMMAND_LINE} bytes here");
        return Err(text.error(&place, message, None));
    }
    if words.chars().any(char::is_control) {
        let message = "a command line is one line, without control characters".to_owned();
        return Err(text.error(&place, message, None));
    }
    Ok(())
}
