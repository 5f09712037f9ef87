//! How many trials run at a time. A trial that computes takes more than a
//! processor, one that waits for a kernel to find itself hung takes none: so as
//! many are begun as there are processors, and another one whenever some of the
//! host's have been idle for a moment, as long as there is memory for it.

use std::time::Duration;

use tokio::time::Instant;

use crate::host::memory;

/// Idleness is looked at for so long after a trial began: by then it computes.
const MOMENT: Duration = Duration::from_millis(100);

/// Processors that must have been idle meanwhile.
const IDLE: f64 = 0.5;

/// Trials for each processor, at most.
const MOST: usize = 8;

/// What QEMU takes besides its guest's memory.
const QEMU: u64 = 128 << 20;

/// Measures how many trials may run.
#[derive(Debug)]
pub(super) struct Width {
    /// What the user asked for: then nothing is measured.
    asked: Option<usize>,
    processors: usize,
    /// What memory there was at first has room for.
    most: usize,
    /// Bytes that a trial may take.
    need: u64,
    since: Instant,
    then: Option<Ticks>,
}

/// What the host's processors have done so far, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
    processors: u32,
}

/// What is known when it is asked whether another trial may begin.
#[derive(Debug, Clone, Copy)]
struct Now {
    running: usize,
    /// Processors that were idle, if that was measured.
    idle: Option<f64>,
    /// Bytes of memory that are free.
    free: Option<u64>,
}

impl Width {
    /// For trials that take so many MiB; `asked` is what the user wants.
    pub(super) fn new(asked: Option<usize>, memory: u32) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let need = (u64::from(memory) << 20) + QEMU;
        let most = memory::free().map_or(usize::MAX, |free| {
            usize::try_from(free / need).unwrap_or(usize::MAX)
        });
        Self {
            asked,
            processors,
            most: most.clamp(1, processors * MOST),
            need,
            since: Instant::now(),
            then: ticks(),
        }
    }

    /// Whether another trial may begin beside those that run.
    pub(super) fn has_room(&self, running: usize) -> bool {
        let idle = if self.since.elapsed() >= MOMENT {
            self.then.zip(ticks()).map(|(then, now)| idle(then, now))
        } else {
            None
        };
        self.allows(Now {
            running,
            idle,
            free: memory::free(),
        })
    }

    fn allows(&self, now: Now) -> bool {
        if let Some(asked) = self.asked {
            return now.running < asked.max(1);
        }
        if now.running == 0 {
            return true;
        }
        let fits = now.running < self.most && now.free.is_none_or(|free| free >= self.need);
        let idle = now.idle.is_some_and(|idle| idle >= IDLE);
        fits && (now.running < self.processors || idle)
    }

    /// A trial began: what was measured before says nothing any more.
    pub(super) fn begun(&mut self) {
        self.since = Instant::now();
        self.then = ticks();
    }

    /// Returns when it is worth asking again; never, if nothing is measured.
    pub(super) async fn look_again(&mut self) {
        if self.asked.is_some() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(MOMENT).await;
    }

    /// Forgets what is older than a moment: an hour's idleness is not this one's.
    pub(super) fn looked(&mut self) {
        if self.since.elapsed() >= MOMENT {
            self.begun();
        }
    }
}

/// How many processors were idle between two moments.
#[expect(clippy::cast_precision_loss, reason = "ticks of a moment are few")]
fn idle(then: Ticks, now: Ticks) -> f64 {
    let all = now.all.saturating_sub(then.all);
    let idle = now.idle.saturating_sub(then.idle);
    if all == 0 {
        return 0.0;
    }
    idle as f64 / all as f64 * f64::from(now.processors)
}

fn ticks() -> Option<Ticks> {
    parse_ticks(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq,
/// steal, and guests' time, which is in user's already.
fn parse_ticks(text: &str) -> Option<Ticks> {
    let mut lines = text.lines();
    let all = lines.next()?.strip_prefix("cpu ")?;
    let all: Vec<u64> = all
        .split_whitespace()
        .take(8)
        .map_while(|word| word.parse().ok())
        .collect();
    let processors = lines.take_while(|line| line.starts_with("cpu")).count();
    Some(Ticks {
        idle: all.get(3)? + all.get(4)?,
        all: all.iter().sum(),
        processors: u32::try_from(processors).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn width(asked: Option<usize>) -> Width {
        Width {
            asked,
            processors: 2,
            most: 10,
            need: GIB,
            since: Instant::now(),
            then: None,
        }
    }

    fn now(running: usize, idle: f64, gib: u64) -> Now {
        Now {
            running,
            idle: Some(idle),
            free: Some(gib * GIB),
        }
    }

    #[test]
    fn idle_processors_let_another_trial_begin_and_memory_bounds_them() {
        let width = width(None);
        assert!(width.allows(now(1, 0.0, 8)), "one for each processor");
        assert!(!width.allows(now(2, 0.2, 8)), "both compute");
        assert!(width.allows(now(2, 0.6, 8)), "one of them waits");
        assert!(!width.allows(now(2, 0.6, 0)), "there is no memory");
        assert!(!width.allows(now(10, 2.0, 8)), "they may all grow yet");
        assert!(width.allows(now(0, 0.0, 0)), "one always runs");
        let unknown = Now {
            running: 2,
            idle: None,
            free: None,
        };
        assert!(!width.allows(unknown), "just begun");
    }

    #[test]
    fn what_the_user_asks_for_is_not_measured() {
        let width = width(Some(3));
        assert!(width.allows(now(2, 0.0, 0)));
        assert!(!width.allows(now(3, 2.0, 8)));
    }

    #[test]
    fn idleness_is_the_share_of_ticks_times_the_processors() {
        let stat = |idle: u64, wait: u64| {
            format!(
                "cpu  100 0 50 {idle} {wait} 0 0 0 7 0\ncpu0 50 0 25 0 0 0 0 0 0 0\n\
                 cpu1 50 0 25 0 0 0 0 0 0 0\nintr 5\n"
            )
        };
        let then = parse_ticks(&stat(1000, 10)).unwrap();
        assert_eq!((then.idle, then.all, then.processors), (1010, 1160, 2));
        let now = Ticks {
            idle: then.idle + 25,
            all: then.all + 50,
            ..then
        };
        assert!((idle(then, now) - 1.0).abs() < 1e-9);
        assert!(idle(then, then).abs() < 1e-9);
        assert_eq!(parse_ticks("nonsense"), None);
    }
}
