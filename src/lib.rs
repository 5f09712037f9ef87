//! kvet vets kernel patches: a job goes in, a verdict with its evidence comes out.
//!
//! Data flows one way through the modules below: `job` says what is asked,
//! `kernel`, `rootfs` and `cluster` make what a trial needs, `vm` and `guest`
//! run it, `console` and `detect` read what the kernel said, `verdict` judges,
//! and `report` tells. `docs/architecture.md` has the picture.

#![cfg_attr(not(test), deny(clippy::disallowed_types))]

mod apt;
pub mod bisect;
mod bounded;
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod console;
pub mod context;
pub mod coverage;
pub mod detect;
pub mod doctor;
mod duration;
pub mod error;
pub mod event;
pub mod fleet;
pub mod guest;
pub mod history;
pub mod host;
pub mod job;
pub mod kernel;
pub mod library;
pub mod limits;
mod names;
pub mod notify;
pub mod outcome;
mod patience;
pub mod printable;
pub mod process;
pub mod record;
pub mod redact;
pub mod report;
pub mod rootfs;
pub mod run;
#[cfg(test)]
mod schema;
pub mod service;
pub mod step;
pub mod store;
pub mod symbols;
pub mod testbed;
pub mod tested;
mod tls;
pub mod trace;
pub mod trial;
pub mod trial_id;
pub mod verdict;
pub mod version;
pub mod vm;
pub mod workload;
mod yaml_shape;

pub use context::Context;
pub use error::{Error, Exit, Fault};
