//! What runs, for how long, and for how long still. Pure: events and times go
//! in, lines come out. Estimates come from what history knows (`Expected`), and
//! from what the run itself has shown so far.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::event::{Event, Expected, Stage, Unit};

/// Something that takes longer than this is worth a line when it begins, where
/// nobody sees it run.
const NOTICED: Duration = Duration::from_secs(2);
/// How often it is told that something goes on.
const REMINDER: Duration = Duration::from_secs(60);
/// Columns of `1:02:05, about 58:10 left`.
const TIME: usize = 22;
/// Of how much of a thing its own speed is a better guide than history's.
const TRUSTED: f64 = 0.5;

/// What runs.
#[derive(Debug, Default)]
pub(super) struct Running {
    tasks: Vec<Task>,
    expected: Expected,
    /// What trials took in this run, by arm and workload.
    seen: BTreeMap<String, Vec<f64>>,
    trials: Option<Trials>,
}

/// The run's trials as a whole.
#[derive(Debug)]
struct Trials {
    began: Duration,
    planned: u64,
    done: u64,
    /// The most that ran at a time.
    widest: usize,
}

#[derive(Debug)]
struct Task {
    key: (&'static str, String),
    began: Duration,
    /// What it does just now.
    detail: String,
    far: Option<(u64, u64, Unit)>,
    /// How long it takes, as history has it, in seconds.
    expected: Option<f64>,
    /// When a line was last written of it.
    told: Option<Duration>,
}

impl Task {
    fn new(key: (&'static str, String), began: Duration, expected: Option<f64>) -> Self {
        Self {
            key,
            began,
            detail: String::new(),
            far: None,
            expected,
            told: None,
        }
    }

    /// Seconds that are left, if anybody can tell: by history at first, by its
    /// own speed as it goes on.
    fn left(&self, now: Duration) -> Option<f64> {
        let passed = now.saturating_sub(self.began).as_secs_f64();
        let by_history = self.expected.map(|all| (all - passed).max(0.0));
        let part = self.far.map_or(0.0, |(done, total, _)| share(done, total));
        // The first few percent say little: starting takes time of its own.
        let by_speed = (part > 0.05).then(|| passed * (1.0 - part) / part);
        match (by_history, by_speed) {
            (Some(history), Some(speed)) => {
                let trust = (part / TRUSTED).min(1.0);
                Some(speed * trust + history * (1.0 - trust))
            }
            (history, speed) => speed.or(history),
        }
    }

    /// "7.3.4: mount a, 412 of 1200 objects".
    fn what(&self) -> String {
        let mut text = self.key.1.clone();
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        if let Some((done, total, unit)) = self.far {
            let (done, total) = (quantity(done, unit), quantity(total, unit));
            let _ = write!(text, ", {done} of {total}");
        }
        text
    }

    /// "1:05, about 2:10 left".
    fn time(&self, now: Duration) -> String {
        let passed = clock(now.saturating_sub(self.began));
        match self.left(now) {
            Some(left) if left >= 1.0 => format!("{passed}, about {} left", clock(time(left))),
            _ => passed,
        }
    }
}

impl Running {
    /// Takes an event in; the lines that it is worth.
    pub(super) fn event(&mut self, now: Duration, event: &Event) -> Vec<String> {
        match event {
            Event::Expected(expected) => self.expected = expected.clone(),
            Event::RunStarted { trials, .. } => {
                self.trials = Some(Trials {
                    began: now,
                    planned: *trials,
                    done: 0,
                    widest: 0,
                });
                return self.whole_run();
            }
            Event::Started { stage, subject } => {
                let expected = match stage {
                    Stage::Build => self.expected.builds.get(subject).copied(),
                    _ => None,
                };
                self.begin(Task::new((stage.name(), subject.clone()), now, expected));
            }
            Event::Progress {
                stage,
                subject,
                done,
                total,
                unit,
            } => {
                if let (Some(task), Some(total)) = (self.task(stage.name(), subject), total) {
                    task.far = Some((*done, *total, *unit));
                }
            }
            Event::Finished {
                stage,
                subject,
                cached,
                elapsed,
            } => {
                self.end(stage.name(), subject);
                let how = if *cached { "there already" } else { "done" };
                let took = took(*elapsed);
                return vec![line(stage.name(), &format!("{subject}: {how} ({took})"))];
            }
            Event::TrialStarted { trial, attempt } => {
                let of = format!("{}/{}", trial.arm, trial.workload);
                let mut task = Task::new(("trial", trial.to_string()), now, self.trial_takes(&of));
                if *attempt > 1 {
                    task.detail = format!("attempt {attempt}");
                }
                self.begin(task);
                let running = self.tasks.iter().filter(|task| task.key.0 == "trial");
                let running = running.count();
                if let Some(trials) = &mut self.trials {
                    trials.widest = trials.widest.max(running);
                }
            }
            Event::TrialStep { trial, step } => {
                if let Some(task) = self.task("trial", &trial.to_string()) {
                    task.detail.clone_from(step);
                }
            }
            Event::TrialFinding { trial, title } => {
                return vec![line("finding", &format!("{trial}: {title}"))];
            }
            Event::TrialFinished {
                trial,
                outcome,
                reason,
                elapsed,
            } => {
                self.end("trial", &trial.to_string());
                let of = format!("{}/{}", trial.arm, trial.workload);
                let seconds = elapsed.as_secs_f64();
                self.seen.entry(of).or_default().push(seconds);
                if let Some(trials) = &mut self.trials {
                    trials.done += 1;
                }
                let why = if reason.is_empty() {
                    String::new()
                } else {
                    format!(" ({reason})")
                };
                let outcome = outcome.name();
                let took = took(*elapsed);
                return vec![line("trial", &format!("{trial}: {outcome}{why} ({took})"))];
            }
            Event::Bisection { .. } => return vec![bisection(event)],
            Event::Note(text) => return vec![line("note", text)],
            Event::Warning(text) => return vec![warning(text)],
            Event::RunFinished { .. } => {
                self.trials = None;
                // Of a run that was ended by a failure or a save some never end.
                self.tasks.clear();
            }
        }
        Vec::new()
    }

