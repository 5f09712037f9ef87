//! A whole .config: that of the kernel which somebody runs. A job's fragments
//! come on top of it, and `olddefconfig` answers what is new in this kernel.
//!
//! It was written for another host and often another version: what cannot be
//! built or booted here is changed, and every change is told.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use miette::Diagnostic;
use thiserror::Error;

use super::fragment::Ask;
use super::kconfig::{Values, values};
use crate::bounded;
use crate::error::{Exit, Fault};
use crate::store::{Key, Store, StoreError, io_error};

/// The largest there are have 300 KiB.
const LARGEST: u64 = 4 << 20;

/// How a gzip file begins: `/proc/config.gz` is one.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The kind of kept files in the store.
const KIND: &str = "configs";

/// Symbols that only one architecture's configuration has.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("UML", "um"),
    ("X86_32", "i386"),
    ("ARM64", "arm64"),
    ("ARM", "arm"),
    ("RISCV", "riscv"),
    ("PPC", "powerpc"),
    ("S390", "s390"),
    ("LOONGARCH", "loongarch"),
    ("MIPS", "mips"),
    ("SPARC", "sparc"),
    ("PARISC", "parisc"),
    ("ALPHA", "alpha"),
    ("M68K", "m68k"),
    ("ARC", "arc"),
    ("CSKY", "csky"),
    ("OPENRISC", "openrisc"),
    ("SUPERH", "sh"),
    ("XTENSA", "xtensa"),
    ("MICROBLAZE", "microblaze"),
    ("NIOS2", "nios2"),
    ("HEXAGON", "hexagon"),
];

/// Settings that name files: without the file a build fails at its end.
const FILES: &[&str] = &[
    "SYSTEM_TRUSTED_KEYS",
    "SYSTEM_REVOCATION_KEYS",
    "SYSTEM_BLACKLIST_HASH_LIST",
    "INITRAMFS_SOURCE",
    "EXTRA_FIRMWARE",
];

/// A whole .config.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WholeConfig {
    /// The file, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A file is not a .config that can be taken.
#[derive(Debug, Error, Diagnostic)]
pub enum WholeConfigError {
    /// It cannot be read.
    #[error("cannot read the .config {}", path.display())]
    #[diagnostic(help(
        "--config takes a whole .config: of a build, /boot/config-VERSION, or /proc/config.gz"
    ))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is for another architecture.
    #[error("{} is a .config for {architecture}, and kvet's guests are x86-64", path.display())]
    #[diagnostic(help(
        "take the .config of an x86-64 kernel, such as /boot/config-VERSION of one"
    ))]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The architecture, as the kernel's source calls it.
        architecture: String,
    },
    /// It is not a whole one.
    #[error("{} is not a whole .config: {reason}", path.display())]
    #[diagnostic(help(
        "a few settings make a fragment: a file NAME.config in `kconfigs` beside the job, which \
         names it in `config:`"
    ))]
    Partial {
        /// The file.
        path: PathBuf,
        /// What is missing or too much.
        reason: String,
    },
    /// It cannot be kept.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl Fault for WholeConfigError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// A setting that cannot stay, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) ask: Ask,
    pub(super) why: String,
}

