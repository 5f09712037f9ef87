//! Collects a bundle from a run directory and the cache. A run directory can
//! come from anywhere: only plain files in it are read, kernels come from the
//! cache by their key, and nothing that a record names is carried out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::readme::{Commands, readme, script};
use super::{BundleError, CONFIG, IMAGE, KERNEL, MANIFEST, Manifest, VERSION, digest, failed};
use crate::bounded;
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::job::{Arm, Plan};
use crate::kernel::{Fragment, KernelImage, KernelVersion, SourceSpec, built};
use crate::outcome::Outcome;
use crate::record::{Beginning, KernelFacts, MEMORY, Record, Recorded, TRACE};
use crate::report::{ArmReport, Report, TrialReport};
use crate::rootfs;
use crate::service::ServiceSpec;
use crate::store::{Key, Store};
use crate::trial::Request;
use crate::verdict::Seen;

/// So many bytes of a text that was seen are packed: a guest can talk for ever.
const TEXT: u64 = 64 << 20;

/// What a bundle is made of.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The trial, as reports call it; the one that tells most if not given.
    pub trial: Option<String>,
    /// Where it goes: a directory, or an archive if it ends like one.
    pub out: Option<PathBuf>,
    /// What is packed besides.
    pub extras: Vec<Extra>,
}

/// What is large or private, and so packed on request only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Extra {
    /// The kernel with its symbols, for gdb, crash and drgn
    Vmlinux,
    /// The guest's memory, which has its key to the cluster in it
    MemoryDump,
}

/// A bundle that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Where it is.
    pub path: PathBuf,
    /// The trial in it.
    pub trial: String,
    /// What that came to.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

/// A run, and what it amounts to.
#[derive(Debug)]
pub struct Run {
    /// Its directory.
    pub record: Record,
    /// What was known when it began.
    pub beginning: Beginning,
    /// Its report.
    pub report: Report,
}

/// Makes the bundle of a run's trial.
pub async fn make(
    context: &Context,
    store: &Store,
    run: &Run,
    choice: &Choice,
) -> Result<Made, Error> {
    let Run {
        record,
        beginning,
        report,
    } = run;
    let (arm, trial) = chosen(report, choice.trial.as_deref())?;
    let name = name(arm, trial);
    let target = Target::at(choice.out.clone(), &report.job, arm, trial)?;
    let recorded = record.trials(&arm.name, &trial.workload)?;
    let recorded = recorded
        .into_iter()
        .find(|recorded| recorded.trial.id.number == trial.number);
    let no_request = || BundleError::NoRequest {
        trial: name.clone(),
    };
    let recorded = recorded.ok_or_else(no_request)?;
    if !recorded.directory.join("request.json").is_file() {
        return Err(no_request().into());
    }
    let request: Request = crate::record::read_json(&recorded.directory.join("request.json"))?;
    let planned = beginning.plan.arms.iter().find(|one| one.name == arm.name);
    let (Some(planned), Some(facts)) = (planned, arm.kernel.clone()) else {
        return Err(no_request().into());
    };
    let image = kernel(store, &facts, arm, beginning).await?;
    let rootfs = &beginning.plan.rootfs;
    for file in rootfs.files.iter().chain(&rootfs.trees) {
        let text = format!("{} goes into the guest and the bundle", file.from.display());
        context.emit(Event::Warning(text));
    }
    let rootfs = rootfs::build(context, store, &beginning.plan.rootfs).await?;
    let mut packed = Packed::begin(&target)?;
    packed.copy(&image.bzimage, KERNEL)?;
    packed.copy(&image.config, CONFIG)?;
    packed.copy(&image.system_map, "kernel/System.map")?;
    packed.copy(&rootfs.path, IMAGE)?;
    let lost = patches(&mut packed, planned, &facts)?;
    if !lost.is_empty() {
        let text = format!(
            "gone or changed since the run, so left out: {}",
            lost.join(", ")
        );
        context.emit(Event::Warning(text));
    }
    seen(&mut packed, record, &recorded, &request.service)?;
    extras(&mut packed, &image, &recorded, &name, &choice.extras)?;
    packed.host()?;
    let manifest = Manifest {
        version: VERSION,
        kvet: env!("CARGO_PKG_VERSION").to_owned(),
        started: report.started.clone(),
        outcome: trial.judged.outcome,
        reason: trial.judged.reason.clone(),
        finding: decisive(trial),
        same_image: same_image(&request, &rootfs.path),
        plan: plan_of(&beginning.plan, planned, trial),
        request: Request {
            kernel: KERNEL.into(),
            image: IMAGE.into(),
            ..request
        },
        kernel: without_places(facts, &planned.recipe.source),
        files: BTreeMap::new(),
    };
    packed.write("repro.sh", script().as_bytes(), 0o755)?;
    let commands = Commands::of(record, &recorded, &manifest.request.service);
    let text = readme(&manifest, arm, trial, &image.record, &commands, &lost);
    packed.write("README.md", text.as_bytes(), 0o644)?;
    packed.finish(manifest)?;
    Ok(Made {
        path: target.path,
        trial: name,
        outcome: trial.judged.outcome,
        reason: trial.judged.reason.clone(),
    })
}

