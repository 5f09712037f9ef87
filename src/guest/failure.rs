//! Failures of steps, put together where they happen.

use std::fmt::Display;
use std::io;

use super::protocol::{FailureKind, StepFailure};
use crate::step::errno;

impl StepFailure {
    /// A system call failed.
    pub(super) fn syscall(what: impl Display, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        Self {
            kind: FailureKind::Syscall,
            errno: error.raw_os_error().map(errno::name),
            message: format!("{what}: {error}"),
        }
    }

    /// The step makes no sense here.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::other(FailureKind::Usage, message)
    }

    /// Any other failure.
    pub(super) fn other(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            errno: None,
            message: message.into(),
        }
    }
}
