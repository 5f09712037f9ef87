//! What a kernel's .config is asked to be, before there is a tree to ask it of.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::fragment::{CANDIDATE, Fragment};
use super::whole_config::WholeConfig;
use crate::store::Key;

/// How a kernel is to be configured and compiled.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// A whole .config to begin with; with nothing if absent.
    pub base: Option<WholeConfig>,
    /// What is asked for on top of that.
    pub fragments: Vec<Fragment>,
    /// Files of the source whose executed lines are counted.
    pub instrumented: BTreeSet<PathBuf>,
}

impl From<Vec<Fragment>> for Configuration {
    fn from(fragments: Vec<Fragment>) -> Self {
        Self {
            fragments,
            ..Self::default()
        }
    }
}

impl Configuration {
    /// All that decides the .config of one tree, each after what it is.
    pub(super) fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        for fragment in &self.fragments {
            let text = self.text_of(fragment);
            parts.extend([b"fragment".to_vec(), text.into_bytes()]);
        }
        if let Some(base) = &self.base {
            parts.extend([b"whole config".to_vec(), base.text.clone().into_bytes()]);
        }
        parts
    }

    /// As much of a fragment's text as decides what it asks for here.
    fn text_of(&self, fragment: &Fragment) -> String {
        match self.base {
            Some(_) => fragment.text.clone(),
            None => fragment.identity(),
        }
    }

    /// The names of what it is made of, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let base = self.base.iter().map(|base| base.name.clone());
        let fragments = self.fragments.iter().map(|one| one.name.clone());
        base.chain(fragments).collect()
    }

    /// What decides in which directory make builds: not the files that are
    /// counted in, which change some objects only.
    pub(super) fn place(&self, line: &Key, compiler: &str) -> Key {
        // As it was before there were other parts: objects are still good.
        let mut parts: Vec<Vec<u8>> = vec![line.as_str().into(), compiler.into()];
        let shared = self
            .fragments
            .iter()
            .filter(|fragment| !fragment.text.starts_with(CANDIDATE));
        parts.extend(shared.map(|fragment| self.text_of(fragment).into_bytes()));
        // Candidates that differ in an option share what it has no part in.
        let whole = self
            .base
            .iter()
            .filter(|base| !base.text.starts_with(CANDIDATE));
        parts.extend(whole.map(|base| base.text.clone().into_bytes()));
        Key::of(parts)
    }
}
