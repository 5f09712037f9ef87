//! `kvet plan JOB`: in which parts a run can be shared by several machines, in the
//! form that a CI service takes. The verdict comes from `kvet join`, which has
//! them all.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use miette::Diagnostic;
use thiserror::Error;

use super::output::print;
use super::plan_text::{self, Row, Shared};
use super::run::NewsArguments;
use super::{load_plan, on_a_thread, open_store, patched};
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::Event;
use crate::job::Confidence;
use crate::job::{Choice, MOST_PARTS, MOST_TRIALS, Plan};
use crate::kernel::SourceSpec;
use crate::kernel::source::Extent;
use crate::run::{pin_sources, question_key, sources};
use crate::tested::Tested;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job: a file, or the name of one that comes with kvet (`kvet list jobs`)
    job: PathBuf,
    /// Form of the plan on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How many parts, at most [default: one for each kernel]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PARTS)))]
    parts: Option<u32>,
    /// A run on each of these kernels, as --kernel takes them: `longterm,latest-stable`
    #[arg(
        long,
        value_name = "KERNELS",
        value_delimiter = ',',
        conflicts_with = "kernel"
    )]
    kernels: Vec<String>,
    #[command(flatten)]
    news: NewsArguments,
    /// Only this arm (may be repeated)
    #[arg(long = "arm", value_name = "NAME")]
    arms: Vec<String>,
    /// Only this workload (may be repeated)
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<String>,
    /// Trials of each arm and workload, instead of the job's; at most, with --until
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_TRIALS)))]
    trials: Option<u32>,
    /// Go on until the verdict is this sure, such as 95%: always one part
    #[arg(long, value_name = "CONFIDENCE")]
    until: Option<Confidence>,
    #[command(flatten)]
    tested: patched::Tested,
    /// The file with the jobs' templates that GitLab's pipeline includes
    #[arg(long, value_name = "FILE", default_value = "kvet-child.yml")]
    include: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text
    #[default]
    Text,
    /// JSON
    Json,
    /// Outputs of a GitHub Actions step: a matrix of parts, and the runs' names
    Github,
    /// A child pipeline of GitLab's
    Gitlab,
}

/// A word cannot be handed on to a CI service.
#[derive(Debug, Error, Diagnostic)]
#[error("`{word}` cannot be handed on in a plan")]
#[diagnostic(help(
    "the words of a plan pass through shells: letters, digits and - _ + . , / : @ = ~ % # ^ \
     serve; say the rest in the job"
))]
struct Unfit {
    word: String,
}

