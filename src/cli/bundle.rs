//! `kvet bundle RUN`, and `kvet replay BUNDLE`, which a bundle's `repro.sh` runs

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::history::find_run;
use super::output::print;
use super::{on_a_thread, open_store};
use crate::bundle::{self, Choice, Extra, Run};
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::job::MOST_TRIALS;
use crate::outcome::Outcome;
use crate::printable::printable;
use crate::record::Record;
use crate::run::{Replay, Replayed, replay as carry_out, report_of};
use crate::verdict::Judged;
use crate::vm::Acceleration;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run: its directory, its id, the beginning or the end of that, or `latest`
    run: PathBuf,
    /// The trial, as ARM/WORKLOAD/NUMBER [default: the one that tells most]
    #[arg(long, value_name = "ID")]
    trial: Option<String>,
    /// Where it goes: an archive if it ends in .tar.gz, a directory otherwise
    /// [default: JOB-ARM-WORKLOAD-NUMBER.tar.gz]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Pack this, too (may be repeated)
    #[arg(long = "with", value_enum, value_name = "WHAT")]
    extras: Vec<Extra>,
}

pub(super) async fn bundle(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let store = open_store(context).await?;
    let run = on_a_thread(context, move || {
        let (record, beginning) = Record::open(&find_run(&arguments.run)?)?;
        let (report, _) = report_of(&record, &beginning)?;
        Ok(Run {
            record,
            beginning,
            report,
        })
    });
    let run = run.await?;
    let choice = Choice {
        trial: arguments.trial,
        out: arguments.out,
        extras: arguments.extras,
    };
    let made = bundle::make(context, &store, &run, &choice).await?;
    let mut text = format!(
        "{}: {}, {}",
        made.path.display(),
        made.trial,
        made.outcome.name()
    );
    if !made.reason.is_empty() {
        text = format!("{text} ({})", made.reason);
    }
    print(&format!("{}\n", printable(&text)))?;
    Ok(Exit::Good)
}

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// The unpacked bundle
    bundle: PathBuf,
    /// Another kernel: a bzImage or a built tree [default: the bundle's]
    kernel: Option<PathBuf>,
    /// That kernel's .config [default: what lies beside it]
    #[arg(long, value_name = "FILE", requires = "kernel")]
    config: Option<PathBuf>,
    /// How many trials
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_TRIALS)))]
    trials: u32,
    /// What runs the guest
    #[arg(long, value_enum)]
    accel: Option<Acceleration>,
    /// The run directory [default: kvet-repro-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn replay(arguments: ReplayArguments, context: &Context) -> Result<Exit, Error> {
    let out = arguments.out.unwrap_or_else(|| {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        PathBuf::from(format!("kvet-repro-{now}"))
    });
    let asked = Replay {
        bundle: arguments.bundle,
        kernel: arguments.kernel,
        config: arguments.config,
        trials: arguments.trials,
        acceleration: arguments.accel,
        out,
    };
    let done = carry_out(context, &asked).await?;
    print(&told(&done))?;
    Ok(done.exit())
}

/// What came of it, in a few lines.
fn told(done: &Replayed) -> String {
    let of = |judged: &Judged| {
        let name = judged.outcome.name();
        if judged.reason.is_empty() {
            return name.to_owned();
        }
        format!("{name}: {}", printable(&judged.reason))
    };
    let mut text = format!("then: {}\n", of(&done.then));
    for judged in &done.trials {
        let release = printable(&done.release);
        let _ = writeln!(text, "now:  {} (Linux {release})", of(judged));
    }
    let all = done.trials.len();
    let what = match done.then.outcome {
        Outcome::Clean | Outcome::Harness | Outcome::Unarmed => "the bug",
        _ => "it again",
    };
    let _ = writeln!(text, "{} of {all} trials showed {what}", done.showed);
    text
}
