//! Steps that run programs of the root file system.
//! `guest::agent::programs` carries them out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;
use super::values;

/// Steps that run programs of the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum ProgramStep {
    /// Runs a program of the root file system.
    Exec {
        /// Its name or path.
        program: String,
        /// Its arguments; `{a}` becomes the path of this trial's directory on
        /// mount `a`. Braces around anything but a mount's name stay.
        #[serde(default)]
        args: Vec<String>,
    },
    /// Runs `check` of a built tree of xfstests. Tests are made on the disk
    /// (`TEST_DEV`), and on the spare one if there is one (`SCRATCH_DEV`); each
    /// test that fails is a finding of the trial.
    Xfstests {
        /// Where the tree is in the guest.
        #[serde(default = "xfstests")]
        tree: String,
        /// Arguments of `check`: tests, or groups, as in `[-g, quick]`.
        args: Vec<String>,
        /// A file of the guest's that lists tests to leave out, one a line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exclude: Option<String>,
        /// Further settings of xfstests, such as `MOUNT_OPTIONS`.
        #[serde(
            default,
            deserialize_with = "values::scalars",
            skip_serializing_if = "BTreeMap::is_empty"
        )]
        settings: BTreeMap<String, String>,
    },
}

fn xfstests() -> String {
    "/xfstests".to_owned()
}

impl Family for ProgramStep {
    /// The program, or the tree of tests.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Exec { program, .. } => Some(program),
            Self::Xfstests { tree, .. } => Some(tree),
        }
    }
}