/// What a trial is called: as its directory is, and as events do.
fn name(arm: &ArmReport, trial: &TrialReport) -> String {
    format!("{}/{}/{}", arm.name, trial.workload, trial.number)
}

/// The trial that was asked for, or else the first of those that tell most.
fn chosen<'a>(
    report: &'a Report,
    wanted: Option<&str>,
) -> Result<(&'a ArmReport, &'a TrialReport), BundleError> {
    let all = || {
        let arms = report.arms.iter();
        arms.flat_map(|arm| arm.trials.iter().map(move |trial| (arm, trial)))
    };
    let rank = |(arm, trial): &(&ArmReport, &TrialReport)| match trial.judged.outcome {
        // A fix that does not help is what its author wants to see first.
        Outcome::Target => u8::from(arm.control),
        Outcome::Other => 2,
        Outcome::Timeout | Outcome::Workload => 3,
        Outcome::Clean => 4,
        Outcome::Unarmed | Outcome::Harness => 5,
    };
    let found = match wanted {
        Some(wanted) => all().find(|(arm, trial)| name(arm, trial) == wanted),
        None => all().min_by_key(rank),
    };
    found.ok_or_else(|| {
        let names: Vec<String> = all()
            .map(|(arm, trial)| name(arm, trial))
            .take(20)
            .collect();
        BundleError::NoTrial {
            wanted: wanted.map_or_else(|| "that ended".to_owned(), str::to_owned),
            help: if names.is_empty() {
                "none of its trials came to an end".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            },
        }
    })
}

/// The finding that decided a trial.
fn decisive(trial: &TrialReport) -> Option<Seen> {
    let mut findings = trial.findings.iter();
    let found = findings.find(|finding| finding.title == trial.judged.reason)?;
    Some(Seen {
        title: found.title.clone(),
        signature: found.signature.clone(),
    })
}

/// The arm's kernel, from the cache alone: what a record says how to build is
/// not carried out.
async fn kernel(
    store: &Store,
    facts: &KernelFacts,
    arm: &ArmReport,
    beginning: &Beginning,
) -> Result<KernelImage, BundleError> {
    let key = Key::try_from(facts.key.clone()).ok();
    let image = match &key {
        Some(key) => built(store, key).await,
        None => None,
    };
    image.ok_or_else(|| BundleError::NoKernel {
        arm: arm.name.clone(),
        key: facts.key.clone(),
        store: store.root().to_owned(),
        job: beginning.plan.job.display().to_string(),
    })
}

/// Whether the trial's image had the content of this one: its directory is
/// called by its content's key.
fn same_image(request: &Request, image: &Path) -> bool {
    let key = |path: &Path| {
        path.parent()
            .and_then(Path::file_name)
            .map(ToOwned::to_owned)
    };
    key(&request.image) == key(image)
}

