//! Real kernels: how a candidate's kernel is made, and how it is booted on the
//! job's own testbed. Trials are kept as a run's are.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::Instant;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, poll};
use object::{Object, ObjectSection, SectionFlags};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::candidates::{config, git};
use super::drive::{Boot, Build, DriveError, Laboratory, Told, short};
use super::judge::{Judge, reason};
use super::log::{Begun, Source};
use super::table::Subject;
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::fleet::{Common, Fleet, Later};
use crate::job::Variation;
use crate::kernel::fragment::CANDIDATE;
use crate::kernel::{self, KernelImage, Recipe, SourceSpec, WholeConfig};
use crate::record::{Record, Trial};
use crate::rootfs::{self, Rootfs};
use crate::run::on_a_host;
use crate::store::{Store, io_error, write_atomic};
use crate::testbed::{Setup, Testbed};
use crate::trial::{self, Request};
use crate::trial_id::TrialId;

/// Program headers and sections that are loaded with the kernel.
const SHF_ALLOC: u64 = 2;

/// Builds and boots the kernels of a job with its candidates.
pub(super) struct Kernels<'a> {
    context: &'a Context,
    store: &'a Store,
    judge: Judge<'a>,
    begun: &'a Begun,
    record: &'a Record,
    /// Kernels that were made, with what their images hold.
    images: HashMap<String, (KernelImage, String)>,
    /// A build that goes on while kernels boot.
    ahead: Option<Ahead<'a>>,
    bench: Option<(Rootfs, Place<'a>)>,
    /// Other hosts that make kernels and boot them, if it is not this one.
    hosts: Option<&'a Later>,
    numbers: HashMap<String, u32>,
    serial: u32,
}

/// Where kernels are booted.
enum Place<'a> {
    Here(Box<Testbed>),
    Hosts(&'a Fleet),
}

/// A build that goes on whenever it is waited for.
struct Ahead<'a> {
    name: String,
    cancel: CancellationToken,
    building: Pin<Box<dyn Future<Output = Made> + 'a>>,
    made: Option<Made>,
}

/// A kernel, or why there is none; and the time it took, seconds.
type Made = Result<(Result<KernelImage, String>, f64), Error>;

/// One boot, ready to go.
struct Prepared {
    subject: Subject,
    /// The kernel's final .config.
    config: PathBuf,
    request: Request,
    directory: PathBuf,
}

impl Laboratory for Kernels<'_> {
    async fn build(&mut self, subject: Subject) -> Result<Build, Error> {
        let name = self.name(subject);
        if let Some((_, image)) = self.images.get(&name) {
            return Ok(Build::Made {
                seconds: 0.0,
                image: image.clone(),
            });
        }
        let (made, seconds) = match self.taken_over(&name).await? {
            Some(made) => made,
            None => match self.recipe_of(subject).await? {
                Ok(recipe) => make(self.context, self.store, self.hosts, &recipe).await?,
                Err(reason) => return Ok(Build::Impossible(reason)),
            },
        };
        let image = match made {
            Ok(image) => image,
            Err(reason) => return Ok(Build::Impossible(reason)),
        };
        let facts = crate::run::facts(&image, &[]);
        self.record
            .kernel(&name, &facts, &image.config, &image.log)?;
        let held = content(&image.vmlinux, &image.bzimage)?;
        self.images.insert(name, (image, held.clone()));
        Ok(Build::Made {
            seconds,
            image: held,
        })
    }

    async fn build_ahead(&mut self, subject: Subject) -> Result<(), Error> {
        let name = self.name(subject);
        let begun = self.ahead.as_ref().is_some_and(|ahead| ahead.name == name);
        if begun || self.images.contains_key(&name) {
            return Ok(());
        }
        self.give_up().await;
        let Ok(recipe) = self.recipe_of(subject).await? else {
            return Ok(());
        };
        let cancel = self.context.cancel.child_token();
        let context = Context {
            cancel: cancel.clone(),
            events: self.context.events.clone(),
        };
        let (store, hosts) = (self.store, self.hosts);
        let building = Box::pin(async move { make(&context, store, hosts, &recipe).await });
        self.ahead = Some(Ahead {
            name,
            cancel,
            building,
            made: None,
        });
        Ok(())
    }

    async fn boot(
        &mut self,
        subjects: &[Subject],
        variation: Option<&Variation>,
        told: Told<'_>,
    ) -> Result<(), Error> {
        let mut prepared = Vec::new();
        for &subject in subjects {
            prepared.push(self.prepare(subject, variation).await?);
        }
        let mut ahead = self.ahead.take();
        let (mut lost, mut failed) = (None, None);
        {
            let this = &*self;
            let trials = prepared.iter().map(|one| async move {
                let trial = this.trial(one).await;
                (one, trial)
            });
            let mut trials: FuturesUnordered<_> = trials.collect();
            // One that fails does not cost what the others have shown.
            while let Some((one, trial)) = beside(trials.next(), ahead.as_mut()).await {
                let told = match trial {
                    Ok(trial) => {
                        let reason = this.lost(&trial).await;
                        let boot = this.judged(one, trial, variation, reason.as_deref());
                        lost = lost.or(reason);
                        boot.and_then(|boot| told(one.subject, boot))
                    }
                    Err(error) => Err(error),
                };
                failed = failed.or(told.err());
            }
        }
        self.ahead = ahead;
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(reason) = &lost {
            self.renew(reason).await;
        }
        Ok(())
    }
}

