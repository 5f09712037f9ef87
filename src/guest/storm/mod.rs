//! The storm: many writers over several mounts of one file system, and a
//! ledger of what must be found afterwards.
//!
//! `plan` turns a seed into a writer's operations (pure), `content` says
//! what a block's bytes are, `ledger` what must be on the file system at the
//! end and compares. `writer` is the process that performs one writer's
//! operations, `run` starts them all, with `syncfs` and `drop_caches` around
//! them. Writers are processes, and not threads of PID 1, so that they can be
//! limited by a cgroup and killed.

mod content;
mod ledger;
mod plan;
mod run;
mod writer;

pub use ledger::Ledger;
pub use plan::{Operation, Plan};
pub(crate) use run::run;
pub(crate) use writer::{truncate_process, writer_process};