/// The plan of this trial alone, without what the paths of its maker's machine
/// would tell.
fn plan_of(plan: &Plan, arm: &Arm, trial: &TrialReport) -> Plan {
    let mut arm = arm.clone();
    let recipe = &mut arm.recipe;
    recipe.source = public_source(&recipe.source);
    let paths = recipe.series.iter_mut().chain(&mut recipe.fragments);
    paths
        .chain(&mut recipe.whole_config)
        .for_each(|path| *path = bare(path));
    arm.workloads.retain(|name| *name == trial.workload);
    arm.trials = 1;
    // Alone, it is what must show the bug.
    arm.control = true;
    let mut plan = plan.clone();
    plan.job = bare(&plan.job);
    let rootfs = &mut plan.rootfs;
    for file in rootfs.files.iter_mut().chain(&mut rootfs.trees) {
        file.from = bare(&file.from);
    }
    let places = rootfs.programs.iter_mut().chain(&mut plan.known_at);
    places.for_each(|place| *place = last_part(place).to_owned());
    plan.workloads
        .retain(|one| one.workload.name == trial.workload);
    plan.found.clear();
    plan.snapshots.clear();
    plan.stream.clear();
    plan.question = None;
    plan.notify = None;
    // The whole run has it all once more.
    plan.part_of = None;
    plan.self_test = false;
    plan.arms = vec![arm];
    plan
}

/// What a kernel was made from, without where that was.
fn without_places(facts: KernelFacts, source: &SourceSpec) -> KernelFacts {
    let origin = match (source, public_source(source)) {
        (SourceSpec::Directory { .. }, _) => last_part(&facts.origin).to_owned(),
        (
            SourceSpec::Git { repo, .. } | SourceSpec::Watched { repo, .. },
            SourceSpec::Git { repo: public, .. } | SourceSpec::Watched { repo: public, .. },
        ) => facts.origin.replace(repo, &public),
        (SourceSpec::Archive { url, .. }, SourceSpec::Archive { url: public, .. }) => {
            facts.origin.replace(url, &public)
        }
        _ => facts.origin,
    };
    KernelFacts { origin, ..facts }
}

/// A source without a place on its maker's machine, or what lets its maker in.
fn public_source(source: &SourceSpec) -> SourceSpec {
    let mut source = source.clone();
    match &mut source {
        SourceSpec::Directory { path } => *path = bare(path),
        SourceSpec::Git { repo, .. } | SourceSpec::Watched { repo, .. } => *repo = public(repo),
        SourceSpec::Archive { url, .. } => *url = public(url),
        SourceSpec::Debian { .. } | SourceSpec::Release { .. } | SourceSpec::Newest { .. } => {}
    }
    source
}

/// An address without a user and a password; of a path its name.
fn public(address: &str) -> String {
    match address.split_once("://") {
        Some(("file", path)) => last_part(path).to_owned(),
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or(host);
            format!("{scheme}://{host}{path}")
        }
        None if Path::new(address).is_absolute() || address.starts_with('.') => {
            last_part(address).to_owned()
        }
        // `HOST:PATH`, as ssh has it.
        None => address.to_owned(),
    }
}

fn bare(path: &Path) -> PathBuf {
    PathBuf::from(path.file_name().unwrap_or_default())
}