impl WholeConfig {
    /// Reads a .config, compressed or not, and refuses what is none.
    pub fn read(path: &Path) -> Result<Self, WholeConfigError> {
        let unreadable = |source| WholeConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut content = bounded::read(path, LARGEST).map_err(unreadable)?;
        if content.starts_with(GZIP) {
            let mut text = Vec::new();
            let mut unpacked = GzDecoder::new(content.as_slice()).take(LARGEST);
            unpacked.read_to_end(&mut text).map_err(unreadable)?;
            content = text;
        }
        let not_text = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not text");
        let text = String::from_utf8(content).map_err(|error| unreadable(not_text(error)))?;
        check(path, &text)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            text,
        })
    }

    /// Keeps it in the store as it is now; returns where.
    pub async fn keep(&self, store: &Store) -> Result<PathBuf, WholeConfigError> {
        let name: String = self.name.chars().filter(|&c| is_plain(c)).collect();
        let name = format!("config-{}", name.trim_start_matches("config-"));
        let key = Key::of([name.as_bytes(), self.text.as_bytes()]);
        let write = |path: PathBuf| {
            let path = path.join(&name);
            async move {
                std::fs::write(&path, &self.text).map_err(io_error("write", &path))?;
                Ok::<(), StoreError>(())
            }
        };
        let entry = store.fill(KIND, key.as_str(), write).await?;
        Ok(entry.path.join(name))
    }

    /// Its settings.
    pub(super) fn values(&self) -> Values {
        values(&self.text)
    }

    /// The text without what is said of these symbols, for another word on them.
    pub(super) fn without(&self, asks: &[Ask]) -> String {
        let is_asked = |line: &&str| {
            let said = line.trim_start_matches("# ").strip_prefix("CONFIG_");
            let symbol = said.and_then(|rest| rest.split(['=', ' ']).next());
            symbol.is_some_and(|symbol| asks.iter().any(|ask| ask.symbol == symbol))
        };
        let lines = self.text.lines().filter(|line| !is_asked(line));
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    /// What of it cannot be built from this tree on this host, or would keep
    /// kvet's guests from booting.
    pub(super) fn changes(
        &self,
        in_tree: impl Fn(&str) -> bool,
        has_program: impl Fn(&str) -> bool,
    ) -> Vec<Change> {
        let values = self.values();
        let change = |symbol: &str, value: &str, why: String| Change {
            ask: Ask::of_host(symbol, value, &self.name),
            why,
        };
        let mut changes = Vec::new();
        for symbol in FILES {
            let value = values.get(*symbol).map(|value| value.trim_matches('"'));
            let names = value.into_iter().flat_map(str::split_whitespace);
            let missing = names.filter(|name| !in_tree(name)).collect::<Vec<_>>();
            if !missing.is_empty() {
                let why = format!("there is no {}", missing.join(", "));
                changes.push(change(symbol, "\"\"", why));
            }
        }
        let is_on = |symbol: &str| values.get(symbol).is_some_and(|value| value == "y");
        if is_on("DEBUG_INFO_BTF") && !has_program("pahole") {
            changes.push(change(
                "DEBUG_INFO_BTF",
                "n",
                "pahole is not installed".to_owned(),
            ));
        }
        if is_on("CMDLINE_OVERRIDE") {
            let why = "kvet tells its guests on the command line who they are".to_owned();
            changes.push(change("CMDLINE_OVERRIDE", "n", why));
        }
        changes
    }

    /// What became of its settings in a final configuration: those that nobody
    /// asked to be otherwise and that are.
    pub(super) fn lost(&self, asks: &[Ask], now: &Values) -> Vec<String> {
        let given = self.values();
        let asked = |symbol: &str| asks.iter().any(|ask| ask.symbol == symbol);
        let kept = |symbol: &str, value: &str| {
            now.get(symbol).map_or("n", String::as_str) == value || is_derived(symbol)
        };
        let lost = given
            .iter()
            .filter(|(symbol, value)| !asked(symbol) && !kept(symbol, value));
        lost.map(|(symbol, value)| {
            let now = now.get(symbol).map_or("n", String::as_str);
            format!("CONFIG_{symbol}={value} ({now})")
        })
        .collect()
    }
}

/// Whether a symbol only says what compiler or tree this is.
fn is_derived(symbol: &str) -> bool {
    let starts = [
        "CC_", "GCC_", "LD_", "AS_", "CLANG_", "LLD_", "RUSTC_", "PAHOLE_", "TOOLS_",
    ];
    starts.iter().any(|start| symbol.starts_with(start))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.+".contains(c)
}

/// Refuses what is no .config of an x86-64 kernel.
fn check(path: &Path, text: &str) -> Result<(), WholeConfigError> {
    let partial = |reason: String| WholeConfigError::Partial {
        path: path.to_owned(),
        reason,
    };
    let is_setting = |line: &str| {
        let line = line.trim_end();
        line.is_empty() || line.starts_with('#') || line.starts_with("CONFIG_")
    };
    if let Some((index, _)) = text.lines().enumerate().find(|(_, line)| !is_setting(line)) {
        return Err(partial(format!("line {} is not a setting", index + 1)));
    }
    let values = values(text);
    let is_on = |symbol: &str| values.get(symbol).is_some_and(|value| value == "y");
    let other = ARCHITECTURES.iter().find(|(symbol, _)| is_on(symbol));
    if let Some((_, architecture)) = other {
        return Err(WholeConfigError::Architecture {
            path: path.to_owned(),
            architecture: (*architecture).to_owned(),
        });
    }
    if is_on("X86_64") {
        return Ok(());
    }
    match heading(text) {
        Some(architecture) if architecture != "x86" && architecture != "x86_64" => {
            Err(WholeConfigError::Architecture {
                path: path.to_owned(),
                architecture: architecture.to_owned(),
            })
        }
        _ => Err(partial("it does not say CONFIG_X86_64=y".to_owned())),
    }
}