    /// Where nothing is drawn: lines for what has been going on for a while.
    pub(super) fn reminders(&mut self, now: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        for task in &mut self.tasks {
            let first = task.told.is_none() && task.key.0 != "trial";
            let since = now.saturating_sub(task.told.unwrap_or(task.began));
            if since < if first { NOTICED } else { REMINDER } {
                continue;
            }
            task.told = Some(now);
            let words = if first {
                match task.left(now) {
                    Some(left) => format!("{}: about {} left", task.key.1, clock(time(left))),
                    None => format!("{} ...", task.key.1),
                }
            } else {
                format!("{} ({})", task.what(), task.time(now))
            };
            lines.push(line(task.key.0, &words));
        }
        lines
    }

    /// Where lines can be renewed: one for the run, and one for each thing that
    /// runs, `most` together.
    pub(super) fn bars(&self, now: Duration, most: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(trials) = &self.trials {
            let passed = clock(now.saturating_sub(trials.began));
            let of = format!("{} of {} trials", trials.done, trials.planned);
            let left = self.run_left(now);
            let left = left.map(|left| format!(", about {} left", clock(time(left))));
            let time = passed + &left.unwrap_or_default();
            lines.push(bar("run", &time, &of));
        }
        // The last line says how many there was no room for.
        let room = most.saturating_sub(lines.len());
        let fit = if self.tasks.len() > room {
            room.saturating_sub(1)
        } else {
            room
        };
        for task in self.tasks.iter().take(fit) {
            lines.push(bar(task.key.0, &task.time(now), &task.what()));
        }
        if self.tasks.len() > fit {
            lines.push(line("", &format!("and {} more", self.tasks.len() - fit)));
        }
        lines
    }

    fn task(&mut self, kind: &str, subject: &str) -> Option<&mut Task> {
        let mut tasks = self.tasks.iter_mut();
        tasks.find(|task| task.key.0 == kind && task.key.1 == subject)
    }

    fn begin(&mut self, task: Task) {
        // Another attempt at a trial takes the place of the one before.
        self.tasks.retain(|other| other.key != task.key);
        self.tasks.push(task);
    }

    fn end(&mut self, kind: &str, subject: &str) {
        self.tasks
            .retain(|task| (task.key.0, task.key.1.as_str()) != (kind, subject));
    }

    /// Seconds that a trial of this arm and workload takes: what it took in this
    /// run, or what history has.
    fn trial_takes(&self, of: &str) -> Option<f64> {
        let seen = self.seen.get(of).filter(|seen| !seen.is_empty());
        let mean = seen.map(|seen| seen.iter().sum::<f64>() / count(seen.len()));
        mean.or_else(|| self.expected.trials.get(of).copied())
    }