/// What follows the last slash.
fn last_part(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// Packs the patches in the order they were applied, and the fragments. Returns
/// the patches that are not there as they were.
fn patches(
    packed: &mut Packed,
    arm: &Arm,
    facts: &KernelFacts,
) -> Result<Vec<String>, BundleError> {
    let version: Option<KernelVersion> = facts.release.parse().ok();
    let selected = version.and_then(|version| arm.recipe.select(&version).ok());
    let there: Vec<_> = selected
        .iter()
        .flatten()
        .flat_map(|series| &series.patches)
        .map(|patch| (patch.sha256(), patch))
        .collect();
    let mut lost = Vec::new();
    for (number, (name, hash)) in (1..).zip(&facts.patches) {
        let Some((_, patch)) = there.iter().find(|(there, _)| there == hash) else {
            lost.push(name.clone());
            continue;
        };
        let file = Path::new(name).file_name().unwrap_or_default();
        let place = format!("kernel/patches/{number:02}-{}", file.to_string_lossy());
        packed.write(&place, &patch.content, 0o644)?;
    }
    for path in &arm.recipe.fragments {
        // A record could name any file: what is no fragment does not go in.
        let (Ok(fragment), Ok(text)) = (Fragment::read(path), bounded::read_own(path, 1 << 20))
        else {
            continue;
        };
        let place = format!("kernel/fragments/{}.config", fragment.name);
        packed.write(&place, &text, 0o644)?;
    }
    Ok(lost)
}

/// Packs what was seen.
fn seen(
    packed: &mut Packed,
    record: &Record,
    recorded: &Recorded,
    service: &ServiceSpec,
) -> Result<(), BundleError> {
    for name in ["console.log", "trial.json", "journal.jsonl", "command.txt"] {
        packed.text(&recorded.directory.join(name), &format!("seen/{name}"))?;
    }
    match service.configuration() {
        Some(name) => packed.text(&record.service_logs().join(name), &format!("seen/{name}")),
        None => Ok(()),
    }
}

fn extras(
    packed: &mut Packed,
    image: &KernelImage,
    recorded: &Recorded,
    name: &str,
    extras: &[Extra],
) -> Result<(), BundleError> {
    if extras.contains(&Extra::Vmlinux) {
        packed.copy(&image.vmlinux, "kernel/vmlinux")?;
    }
    if extras.contains(&Extra::MemoryDump) {
        let dump = recorded.directory.join(MEMORY);
        if !is_plain(&dump) {
            let trial = name.to_owned();
            return Err(BundleError::NoDump { trial });
        }
        packed.copy(&dump, "seen/vmcore")?;
        packed.private("seen/vmcore")?;
    }
    Ok(())
}

/// What the run's log has of them.
impl Commands {
    /// Most commands of a service.
    const MOST: usize = 100;

    fn of(record: &Record, recorded: &Recorded, service: &ServiceSpec) -> Self {
        let read = |path: PathBuf| is_plain(&path).then(|| head(&path, TEXT).ok()).flatten();
        let qemu = read(recorded.directory.join("command.txt")).unwrap_or_default();
        // A process of its own has a log of its own.
        let log = read(recorded.directory.join(TRACE)).or_else(|| read(record.path().join(TRACE)));
        let log = log.unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let started = |line| started(line, service.started_by());
        let service = log.lines().filter_map(started).take(Self::MOST).collect();
        Self {
            qemu: inside(String::from_utf8_lossy(&qemu).trim()).to_owned(),
            service,
        }
    }
}

/// The command of a log's line that tells of the start of one of these programs.
fn started(line: &str, programs: &[&str]) -> Option<String> {
    let (_, quoted) = line.split_once(" command=")?;
    let command: String = serde_json::from_str(quoted.trim()).ok()?;
    let command = inside(&command);
    let (program, _) = command.split_once(' ')?;
    programs.contains(&program).then(|| command.to_owned())
}

/// A command without the entry into the private namespace.
fn inside(command: &str) -> &str {
    match command.split_once(" -- ") {
        Some((entry, command)) if entry.starts_with("nsenter ") => command,
        _ => command,
    }
}

fn is_plain(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|is| is.is_file())
}

fn head(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}

/// Where a bundle goes.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    archive: bool,
    /// The directory's name in an archive.
    top: String,
}

impl Target {
    fn at(
        out: Option<PathBuf>,
        job: &str,
        arm: &ArmReport,
        trial: &TrialReport,
    ) -> Result<Self, BundleError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let own: String = format!("{job}-{}-{}-{}", arm.name, trial.workload, trial.number)
            .chars()
            .map(|c| if plain(c) { c } else { '_' })
            .collect();
        let path = out.unwrap_or_else(|| PathBuf::from(format!("{own}.tar.gz")));
        let text = path.to_string_lossy().into_owned();
        let ending = [".tar.gz", ".tgz"]
            .into_iter()
            .find(|end| text.ends_with(end));
        let occupied = match ending {
            Some(_) => path.symlink_metadata().is_ok(),
            // An empty directory is as good as none.
            None => fs::read_dir(&path).map_or(path.symlink_metadata().is_ok(), |mut entries| {
                entries.next().is_some()
            }),
        };
        if occupied {
            return Err(BundleError::Occupied(path));
        }
        Ok(Self {
            top: own,
            archive: ending.is_some(),
            path,
        })
    }
}

/// A bundle under way, in a directory beside its place: it appears whole or not
/// at all.
#[derive(Debug)]
struct Packed {
    home: tempfile::TempDir,
    target: PathBuf,
    archive: bool,
    top: String,
    /// It has what is not for everybody on this machine.
    is_private: bool,
    files: BTreeMap<String, String>,
}

