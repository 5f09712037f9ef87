//! Configuring: fragments over `allnoconfig`, and the proof that everything
//! asked for is in the final .config.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::configuration::Configuration;
use super::fragment::{Ask, asks};
use super::kconfig::{Kconfig, KconfigError, Values, values};
use super::key::build_key;
use super::object_directory::ObjectDirectory;
use super::patch::{PatchedTree, subject};
use super::progress::Progress;
use super::toolchain::{self, ToolchainError};
use super::whole_config::{Change, WholeConfig};
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::event::{Event, Stage};
use crate::process::{ProcessError, find_program};
use crate::store::{Key, Store, StoreError, io_error, write_atomic};

/// A patched tree with its final configuration, ready to build.
#[derive(Debug)]
pub struct Configured {
    /// The tree.
    pub patched: PatchedTree,
    /// The final .config.
    pub config: String,
    /// The fragments' names, in order.
    pub fragments: Vec<String>,
    /// The compiler and linker.
    pub compiler: String,
    /// Files of the source whose executed lines are counted.
    pub instrumented: BTreeSet<PathBuf>,
    /// What decides the kernel that comes out.
    pub key: Key,
    pub(super) objects: ObjectDirectory,
}

/// A kernel could not be configured as asked.
#[derive(Debug, Error, Diagnostic)]
pub enum ConfigError {
    /// Symbols did not make it into the final config.
    #[error(
        "kernel {version} cannot be configured as asked:{}",
        super::indented(lost)
    )]
    #[diagnostic(help(
        "add what is needed to a fragment, drop the symbol, or limit it to other kernels \
         with `# kvet: from …`"
    ))]
    Lost {
        /// The kernel.
        version: String,
        /// One line per symbol.
        lost: Vec<String>,
    },
    /// The kernel's symbols are not all known.
    #[error("cannot read the Kconfig files of kernel {version}: {}: {reason}", file.display())]
    #[diagnostic(help(
        "without them it is not known which symbols this kernel has; is the tree whole and the \
         patches right?"
    ))]
    Kconfig {
        /// The kernel.
        version: String,
        /// The file, relative to the tree.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The kernel's own configuration program failed.
    #[error("the kernel's configuration failed")]
    #[diagnostic(help(
        "the message is the kernel's own; is the tree whole and the patches right?"
    ))]
    Make {
        /// What it said.
        source: ProcessError,
    },
    /// The host cannot build kernels.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Toolchain(#[from] ToolchainError),
    /// A place of kvet's own failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// kvet was told to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Fault for ConfigError {
    fn exit(&self) -> Exit {
        match self {
            // For a bisection such a kernel says nothing.
            Self::Lost { .. } | Self::Kconfig { .. } | Self::Make { .. } => Exit::Undecided,
            Self::Toolchain(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

impl From<ProcessError> for ConfigError {
    fn from(source: ProcessError) -> Self {
        match source {
            ProcessError::Interrupted => Self::Interrupted,
            source => Self::Make { source },
        }
    }
}

/// Makes the final configuration and checks it.
pub async fn configure(
    context: &Context,
    store: &Store,
    patched: PatchedTree,
    configuration: &Configuration,
) -> Result<Configured, ConfigError> {
    toolchain::require()?;
    let compiler = toolchain::compiler(context).await?;
    let progress = Progress::start(
        context,
        Stage::Config,
        subject(&patched.tree, &patched.series),
    );
    let mut kconfig = None;
    let unreadable = |KconfigError { file, reason }| ConfigError::Kconfig {
        version: patched.tree.version.to_string(),
        file,
        reason,
    };
    let given = configuration.base.is_some();
    let wanted = asks(
        &configuration.fragments,
        &patched.tree.version,
        given,
        |symbol| Ok::<bool, KconfigError>(read_once(&mut kconfig, &patched.path)?.knows(symbol)),
    )
    .map_err(unreadable)?;
    let key = build_key(&patched.tree.key, &patched.series, configuration, &compiler);
    // By the line, so that what follows from one tree serves the next; by the
    // fragments' text and not by the final config, so that arms whose patches
    // bring symbols of their own still share most objects.
    let place = configuration.place(&patched.tree.line.key, &compiler);
    let objects = ObjectDirectory::open(store, &place, patched.worktree.generation()).await?;
    let (asked, wanted) = match &configuration.base {
        Some(base) => on_top_of(context, base, wanted, &patched),
        None => (text_of(&wanted), wanted),
    };
    let path = objects.join(".config");
    let stamp = objects.join("kvet-configured");
    let decided_by = decided_by(context, &patched, &place, &asked).await?;
    let known = std::fs::read_to_string(&stamp).unwrap_or_default();
    let cached = known == decided_by.as_str() && path.exists();
    if !cached {
        // Until the new one is whole, what is there follows from nothing known.
        write_atomic(&stamp, b"")?;
        let asked_path = objects.join("kvet-asked.config");
        write_atomic(&asked_path, asked.as_bytes())?;
        objects.mark()?;
        let targets: &[&str] = match &configuration.base {
            Some(_) => &["olddefconfig"],
            None => &["allnoconfig", "olddefconfig"],
        };
        if configuration.base.is_some() {
            write_atomic(&path, asked.as_bytes())?;
        }
        for &target in targets {
            let mut make = objects.make(&patched.path).arg("-s");
            if target == "allnoconfig" {
                make = make.env("KCONFIG_ALLCONFIG", &asked_path);
            }
            make.arg(target).run(&context.cancel).await?;
        }
        objects.unmark()?;
        write_atomic(&stamp, decided_by.as_str().as_bytes())?;
    }
    let config = std::fs::read_to_string(&path).map_err(io_error("read", &path))?;
    let needs = patched.series.iter().flat_map(|series| {
        series
            .needs
            .iter()
            .map(|need| Ask::needed(need, &series.name))
    });
    let wanted: Vec<Ask> = wanted.into_iter().chain(needs).collect();
    let lost = lost(&wanted, &values(&config), || {
        read_once(&mut kconfig, &patched.path)
    })
    .map_err(unreadable)?;
    if !lost.is_empty() {
        return Err(ConfigError::Lost {
            version: patched.tree.version.to_string(),
            lost,
        });
    }
    if let Some(base) = &configuration.base {
        tell_lost(context, base, &base.lost(&wanted, &values(&config)));
    }
    progress.finish(cached);
    Ok(Configured {
        patched,
        config,
        fragments: configuration.names(),
        instrumented: configuration.instrumented.clone(),
        compiler,
        key,
        objects,
    })
}

/// The text of a whole .config with what was asked in the place of its own
/// words, and all that is asked, what this host needs included.
fn on_top_of(
    context: &Context,
    base: &WholeConfig,
    mut wanted: Vec<Ask>,
    patched: &PatchedTree,
) -> (String, Vec<Ask>) {
    let in_tree = |name: &str| patched.path.join(name).exists();
    let has_program = |name: &str| find_program(name).is_some();
    for Change { ask, why } in base.changes(in_tree, has_program) {
        if wanted.iter().any(|other| other.symbol == ask.symbol) {
            continue;
        }
        context.emit(Event::Note(format!(
            "CONFIG_{} of {} becomes {}: {why}",
            ask.symbol, base.name, ask.value
        )));
        wanted.push(ask);
    }
    let asked = base.without(&wanted) + &text_of(&wanted);
    (asked, wanted)
}

/// So many settings that came out otherwise are named.
const NAMED: usize = 6;

/// Tells which settings of a whole .config this kernel does not have so.
fn tell_lost(context: &Context, base: &WholeConfig, lost: &[String]) {
    if lost.is_empty() {
        return;
    }
    let more = match lost.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    context.emit(Event::Note(format!(
        "of {}, these came out otherwise (what the job needs aside): {}{more}",
        base.name,
        lost[..lost.len().min(NAMED)].join(", ")
    )));
}

/// The tree's symbols, read at the first need.
fn read_once<'a>(
    kconfig: &'a mut Option<Kconfig>,
    tree: &Path,
) -> Result<&'a Kconfig, KconfigError> {
    Ok(match kconfig {
        Some(kconfig) => kconfig,
        None => kconfig.insert(Kconfig::read(tree)?),
    })
}

/// The files of a tree that a configuration follows from.
const DECIDE: &[&str] = &[":(glob)**/Kconfig*", ":(glob)**/Makefile", "scripts"];

/// Everything a final configuration follows from: two arms of one line that
/// agree on it have the same one, and Kconfig's seconds are spent once.
async fn decided_by(
    context: &Context,
    patched: &PatchedTree,
    place: &Key,
    asked: &str,
) -> Result<Key, ConfigError> {
    let files = patched.worktree.listing(context, DECIDE).await?;
    Ok(Key::of([
        place.as_str().as_bytes(),
        asked.as_bytes(),
        &files,
    ]))
}

impl Configured {
    /// Where the final .config is.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.objects.join(".config")
    }
}

