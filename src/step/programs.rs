//! Steps that run programs of the root file system.
//! `guest::agent::programs` carries them out.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;

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
        /// mount `a`.
        #[serde(default)]
        args: Vec<String>,
    },
}

impl Family for ProgramStep {
    /// The program.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Exec { program, .. } => Some(program),
        }
    }
}
