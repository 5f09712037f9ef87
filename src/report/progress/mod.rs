//! Tells a run's events on standard error. On a terminal a line for each thing
//! that runs stays at the bottom, renewed once a second, and final lines scroll
//! above. Without one there is a line for each change of state, and a line a
//! minute for what goes on.
//!
//! `running` knows what runs and what there is to say of it (pure); here it is
//! written.

mod running;

use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::event::Event;
use crate::printable::printable;
use crate::report::tell_line;

use running::Running;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Warnings only.
    Quiet,
    /// Lines.
    Lines,
    /// Lines, and what runs below them.
    Bars,
}

/// Lines of things that run that are shown at a time; terminals have some 24.
const SHOWN: usize = 12;

/// The listener for one command's events.
pub struct Progress {
    running: Running,
    bars: MultiProgress,
    shown: Vec<ProgressBar>,
    told: Told,
    began: Instant,
}

impl Progress {
    /// A listener that tells so much.
    #[must_use]
    pub fn new(told: Told) -> Self {
        let target = match told {
            Told::Bars => ProgressDrawTarget::stderr(),
            Told::Quiet | Told::Lines => ProgressDrawTarget::hidden(),
        };
        Self {
            running: Running::default(),
            bars: MultiProgress::with_draw_target(target),
            shown: Vec::new(),
            told,
            began: Instant::now(),
        }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        if self.told == Told::Quiet {
            if let Event::Warning(text) = event {
                self.line(&running::warning(text));
            }
            return;
        }
        let lines = self.running.event(self.began.elapsed(), event);
        for line in &lines {
            self.line(line);
        }
        // How far something got is told many times a second: once is enough.
        if !matches!(event, Event::Progress { .. } | Event::TrialStep { .. }) {
            self.draw();
        }
    }

    /// Shows what a second more has brought.
    pub fn tick(&mut self) {
        match self.told {
            Told::Quiet => {}
            Told::Bars => self.draw(),
            Told::Lines => {
                for line in self.running.reminders(self.began.elapsed()) {
                    self.line(&line);
                }
            }
        }
    }

    /// Brings the lines at the bottom up to date.
    fn draw(&mut self) {
        if self.told != Told::Bars {
            return;
        }
        let lines = self.running.bars(self.began.elapsed(), SHOWN);
        while self.shown.len() > lines.len() {
            if let Some(bar) = self.shown.pop() {
                bar.finish_and_clear();
                self.bars.remove(&bar);
            }
        }
        for (place, line) in lines.iter().enumerate() {
            if place == self.shown.len() {
                let bar = self.bars.add(ProgressBar::new_spinner());
                // Cut to the terminal's width: a line that wraps cannot be
                // written over.
                if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                    bar.set_style(style);
                }
                self.shown.push(bar);
            }
            let line = printable(line);
            if self.shown[place].message() != line {
                self.shown[place].set_message(line);
            }
        }
    }

    fn line(&self, text: &str) {
        let text = printable(text.trim_end());
        self.bars.suspend(|| tell_line(&text));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        for bar in self.shown.drain(..) {
            bar.finish_and_clear();
        }
    }
}
