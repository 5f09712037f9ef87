//! What a host needs for a run, what it lacks, and the commands that mend it.

use std::path::Path;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::event::{Event, Stage};
use crate::process::{Command, Namespace, ProcessError, find_program};
use crate::rootfs::{Recipe, is_package};
use crate::service::ServiceSpec;
use crate::store::{Store, free, gib, room_for_a_kernel};

/// One thing a run needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is needed.
    pub what: String,
    /// What a program or a file is for.
    pub purpose: Option<&'static str>,
    /// `None`: it is there.
    pub lack: Option<Lack>,
}

/// What is missing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// A Debian package brings it.
    Package(String),
    /// Something that no package brings.
    Other {
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: String,
    },
}

/// Installing what is missing failed.
#[derive(Debug, Error, Diagnostic)]
pub enum SetupError {
    /// Neither root nor a password-free sudo is there.
    #[error("packages are missing, and installing them needs root")]
    #[diagnostic(help(
        "run this, then try again:\n    sudo apt-get install --no-install-recommends {0}"
    ))]
    NeedsRoot(String),
    /// Something is missing and nobody asked to install it.
    #[error("this host lacks {}", missing.join(", "))]
    #[diagnostic(help(
        "add --setup to let kvet install it, or run:\n    apt-get install --no-install-recommends {packages}"
    ))]
    Missing {
        /// What is missing.
        missing: Vec<String>,
        /// The packages that bring it.
        packages: String,
    },
    /// Something is missing that no package brings.
    #[error("a run needs {what}: {problem}")]
    #[diagnostic(help("{advice}"))]
    Unfit {
        /// What is needed.
        what: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// What is to be installed is no package.
    #[error("{0:?} is not the name of a Debian package")]
    #[diagnostic(help("correct `packages` of the root file system's recipe"))]
    Strange(String),
    /// apt-get failed.
    #[error("installing the missing packages failed")]
    #[diagnostic(help(
        "the package lists may be old or the archive out of reach: try `apt-get update` by hand"
    ))]
    Install(#[from] ProcessError),
}

impl Fault for SetupError {
    fn exit(&self) -> Exit {
        match self {
            Self::Install(ProcessError::Interrupted) => Exit::Interrupted,
            _ => Exit::Usage,
        }
    }
}

/// Programs that are started here and belong to no stage of their own.
const PROGRAMS: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
];

/// What compilers and headers are for.
const BUILDING: &str = "building kernels";

/// What programs are for that go into the initramfs.
const GUEST: &str = "the guest";