/// Waits for trials, and meanwhile lets a build go on.
async fn beside<T>(trials: impl Future<Output = T>, ahead: Option<&mut Ahead<'_>>) -> T {
    let mut trials = pin!(trials);
    if let Some(ahead) = ahead
        && ahead.made.is_none()
    {
        tokio::select! {
            done = &mut trials => return done,
            made = &mut ahead.building => ahead.made = Some(made),
        }
    }
    trials.await
}

/// Makes the kernel of a recipe, or says why there can be none.
async fn make(context: &Context, store: &Store, hosts: Option<&Later>, recipe: &Recipe) -> Made {
    let began = Instant::now();
    let made = async {
        let tree = kernel::fetch(context, store, &recipe.source).await?;
        match hosts {
            Some(hosts) => hosts.builders().make(context, store, &tree, recipe).await,
            None => kernel::make_from(context, store, &tree, recipe).await,
        }
    };
    let made = match made.await {
        Ok(image) => Ok(image),
        Err(error) if error.exit() == Exit::Undecided => Err(error.one_line()),
        Err(error) => return Err(error),
    };
    Ok((made, began.elapsed().as_secs_f64()))
}

impl<'a> Kernels<'a> {
    pub(super) fn new(
        context: &'a Context,
        store: &'a Store,
        record: &'a Record,
        begun: &'a Begun,
        judge: Judge<'a>,
        hosts: Option<&'a Later>,
    ) -> Self {
        Self {
            context,
            store,
            judge,
            begun,
            record,
            images: HashMap::new(),
            ahead: None,
            bench: None,
            hosts,
            numbers: HashMap::new(),
            serial: 0,
        }
    }

    /// Ends what runs.
    pub(super) async fn close(mut self) {
        self.give_up().await;
        if let Some((_, Place::Here(testbed))) = self.bench {
            testbed.close().await;
        }
    }

    /// What the build that runs ahead comes to, if it is of this kernel; else it
    /// is given up.
    async fn taken_over(
        &mut self,
        name: &str,
    ) -> Result<Option<(Result<KernelImage, String>, f64)>, Error> {
        if self.ahead.as_ref().is_some_and(|ahead| ahead.name == name)
            && let Some(ahead) = self.ahead.take()
        {
            let made = match ahead.made {
                Some(made) => made,
                None => ahead.building.await,
            };
            return made.map(Some);
        }
        self.give_up().await;
        Ok(None)
    }

    /// Stops the build that runs ahead. What it compiled is there when it is
    /// wanted after all.
    async fn give_up(&mut self) {
        if let Some(ahead) = self.ahead.take()
            && ahead.made.is_none()
        {
            ahead.cancel.cancel();
            // It ends as one that was interrupted.
            drop(ahead.building.await);
        }
    }

