//! What every family of guest steps has.

use strum::VariantNames;

/// What a family has to say of each of its steps, besides how it is spelled.
pub(super) trait Family: VariantNames {
    /// What the step is about, for labels; nothing, if its name says all.
    fn subject(&self) -> Option<&str>;
}
