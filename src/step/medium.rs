//! What guests mount, by its kind: some steps are for one of these alone.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// The kinds of what guests mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Medium {
    /// A Ceph cluster.
    Ceph,
    /// A scratch disk.
    Disk,
    /// Memory.
    Tmpfs,
}
