//! How busy this host is: a guest that got no processor shows nothing about
//! its kernel.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// How busy the host was while a trial ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Tasks ready to run per processor, the mean of the trial's begin and end.
    pub runnable: f64,
    /// The share of processor time that the host's own host took, 0 to 1.
    pub stolen: f64,
    /// The share of the trial's time in which some task waited for a processor,
    /// 0 to 1, where the kernel tells (`/proc/pressure/cpu`).
    #[serde(default)]
    pub pressure: Option<f64>,
    /// Of the time in which the guest wanted a processor, the share in which it had
    /// none, 0 to 1; where the guest was still there at the end, and the kernel tells
    /// (`/proc/PID/task/TID/schedstat`). Unlike the rest it knows what priority
    /// the guest has.
    #[serde(default)]
    pub denied: Option<f64>,
}

/// The host's counters at one moment. What cannot be read counts as idle.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    at: Instant,
    /// Tasks ready to run.
    runnable: f64,
    /// Processor time in ticks: stolen, and all.
    stolen: f64,
    all: f64,
    /// Microseconds in which some task waited for a processor.
    waited: Option<f64>,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (stolen, all) = times(&text("/proc/stat")).unwrap_or_default();
        Self {
            at: Instant::now(),
            runnable: runnable(&text("/proc/loadavg")).unwrap_or_default(),
            stolen,
            all,
            waited: waited(&text("/proc/pressure/cpu")),
        }
    }

    /// How busy the host was from here to `end`.
    #[must_use]
    pub fn until(&self, end: &Self) -> Load {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let processors = u32::try_from(processors).map_or(1.0, f64::from);
        let share = |part: f64, whole: f64| {
            if whole > 0.0 {
                (part / whole).clamp(0.0, 1.0)
            } else {
                0.0
            }
        };
        let micros = end.at.duration_since(self.at).as_secs_f64() * 1e6;
        Load {
            runnable: f64::midpoint(self.runnable, end.runnable) / processors,
            stolen: share(end.stolen - self.stolen, end.all - self.all),
            pressure: self
                .waited
                .zip(end.waited)
                .map(|(before, after)| share(after - before, micros)),
            denied: None,
        }
    }
}

/// What [`Load::denied`] is of a process and those below it, since they began.
#[must_use]
pub fn denied(process: u32) -> Option<f64> {
    let (had, waited) = turns(process);
    (had > 0.0).then(|| waited / (had + waited))
}

/// Nanoseconds on a processor, and of waiting for one, of a process and all below it.
fn turns(process: u32) -> (f64, f64) {
    let (mut had, mut waited) = (0.0, 0.0);
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let text = |name| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let own = turns_of(&text("schedstat")).unwrap_or_default();
        let children = text("children");
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        for (more, longer) in children.map(turns).chain([own]) {
            had += more;
            waited += longer;
        }
    }
    (had, waited)
}

/// The first two numbers of a `schedstat` (Documentation/scheduler/sched-stats.rst).
fn turns_of(schedstat: &str) -> Option<(f64, f64)> {
    let mut numbers = schedstat.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Stolen ticks and all ticks, of `/proc/stat`'s first line: user, nice, system,
/// idle, iowait, irq, softirq, steal (proc(5)).
fn times(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .take(8)
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    Some((*ticks.get(7)?, ticks.iter().sum()))
}

/// The tasks that are ready to run, of `/proc/loadavg`'s fourth field.
fn runnable(loadavg: &str) -> Option<f64> {
    let field = loadavg.split_whitespace().nth(3)?;
    field.split_once('/')?.0.parse().ok()
}

/// Microseconds of waiting in all, of `/proc/pressure/cpu`'s line `some`.
fn waited(pressure: &str) -> Option<f64> {
    let line = pressure.lines().find(|line| line.starts_with("some "))?;
    line.rsplit_once("total=")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_files_are_read_as_proc_5_has_them() {
        let stat = "cpu  10 0 20 60 0 0 0 10 5 0\ncpu0 1 1 1 1\n";
        assert_eq!(times(stat), Some((10.0, 100.0)));
        assert_eq!(runnable("0.20 0.18 0.12 3/80 11206\n"), Some(3.0));
        let pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\n\
                        full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(waited(pressure), Some(1234.0));
        assert_eq!(turns_of("2000 6000 17\n"), Some((2000.0, 6000.0)));
        assert_eq!(turns_of(""), None);
        assert_eq!(times(""), None);
        assert_eq!(runnable("x"), None);
        assert_eq!(waited(""), None);
    }

    #[test]
    fn a_process_that_runs_was_denied_a_part_of_its_time() {
        let share = denied(std::process::id());
        // Not every kernel tells.
        assert!(
            share.is_none_or(|share| (0.0..1.0).contains(&share)),
            "{share:?}"
        );
        assert_eq!(denied(u32::MAX), None);
    }
}