/// Checks everything that a run with such a service and root file system needs,
/// but for space: how much depends on what is cached, see [`space`].
pub async fn checks(service: &ServiceSpec, rootfs: &Recipe) -> Vec<Check> {
    let for_service = service.required_programs();
    let tables: [(&'static str, &[(&'static str, &'static str)]); 5] = [
        ("the sandbox", PROGRAMS),
        (BUILDING, crate::kernel::PROGRAMS),
        (BUILDING, crate::kernel::HEADERS),
        ("running guests", crate::vm::PROGRAMS),
        (service.purpose(), &for_service),
    ];
    let mut all = Vec::new();
    for (purpose, table) in tables {
        // What runs confined is looked for where the system's own programs are.
        let there = |thing: &str| match service {
            ServiceSpec::Disk(_) if purpose == service.purpose() => {
                present(thing) || Path::new("/usr/sbin").join(thing).exists()
            }
            _ => present(thing),
        };
        for &(thing, package) in table {
            if all.iter().any(|check: &Check| check.what == thing) {
                continue;
            }
            all.push(Check {
                what: thing.to_owned(),
                purpose: Some(purpose),
                lack: (!there(thing)).then(|| Lack::Package(package.to_owned())),
            });
        }
    }
    let extras = rootfs.extras().map(|path| path.display().to_string());
    for thing in rootfs.from_host().map(str::to_owned).chain(extras) {
        if all.iter().any(|check| check.what == thing) {
            continue;
        }
        let lack = (!present(&thing)).then(|| of_the_recipe(rootfs));
        all.push(Check {
            what: thing,
            purpose: Some(GUEST),
            lack,
        });
    }
    // Without its programs it says nothing about the host.
    if PROGRAMS.iter().all(|(program, _)| present(program)) {
        all.push(namespace().await);
    }
    all
}

/// What is to be done about something of a recipe that is missing.
fn of_the_recipe(rootfs: &Recipe) -> Lack {
    if !rootfs.packages.is_empty() {
        return Lack::Package(rootfs.packages.join(" "));
    }
    Lack::Other {
        problem: "this host does not have it".to_owned(),
        advice: format!(
            "install it, or leave it out of the recipe `{}`",
            rootfs.name
        ),
    }
}

/// Checks what of it trials need: on a host that others build kernels for.
pub async fn checks_for_trials(service: &ServiceSpec) -> Vec<Check> {
    let rootfs = Recipe::default();
    let mut all = checks(service, &rootfs).await;
    all.retain(|check| !is_for_building(check));
    all
}

/// Checks what of it kernels and the initramfs are made with: on a host whose
/// trials run elsewhere.
pub async fn checks_for_building(rootfs: &Recipe) -> Vec<Check> {
    let mut all = checks(&ServiceSpec::None, rootfs).await;
    all.retain(is_for_building);
    all
}

fn is_for_building(check: &Check) -> bool {
    check
        .purpose
        .is_some_and(|purpose| [BUILDING, GUEST].contains(&purpose))
}

/// The packages that would bring what is missing, without repetition.
#[must_use]
pub fn missing_packages(checks: &[Check]) -> Vec<&str> {
    let mut packages: Vec<&str> = checks
        .iter()
        .filter_map(|check| match &check.lack {
            Some(Lack::Package(package)) => Some(package.split(' ')),
            _ => None,
        })
        .flatten()
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// A program on the PATH, or a file.
fn present(thing: &str) -> bool {
    if thing.contains('/') {
        return Path::new(thing).exists();
    }
    find_program(thing).is_some()
}

async fn namespace() -> Check {
    let tried = Namespace::create(std::net::Ipv4Addr::new(10, 99, 0, 1)).await;
    let lack = match tried {
        Ok(namespace) => {
            namespace.close().await;
            None
        }
        Err(error) => Some(Lack::Other {
            problem: error.to_string(),
            advice: "allow user namespaces (sysctl user.max_user_namespaces, \
                     kernel.unprivileged_userns_clone, \
                     kernel.apparmor_restrict_unprivileged_userns) or run as root"
                .to_owned(),
        }),
    };
    Check {
        what: "a private network namespace".to_owned(),
        purpose: None,
        lack,
    }
}

/// Checks that a kernel that is not in the cache would fit. What is there already
/// needs none of it; a run finds out when it has something to make.
#[must_use]
pub fn space(store: &Store) -> Check {
    space_of(store.root(), free(store.root()), room_for_a_kernel())
}

fn space_of(root: &Path, free: u64, wanted: u64) -> Check {
    Check {
        what: format!(
            "{} GiB free wanted in {}, {} found",
            gib(wanted),
            root.display(),
            gib(free)
        ),
        purpose: None,
        lack: (free < wanted).then(|| Lack::Other {
            problem: "a new kernel may not fit".to_owned(),
            advice: "`kvet cache prune` makes room; XDG_CACHE_HOME chooses another place"
                .to_owned(),
        }),
    }
}

/// Installs packages with apt-get, as root or through a sudo that asks for no
/// password.
pub async fn install(context: &Context, packages: &[&str]) -> Result<(), SetupError> {
    if packages.is_empty() {
        return Ok(());
    }
    // A record's recipe may be anybody's, and apt-get runs as root.
    if let Some(strange) = packages.iter().find(|word| !is_package(word)) {
        return Err(SetupError::Strange((*strange).to_owned()));
    }
    let root = rustix::process::geteuid().is_root();
    if !root && !sudo_works(context).await {
        return Err(SetupError::NeedsRoot(packages.join(" ")));
    }
    let subject = packages.join(" ");
    context.emit(Event::Note(format!("installing {subject}")));
    context.emit(Event::Started {
        stage: Stage::Setup,
        subject: subject.clone(),
    });
    let began = std::time::Instant::now();
    let apt = |args: &[&str]| {
        let command = if root {
            Command::new("apt-get")
        } else {
            Command::new("sudo").args(["--non-interactive", "apt-get"])
        };
        command
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .deadline(Duration::from_secs(1800))
    };
    apt(&["update"]).run(&context.cancel).await?;
    let words = ["install", "--yes", "--no-install-recommends"];
    apt(&[&words, packages].concat())
        .run(&context.cancel)
        .await?;
    context.emit(Event::Finished {
        stage: Stage::Setup,
        subject,
        cached: false,
        elapsed: began.elapsed(),
    });
    Ok(())
}

async fn sudo_works(context: &Context) -> bool {
    Command::new("sudo")
        .args(["--non-interactive", "true"])
        .deadline(Duration::from_secs(10))
        .run(&context.cancel)
        .await
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cargo.toml names what the package depends on and recommends.
    #[test]
    fn the_package_names_each_package_that_a_run_may_need() {
        let manifest = include_str!("../Cargo.toml");
        let (_, deb) = manifest.split_once("[package.metadata.deb]").unwrap();
        let for_service = ServiceSpec::default().required_programs();
        let tables = [
            PROGRAMS,
            crate::kernel::PROGRAMS,
            crate::kernel::HEADERS,
            crate::vm::PROGRAMS,
            &for_service,
        ];
        for (thing, package) in tables.concat() {
            // Every Debian has these.
            let essential = ["gzip", "perl-base", "util-linux"].contains(&package);
            let words = |c: char| !c.is_ascii_alphanumeric() && c != '-';
            let named = deb.split(words).any(|word| word == package);
            assert!(essential || named, "{package}, for {thing}");
        }
    }

    #[tokio::test]
    async fn only_packages_are_installed() {
        let words = ["fio", "-oDPkg::Pre-Invoke::=false"];
        let error = install(&Context::default(), &words).await.unwrap_err();
        assert!(matches!(error, SetupError::Strange(_)), "{error}");
    }

    #[test]
    fn space_is_told_as_wanted_and_found() {
        let fits = space_of(Path::new("/c"), 60 << 30, 4 << 30);
        assert_eq!(fits.what, "4 GiB free wanted in /c, 60 found");
        assert_eq!(fits.lack, None);
        assert!(space_of(Path::new("/c"), 3 << 30, 4 << 30).lack.is_some());
    }
}