    /// What the record calls a subject.
    fn name(&self, subject: Subject) -> String {
        match subject {
            Subject::Base(0) => "base".to_owned(),
            Subject::Base(number) => format!("base-{}", number + 1),
            Subject::Candidate(number) => {
                let name = short(&self.begun.candidates.list[number].name);
                // Names of options and patches are no names of files.
                if self.begun.candidates.kind == super::candidates::Kind::Git {
                    name.to_owned()
                } else {
                    format!("candidate-{}", number + 1)
                }
            }
            Subject::Reverted(culprit) => {
                format!("without-{}", self.name(Subject::Candidate(culprit)))
            }
        }
    }

    /// What the subject's kernel is made of, or why there can be none.
    async fn recipe_of(&self, subject: Subject) -> Result<Result<Recipe, String>, Error> {
        let mut recipe = self.judge.arm.recipe.clone();
        let taken = match subject {
            Subject::Base(_) => 0,
            Subject::Candidate(number) => number + 1,
            Subject::Reverted(_) => self.begun.candidates.list.len(),
        };
        match &self.begun.source {
            Source::Git { repository } => {
                let bases = self.begun.bases();
                let id = match subject {
                    Subject::Base(number) => bases.get(number).copied().unwrap_or_default(),
                    _ => self.begun.candidates.list[taken - 1].name.as_str(),
                };
                recipe.source = SourceSpec::Git {
                    repo: repository.display().to_string(),
                    reference: id.to_owned(),
                };
                if let Subject::Reverted(culprit) = subject {
                    recipe.series.push(self.revert(repository, culprit).await?);
                }
            }
            Source::Versions(sources) => {
                if let Subject::Reverted(_) = subject {
                    return Ok(Err("a release cannot be taken out".to_owned()));
                }
                recipe.source = sources[taken].clone();
            }
            Source::Patches(paths) => {
                let mut patches = paths[..taken].to_vec();
                if let Subject::Reverted(culprit) = subject {
                    patches.remove(culprit);
                }
                let carried = &self.begun.carried;
                let all = carried.before.iter().chain(&patches).chain(&carried.after);
                recipe.series = all.cloned().collect();
            }
            Source::Config {
                old,
                whole,
                changes,
            } => {
                let mut lines = changes[..taken].to_vec();
                if let Subject::Reverted(culprit) = subject {
                    lines.remove(culprit);
                }
                let name = format!("{}.config", self.name(subject));
                let path = self.record.path().join(name);
                if *whole {
                    let old = WholeConfig::read(old)?.text;
                    let text = format!("{CANDIDATE}\n{}", config::taken_over(&old, &lines));
                    write_atomic(&path, text.as_bytes())?;
                    recipe.whole_config = Some(path);
                } else {
                    let text = format!("{CANDIDATE}\n{}\n", lines.join("\n"));
                    write_atomic(&path, text.as_bytes())?;
                    recipe.fragments.push(old.clone());
                    recipe.fragments.push(path);
                }
            }
        }
        Ok(Ok(recipe))
    }

    /// A patch that takes the culprit out.
    async fn revert(&self, repository: &Path, culprit: usize) -> Result<PathBuf, Error> {
        let id = &self.begun.candidates.list[culprit].name;
        let content = git::revert(self.context, repository, id).await?;
        let path = self
            .record
            .path()
            .join(format!("revert-{}.patch", short(id)));
        write_atomic(&path, &content)?;
        Ok(path)
    }

