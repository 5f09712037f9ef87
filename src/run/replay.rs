//! Carries out a bundle's trial again, on its own kernel or on another: a run of
//! one arm without building anything. What it leaves is a run directory.

use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;

use super::attempts::{Attempt, Attempts};
use super::executor::Attempted;
use super::report::{Findings, derive, keep, question};
use crate::bundle::{Bundle, BundleError, Manifest, kernel_at, release_of};
use crate::context::Context;
use crate::doctor::{self, Lack};
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::host;
use crate::job::Plan;
use crate::outcome::Outcome;
use crate::process::ProcessError;
use crate::record::{Beginning, KernelFacts, Record};
use crate::store::Store;
use crate::testbed::{Setup, Testbed};
use crate::trial::{self, Request};
use crate::trial_id::TrialId;
use crate::verdict::{Judged, Seen};
use crate::vm::{Acceleration, Startup};

/// How a bundle is carried out.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The unpacked bundle.
    pub bundle: PathBuf,
    /// Another kernel than its own: a bzImage or a built tree.
    pub kernel: Option<PathBuf>,
    /// That kernel's .config, where it does not lie beside it.
    pub config: Option<PathBuf>,
    /// How many trials.
    pub trials: u32,
    /// What may run the guest, if not what ran it then.
    pub acceleration: Option<Acceleration>,
    /// The run directory.
    pub out: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// What the bundle's trial came to.
    pub then: Judged,
    /// The kernel that was tried.
    pub release: String,
    /// What each trial came to, in order.
    pub trials: Vec<Judged>,
    /// How many of them showed what the bundle's trial did.
    pub showed: usize,
}

impl Replayed {
    /// 1 if it was seen again, 0 if every trial was clean, 125 otherwise: a
    /// kernel that shows something else says nothing of this bug.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let clean = |judged: &Judged| judged.outcome == Outcome::Clean;
        if self.showed > 0 {
            Exit::Bad
        } else if !self.trials.is_empty() && self.trials.iter().all(clean) {
            Exit::Good
        } else {
            Exit::Undecided
        }
    }
}

/// Carries it out.
pub async fn replay(context: &Context, replay: &Replay) -> Result<Replayed, Error> {
    let bundle = Bundle::open(&replay.bundle)?;
    bundle.check(replay.kernel.is_none())?;
    let kernel = Kernel::of(&bundle, replay)?;
    has_what_it_takes(&bundle.manifest).await?;
    recorded(context, &bundle, &kernel, replay).await
}

/// Carries out what can be, as a run of its own.
async fn recorded(
    context: &Context,
    bundle: &Bundle,
    kernel: &Kernel,
    replay: &Replay,
) -> Result<Replayed, Error> {
    let plan = Plan {
        acceleration: replay
            .acceleration
            .unwrap_or(bundle.manifest.plan.acceleration),
        // Only the trial is made again.
        self_test: false,
        ..with_trials(&bundle.manifest.plan, replay.trials)
    };
    let began = Instant::now();
    let host = host::facts(context).await;
    let record = Record::create(&replay.out, &plan, &host, Timestamp::now())?;
    record.release(&arm(&plan)?.name, &kernel.facts, kernel.config.as_deref())?;
    let work = |context| carry_out(context, &record, &plan, bundle, kernel, replay, began);
    record.logged(context, work).await
}

async fn carry_out(
    context: Context,
    record: &Record,
    plan: &Plan,
    bundle: &Bundle,
    kernel: &Kernel,
    replay: &Replay,
    began: Instant,
) -> Result<Replayed, Error> {
    // Nothing of the user's is needed, or touched.
    let store = Store::at(record.path().join("cache"))?;
    context.emit(Event::RunStarted {
        job: plan.name.clone(),
        directory: record.path().display().to_string(),
        trials: replay.trials.into(),
    });
    let setup = Setup {
        service: &plan.service,
        logs: &record.service_logs(),
        image: absolute(&bundle.image())?,
        acceleration: plan.acceleration,
        kernel: &kernel.bzimage,
    };
    let testbed = tokio::select! {
        opened = Testbed::open(&context, &store, setup) => opened?,
        () = context.cancel.cancelled() => return Err(ProcessError::Interrupted.into()),
    };
    record.accelerator(testbed.accelerator().name())?;
    let (_, beginning) = Record::open(record.path())?;
    let work = trials(
        &context, &testbed, record, &beginning, bundle, kernel, replay,
    );
    let result = tokio::select! {
        result = work => result,
        () = context.cancel.cancelled() => Err(ProcessError::Interrupted.into()),
    };
    testbed.close().await;
    let report = derive(
        record,
        &beginning,
        began.elapsed().as_secs_f64(),
        Findings::AsFound,
    )?;
    keep(record, &report)?;
    let trials = result?;
    let (outcome, finding) = (bundle.manifest.outcome, bundle.manifest.finding.as_ref());
    let showed = trials
        .iter()
        .filter(|judged| shows(outcome, finding, judged));
    Ok(Replayed {
        showed: showed.count(),
        then: then(&bundle.manifest),
        release: kernel.facts.release.clone(),
        trials,
    })
}

