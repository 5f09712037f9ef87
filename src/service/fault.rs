//! What can go wrong with a service while a guest uses it.

use miette::Diagnostic;
use thiserror::Error;

use crate::cluster::ClusterError;
use crate::error::{Exit, Fault};

/// The service did not do what it was asked.
#[derive(Debug, Error, Diagnostic)]
pub enum ServiceFault {
    /// A cluster failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cluster(#[from] ClusterError),
    /// A step needs a service and the job has none.
    #[error("the step {step} needs a cluster, and the job has none")]
    #[diagnostic(help("`cluster: none` serves workloads whose steps are all the guest's"))]
    Absent {
        /// The step.
        step: &'static str,
    },
    /// A step names a mount that said no client number.
    #[error("the mount {mount} has no client number")]
    NoClient {
        /// The mount.
        mount: String,
    },
    /// The client number that a guest gave belongs to somebody else.
    #[error("client {client} is not a session of this guest: the MDS has {known}")]
    NotItsOwn {
        /// The number.
        client: u64,
        /// The sessions there are.
        known: String,
    },
    /// Daemons do not answer.
    #[error("{} did not answer", .0.join(", "))]
    Silent(Vec<String>),
}

impl Fault for ServiceFault {
    fn exit(&self) -> Exit {
        match self {
            Self::Cluster(error) => error.exit(),
            Self::Absent { .. } => Exit::Usage,
            Self::NoClient { .. } | Self::NotItsOwn { .. } | Self::Silent(_) => Exit::Undecided,
        }
    }
}
