//! How a driver reaches a host: it starts `kvet batch -` there and holds both ends
//! of the pipe. `ssh` and `srun` know how.

use std::path::Path;

use super::batch::Digest;
use super::connection::{Connection, Refusal};
use super::{srun, ssh};

/// A host and the way there.
#[derive(Debug)]
pub(super) enum Reach {
    /// Over ssh.
    Ssh(ssh::Remote),
    /// As a task that Slurm starts.
    Srun(srun::Remote),
}

impl Reach {
    /// What records call the host.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Ssh(remote) => &remote.name,
            Self::Srun(remote) => &remote.node,
        }
    }

    /// Sees that the host has these inputs, where that is done aside; otherwise it
    /// asks for them when it needs them.
    pub(super) async fn provide(&self, inputs: &[(&Digest, &Path)]) -> Result<(), Refusal> {
        match self {
            Self::Ssh(remote) => remote.provide(inputs).await.map(|_| ()),
            Self::Srun(_) => Ok(()),
        }
    }

    /// Starts this program there, sent before if need be.
    pub(super) async fn start(&self, program: (&Digest, &Path)) -> Result<Connection, Refusal> {
        match self {
            Self::Ssh(remote) => remote.start(program).await,
            Self::Srun(remote) => remote.start(program).await,
        }
    }
}
