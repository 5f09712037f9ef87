//! What may run a machine's instructions, what does, and how machines come up.

use serde::{Deserialize, Serialize};

/// What a job asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Acceleration {
    /// KVM if it runs a kernel here, emulation otherwise.
    #[default]
    Auto,
    /// KVM or an error.
    Kvm,
    /// Emulation.
    Tcg,
}

/// How a job's machines are to come up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Startup {
    /// Each from its reset on.
    Boot,
    /// From where one of the same kernel was saved, its agent being up; from the
    /// reset where that cannot be.
    #[default]
    Restore,
}

/// What runs a machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// The word in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// By how much deadlines grow under this accelerator: emulation runs
    /// kernels 5 to 20 times slower.
    #[must_use]
    pub fn slowdown(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Tcg => 4,
        }
    }
}
