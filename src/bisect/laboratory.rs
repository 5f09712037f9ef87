//! Real kernels: how a candidate's kernel is made, and how it is booted on the
//! job's own testbed. Trials are kept as a run's are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::try_join_all;
use jiff::civil::Date;
use object::{Object, ObjectSection, SectionFlags};
use sha2::{Digest, Sha256};

use super::candidates::git;
use super::drive::{Boot, Build, DriveError, Laboratory, Subject, short};
use super::log::{Begun, Source};
use super::search::Point;
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::job::{Arm, Plan, PlannedWorkload};
use crate::kernel::{self, KernelImage, SourceSpec};
use crate::outcome::Outcome;
use crate::record::{Record, Trial};
use crate::rootfs::{self, Rootfs};
use crate::store::{Store, io_error, write_atomic};
use crate::testbed::{Setup, Testbed};
use crate::trial::{self, Request};
use crate::trial_id::TrialId;
use crate::verdict::{Question, decide, is_mute, unarmed};

/// Program headers and sections that are loaded with the kernel.
const SHF_ALLOC: u64 = 2;

/// Builds and boots the kernels of a job with its candidates.
pub(super) struct Kernels<'a> {
    pub(super) context: &'a Context,
    pub(super) store: &'a Store,
    pub(super) plan: &'a Plan,
    pub(super) planned: &'a PlannedWorkload,
    pub(super) arm: &'a Arm,
    pub(super) begun: &'a Begun,
    pub(super) record: &'a Record,
    pub(super) day: Date,
    /// Kernels that were made, with what their images hold.
    pub(super) images: HashMap<String, (KernelImage, String)>,
    pub(super) bench: Option<(Rootfs, Testbed)>,
    pub(super) numbers: HashMap<String, u32>,
    pub(super) serial: u32,
}

/// One boot, ready to go.
struct Prepared {
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
        let began = Instant::now();
        let arm = match self.arm_of(subject).await? {
            Ok(arm) => arm,
            Err(reason) => return Ok(Build::Impossible(reason)),
        };
        let made = kernel::make(self.context, self.store, &arm.recipe).await;
        let (image, _) = match made {
            Ok(made) => made,
            Err(error) if error.exit() == Exit::Undecided => {
                return Ok(Build::Impossible(error.one_line()));
            }
            Err(error) => return Err(error),
        };
        let seconds = began.elapsed().as_secs_f64();
        let facts = crate::run::facts(&image, &[]);
        self.record
            .kernel(&name, &facts, &image.config, &image.log)?;
        let held = content(&image.vmlinux)?;
        self.images.insert(name, (image, held.clone()));
        Ok(Build::Made {
            seconds,
            image: held,
        })
    }

    async fn boot(&mut self, subjects: &[Subject]) -> Result<Vec<Boot>, Error> {
        let mut prepared = Vec::new();
        for &subject in subjects {
            prepared.push(self.prepare(subject).await?);
        }
        let Some((_, testbed)) = &self.bench else {
            return Ok(Vec::new());
        };
        let (context, this) = (self.context, &*self);
        let trials = prepared.iter().map(async |one| {
            context.emit(Event::TrialStarted {
                trial: one.request.id.clone(),
                attempt: one.request.attempt,
            });
            let trial = trial::run(context, testbed, &one.request, &one.directory).await?;
            if let Err(fault) = testbed.service().clear(&one.request.hostname).await {
                context.emit(Event::Warning(Error::from(fault).one_line()));
            }
            this.judge(one, &trial)
        });
        try_join_all(trials).await
    }
}

