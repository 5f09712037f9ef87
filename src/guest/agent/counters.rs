//! Steps that read what the kernel says and counts. Counters are of two kinds: tables in its text files, and its profiler
//! of functions. They become the counters of a step's report, under names that
//! a report can compare: `TABLE/ROW/COLUMN`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use rustix::io::Errno;

use super::places::expand;
use super::{lines, report};
use crate::guest::protocol::{StepFailure, StepReport};
use crate::step::CounterStep;

/// Where the kernel's tracing lives.
const TRACING: &str = "/sys/kernel/tracing";

/// What counters of the profiler begin with.
const PROFILE: &str = "profile";

/// Does what a step says.
pub(super) fn carry_out(step: &CounterStep) -> Result<StepReport, StepFailure> {
    match step {
        CounterStep::Collect { path } => collect(path),
        CounterStep::Counters { name, path, keys } => read(name, path, (*keys).into()),
        CounterStep::Profile { functions } => profile(functions),
        CounterStep::Profiled => profiled(),
        CounterStep::LineCounters { object, offset } => {
            lines::piece(object, usize::try_from(*offset).unwrap_or(usize::MAX))
        }
    }
}

fn collect(path: &str) -> Result<StepReport, StepFailure> {
    let found = expand(path);
    if found.is_empty() {
        return Err(StepFailure::syscall(
            format!("read {path}"),
            rustix::io::Errno::NOENT,
        ));
    }
    let mut text = String::new();
    for file in found {
        let bytes = std::fs::read(&file)
            .map_err(|error| StepFailure::syscall(format!("read {}", file.display()), error))?;
        if path.contains('*') {
            text.extend(["== ", &file.to_string_lossy(), "\n"]);
        }
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    Ok(report::of_text(text))
}

/// Reads the first of the files that `path` stands for as a table called
/// `name` whose first `keys` columns name a row.
fn read(name: &str, path: &str, keys: usize) -> Result<StepReport, StepFailure> {
    let text = match expand(path).first() {
        Some(file) => std::fs::read_to_string(file),
        None => Err(Errno::NOENT.into()),
    };
    let text = text.map_err(|error| StepFailure::syscall(format!("read {path}"), error))?;
    Ok(counted(table(name, &text, keys)))
}

/// Has the kernel count the calls of functions and the time they take. Those
/// that this kernel does not have are left out.
fn profile(functions: &[String]) -> Result<StepReport, StepFailure> {
    let root = Path::new(TRACING);
    let set = |file: &str, text: &str| {
        std::fs::write(root.join(file), text)
            .map_err(|error| StepFailure::syscall(format!("write {TRACING}/{file}"), error))
    };
    // Not every kernel has it, so the agent does not mount it at its start.
    match rustix::mount::mount(
        "tracefs",
        TRACING,
        "tracefs",
        rustix::mount::MountFlags::empty(),
        None,
    ) {
        Ok(()) | Err(Errno::BUSY) => {}
        Err(error) => return Err(StepFailure::syscall("mount tracefs", error)),
    }
    set("function_profile_enabled", "0")?;
    let mut known = Vec::new();
    for function in functions {
        let mut filter = File::options()
            .append(!known.is_empty())
            .write(true)
            .truncate(known.is_empty())
            .open(root.join("set_ftrace_filter"))
            .map_err(|error| StepFailure::syscall("open set_ftrace_filter", error))?;
        if filter.write_all(function.as_bytes()).is_ok() {
            known.push(function);
        }
    }
    if !known.is_empty() {
        set("function_profile_enabled", "1")?;
    }
    Ok(StepReport::default())
}

/// What the profiler counted on all CPUs.
fn profiled() -> Result<StepReport, StepFailure> {
    let mut counters = BTreeMap::new();
    for file in expand(&format!("{TRACING}/trace_stat/*")) {
        let is_profile = file
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("function"))
            .is_some_and(|cpu| cpu.parse::<u32>().is_ok());
        if !is_profile {
            continue;
        }
        let text = std::fs::read_to_string(&file)
            .map_err(|error| StepFailure::syscall(format!("read {}", file.display()), error))?;
        for (name, count) in profile_table(&text) {
            *counters.entry(name).or_default() += count;
        }
    }
    Ok(counted(counters))
}

fn counted(counters: BTreeMap<String, u64>) -> StepReport {
    StepReport {
        counters,
        ..StepReport::default()
    }
}

/// A table whose first line names its columns. Lines of another shape and
/// values that are not numbers are left out.
fn table(name: &str, text: &str, keys: usize) -> BTreeMap<String, u64> {
    let mut lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let header = lines.next().unwrap_or_default();
    let mut counters = BTreeMap::new();
    for line in lines.filter(|line| line.len() == header.len() && line.len() > keys) {
        let row = line[..keys].join(":");
        for (column, value) in header.iter().zip(&line).skip(keys) {
            if let Ok(value) = value.parse() {
                counters.insert(format!("{name}/{row}/{column}"), value);
            }
        }
    }
    counters
}

/// `FUNCTION CALLS TIME us …` for each function: its calls and its nanoseconds.
fn profile_table(text: &str) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [function, calls, time, "us", ..] = words.as_slice() else {
            continue;
        };
        let (Ok(calls), Some(nanoseconds)) = (calls.parse(), nanoseconds(time)) else {
            continue;
        };
        counters.insert(format!("{PROFILE}/{function}/calls"), calls);
        counters.insert(format!("{PROFILE}/{function}/nanoseconds"), nanoseconds);
    }
    counters
}

/// Microseconds as nanoseconds. The kernel prints `12.034`, and the fewer places
/// the more digits are in front of them: `123456.7`, `12345678`.
fn nanoseconds(microseconds: &str) -> Option<u64> {
    let (whole, places) = microseconds.split_once('.').unwrap_or((microseconds, ""));
    if places.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let places: u64 = format!("{places:0<3}").parse().ok()?;
    whole.checked_mul(1000)?.checked_add(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_s_rows_and_columns_name_its_counters() {
        let text = "function   line     direct   deferred\n\
                    ceph_a       12          3          0\n\
                    ceph_b       40          0         17\n\
                    a line of another shape altogether\n";
        let counters = table("iput", text, 2);
        assert_eq!(counters.len(), 4);
        assert_eq!(counters["iput/ceph_a:12/direct"], 3);
        assert_eq!(counters["iput/ceph_b:40/deferred"], 17);
    }

    #[test]
    fn a_table_with_fewer_columns_than_keys_counts_nothing() {
        assert!(table("t", "a b\n1 2\n", 2).is_empty());
        assert!(table("t", "", 1).is_empty());
    }

    #[test]
    fn the_profiler_s_times_become_nanoseconds() {
        let text = "  Function                               Hit    Time            Avg             s^2\n  \
                    --------                               ---    ----            ---             ---\n  \
                    iput                                    20    1034.120 us     51.706 us       12.001 us   \n";
        let counters = profile_table(text);
        assert_eq!(counters.len(), 2);
        assert_eq!(counters["profile/iput/calls"], 20);
        assert_eq!(counters["profile/iput/nanoseconds"], 1_034_120);
        assert_eq!(nanoseconds("123456.7"), Some(123_456_700));
        assert_eq!(nanoseconds("12345678"), Some(12_345_678_000));
        assert_eq!(nanoseconds("1.2345"), None);
    }
}