impl Fault for Unfit {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(super) async fn plan(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let store = open_store(context).await?;
    let kernels = if arguments.kernels.is_empty() {
        vec![None]
    } else {
        arguments.kernels.iter().cloned().map(Some).collect()
    };
    let mut shared: Vec<Shared> = Vec::new();
    for kernel in kernels {
        let mut tested = arguments.tested.clone();
        tested.kernel = kernel.or(tested.kernel);
        let mut plan = one_plan(&arguments, tested, context).await?;
        plan.can_settle()?;
        // What runs at different times on different machines is to be of one
        // kernel, so what moves is pinned here.
        pin_sources(context, &store, &mut plan, Extent::All).await?;
        plan.question = Some(question_key(context, &store, &mut plan).await?);
        let mut run = Shared {
            group: group(&plan, &shared),
            question: plan.question.clone(),
            sources: sources(&plan),
            answer: None,
            parts: Vec::new(),
        };
        if arguments.news.if_new {
            run.answer = answered(context, &plan)?.filter(|_| !arguments.news.force);
        }
        if run.answer.is_none() {
            let words = words(&arguments, &plan, context)?;
            let wanted = arguments.parts.unwrap_or_else(|| plan.natural_parts());
            if wanted > 1
                && let Some(why) = plan.indivisible()
            {
                context.emit(Event::Note(format!("one part: {why}")));
            }
            run.parts = plan
                .parts(wanted)
                .iter()
                .filter_map(|part| Row::of(part, &words))
                .collect();
        }
        shared.push(run);
    }
    let rows: usize = shared.iter().map(|run| run.parts.len()).sum();
    if rows > MOST_PARTS as usize {
        context.emit(Event::Warning(format!(
            "{rows} parts in all: a matrix of GitHub's takes {MOST_PARTS}; --parts makes fewer"
        )));
    }
    let job = arguments.job.display().to_string();
    fit(&job)?;
    let text = match arguments.format {
        Format::Text => plan_text::text(&job, &shared),
        Format::Json => plan_text::json(&job, &shared),
        Format::Github => plan_text::github(&shared),
        Format::Gitlab => plan_text::gitlab(&job, &arguments.include, &shared),
    };
    on_a_thread(context, move || {
        print(&text)?;
        Ok(Exit::Good)
    })
    .await
}

async fn one_plan(
    arguments: &Arguments,
    tested: patched::Tested,
    context: &Context,
) -> Result<Plan, Error> {
    let choice = Choice {
        arms: arguments.arms.clone(),
        workloads: arguments.workloads.clone(),
        trials: arguments.trials,
        until: arguments.until,
        ..tested.choice(context).await?
    };
    load_plan(context, arguments.job.clone(), choice).await
}

/// What was answered to the plan's question, if that settles it.
fn answered(context: &Context, plan: &Plan) -> Result<Option<crate::tested::Answer>, Error> {
    let tested = Tested::open(context, &plan.name)?;
    let answer = plan.question.as_ref().and_then(|key| tested.answer(key));
    Ok(answer.filter(|answer| answer.settles()).cloned())
}

/// A name for one run of several, of its kernel: letters, digits, `-` and `.`.
fn group(plan: &Plan, others: &[Shared]) -> String {
    let source = sources(plan).into_iter().next().unwrap_or_default();
    let end = source.rsplit('/').next().unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let name: String = end
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .take(60)
        .collect();
    let name = name.trim_matches(['.', '-']);
    let name = if name.is_empty() { "kernel" } else { name };
    let taken = |name: &str| others.iter().any(|other| other.group == name);
    let mut all = std::iter::once(name.to_owned()).chain((2..).map(|at| format!("{name}-{at}")));
    all.find(|name| !taken(name)).unwrap_or_default()
}

/// The arguments that `kvet run` takes for a part of this plan, but for `--part`.
fn words(arguments: &Arguments, plan: &Plan, context: &Context) -> Result<Vec<String>, Unfit> {
    let mut words = Vec::new();
    let mut add = |flag: &str, value: String| {
        words.push(flag.to_owned());
        words.push(value);
    };
    let mut all: Vec<&SourceSpec> = plan.arms.iter().map(|arm| &arm.recipe.source).collect();
    all.dedup();
    match all.as_slice() {
        [one] => add("--kernel", one.word()),
        _ => context.emit(Event::Note(
            "the arms have several sources, which each part looks up itself: say versions or \
             commits in the job"
                .to_owned(),
        )),
    }
    for arm in &arguments.arms {
        add("--arm", arm.clone());
    }
    for workload in &arguments.workloads {
        add("--workload", workload.clone());
    }
    if let Some(trials) = arguments.trials {
        add("--trials", trials.to_string());
    }
    if let Some(until) = arguments.until {
        add("--until", until.to_string().replace(' ', ""));
    }
    for (flag, value) in arguments.tested.words() {
        add(flag, value);
    }
    if arguments.tested.coverage {
        words.push("--coverage".to_owned());
    }
    words.iter().try_for_each(|word| fit(word))?;
    Ok(words)
}

/// Refuses a word that a shell would take for more than one word, or for another.
fn fit(word: &str) -> Result<(), Unfit> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+.,/:@=~%#^".contains(c);
    let fits = !word.is_empty() && !word.starts_with(['~', '#']) && word.chars().all(plain);
    // Standard input is somebody else's elsewhere.
    if fits && word != "-" {
        return Ok(());
    }
    Err(Unfit {
        word: word.to_owned(),
    })
}
