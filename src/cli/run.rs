//! `kvet run JOB`

use std::path::PathBuf;

use clap::Args;

use super::output::{Format, print, print_json, style};
use super::{load_plan, on_a_thread, open_store, patched};
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::host::{self, Lack, SetupError};
use crate::job::{Choice, MOST_TRIALS, Plan};
use crate::kernel::SourceSpec;
use crate::library::Places;
use crate::printable::printable_lines;
use crate::report::human;
use crate::run::{Executor, Options, run as carry_out};
use crate::verdict::Confidence;

/// Trials at a time. Each is a machine with memory of its own.
const MOST_JOBS: i64 = 256;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job: a file, or the name of one that comes with kvet (`kvet list jobs`)
    job: PathBuf,
    /// Run only this arm (may be repeated)
    #[arg(long = "arm", value_name = "NAME")]
    arms: Vec<String>,
    /// Run only this workload (may be repeated)
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<String>,
    /// Trials of each arm and workload, instead of the job's; at most, with --until
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_TRIALS)))]
    trials: Option<u32>,
    /// Go on until the verdict is this sure, such as 95%
    #[arg(long, value_name = "CONFIDENCE")]
    until: Option<Confidence>,
    /// The kernel to test instead of the job's: a version, a directory, ...
    ///
    /// One of: a version, such as 7.3.4, whose source Debian has;
    /// debian:PACKAGE[=VERSION][/SUITE]; kernel.org:VERSION, a release; an
    /// archive, such as linux.tar.xz or `https://...#sha256=DIGEST`; a directory,
    /// `.` being the tree you are in with all that is not committed; or
    /// git:REPOSITORY@REF.
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<String>,
    #[command(flatten)]
    patched: patched::PatchArguments,
    /// Trials at a time [default: the number of CPUs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_JOBS))]
    jobs: Option<u16>,
    /// Where trials run, for tests of kvet itself
    #[arg(long, hide = true, default_value = "here")]
    executor: Executor,
    /// Install what the host lacks first
    #[arg(long)]
    setup: bool,
    /// Print the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The run directory [default: kvet-runs/JOB-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let kernel = arguments.kernel;
    let named = move || match kernel {
        Some(word) => Ok(Some(SourceSpec::from_word(&word)?)),
        None => Ok(None),
    };
    let source = on_a_thread(context, named).await?;
    let choice = Choice {
        patched: patched::series(arguments.patched, source.as_ref(), context).await?,
        places: Places::default(),
        arms: arguments.arms,
        workloads: arguments.workloads,
        trials: arguments.trials,
        until: arguments.until,
        source,
    };
    let plan = load_plan(context, arguments.job, choice).await?;
    plan.can_settle()?;
    let format = arguments.format;
    if arguments.dry_run {
        let tell = move || {
            match format {
                Format::Human => print(&printable_lines(&plan.to_string()))?,
                Format::Json => print_json(&plan)?,
            }
            Ok(Exit::Good)
        };
        return on_a_thread(context, tell).await;
    }
    let store = open_store(context).await?;
    prepare_host(context, &plan, arguments.setup).await?;
    let out = arguments.out.unwrap_or_else(|| {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        PathBuf::from("kvet-runs").join(format!("{}-{now}", plan.name))
    });
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        jobs: arguments.jobs.map_or(cpus, usize::from),
        out,
        executor: arguments.executor,
    };
    let report = carry_out(context, &store, &plan, &options).await?;
    context.emit(Event::Note(format!(
        "the run is recorded in {}",
        options.out.display()
    )));
    let tell = move || {
        match format {
            Format::Human => print(&human(&report, style()))?,
            Format::Json => print_json(&report)?,
        }
        Ok(report.verdict.kind.exit())
    };
    on_a_thread(context, tell).await
}

/// Sees that the host has what a run needs, installing it if that was asked.
async fn prepare_host(context: &Context, plan: &Plan, setup: bool) -> Result<(), Error> {
    let mut checks = host::checks(&plan.service, &plan.rootfs).await;
    let packages = host::missing_packages(&checks);
    if !packages.is_empty() {
        if !setup {
            let missing = checks
                .iter()
                .filter(|check| matches!(check.lack, Some(Lack::Package(_))))
                .map(|check| check.what.clone())
                .collect();
            return Err(SetupError::Missing {
                missing,
                packages: packages.join(" "),
            }
            .into());
        }
        host::install(context, &packages).await?;
        checks = host::checks(&plan.service, &plan.rootfs).await;
    }
    for check in checks {
        match check.lack {
            None => {}
            Some(Lack::Package(package)) => {
                return Err(SetupError::Unfit {
                    what: check.what,
                    problem: format!("it is missing although {package} is installed"),
                    advice: "see that PATH leads to it".to_owned(),
                }
                .into());
            }
            Some(Lack::Other { problem, advice }) => {
                return Err(SetupError::Unfit {
                    what: check.what,
                    problem,
                    advice,
                }
                .into());
            }
        }
    }
    Ok(())
}
