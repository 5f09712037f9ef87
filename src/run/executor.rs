//! Where trials run: in this process on the run's own testbed, in processes of
//! their own, `kvet trial`, or on other hosts. The record is the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::error::Error;
use crate::fleet::{Fleet, GivenUp, Work};
use crate::process::Command;
use crate::record::{
    Ending, Part, Record, RecordError, SelfTest, TRACE, Trial, end_self_test, forget_self_test,
    keep_trial, read_json, read_self_test, read_trial,
};
use crate::store::Store;
use crate::testbed::{Setup, Testbed};
use crate::trace;
use crate::trial::{self, Request, SelfTestRequest};
use crate::trial_id::TrialId;

/// The most that a trial in a process of its own may take: its own deadlines
/// are far below.
const LONGEST: Duration = Duration::from_secs(3600);

/// Where trials run on this host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Executor {
    /// In this process.
    #[default]
    Here,
    /// Each in a process of its own.
    Processes,
}

/// Where a run's trials are carried out.
#[derive(Debug)]
pub(super) enum Place {
    /// On this host, on the run's own testbed.
    Here(Box<Testbed>, Executor),
    /// On others.
    Fleet(Box<Fleet>),
}

/// An attempt that was made.
pub(super) struct Attempted {
    /// Its facts, which are in its directory, too.
    pub(super) trial: Trial,
    /// Why no further trial would tell anything, if none would.
    pub(super) lost: Option<String>,
}

impl Place {
    /// Whether trials run on this host, where those that disturb others must wait
    /// for each other. A host of a fleet sees to that itself.
    pub(super) fn is_here(&self) -> bool {
        matches!(self, Self::Here(..))
    }

    /// How many trials may be under way on other hosts: as many as these are, unless
    /// the next one depends on what the others come to. `None` here, where that is
    /// measured.
    pub(super) fn width(&self, until: bool) -> Option<usize> {
        match self {
            Self::Here(..) => None,
            Self::Fleet(fleet) => Some(fleet.width(until)),
        }
    }

    /// Whether trials share the run's own testbed, so that one that others would
    /// feel needs another.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Here(_, Executor::Here))
    }

    /// Why no further trial would tell anything, if none would.
    pub(super) async fn lost(&self) -> Option<String> {
        match self {
            Self::Here(testbed, _) => trial::lost(testbed).await,
            Self::Fleet(_) => None,
        }
    }

    /// The first attempt of this driver's at a trial, and its directory. One that a
    /// killed driver gave to another host goes on, or has come in meanwhile.
    pub(super) fn begin(
        &self,
        record: &Record,
        id: &TrialId,
    ) -> Result<(u32, PathBuf), RecordError> {
        match self {
            Self::Here(..) => record.begin_attempt(id),
            Self::Fleet(_) => record.open_attempt(id),
        }
    }

    /// Carries out an attempt, here on a lane if there is one. `avoid`: hosts on
    /// which the harness failed earlier ones.
    pub(super) async fn attempt(
        &self,
        context: &Context,
        lane: Option<&Testbed>,
        request: &Request,
        directory: &Path,
        avoid: BTreeSet<String>,
    ) -> Result<Attempted, Error> {
        match self {
            Self::Here(testbed, executor) => {
                let testbed: &Testbed = lane.unwrap_or(testbed.as_ref());
                let trial = match executor {
                    Executor::Here => trial::run(context, testbed, request, directory).await?,
                    Executor::Processes => in_a_process(context, request, directory).await?,
                };
                let lost = trial::settle(context, testbed, request, &trial).await;
                Ok(Attempted { trial, lost })
            }
            Self::Fleet(fleet) => {
                let block = (request.id.workload.clone(), request.id.number);
                let trial = on_a_host(fleet, request, directory, block, avoid).await?;
                Ok(Attempted { trial, lost: None })
            }
        }
    }

    /// Tests an arm's kernel.
    pub(super) async fn self_test(
        &self,
        context: &Context,
        request: &SelfTestRequest,
        directory: &Path,
    ) -> Result<SelfTest, Error> {
        let fleet = match self {
            Self::Here(testbed, _) => {
                return trial::self_test(context, testbed, request, directory).await;
            }
            Self::Fleet(fleet) => fleet,
        };
        std::fs::create_dir_all(directory).map_err(crate::store::io_error("create", directory))?;
        // One that no host could do, before the run was resumed, is not its result.
        forget_self_test(directory)?;
        let work = Work::SelfTest(request.clone());
        let none = BTreeSet::new();
        let kernel = &request.kernel;
        let done = fleet.carry_out(work, kernel, directory, None, none).await?;
        let recorded = read_self_test(directory)?;
        let why = match (done, recorded) {
            (Ok(()), Some(result)) => return Ok(result),
            (Ok(()), None) => "the host recorded nothing".to_owned(),
            (Err(GivenUp(why)), _) => why,
        };
        // Nothing was shown: the arm's detectors count as not armed.
        let result = SelfTest {
            boots: 0,
            first: 1,
            unseen: trial::unseen(&[]),
            not_done: Some(why),
            seconds: 0,
        };
        end_self_test(directory, &result)?;
        Ok(result)
    }

    /// Ends what runs.
    pub(super) async fn close(self) {
        match self {
            Self::Here(testbed, _) => testbed.close().await,
            Self::Fleet(_) => {}
        }
    }
}