    /// Opens the testbed if there is none, and makes a request for one boot.
    async fn prepare(
        &mut self,
        subject: Subject,
        variation: Option<&Variation>,
    ) -> Result<Prepared, Error> {
        let arm = self.name(subject);
        if let Build::Impossible(reason) = self.build(subject).await? {
            return Err(DriveError::Gone { name: arm, reason }.into());
        }
        let (image, _) = self.images[&arm].clone();
        let Judge { plan, planned, .. } = self.judge;
        let rootfs = match &self.bench {
            Some((rootfs, _)) => rootfs.path.clone(),
            None => self.open(&image).await?,
        };
        let number = if let Some(&number) = self.numbers.get(&arm) {
            number + 1
        } else {
            let done = self.record.trials(&arm, &self.begun.workload)?.len();
            u32::try_from(done).unwrap_or(u32::MAX) + 1
        };
        self.numbers.insert(arm.clone(), number);
        self.serial += 1;
        let id = TrialId {
            arm,
            workload: self.begun.workload.clone(),
            number,
        };
        let (attempt, directory) = self.record.begin_attempt(&id)?;
        let hardware = variation.map(|variation| variation.hardware(&plan.hardware));
        let workload = variation.map(|variation| variation.workload(&planned.workload));
        let request = Request {
            id,
            attempt,
            host: None,
            hostname: format!("bisect-{}", self.serial),
            kernel: image.bzimage.clone(),
            release: image.release.clone(),
            words: self.judge.arm.command_line.clone(),
            hardware: hardware.unwrap_or_else(|| plan.hardware.clone()),
            image: rootfs,
            acceleration: plan.acceleration,
            start: plan.start,
            // Most candidates are booted once.
            save: number > 1,
            service: plan.service.clone(),
            workload: workload.unwrap_or_else(|| planned.workload.clone()),
            timeout: planned.timeout,
            target: self.judge.arm.target.clone(),
            known: plan.known.clone(),
            patterns: plan.patterns.clone(),
            profile: plan.profile.clone(),
            counters: plan.counters.clone(),
            counted: Vec::new(),
            dump: false,
            day: self.judge.day,
        };
        Ok(Prepared {
            subject,
            config: image.config.clone(),
            request,
            directory,
        })
    }

    /// Opens a testbed; where its guests' root file system is.
    async fn open(&mut self, image: &KernelImage) -> Result<PathBuf, Error> {
        let plan = self.judge.plan;
        let rootfs = rootfs::build(self.context, self.store, &plan.rootfs).await?;
        let path = rootfs.path.clone();
        if let Some(hosts) = self.hosts {
            let Judge { planned, .. } = self.judge;
            let common = Common {
                service: &plan.service,
                image: &path,
                acceleration: plan.acceleration,
                kernel: &image.bzimage,
                cpus: plan.hardware.cpus,
                alone: planned.workload.disturbs_others(),
            };
            hosts.open(self.context, self.record, &common)?;
            self.bench = hosts.fleet().map(|fleet| (rootfs, Place::Hosts(fleet)));
            return Ok(path);
        }
        let setup = Setup {
            service: &plan.service,
            logs: &self.record.service_logs(),
            image: path.clone(),
            acceleration: plan.acceleration,
            kernel: &image.bzimage,
        };
        let testbed = Testbed::open(self.context, self.store, setup).await?;
        self.bench = Some((rootfs, Place::Here(Box::new(testbed))));
        Ok(path)
    }