    /// Seconds that the run has left: the trials to come at what trials took,
    /// so many at a time, or history's word for the whole.
    fn run_left(&self, now: Duration) -> Option<f64> {
        let trials = self.trials.as_ref()?;
        if self.expected.open_end {
            return None;
        }
        let seen: Vec<f64> = self.seen.values().flatten().copied().collect();
        if seen.is_empty() || trials.widest == 0 {
            let passed = now.saturating_sub(trials.began).as_secs_f64();
            return self.expected.run.map(|all| (all - passed).max(0.0));
        }
        let mean = seen.iter().sum::<f64>() / count(seen.len());
        let running = self.tasks.iter().filter(|task| task.key.0 == "trial");
        let running: Vec<f64> = running
            .map(|task| now.saturating_sub(task.began).as_secs_f64().min(mean))
            .collect();
        #[allow(clippy::cast_precision_loss)] // a hundred thousand at most
        let to_do = trials.planned.saturating_sub(trials.done) as f64 * mean;
        Some((to_do - running.iter().sum::<f64>()).max(0.0) / count(trials.widest))
    }

    fn whole_run(&self) -> Vec<String> {
        let expected = self.expected.run;
        let words = expected.map(|all| format!("about {}, as the runs before", clock(time(all))));
        words.iter().map(|words| line("run", words)).collect()
    }
}

/// A line of a kind.
fn line(kind: &str, words: &str) -> String {
    format!("{kind:8} {words}")
}

/// A line that is renewed: what changes most stands last, where nothing else
/// moves.
fn bar(kind: &str, time: &str, words: &str) -> String {
    format!("{kind:8} {time:TIME$}  {words}")
}

/// A warning's line.
pub(super) fn warning(text: &str) -> String {
    line("warning", text)
}

fn bisection(event: &Event) -> String {
    let Event::Bisection {
        left,
        none,
        likeliest,
        builds,
        boots,
        to_go,
    } = event
    else {
        return String::new();
    };
    let mut list: Vec<String> = likeliest
        .iter()
        .map(|(name, chance)| format!("{name} {:.0} %", chance * 100.0))
        .collect();
    list.push(format!("none {:.0} %", none * 100.0));
    let list = list.join(", ");
    let to_go = to_go.map_or_else(String::new, |(builds, boots)| {
        format!(", about {builds:.0} and {boots:.0} to go")
    });
    let words = format!("{left} left after {builds} builds and {boots} boots{to_go}: {list}");
    line("bisect", &words)
}

fn share(done: u64, total: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // shown, not counted with
    let share = done as f64 / total.max(1) as f64;
    share.clamp(0.0, 1.0)
}

#[allow(clippy::cast_precision_loss)] // a few thousand at most
fn count(number: usize) -> f64 {
    number as f64
}

fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn quantity(number: u64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => bytesize::ByteSize(number).display().iec().to_string(),
        Unit::Count => number.to_string(),
    }
}

/// A time as a clock shows it: `1:05`, `1:02:05`.
fn clock(time: Duration) -> String {
    let seconds = (time.as_millis() + 500) / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// How long something took: `8.5 s`, from a minute on as a clock shows it.
fn took(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        clock(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::trial_id::TrialId;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn started(stage: Stage, subject: &str) -> Event {
        let subject = subject.to_owned();
        Event::Started { stage, subject }
    }

    fn far(done: u64, total: u64) -> Event {
        Event::Progress {
            stage: Stage::Build,
            subject: "7.3.4".to_owned(),
            done,
            total: Some(total),
            unit: Unit::Count,
        }
    }

    fn trial(number: u32) -> TrialId {
        TrialId {
            arm: "stock".to_owned(),
            workload: "w".to_owned(),
            number,
        }
    }

    fn begun(number: u32) -> Event {
        let trial = trial(number);
        let attempt = 1;
        Event::TrialStarted { trial, attempt }
    }

    fn ended(number: u32, seconds: u64) -> Event {
        Event::TrialFinished {
            trial: trial(number),
            outcome: Outcome::Clean,
            reason: String::new(),
            elapsed: at(seconds),
        }
    }

    fn expected(builds: &[(&str, f64)], trials: &[(&str, f64)], run: Option<f64>) -> Event {
        let map = |pairs: &[(&str, f64)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, time)| ((*name).to_owned(), *time))
                .collect()
        };
        Event::Expected(Expected {
            builds: map(builds),
            trials: map(trials),
            run,
            open_end: false,
        })
    }

    fn run(trials: u64) -> Event {
        Event::RunStarted {
            job: "j".to_owned(),
            directory: "d".to_owned(),
            trials,
        }
    }

    /// A build of ten minutes: a line when it is noticed, one a minute, one at
    /// its end.
    #[test]
    fn what_goes_on_is_told_once_a_minute() {
        let mut running = Running::default();
        assert_eq!(
            running.event(at(0), &started(Stage::Build, "7.3.4")),
            [""; 0]
        );
        let mut told = Vec::new();
        for second in 1..=600 {
            running.event(at(second), &far(second * 2, 1200));
            told.extend(running.reminders(at(second)));
        }
        assert_eq!(told.len(), 10, "{told:?}");
        assert_eq!(told[0], "build    7.3.4 ...");
        assert_eq!(
            told[1],
            "build    7.3.4, 124 of 1200 (1:02, about 8:58 left)"
        );
        let done = Event::Finished {
            stage: Stage::Build,
            subject: "7.3.4".to_owned(),
            cached: false,
            elapsed: at(600),
        };
        assert_eq!(
            running.event(at(600), &done),
            ["build    7.3.4: done (10:00)"]
        );
        assert_eq!(running.reminders(at(9999)), [""; 0]);
    }

    /// What is over at once is told at its end only.
    #[test]
    fn short_things_have_one_line() {
        let mut running = Running::default();
        running.event(at(0), &started(Stage::Source, "x"));
        running.event(at(0), &begun(1));
        assert_eq!(running.reminders(at(1)), [""; 0]);
        assert_eq!(running.reminders(at(59)).len(), 1, "the source");
        assert_eq!(
            running.event(at(59), &ended(1, 59)),
            ["trial    stock/w/1: clean (59.0 s)"]
        );
    }

    #[test]
    fn history_is_believed_until_there_is_better() {
        let mut running = Running::default();
        running.event(at(0), &expected(&[("7.3.4", 300.0)], &[], None));
        running.event(at(0), &started(Stage::Build, "7.3.4"));
        let bar = |running: &Running, second| running.bars(at(second), 9).concat();
        assert_eq!(
            running.reminders(at(2)),
            ["build    7.3.4: about 4:58 left"]
        );
        assert_eq!(bar(&running, 60), "build    1:00, about 4:00 left   7.3.4");
        // A quarter in a minute is a total of four: between the two.
        running.event(at(60), &far(300, 1200));
        assert_eq!(
            bar(&running, 60),
            "build    1:00, about 3:30 left   7.3.4, 300 of 1200"
        );
        // Its own speed alone.
        running.event(at(60), &far(600, 1200));
        assert_eq!(
            bar(&running, 60),
            "build    1:00, about 1:00 left   7.3.4, 600 of 1200"
        );
        // Longer than ever before.
        let mut running = Running::default();
        running.event(at(0), &expected(&[("7.3.4", 300.0)], &[], None));
        running.event(at(0), &started(Stage::Build, "7.3.4"));
        assert_eq!(bar(&running, 400), "build    6:40                    7.3.4");
    }

    #[test]
    fn without_history_nothing_is_estimated() {
        let mut running = Running::default();
        assert_eq!(running.event(at(0), &run(4)), [""; 0]);
        running.event(at(0), &begun(1));
        assert_eq!(
            running.bars(at(5), 9),
            [
                "run      0:05                    0 of 4 trials",
                "trial    0:05                    stock/w/1"
            ]
        );
        // The first one teaches what the others take.
        running.event(at(10), &ended(1, 10));
        running.event(at(10), &begun(2));
        assert_eq!(
            running.bars(at(14), 9),
            [
                "run      0:14, about 0:26 left   1 of 4 trials",
                "trial    0:04, about 0:06 left   stock/w/2"
            ]
        );
    }

    #[test]
    fn a_run_like_those_before_takes_as_long() {
        let mut running = Running::default();
        running.event(at(0), &expected(&[], &[("stock/w", 8.0)], Some(125.0)));
        assert_eq!(
            running.event(at(0), &run(4)),
            ["run      about 2:05, as the runs before"]
        );
        running.event(at(1), &begun(1));
        assert_eq!(
            running.bars(at(3), 9),
            [
                "run      0:03, about 2:02 left   0 of 4 trials",
                "trial    0:02, about 0:06 left   stock/w/1"
            ]
        );
    }

    #[test]
    fn more_than_fits_is_counted() {
        let mut running = Running::default();
        running.event(at(0), &run(40));
        for number in 1..=20 {
            running.event(at(0), &begun(number));
        }
        let bars = running.bars(at(1), 5);
        assert_eq!(bars.len(), 5);
        assert_eq!(bars[4], "         and 17 more");
        assert_eq!(running.bars(at(1), 21).len(), 21);
    }

    #[test]
    fn nothing_goes_on_once_a_run_is_over() {
        let mut running = Running::default();
        running.event(at(0), &run(4));
        running.event(at(0), &started(Stage::Build, "7.3.4"));
        running.event(at(0), &begun(1));
        let verdict = "none".to_owned();
        let elapsed = at(1);
        running.event(at(1), &Event::RunFinished { verdict, elapsed });
        assert_eq!(running.bars(at(2), 9), [""; 0]);
        assert_eq!(running.reminders(at(600)), [""; 0]);
    }
}