/// Has an attempt made by a host of a fleet. If none can, it is one that the
/// harness failed. `block` names the trials that it is compared with.
pub(crate) async fn on_a_host(
    fleet: &Fleet,
    request: &Request,
    directory: &Path,
    block: (String, u32),
    avoid: BTreeSet<String>,
) -> Result<Trial, Error> {
    let work = Work::Trial(Box::new(request.clone()));
    let done = fleet
        .carry_out(work, &request.kernel, directory, Some(block), avoid)
        .await?;
    if let Some(trial) = read_trial(directory)? {
        return Ok(trial);
    }
    let what = match done {
        Err(GivenUp(why)) => why,
        Ok(()) => "the host recorded nothing".to_owned(),
    };
    not_made(request, directory, what)
}

/// Records an attempt that came to nothing because of the host.
fn not_made(request: &Request, directory: &Path, what: String) -> Result<Trial, Error> {
    let ending = Ending::Harness {
        part: Part::Host,
        what,
    };
    let trial = trial::without_guest(request, ending);
    keep_trial(directory, &trial)?;
    Ok(trial)
}

async fn in_a_process(
    context: &Context,
    request: &Request,
    directory: &Path,
) -> Result<Trial, Error> {
    let program = std::env::current_exe().unwrap_or_else(|_| "kvet".into());
    crate::record::keep_request(directory, request)?;
    let ran = Command::new(program)
        .arg("trial")
        .arg(directory.join("request.json"))
        .arg(directory)
        .deadline(LONGEST)
        .run(&context.cancel)
        .await;
    // What it recorded counts, however it ended.
    if let Some(trial) = read_trial(directory)? {
        return Ok(trial);
    }
    let what = match ran {
        Ok(_) => "`kvet trial` recorded nothing".to_owned(),
        Err(error) => {
            let error = Error::from(error);
            if error.exit() == crate::Exit::Interrupted {
                return Err(error);
            }
            error.one_line()
        }
    };
    not_made(request, directory, what)
}

/// `kvet trial`: carries out the attempt that a request's file describes, on a
/// testbed of its own, and keeps its files in `directory`. What it does is traced
/// there, too: the run's file is its driver's.
pub async fn trial_of(
    context: &Context,
    store: &Store,
    request: &Path,
    directory: &Path,
) -> Result<Trial, Error> {
    let _trace = trace::to_file(&directory.join(TRACE), trace::OF_AN_ATTEMPT)?;
    let request: Request = read_json(request)?;
    let setup = Setup {
        service: &request.service,
        logs: &directory.join("cluster"),
        image: request.image.clone(),
        acceleration: request.acceleration,
        kernel: &request.kernel,
    };
    let testbed = Testbed::open(context, store, setup).await?;
    let result = tokio::select! {
        result = trial::run(context, &testbed, &request, directory) => result,
        () = context.cancel.cancelled() => {
            Err(crate::process::ProcessError::Interrupted.into())
        }
    };
    testbed.close().await;
    result
}
