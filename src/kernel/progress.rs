//! A stage's events around one piece of work.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::event::{Event, Stage, Unit};

/// Tells that a stage works on something, how far it is, and when it is done.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    context: Context,
    stage: Stage,
    subject: String,
    start: Instant,
}

impl Progress {
    /// Emits `Started`.
    pub(super) fn start(context: &Context, stage: Stage, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        context.emit(Event::Started {
            stage,
            subject: subject.clone(),
        });
        Self {
            context: context.clone(),
            stage,
            subject,
            start: Instant::now(),
        }
    }

    /// Emits `Progress`.
    pub(super) fn at(&self, done: u64, total: Option<u64>, unit: Unit) {
        self.context.emit(Event::Progress {
            stage: self.stage,
            subject: self.subject.clone(),
            done,
            total,
            unit,
        });
    }

    /// Emits `Finished`.
    pub(super) fn finish(&self, cached: bool) {
        self.context.emit(Event::Finished {
            stage: self.stage,
            subject: self.subject.clone(),
            cached,
            elapsed: self.elapsed(),
        });
    }

    /// Time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