    /// Runs one trial. One in which kvet itself panics is a trial that tells
    /// nothing: what a kernel says must not end the search.
    async fn trial(&self, one: &Prepared) -> Result<Result<Trial, String>, Error> {
        self.context.emit(Event::TrialStarted {
            trial: one.request.id.clone(),
            attempt: one.request.attempt,
        });
        let testbed = match &self.bench {
            Some((_, Place::Here(testbed))) => testbed,
            Some((_, Place::Hosts(fleet))) => return Ok(Ok(self.elsewhere(fleet, one).await?)),
            None => return Ok(Err("there is no testbed".to_owned())),
        };
        let run = trial::run(self.context, testbed, &one.request, &one.directory);
        let trial = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(trial) => Ok(trial?),
            Err(panic) => Err(panicked(panic.as_ref())),
        };
        let cleared = testbed.service().clear(&one.request.hostname).await;
        if let (Err(fault), Ok(_)) = (cleared, &trial) {
            self.context
                .emit(Event::Warning(Error::from(fault).one_line()));
        }
        Ok(trial)
    }

    /// Runs one trial on another host. All are compared with each other, so they run
    /// on hosts of one kind.
    async fn elsewhere(&self, fleet: &Fleet, one: &Prepared) -> Result<Trial, Error> {
        let block = (self.begun.workload.clone(), 0);
        let (request, directory) = (&one.request, &one.directory);
        on_a_host(fleet, request, directory, block, BTreeSet::new()).await
    }

    /// Why the testbed is of no use any more after this trial, if it is not.
    async fn lost(&self, trial: &Result<Trial, String>) -> Option<String> {
        let Some((_, Place::Here(testbed))) = self.bench.as_ref() else {
            // Hosts see to theirs.
            return None;
        };
        let mut lost = pin!(testbed.lost());
        if let std::task::Poll::Ready(reason) = poll!(&mut lost) {
            return Some(reason);
        }
        let answered = |trial: &Trial| trial.unanswered.is_empty();
        if trial.as_ref().is_ok_and(answered) {
            return testbed.filled().await;
        }
        let answers = testbed.service().answers().await;
        answers.err().map(|fault| Error::from(fault).one_line())
    }

    /// Closes a testbed that is lost; the next boot opens another one.
    async fn renew(&mut self, reason: &str) {
        self.context.emit(Event::Warning(format!(
            "{reason}; it is started anew, and the last boots are repeated"
        )));
        if let Some((_, Place::Here(testbed))) = self.bench.take() {
            testbed.close().await;
        }
    }

    /// Where something is, below the directory of the bisection.
    fn below(&self, directory: &Path) -> PathBuf {
        let below = directory.strip_prefix(self.record.path());
        below.unwrap_or(directory).to_owned()
    }

    /// What a trial says about the target; nothing if what guests mount was lost
    /// in it, or if kvet itself failed.
    fn judged(
        &self,
        one: &Prepared,
        trial: Result<Trial, String>,
        variation: Option<&Variation>,
        lost: Option<&str>,
    ) -> Result<Boot, Error> {
        let nothing = |reason: String| Boot {
            hit: None,
            reason,
            others: Vec::new(),
            trial: self.below(&one.directory),
            seconds: 0.0,
            service_lost: lost.is_some(),
        };
        let trial = match trial {
            Ok(trial) => trial,
            Err(panic) => return Ok(nothing(panic)),
        };
        let config = &one.config;
        let text = std::fs::read_to_string(config).map_err(io_error("read", config))?;
        let (hit, judged) = self.judge.trial(&text, &trial, variation);
        self.context.emit(Event::TrialFinished {
            trial: one.request.id.clone(),
            outcome: judged.outcome,
            reason: judged.reason.clone(),
            elapsed: std::time::Duration::from_secs_f64(trial.seconds.max(0.0)),
        });
        let reason = lost.map_or_else(|| reason(hit, &judged), str::to_owned);
        // Other hosts only say that a daemon did not answer. Whatever such a trial
        // shows is not about the kernel.
        let service_lost = lost.is_some() || !trial.unanswered.is_empty();
        Ok(Boot {
            hit: hit.filter(|_| !service_lost),
            others: if service_lost {
                Vec::new()
            } else {
                self.judge.others(&judged)
            },
            seconds: trial.seconds,
            service_lost,
            ..nothing(reason)
        })
    }
}

/// What a panic of kvet's own says.
fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    let said = said.unwrap_or("it did not say why");
    format!("kvet failed while it read this trial, which is a bug in kvet: {said}")
}

