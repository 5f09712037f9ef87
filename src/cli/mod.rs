//! The command line: one file per subcommand, and here what they share: parsing
//! arguments, the runtime, errors and exit codes. Standard output carries data;
//! everything else goes to standard error.

mod batch;
mod bisect;
mod bundle;
pub mod cache;
mod check;
pub mod cluster;
mod compare;
mod doctor;
mod export;
mod generate;
mod history;
mod hosts;
mod interruptions;
mod join;
mod judge;
mod list;
mod new;
mod output;
mod patched;
mod plan;
mod plan_text;
mod report;
mod run;
pub mod scan;
mod scan_text;
mod schema;
mod shell;
mod trial;
mod watch;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use miette::Diagnostic;

use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::EventSink;
use crate::job::{Choice, Plan};
use crate::library::Places;
use crate::report::{Progress, Told, is_dumb};
use crate::store::Store;
use interruptions::Interruptions;

/// Vets kernel patches: builds the kernels of an experiment, boots each in QEMU
/// against a Ceph cluster, drives a workload, reads what the kernels say, and
/// answers with evidence.
#[derive(Debug, Parser)]
#[command(name = "kvet", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    /// Tell on standard error what kvet does itself (twice: all of it)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Tell nothing of what goes on but warnings
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Subcommands,
}

/// As much stack as the first thread has: some commands run on another.
const STACK: usize = 8 << 20;

const EXIT_CODES: &str = "\
Exit codes: 0 good, every arm as expected; 1 bad, the kernel misbehaved; \
125 undecided; 128 usage, job or host error; 130 interrupted. \
They suit `git bisect run` as they are.";

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run a job: build its kernels, try them, and give the verdict
    Run(run::Arguments),
    /// Run a job on the series that a mail is of, and print what `b4 review` shows
    Check(check::Arguments),
    /// Run a job on a kernel tree again whenever a file of it is saved
    Watch(watch::Arguments),
    /// Tell in which parts machines can share a run, for CI services
    Plan(plan::Arguments),
    /// Make one run of its parts, and give the verdict
    Join(join::Arguments),
    /// Find the commit, release, patch or option that brought or cured a bug
    Bisect(bisect::Arguments),
    /// Make a job of one's own, with a comment on each of its keys
    New(new::Arguments),
    /// List jobs, workloads, patch series or Kconfig fragments, and what each is for
    List(list::Arguments),
    /// Write a patch series as mails, for `git send-email`
    Export(export::Arguments),
    /// Give the verdict again from what a run recorded, with today's rules
    Judge(judge::Arguments),
    /// Print a run's report in one of several formats
    Report(report::Arguments),
    /// Show what runs came to over time: rates, findings, trends
    History(history::Arguments),
    /// Show what is different in a second run
    Compare(compare::Arguments),
    /// Pack a trial for others: its kernel and all it takes to see it again
    Bundle(bundle::Arguments),
    /// Carry out a bundle's trial again, on its kernel or another
    Replay(bundle::ReplayArguments),
    /// Boot an arm's kernel in the same guest, with a shell on the console
    Shell(shell::Arguments),
    /// Find findings in any kernel log
    Scan(scan::ScanArgs),
    /// Start, watch and stop a job's cluster by hand
    Cluster(cluster::ClusterArgs),
    /// List or prune what kvet keeps between runs
    Cache(cache::CacheArgs),
    /// Tell what this host lacks, and mend it
    Doctor(doctor::Arguments),
    /// Print the JSON schema of job files, for editors
    Schema(schema::Arguments),
    /// Print what a shell reads to complete kvet's arguments
    Completions(generate::CompletionArguments),
    /// Write the manual pages
    Man(generate::ManArguments),
    /// Run one attempt at a trial, for drivers
    #[command(hide = true)]
    Trial(trial::Arguments),
    /// Do a host's part of a run, for drivers
    #[command(hide = true)]
    Batch(batch::Arguments),
}

/// Parses the arguments and runs the subcommand they name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; anything else is a usage error.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Good
            };
            output::usage(&error);
            return exit.code().into();
        }
    };
    guarded(|| carried_out(arguments))
}

/// What a command ends with. A defect of kvet's own says nothing of a kernel: the
/// code that a panic ends with otherwise, 101, is a bad one to `git bisect run`.
fn guarded(command: impl FnOnce() -> ExitCode) -> ExitCode {
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(command));
    ended.unwrap_or_else(|_| Exit::Usage.code().into())
}

fn carried_out(arguments: Arguments) -> ExitCode {
    crate::trace::listen(arguments.verbose);
    // The parent-death signal of every child follows this one thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(carry_out(arguments.command, told(arguments.quiet)));
            // A thread that is still unpacking or hashing is not waited for.
            runtime.shutdown_background();
            result
        }
        Err(source) => Err(output::RuntimeError { source }.into()),
    };
    match result {
        Ok(exit) => exit.code().into(),
        Err(error) => {
            output::complain(&error);
            error.exit().code().into()
        }
    }
}

/// kvet was asked to stop while it read or wrote something.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("interrupted")]
struct Interrupted;

impl Fault for Interrupted {
    fn exit(&self) -> Exit {
        Exit::Interrupted
    }
}

/// Does what cannot be awaited, such as reading a file that is a FIFO or
/// printing into a pipe that nobody reads, on a thread of its own: an
/// interruption ends the wait for it at once, and with it kvet.
async fn on_a_thread<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let working = tokio::task::spawn_blocking(work);
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(Interrupted.into()),
        done = working => match done.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(result) => result,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => Err(Interrupted.into()),
        },
    }
}

