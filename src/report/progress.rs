//! Tells a run's events on standard error: bars on a terminal, a line each
//! where there is none.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::event::{Event, Stage, Unit};
use crate::printable::printable;

/// The listener for one command's events.
pub struct Progress {
    bars: MultiProgress,
    open: HashMap<String, ProgressBar>,
    terminal: bool,
}

impl Progress {
    /// A listener; on a terminal it draws bars.
    #[must_use]
    pub fn new(terminal: bool) -> Self {
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            open: HashMap::new(),
            terminal,
        }
    }

    /// Shows one event.
    pub fn show(&mut self, event: Event) {
        match event {
            Event::Started { stage, subject } => self.started(stage, &subject),
            Event::Progress {
                stage,
                subject,
                done,
                total,
                unit,
            } => self.progress(stage, &subject, done, total, unit),
            Event::Finished {
                stage,
                subject,
                cached,
                elapsed,
            } => {
                self.close(&key(stage.name(), &subject));
                let how = if cached { "there already" } else { "done" };
                self.line(&format!(
                    "{:8} {subject}: {how} ({})",
                    stage.name(),
                    seconds(elapsed)
                ));
            }
            Event::Bisection {
                left,
                none,
                likeliest,
                builds,
                boots,
                to_go,
            } => {
                let mut list: Vec<String> = likeliest
                    .iter()
                    .map(|(name, chance)| format!("{name} {:.0} %", chance * 100.0))
                    .collect();
                list.push(format!("none {:.0} %", none * 100.0));
                let to_go = to_go.map_or_else(String::new, |(builds, boots)| {
                    format!(", about {builds:.0} and {boots:.0} to go")
                });
                self.line(&format!(
                    "{:8} {left} left after {builds} builds and {boots} boots{to_go}: {}",
                    "bisect",
                    printable(&list.join(", "))
                ));
            }
            Event::Note(text) => self.line(&format!("{:8} {text}", "note")),
            Event::Warning(text) => self.line(&format!("{:8} {text}", "warning")),
            Event::RunStarted { .. } | Event::RunFinished { .. } => {}
            Event::TrialStarted { trial, attempt } => {
                let trial = trial.to_string();
                let again = if attempt > 1 {
                    format!(" (attempt {attempt})")
                } else {
                    String::new()
                };
                self.spinner(key("trial", &trial), &format!("{trial}{again}"));
            }
            Event::TrialStep { trial, step } => {
                let trial = trial.to_string();
                if let Some(bar) = self.open.get(&key("trial", &trial)) {
                    bar.set_message(format!("{trial}: {}", printable(&step)));
                }
            }
            Event::TrialFinding { trial, title } => {
                self.line(&format!("{:8} {trial}: {title}", "finding"));
            }
            Event::TrialFinished {
                trial,
                outcome,
                reason,
                elapsed,
            } => {
                self.close(&key("trial", &trial.to_string()));
                let why = if reason.is_empty() {
                    String::new()
                } else {
                    format!(" ({reason})")
                };
                self.line(&format!(
                    "{:8} {trial}: {}{why} ({})",
                    "trial",
                    outcome.name(),
                    seconds(elapsed)
                ));
            }
        }
    }

    fn started(&mut self, stage: Stage, subject: &str) {
        self.spinner(
            key(stage.name(), subject),
            &format!("{:8} {subject}", stage.name()),
        );
    }

    fn progress(&mut self, stage: Stage, subject: &str, done: u64, total: Option<u64>, unit: Unit) {
        let Some(bar) = self.open.get(&key(stage.name(), subject)) else {
            return;
        };
        if let Some(total) = total
            && bar.length() != Some(total)
        {
            bar.set_length(total);
            let template = match unit {
                Unit::Bytes => "{msg} [{bar:30}] {bytes}/{total_bytes} {eta}",
                Unit::Count => "{msg} [{bar:30}] {pos}/{len} {eta}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
        }
        bar.set_position(done);
    }

    fn spinner(&mut self, key: String, message: &str) {
        if !self.terminal {
            return;
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_message(printable(message));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.open.insert(key, bar);
    }

    fn close(&mut self, key: &str) {
        if let Some(bar) = self.open.remove(key) {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        let text = printable(text.trim_end());
        self.bars.suspend(|| {
            // Nobody left to tell if standard error is gone.
            drop(writeln!(std::io::stderr().lock(), "{text}"));
        });
    }
}

fn key(kind: &str, subject: &str) -> String {
    format!("{kind}\0{subject}")
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}
