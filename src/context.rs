//! What every stage is handed besides its input: how to tell what it does, and
//! how to learn that it should stop.
#![forbid(clippy::disallowed_methods)]

use tokio_util::sync::CancellationToken;

use crate::event::{Event, EventSink};

/// Shared by all stages of one invocation; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Cancelled on Ctrl-C or SIGTERM. Long waits race against it.
    pub cancel: CancellationToken,
    /// Where events go; a reporter listens at the other end.
    pub events: EventSink,
}

impl Context {
    /// Tells the reporters something. Never blocks, never fails.
    pub fn emit(&self, event: Event) {
        self.events.emit(event);
    }
}