impl Kernels<'_> {
    /// Ends what runs.
    pub(super) async fn close(self) {
        if let Some((_, testbed)) = self.bench {
            testbed.close().await;
        }
    }

    /// What the record calls a subject.
    fn name(&self, subject: Subject) -> String {
        match subject {
            Subject::Point(Point::Base) => "base".to_owned(),
            Subject::Point(Point::Candidate(number)) => {
                let name = short(&self.begun.candidates.list[number].name);
                // Names of options and patches are no names of files.
                if self.begun.candidates.kind == super::candidates::Kind::Git {
                    name.to_owned()
                } else {
                    format!("candidate-{}", number + 1)
                }
            }
            Subject::Reverted(_) => "reverted".to_owned(),
        }
    }

    /// The arm whose kernel the subject is, or why there is none.
    async fn arm_of(&self, subject: Subject) -> Result<Result<Arm, String>, Error> {
        let mut arm = self.arm.clone();
        arm.name = self.name(subject);
        let taken = match subject {
            Subject::Point(Point::Base) => 0,
            Subject::Point(Point::Candidate(number)) => number + 1,
            Subject::Reverted(_) => self.begun.candidates.list.len(),
        };
        match &self.begun.source {
            Source::Git { repository } => {
                let id = match taken {
                    0 => &self.begun.candidates.base,
                    taken => &self.begun.candidates.list[taken - 1].name,
                };
                arm.recipe.source = SourceSpec::Git {
                    repo: repository.display().to_string(),
                    reference: id.clone(),
                };
                if let Subject::Reverted(culprit) = subject {
                    arm.recipe
                        .series
                        .push(self.revert(repository, culprit).await?);
                }
            }
            Source::Versions(sources) => {
                if let Subject::Reverted(_) = subject {
                    return Ok(Err("a release cannot be taken out".to_owned()));
                }
                arm.recipe.source = sources[taken].clone();
            }
            Source::Patches(paths) => {
                arm.recipe.series = paths[..taken].to_vec();
                if let Subject::Reverted(culprit) = subject {
                    arm.recipe.series.remove(culprit);
                }
            }
            Source::Config { old, changes } => {
                let mut lines = changes[..taken].to_vec();
                if let Subject::Reverted(culprit) = subject {
                    lines.remove(culprit);
                }
                let name = format!("{}.config", arm.name);
                let path = self.record.path().join(name);
                write_atomic(&path, (lines.join("\n") + "\n").as_bytes())?;
                arm.recipe.fragments.push(old.clone());
                arm.recipe.fragments.push(path);
            }
        }
        Ok(Ok(arm))
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

    /// Opens the testbed if it is not, and makes a request for one boot.
    async fn prepare(&mut self, subject: Subject) -> Result<Prepared, Error> {
        let arm = self.name(subject);
        if let Build::Impossible(reason) = self.build(subject).await? {
            return Err(DriveError::Gone { name: arm, reason }.into());
        }
        let (image, _) = self.images[&arm].clone();
        if self.bench.is_none() {
            let rootfs = rootfs::build(self.context, self.store, &self.plan.rootfs).await?;
            let setup = Setup {
                service: &self.plan.service,
                logs: &self.record.service_logs(),
                image: rootfs.path.clone(),
                acceleration: self.plan.acceleration,
                kernel: &image.bzimage,
            };
            let testbed = Testbed::open(self.context, self.store, setup).await?;
            self.bench = Some((rootfs, testbed));
        }
        let workload = &self.planned.workload;
        let number = if let Some(&number) = self.numbers.get(&arm) {
            number + 1
        } else {
            let done = self.record.trials(&arm, &self.begun.workload)?.len();
            u32::try_from(done).unwrap_or(u32::MAX) + 1
        };
        self.numbers.insert(arm.clone(), number);
        self.serial += 1;
        let id = TrialId {
            arm: arm.clone(),
            workload: self.begun.workload.clone(),
            number,
        };
        let (attempt, directory) = self.record.begin_attempt(&id)?;
        let rootfs = self.bench.as_ref().map(|(rootfs, _)| rootfs.path.clone());
        let request = Request {
            id,
            attempt,
            hostname: format!("bisect-{}", self.serial),
            kernel: image.bzimage.clone(),
            release: image.release.clone(),
            words: self.arm.command_line.clone(),
            hardware: self.plan.hardware.clone(),
            image: rootfs.unwrap_or_default(),
            acceleration: self.plan.acceleration,
            service: self.plan.service.clone(),
            workload: workload.clone(),
            timeout: self.planned.timeout,
            target: self.arm.target.clone(),
            known: self.plan.known.clone(),
            patterns: self.plan.patterns.clone(),
            profile: self.plan.profile.clone(),
            counters: self.plan.counters.clone(),
            day: self.day,
        };
        Ok(Prepared {
            config: image.config.clone(),
            request,
            directory,
        })
    }

    /// What a trial says about the target. Only its signature counts, unless any
    /// finding does; a detector that was not armed makes silence worth nothing.
    fn judge(&self, one: &Prepared, trial: &Trial) -> Result<Boot, Error> {
        let config = &one.config;
        let text = std::fs::read_to_string(config).map_err(io_error("read", config))?;
        let target = self.arm.target.as_ref();
        let missing = unarmed(
            &text,
            &self.planned.workload,
            !self.plan.profile.is_empty(),
            target.and_then(|target| target.class),
            trial.ready.as_ref(),
            is_mute(trial),
        );
        let question = Question {
            target,
            known: &self.plan.known,
            day: self.day,
        };
        let judged = decide(trial, &question, &missing);
        self.context.emit(Event::TrialFinished {
            trial: one.request.id.clone(),
            outcome: judged.outcome,
            reason: judged.reason.clone(),
            elapsed: std::time::Duration::from_secs_f64(trial.seconds.max(0.0)),
        });
        let other = (judged.outcome == Outcome::Other).then(|| judged.reason.clone());
        let hit = match judged.outcome {
            Outcome::Target => Some(true),
            Outcome::Clean => Some(false),
            Outcome::Other if self.begun.any => Some(true),
            _ => None,
        };
        let directory = &one.directory;
        let below = directory.strip_prefix(self.record.path());
        Ok(Boot {
            hit,
            reason: if hit.is_some() {
                judged.reason
            } else {
                format!("{}: {}", judged.outcome.name(), judged.reason)
            },
            other,
            trial: below.unwrap_or(directory).to_owned(),
            seconds: trial.seconds,
        })
    }
}

/// What a kernel holds, without what differs from build to build: notes, which
/// have the build's id, and the banner, which has its time.
fn content(vmlinux: &Path) -> Result<String, Error> {
    let data = std::fs::read(vmlinux).map_err(io_error("read", vmlinux))?;
    let mut hash = Sha256::new();
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