/// Reads a job, a file or one of the library's by name, and looks up what it
/// names.
async fn load_plan(context: &Context, job: PathBuf, choice: Choice) -> Result<Plan, Error> {
    let places = Places::of_the_user(&Store::open()?).await?;
    let load = move || {
        let job = crate::job::find(&job, &places)?;
        Ok(Plan::load(&job, &Choice { places, ..choice })?)
    };
    on_a_thread(context, load).await
}

/// Opens the user's cache, and removes what killed processes left half made.
async fn open_store(context: &Context) -> Result<Store, Error> {
    let open = || {
        let store = Store::open()?;
        store.reclaim()?;
        Ok(store)
    };
    on_a_thread(context, open).await
}

/// How much is told of what goes on.
fn told(quiet: bool) -> Told {
    let dumb = is_dumb(std::env::var_os("TERM").as_deref());
    match (quiet, std::io::stderr().is_terminal() && !dumb) {
        (true, _) => Told::Quiet,
        (false, true) => Told::Bars,
        (false, false) => Told::Lines,
    }
}

/// Runs a subcommand, tells what happens, and listens for Ctrl-C.
async fn carry_out(command: Subcommands, told: Told) -> Result<Exit, Error> {
    // First of all: until then a signal ends kvet in its own way.
    let interruptions = Interruptions::listen();
    let (events, mut receiver) = EventSink::channel();
    let context = Context {
        events,
        ..Context::default()
    };
    let mut progress = Progress::new(told);
    let telling = async {
        let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
        seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = receiver.recv() => match event {
                    Some(event) => progress.show(&event.event),
                    None => break,
                },
                _ = seconds.tick() => progress.tick(),
            }
        }
    };
    let cancel = context.cancel.clone();
    let listening = async {
        let Some(mut interruptions) = interruptions else {
            return std::future::pending().await;
        };
        interruptions.next().await;
        cancel.cancel();
        // Who asks twice does not want to wait for an orderly end: everything
        // is dropped, which kills what runs.
        interruptions.next().await;
    };
    let working = dispatch(command, context);
    tokio::select! {
        // The sender goes with the context, so telling ends after the
        // work, with everything told.
        (result, ()) = async { tokio::join!(working, telling) } => result,
        () = listening => Ok(Exit::Interrupted),
    }
}

async fn dispatch(command: Subcommands, context: Context) -> Result<Exit, Error> {
    match command {
        Subcommands::Run(arguments) => run::run(arguments, &context).await,
        Subcommands::Check(arguments) => check::check(arguments, &context).await,
        Subcommands::Watch(arguments) => watch::watch(arguments, &context).await,
        Subcommands::Plan(arguments) => plan::plan(arguments, &context).await,
        Subcommands::Join(arguments) => join::run(arguments, &context).await,
        Subcommands::Bisect(arguments) => bisect::run(arguments, &context).await,
        Subcommands::New(arguments) => new::new(arguments, &context).await,
        Subcommands::List(arguments) => list::list(arguments, &context).await,
        Subcommands::Export(arguments) => export::export(arguments, &context).await,
        Subcommands::Judge(arguments) => {
            on_a_thread(&context, move || judge::judge(&arguments)).await
        }
        Subcommands::Report(arguments) => {
            on_a_thread(&context, move || report::report(&arguments)).await
        }
        Subcommands::History(arguments) => {
            on_a_thread(&context, move || history::history(&arguments)).await
        }
        Subcommands::Compare(arguments) => {
            on_a_thread(&context, move || compare::compare(&arguments)).await
        }
        Subcommands::Bundle(arguments) => bundle::bundle(arguments, &context).await,
        Subcommands::Replay(arguments) => bundle::replay(arguments, &context).await,
        Subcommands::Shell(arguments) => shell::shell(arguments, &context).await,
        Subcommands::Scan(arguments) => {
            let scan = move || {
                let mut out = std::io::stdout().lock();
                scan::scan(&arguments, &mut out, &mut remark)
            };
            on_a_thread(&context, scan).await
        }
        Subcommands::Cluster(arguments) => {
            cluster::run(arguments, &context, &mut std::io::stdout()).await
        }
        Subcommands::Cache(arguments) => {
            on_a_thread(&context, move || cache::run(&arguments)).await
        }
        Subcommands::Doctor(arguments) => doctor::doctor(arguments, &context).await,
        Subcommands::Schema(arguments) => schema::schema(arguments, &context).await,
        Subcommands::Completions(arguments) => {
            on_a_thread(&context, move || generate::completions(&arguments)).await
        }
        Subcommands::Man(arguments) => {
            on_a_thread(&context, move || generate::man(&arguments)).await
        }
        Subcommands::Trial(arguments) => trial::trial(&arguments, &context).await,
        Subcommands::Batch(arguments) => batch::batch(&arguments, &context).await,
    }
}

/// Says what a scan has to say besides its findings.
fn remark(remark: scan::Remark<'_>) {
    match remark {
        scan::Remark::Failure(error) => output::complain(error),
        scan::Remark::Note(text) => output::note("note", &text),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_of_all_commands_fit_together() {
        super::Arguments::command().debug_assert();
    }

    #[test]
    fn a_defect_of_kvet_s_own_is_no_bad_kernel() {
        let ended = super::guarded(|| panic!("a defect"));
        let usage = std::process::ExitCode::from(super::Exit::Usage.code());
        assert_eq!(format!("{ended:?}"), format!("{usage:?}"));
    }
}