/// The architecture in `# Linux/ARCH VERSION Kernel Configuration`.
fn heading(text: &str) -> Option<&str> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("# Linux/"))?;
    line.split(' ').next()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const X86: &str = "#\n# Automatically generated file; DO NOT EDIT.\n\
        # Linux/x86 6.12.1 Kernel Configuration\n#\nCONFIG_64BIT=y\nCONFIG_X86_64=y\n\
        CONFIG_X86=y\nCONFIG_HZ=250\n# CONFIG_HZ_100 is not set\nCONFIG_HZ_250=y\n\
        CONFIG_SYSTEM_TRUSTED_KEYS=\"debian/certs/x.pem\"\nCONFIG_DEBUG_INFO_BTF=y\n\
        CONFIG_CC_VERSION_TEXT=\"gcc 14\"\nCONFIG_CEPH_FS=m\n";

    fn read(content: &[u8]) -> Result<WholeConfig, WholeConfigError> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config-6.12");
        std::fs::write(&path, content).unwrap();
        WholeConfig::read(&path)
    }

    #[test]
    fn a_config_is_taken_compressed_or_not() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(X86.as_bytes()).unwrap();
        for content in [X86.as_bytes(), &packed.finish().unwrap()] {
            let config = read(content).unwrap();
            assert_eq!(
                (config.name.as_str(), config.text.as_str()),
                ("config-6.12", X86)
            );
        }
    }

    #[test]
    fn what_is_no_config_of_an_x86_64_kernel_is_refused() {
        let of = |symbols: &str| format!("# Linux/x86 6.12.1 Kernel Configuration\n{symbols}");
        for (text, said) in [
            (
                of("CONFIG_64BIT=y\nCONFIG_ARM64=y\n"),
                "is a .config for arm64",
            ),
            (of("CONFIG_RISCV=y\n"), "is a .config for riscv"),
            (
                of("CONFIG_X86_32=y\nCONFIG_X86=y\n"),
                "is a .config for i386",
            ),
            (of("CONFIG_UML=y\nCONFIG_X86_64=y\n"), "is a .config for um"),
            (
                "# Linux/parisc64 6.1 Kernel Configuration\nCONFIG_64BIT=y\n".to_owned(),
                "is a .config for parisc64",
            ),
            (
                "CONFIG_CEPH_FS=y\n".to_owned(),
                "does not say CONFIG_X86_64=y",
            ),
            (String::new(), "does not say CONFIG_X86_64=y"),
            (format!("{X86}<html>\n"), "line 15 is not a setting"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(said), "{said}: {error}");
            assert!(error.help().is_some());
        }
        assert!(read(b"\xff\xfe").is_err());
        let endless = WholeConfig::read(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(endless, WholeConfigError::Unreadable { .. }));
    }

    #[test]
    fn what_cannot_be_built_here_is_changed_and_told() {
        let config = read(X86.as_bytes()).unwrap();
        let told = |in_tree, pahole| {
            let changes = config.changes(|_| in_tree, |_| pahole);
            let told = changes.into_iter();
            told.map(|change| format!("{}={}: {}", change.ask.symbol, change.ask.value, change.why))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            told(false, false),
            [
                "SYSTEM_TRUSTED_KEYS=\"\": there is no debian/certs/x.pem",
                "DEBUG_INFO_BTF=n: pahole is not installed"
            ]
        );
        assert!(told(true, true).is_empty());
    }

    #[test]
    fn an_ask_takes_the_place_of_the_setting() {
        let config = read(X86.as_bytes()).unwrap();
        let asks = [Ask::needed("HZ_100", "x"), Ask::needed("CEPH_FS", "x")];
        let text = config.without(&asks);
        assert!(
            !text.contains("HZ_100 is not set") && !text.contains("CEPH_FS"),
            "{text}"
        );
        assert!(text.contains("CONFIG_HZ_250=y\n") && text.contains("CONFIG_HZ=250\n"));
        let now = values("CONFIG_64BIT=y\nCONFIG_X86_64=y\nCONFIG_X86=y\nCONFIG_HZ=100\n");
        let lost = config.lost(&asks, &now);
        assert!(lost.contains(&"CONFIG_HZ=250 (100)".to_owned()), "{lost:?}");
        assert!(lost.contains(&"CONFIG_HZ_250=y (n)".to_owned()), "{lost:?}");
        assert!(
            !lost
                .iter()
                .any(|line| line.contains("CEPH_FS") || line.contains("CC_VERSION"))
        );
    }

    #[tokio::test]
    async fn it_is_kept_by_its_content() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let config = read(X86.as_bytes()).unwrap();
        let path = config.keep(&store).await.unwrap();
        assert_eq!(WholeConfig::read(&path).unwrap().text, X86);
        assert_eq!(config.keep(&store).await.unwrap(), path);
    }
}