fn text_of(wanted: &[Ask]) -> String {
    wanted
        .iter()
        .map(|ask| match ask.value.as_str() {
            "n" => format!("# CONFIG_{} is not set\n", ask.symbol),
            value => format!("CONFIG_{}={value}\n", ask.symbol),
        })
        .collect()
}

/// One line for every symbol whose final value is not the one asked for.
fn lost<'a>(
    wanted: &[Ask],
    values: &Values,
    kconfig: impl FnOnce() -> Result<&'a Kconfig, KconfigError>,
) -> Result<Vec<String>, KconfigError> {
    let lost: Vec<&Ask> = wanted
        .iter()
        .filter(|ask| values.get(&ask.symbol).map_or("n", String::as_str) != ask.value)
        .collect();
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let kconfig = kconfig()?;
    let lines = lost
        .into_iter()
        .map(|ask| {
            let value = values.get(&ask.symbol).map_or("n", String::as_str);
            let why = if ask.value == "n" {
                "another symbol selects it".to_owned()
            } else {
                kconfig.explain(&ask.symbol, values)
            };
            format!(
                "CONFIG_{}={} ({}) came out as {value}: {why}",
                ask.symbol,
                ask.value,
                ask.origin()
            )
        })
        .collect();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::super::fragment::Fragment;
    use super::*;

    #[test]
    fn a_lost_symbol_is_named_with_fragment_line_and_reason() {
        let fragment = Fragment::parse(
            "ceph",
            "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=7\n",
        )
        .unwrap();
        let mut wanted = asks(&[fragment], &"7.3".parse().unwrap(), false, |_| {
            Ok::<_, ()>(true)
        })
        .unwrap();
        wanted.push(Ask::needed("CONFIG_E", "vfs-sync-owner"));
        let values = values("CONFIG_A=y\nCONFIG_C=y\nCONFIG_D=7\n");
        let kconfig = Kconfig::default();
        let lost = lost(&wanted, &values, || Ok(&kconfig)).unwrap();
        assert_eq!(
            lost,
            [
                "CONFIG_B=y (fragment ceph, line 2) came out as n: this kernel has no such symbol",
                "CONFIG_C=n (fragment ceph, line 3) came out as y: another symbol selects it",
                "CONFIG_E=y (needed by series vfs-sync-owner) came out as n: this kernel has no such symbol",
            ]
        );
    }
}