/// The kernel that is tried.
struct Kernel {
    bzimage: PathBuf,
    config: Option<PathBuf>,
    facts: KernelFacts,
}

impl Kernel {
    fn of(bundle: &Bundle, replay: &Replay) -> Result<Self, BundleError> {
        let Some(path) = &replay.kernel else {
            return Ok(Self {
                bzimage: absolute(&bundle.kernel())?,
                config: Some(bundle.config()),
                facts: bundle.manifest.kernel.clone(),
            });
        };
        let (bzimage, beside) = kernel_at(path)?;
        let facts = KernelFacts {
            release: release_of(&bzimage)?,
            origin: bzimage.display().to_string(),
            key: String::new(),
            cached: true,
            patches: Vec::new(),
            left_out: Vec::new(),
        };
        Ok(Self {
            config: replay.config.clone().or(beside),
            bzimage,
            facts,
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, BundleError> {
    std::fs::canonicalize(path).map_err(|source| BundleError::Io {
        action: "find",
        path: path.to_owned(),
        source,
    })
}

/// The programs that run guests and the cluster; those that build kernels are
/// not needed.
async fn has_what_it_takes(manifest: &Manifest) -> Result<(), BundleError> {
    let checks = doctor::checks_for_trials(&manifest.request.service).await;
    let lacks: Vec<_> = checks
        .iter()
        .filter_map(|check| Some((check, check.lack.as_ref()?)))
        .collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let what: Vec<&str> = lacks.iter().map(|(check, _)| check.what.as_str()).collect();
    let mut help: Vec<String> = lacks
        .iter()
        .map(|(_, lack)| match lack {
            Lack::Package(package) => format!("apt-get install {package}"),
            Lack::Other { advice, .. } => advice.clone(),
        })
        .collect();
    help.sort();
    help.dedup();
    Err(BundleError::Lacks {
        what: what.join(", "),
        help: help.join("\n"),
    })
}

fn with_trials(plan: &Plan, trials: u32) -> Plan {
    let mut plan = plan.clone();
    for arm in &mut plan.arms {
        arm.trials = trials;
    }
    plan
}

fn arm(plan: &Plan) -> Result<&crate::job::Arm, BundleError> {
    plan.arms.first().ok_or_else(|| BundleError::Damaged {
        path: plan.job.clone(),
        problem: "its plan has no arm".to_owned(),
    })
}

/// The trials, one after the other: the first with the seed of the bundle's.
async fn trials(
    context: &Context,
    testbed: &Testbed,
    record: &Record,
    beginning: &Beginning,
    bundle: &Bundle,
    kernel: &Kernel,
    replay: &Replay,
) -> Result<Vec<Judged>, Error> {
    let plan = &beginning.plan;
    let arm = arm(plan)?;
    let first = &bundle.manifest.request;
    let mut all = Vec::new();
    // What somebody edited may be the last number that there is.
    for number in (first.id.number..=u32::MAX).take(usize::try_from(replay.trials).unwrap_or(1)) {
        let id = TrialId {
            number,
            ..first.id.clone()
        };
        let attempts = Attempts {
            context,
            record,
            beginning,
            arm,
            id: &id,
            hostname: &format!("trial-{number}"),
        };
        let make = async |attempt: Attempt| {
            let request = Request {
                id: id.clone(),
                attempt: attempt.number,
                hostname: attempt.hostname,
                kernel: kernel.bzimage.clone(),
                release: kernel.facts.release.clone(),
                image: absolute(&bundle.image())?,
                acceleration: plan.acceleration,
                // As anybody's kernel comes up, and with no lines that it does not count.
                start: Startup::Boot,
                save: false,
                host: None,
                counted: Vec::new(),
                day: question(beginning, arm).day,
                ..first.clone()
            };
            let trial = trial::run(context, testbed, &request, &attempt.directory).await?;
            // A guest that cannot be cleared away makes the next trial the harness's.
            drop(testbed.service().clear(&request.hostname).await);
            Ok(Attempted { trial, lost: None })
        };
        let (judged, _) = attempts.make(record.begin_attempt(&id)?, make).await?;
        all.push(judged);
    }
    Ok(all)
}

/// What the bundle's trial came to.
fn then(manifest: &Manifest) -> Judged {
    Judged {
        outcome: manifest.outcome,
        reason: manifest.reason.clone(),
        known: Vec::new(),
        boot: None,
        others: Vec::new(),
    }
}

/// Whether a trial shows what the bundle's trial did, which came to this.
fn shows(then: Outcome, finding: Option<&Seen>, judged: &Judged) -> bool {
    let same = |seen: &Seen| finding.is_some_and(|finding| finding.same(seen));
    match then {
        Outcome::Other => judged.outcome.tells() && judged.others.iter().any(same),
        Outcome::Timeout | Outcome::Workload => judged.outcome == then,
        // Of a trial that showed nothing, the bug it was looking for.
        Outcome::Target | Outcome::Clean | Outcome::Unarmed | Outcome::Harness => {
            judged.outcome == Outcome::Target
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Choice;

    const JOB: &str = "\
name: j
kernel: { source: { dir: /linux }, config: [base] }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 1
arms: { stock: { control: true } }
";

    /// A bundle of a trial that went well. It has no initramfs.
    fn bundle(home: &Path, kernel: &KernelFacts) -> Bundle {
        let job = home.join("job.yaml");
        std::fs::create_dir(home.join("kconfigs")).unwrap();
        std::fs::write(home.join("kconfigs/base.config"), "").unwrap();
        std::fs::write(&job, JOB).unwrap();
        let plan = Plan::load(&job, &Choice::default()).unwrap();
        let request = Request {
            kernel: "kernel/bzImage".into(),
            release: kernel.release.clone(),
            hardware: plan.hardware.clone(),
            image: "initramfs.cpio".into(),
            ..Request::of_steps("[guest: sync]")
        };
        let manifest = Manifest {
            version: crate::bundle::VERSION,
            kvet: String::new(),
            started: String::new(),
            outcome: Outcome::Clean,
            reason: String::new(),
            finding: None,
            request,
            plan,
            kernel: kernel.clone(),
            same_image: true,
            files: std::collections::BTreeMap::new(),
        };
        let text = serde_json::to_string(&manifest).unwrap();
        std::fs::write(home.join("bundle.json"), text).unwrap();
        Bundle::open(home).unwrap()
    }

    #[tokio::test]
    async fn its_run_directory_has_what_was_told_and_what_was_done() {
        let home = tempfile::tempdir().unwrap();
        let facts = KernelFacts {
            release: "7.3.4".to_owned(),
            origin: String::new(),
            key: String::new(),
            cached: true,
            patches: Vec::new(),
            left_out: Vec::new(),
        };
        let bundle = bundle(home.path(), &facts);
        let kernel = Kernel {
            bzimage: home.path().join("bzImage"),
            config: None,
            facts,
        };
        let replay = Replay {
            bundle: home.path().to_owned(),
            kernel: None,
            config: None,
            trials: 1,
            acceleration: None,
            out: home.path().join("run"),
        };
        let ended = recorded(&Context::default(), &bundle, &kernel, &replay).await;
        let said = ended.unwrap_err().one_line();
        assert!(said.contains("initramfs.cpio"), "{said}");
        let (record, _) = Record::open(&replay.out).unwrap();
        let told = std::fs::read_to_string(record.events_file()).unwrap();
        assert!(told.contains("\"run_started\""), "{told}");
        assert!(record.path().join(crate::record::TRACE).is_file());
    }

    fn replayed(outcomes: &[Outcome], showed: usize) -> Exit {
        let judged = |outcome: Outcome| Judged {
            outcome,
            reason: String::new(),
            known: Vec::new(),
            boot: None,
            others: Vec::new(),
        };
        let trials = outcomes.iter().copied().map(judged).collect();
        let replayed = Replayed {
            then: judged(Outcome::Target),
            release: String::new(),
            trials,
            showed,
        };
        replayed.exit()
    }

    #[test]
    fn a_bisection_can_go_by_the_exit_status() {
        use Outcome::{Clean, Harness, Other, Target};
        assert_eq!(replayed(&[Clean, Target], 1), Exit::Bad);
        assert_eq!(replayed(&[Clean, Clean], 0), Exit::Good);
        assert_eq!(replayed(&[Clean, Other], 0), Exit::Undecided);
        assert_eq!(replayed(&[Harness], 0), Exit::Undecided);
        assert_eq!(replayed(&[], 0), Exit::Undecided);
    }

    #[test]
    fn a_trial_that_tells_nothing_did_not_show_it_again() {
        let hang = Seen {
            title: "INFO: task hung in f".to_owned(),
            signature: "hung_task:f".to_owned(),
        };
        let showed = |outcome| {
            let judged = Judged {
                outcome,
                reason: String::new(),
                known: Vec::new(),
                boot: None,
                others: vec![hang.clone()],
            };
            shows(Outcome::Other, Some(&hang), &judged)
        };
        assert!(showed(Outcome::Other) && showed(Outcome::Target));
        assert!(!showed(Outcome::Harness));
    }
}