impl Packed {
    fn begin(target: &Target) -> Result<Self, BundleError> {
        let beside = target
            .path
            .parent()
            .filter(|parent| *parent != Path::new(""));
        let beside = beside.unwrap_or(Path::new("."));
        fs::create_dir_all(beside).map_err(failed("create", beside))?;
        let home = tempfile::Builder::new()
            .prefix(".kvet-bundle-")
            .tempdir_in(beside);
        Ok(Self {
            home: home.map_err(failed("create a directory in", beside))?,
            target: target.path.clone(),
            archive: target.archive,
            top: target.top.clone(),
            is_private: false,
            files: BTreeMap::new(),
        })
    }

    fn place(&self, name: &str) -> Result<PathBuf, BundleError> {
        let path = self.home.path().join(&self.top).join(name);
        let parent = path.parent().unwrap_or(self.home.path());
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
        Ok(path)
    }

    /// Copies a file as it is.
    fn copy(&mut self, from: &Path, name: &str) -> Result<(), BundleError> {
        let to = self.place(name)?;
        fs::copy(from, &to).map_err(failed("copy", from))?;
        set_mode(&to, 0o644)?;
        self.keep(name, &to)
    }

    /// Copies a text of the run, if it is there and a plain file; a long one not
    /// to its end.
    fn text(&mut self, from: &Path, name: &str) -> Result<(), BundleError> {
        if !is_plain(from) {
            return Ok(());
        }
        let text = head(from, TEXT).map_err(failed("read", from))?;
        self.write(name, &text, 0o644)
    }

    fn write(&mut self, name: &str, content: &[u8], mode: u32) -> Result<(), BundleError> {
        let to = self.place(name)?;
        fs::write(&to, content).map_err(failed("write", &to))?;
        set_mode(&to, mode)?;
        self.keep(name, &to)
    }

    fn private(&mut self, name: &str) -> Result<(), BundleError> {
        self.is_private = true;
        set_mode(&self.place(name)?, 0o600)
    }

    fn keep(&mut self, name: &str, path: &Path) -> Result<(), BundleError> {
        let digest = digest(path).map_err(failed("read", path))?;
        self.files.insert(name.to_owned(), digest);
        Ok(())
    }

    /// Packs this very program, for the host's side of the trial.
    fn host(&mut self) -> Result<(), Error> {
        let directory = self.home.path().join(&self.top).join("host");
        fs::create_dir_all(&directory).map_err(failed("create", &directory))?;
        for name in rootfs::copy_program(Path::new("/proc/self/exe"), "kvet", &directory)? {
            self.keep(&format!("host/{name}"), &directory.join(&name))?;
        }
        Ok(())
    }

    /// Writes what describes it, and puts it in its place.
    fn finish(mut self, manifest: Manifest) -> Result<(), BundleError> {
        let files = std::mem::take(&mut self.files);
        let manifest = Manifest { files, ..manifest };
        let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        self.write(MANIFEST, &text, 0o644)?;
        let made = self.home.path().join(&self.top);
        let to = &self.target;
        if !self.archive {
            set_mode(&made, 0o755)?;
            // An empty directory gives way.
            return fs::rename(&made, to).map_err(failed("write", to));
        }
        let archive = self.home.path().join("archive");
        // With a memory in it the archive is as private as that.
        let readers = if self.is_private { 0o600 } else { 0o644 };
        pack(&made, &self.top, &archive, readers).map_err(failed("write", to))?;
        fs::rename(&archive, to).map_err(failed("write", to))
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), BundleError> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(failed("set the mode of", path))
}