/// What a kernel holds, without what differs from build to build: notes, which
/// have the build's id, and the banner, which has its time. What starts and unpacks
/// it is part of the image alone.
fn content(vmlinux: &Path, bzimage: &Path) -> Result<String, Error> {
    let read = |path: &Path| std::fs::read(path).map_err(io_error("read", path));
    let mut hash = Sha256::new();
    let image = read(bzimage)?;
    for part in around_payload(&image) {
        hash.update(part.len().to_le_bytes());
        without_banner(part, |part| hash.update(part));
    }
    let data = read(vmlinux)?;
    let Ok(file) = object::File::parse(&*data) else {
        // Not to be taken apart: equal only if it is so byte by byte.
        hash.update(&data);
        return Ok(hex::encode(hash.finalize()));
    };
    for section in file.sections() {
        let loaded = match section.flags() {
            SectionFlags::Elf { sh_flags, .. } => sh_flags.0 & SHF_ALLOC != 0,
            _ => true,
        };
        let name = section.name().unwrap_or_default();
        if !loaded || name.starts_with(".note") {
            continue;
        }
        hash.update(name);
        hash.update(section.address().to_le_bytes());
        hash.update(section.size().to_le_bytes());
        if let Ok(bytes) = section.data() {
            without_banner(bytes, |part| hash.update(part));
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// Bytes at the end of a bzImage that are its checksum.
const CHECKSUM: usize = 4;

/// A bzImage without the kernel that is packed in it (Documentation/arch/x86/boot.rst
/// has the header); all of a file that is not one.
fn around_payload(image: &[u8]) -> Vec<&[u8]> {
    let parts = || {
        let number = |at: usize| -> Option<usize> {
            let bytes = image.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let magic = image.get(0x202..0x206)?;
        let sectors = match *image.get(0x1f1)? {
            0 => 4,
            sectors => usize::from(sectors),
        };
        let setup = (sectors + 1) * 512;
        let from = setup.checked_add(number(0x248)?)?;
        let to = from.checked_add(number(0x24c)?)?;
        let end = image.len().checked_sub(CHECKSUM)?;
        let is_one = magic == b"HdrS" && to <= end;
        is_one.then(|| vec![&image[..from], &image[to..end]])
    };
    parts().unwrap_or_else(|| vec![image])
}

/// Hands over all bytes but those of texts that begin like a kernel's banner or
/// its build's number and time.
fn without_banner(bytes: &[u8], mut each: impl FnMut(&[u8])) {
    let mut from = 0;
    for start in memchr::memmem::find_iter(bytes, b"Linux version ")
        .chain(memchr::memmem::find_iter(bytes, b"#1 SMP"))
        .collect::<std::collections::BTreeSet<usize>>()
    {
        if start < from {
            continue;
        }
        each(&bytes[from..start]);
        let end = memchr::memchr(0, &bytes[start..]);
        from = end.map_or(bytes.len(), |length| start + length);
    }
    each(&bytes[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_and_told() {
        let reads_nonsense = async {
            let line: Option<u32> = None;
            assert!(line.is_some(), "no line {}", 7);
        };
        let ran = AssertUnwindSafe(reads_nonsense).catch_unwind().await;
        let said = panicked(ran.unwrap_err().as_ref());
        assert!(said.contains("a bug in kvet: no line 7"), "{said}");
    }

    /// A bzImage of one sector of setup and these parts around its payload.
    fn bzimage(setup: u8, before: &[u8], payload: &[u8], after: &[u8]) -> Vec<u8> {
        let mut image = vec![setup; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
        image[0x248..0x24c].copy_from_slice(&number(before.len()));
        image[0x24c..0x250].copy_from_slice(&number(payload.len()));
        for part in [before, payload, after, b"sum."] {
            image.extend_from_slice(part);
        }
        image
    }

    #[test]
    fn what_unpacks_a_kernel_is_part_of_its_image() {
        let home = tempfile::tempdir().unwrap();
        let vmlinux = home.path().join("vmlinux");
        std::fs::write(&vmlinux, "a kernel").unwrap();
        let of = |image: Vec<u8>| {
            let path = home.path().join("bzImage");
            std::fs::write(&path, image).unwrap();
            content(&vmlinux, &path).unwrap()
        };
        let one = of(bzimage(0, b"head", b"packed", b"unpacks"));
        assert_eq!(one, of(bzimage(0, b"head", b"PACKED", b"unpacks")));
        assert_ne!(one, of(bzimage(0, b"head", b"packed", b"unpacked")));
        assert_ne!(one, of(bzimage(0, b"HEAD", b"packed", b"unpacks")));
        assert_ne!(one, of(bzimage(1, b"head", b"packed", b"unpacks")));
        // What is no bzImage is taken as it is.
        assert_ne!(of(b"an image".to_vec()), of(b"another".to_vec()));
        let mut wrong = bzimage(0, b"head", b"packed", b"unpacks");
        wrong[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_ne!(of(wrong), one);
    }

    #[test]
    fn banners_do_not_tell_images_apart() {
        let strip = |text: &[u8]| {
            let mut rest = Vec::new();
            without_banner(text, |part| rest.extend_from_slice(part));
            rest
        };
        let one = b"code\0Linux version 7.3.4 (a@b) #1 SMP Mon\0data\0#1 SMP Mon\0end";
        let two = b"code\0Linux version 7.3.4 (c@d) #1 SMP Tuesday\0data\0#1 SMP Tue\0end";
        assert_eq!(strip(one), strip(two));
        assert_ne!(
            strip(one),
            strip(b"code\0Linux version 7.3.4\0other\0#1 SMP\0end")
        );
    }
}
