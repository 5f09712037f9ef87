//! Where a trial runs: in this process, on the run's own testbed, or in one of
//! its own, `kvet trial`, on a testbed that it makes. The record is the same.

use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::error::Error;
use crate::process::Command;
use crate::record::{Ending, Part, Trial, read_json, read_trial};
use crate::store::Store;
use crate::testbed::{Setup, Testbed};
use crate::trial::{self, Request};

/// The most that a trial in a process of its own may take: its own deadlines
/// are far below.
const LONGEST: Duration = Duration::from_secs(3600);

/// Where trials run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Executor {
    /// In this process.
    #[default]
    Here,
    /// Each in a process of its own.
    Processes,
}

impl Executor {
    /// Carries out an attempt and returns its facts, which are in `directory`,
    /// too.
    pub(super) async fn run(
        self,
        context: &Context,
        testbed: &Testbed,
        request: &Request,
        directory: &Path,
    ) -> Result<Trial, Error> {
        match self {
            Self::Here => trial::run(context, testbed, request, directory).await,
            Self::Processes => in_a_process(context, request, directory).await,
        }
    }
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
    let ending = Ending::Harness {
        part: Part::Host,
        what,
    };
    let trial = trial::without_guest(request, ending);
    crate::record::keep_trial(directory, &trial)?;
    Ok(trial)
}

/// `kvet trial`: carries out the attempt that a request's file describes, on a
/// testbed of its own, and keeps its files in `directory`.
pub async fn trial_of(
    context: &Context,
    store: &Store,
    request: &Path,
    directory: &Path,
) -> Result<Trial, Error> {
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