/// Writes a directory as an archive in which nothing tells who made it.
fn pack(directory: &Path, top: &str, archive: &Path, mode: u32) -> io::Result<()> {
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(archive);
    let file = BufWriter::new(file?);
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
    tar.mode(tar::HeaderMode::Deterministic);
    tar.follow_symlinks(false);
    tar.append_dir_all(top, directory)?;
    tar.into_inner()?.finish()?.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "\
name: j
kernel: { source: { dir: /home/maker/linux }, config: [base] }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 1
arms:
  stock: { control: true }
";

    #[test]
    fn a_plan_has_no_path_of_its_maker_s_machine() {
        let home = tempfile::tempdir().unwrap();
        let job = home.path().join("job.yaml");
        std::fs::create_dir(home.path().join("kconfigs")).unwrap();
        std::fs::write(home.path().join("kconfigs/base.config"), "").unwrap();
        std::fs::write(&job, JOB).unwrap();
        let mut plan = Plan::load(&job, &crate::job::Choice::default()).unwrap();
        let file = || crate::rootfs::ExtraFile {
            from: "/home/maker/file".into(),
            to: "/file".to_owned(),
        };
        plan.rootfs.files.push(file());
        plan.rootfs.trees.push(file());
        plan.rootfs.programs.push("/home/maker/program".to_owned());
        plan.known_at = vec!["/home/maker/known.yaml:3".to_owned()];
        plan.stream = "/home/maker/linux".to_owned();
        plan.snapshots
            .insert("/home/maker/linux".into(), "1".to_owned());
        let recipe = &mut plan.arms[0].recipe;
        recipe.series.push("/home/maker/fix.patch".into());
        recipe.whole_config = Some("/home/maker/config".into());
        let mut whole = plan.parts(1);
        plan.part_of = whole.remove(0).part_of;
        assert!(plan.part_of.is_some());
        let trial = crate::report::fixture::trial(1, Outcome::Clean, "");
        let packed = plan_of(&plan, &plan.arms[0], &trial);
        let text = serde_json::to_string(&packed).unwrap();
        assert!(!text.contains("/home/"), "{text}");
        assert!(!text.contains(home.path().to_str().unwrap()), "{text}");
        for name in ["fix.patch", "known.yaml:3", "\"config\""] {
            assert!(text.contains(name), "{name}: {text}");
        }
    }

    #[test]
    fn a_source_is_told_without_what_lets_its_maker_in() {
        for (address, told) in [
            (
                "https://me:secret@git.example/linux.git",
                "https://git.example/linux.git",
            ),
            ("ssh://git@git.example:22/a@b", "ssh://git.example:22/a@b"),
            ("https://git.example", "https://git.example"),
            ("git@git.example:linux.git", "git@git.example:linux.git"),
            ("/home/maker/linux/", "linux"),
            ("../linux", "linux"),
            ("file:///home/maker/linux.tar.xz", "linux.tar.xz"),
        ] {
            assert_eq!(public(address), told);
            let source = SourceSpec::Git {
                repo: address.to_owned(),
                reference: "v7.3".to_owned(),
            };
            let facts = KernelFacts {
                release: "7.3.0".to_owned(),
                origin: format!("commit 1 (v7.3 of {address})"),
                key: String::new(),
                cached: true,
                patches: Vec::new(),
                left_out: Vec::new(),
            };
            let facts = without_places(facts, &source);
            assert_eq!(facts.origin, format!("commit 1 (v7.3 of {told})"));
        }
    }

    #[test]
    fn an_archive_with_a_memory_in_it_is_its_maker_s_alone() {
        let home = tempfile::tempdir().unwrap();
        let made = home.path().join("made");
        std::fs::create_dir(&made).unwrap();
        for (name, mode) in [("public", 0o644), ("private", 0o600)] {
            let archive = home.path().join(name);
            pack(&made, "top", &archive, mode).unwrap();
            let is = archive.metadata().unwrap().permissions().mode();
            assert_eq!(is & 0o077 & !mode, 0, "{name}");
        }
    }

    #[test]
    fn daemons_are_found_in_the_run_s_log() {
        let line = r#"2026 DEBUG kvet::process: started process=1 command="nsenter --target=1 --user -- ceph-mon --conf /tmp/a/ceph.conf --id a""#;
        let command = "ceph-mon --conf /tmp/a/ceph.conf --id a";
        let programs = ServiceSpec::default().started_by();
        assert_eq!(started(line, programs).as_deref(), Some(command));
        assert_eq!(started(line, ServiceSpec::None.started_by()), None);
        for other in [
            r#"started process=1 command="gcc --version""#,
            r#"started command="nsenter -- /usr/bin/python3 -c 'x'""#,
            "ceph-mon",
            r#" command="ceph-mon "#,
        ] {
            assert_eq!(started(other, programs), None, "{other}");
        }
    }
}
