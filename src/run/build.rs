//! The building half of a run: each arm's kernel, one after the other or on other
//! hosts side by side, handed on as soon as it is there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OnceCell, mpsc};

use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::Event;
use crate::fleet::{Builders, FleetOptions};
use crate::job::{Arm, Plan};
use crate::kernel::{self, KernelImage, KernelVersion, Sources};
use crate::record::{Broken, KernelFacts, Record};
use crate::store::Store;

/// An arm whose kernel is there.
pub(super) struct Ready {
    pub(super) arm: Arm,
    pub(super) image: Rc<KernelImage>,
    /// Set once the first of its trials has had the kernel tested.
    pub(super) tested: Rc<OnceCell<()>>,
}

/// Makes each arm's kernel and hands it on. An arm that cannot be made is
/// recorded as broken; the others go on.
pub(super) async fn build_arms(
    context: &Context,
    store: &Store,
    plan: &Plan,
    record: &Record,
    fleet: Option<&FleetOptions>,
    ready: mpsc::UnboundedSender<Ready>,
) -> Result<(), Error> {
    let mut sources = Sources::pinned(context, store, &plan.snapshots).await?;
    for arm in plan.arms.iter().filter(|arm| arm.added) {
        let tree = sources.tree(context, store, &arm.recipe.source).await?;
        let series = arm.recipe.select(&tree.version)?;
        kernel::applies(context, &tree, &series).await?;
    }
    let instrumented = if plan.coverage {
        instrumented(context, store, &mut sources, plan).await?
    } else {
        BTreeSet::new()
    };
    let mut arms = plan.arms.clone();
    for arm in &mut arms {
        arm.recipe.instrumented.extend(instrumented.iter().cloned());
    }
    let keep = Keep {
        context,
        plan,
        record,
        ready,
    };
    let Some(fleet) = fleet else {
        for arm in &arms {
            let made = kernel(context, store, &mut sources, arm).await;
            if !keep.made(arm, made)? {
                return Ok(());
            }
        }
        return Ok(());
    };
    on_hosts(context, store, &mut sources, fleet, &arms, &keep).await
}

/// Has hosts make the kernels of all arms, side by side.
async fn on_hosts(
    context: &Context,
    store: &Store,
    sources: &mut Sources,
    fleet: &FleetOptions,
    arms: &[Arm],
    keep: &Keep<'_>,
) -> Result<(), Error> {
    let mut trees = Vec::new();
    for arm in arms {
        trees.push(sources.tree(context, store, &arm.recipe.source).await);
    }
    let builders = Builders::open(fleet)?;
    let mut building: FuturesUnordered<_> = arms
        .iter()
        .zip(trees)
        .map(|(arm, tree)| {
            let builders = &builders;
            async move {
                let made = async {
                    let tree = tree?;
                    let image = builders.make(context, store, &tree, &arm.recipe).await?;
                    Ok((image, tree.version))
                };
                (arm, made.await)
            }
        })
        .collect();
    let mut result = Ok(());
    while let Some((arm, made)) = building.next().await {
        match keep.made(arm, made) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    drop(building);
    builders.close().await;
    result
}

/// What becomes of an arm's kernel.
struct Keep<'a> {
    context: &'a Context,
    plan: &'a Plan,
    record: &'a Record,
    ready: mpsc::UnboundedSender<Ready>,
}

impl Keep<'_> {
    /// Records a kernel that was made, or why there is none, and hands it on. `false`
    /// if nobody wants any more.
    fn made(
        &self,
        arm: &Arm,
        made: Result<(KernelImage, KernelVersion), Error>,
    ) -> Result<bool, Error> {
        let Self {
            context,
            plan,
            record,
            ready,
        } = self;
        match made {
            Ok((image, version)) => {
                let left_out = plan.too_new(arm, &version);
                let facts = facts(&image, &left_out);
                keep(record, arm, &facts, &image)?;
                record.mended(&arm.name)?;
                if plan.dump {
                    record.vmlinux(&arm.name, &image.vmlinux)?;
                }
                let arm = Ready {
                    arm: arm.without(&left_out),
                    image: Rc::new(image),
                    tested: Rc::default(),
                };
                // If nobody takes it the trials ended early; their error says why.
                Ok(ready.send(arm).is_ok())
            }
            Err(error) if error.exit() == Exit::Undecided => {
                let message = error.one_line();
                context.emit(Event::Warning(format!(
                    "{} has no kernel: {message}",
                    arm.name
                )));
                let help = error.help();
                record.broken(&arm.name, &Broken { message, help })?;
                Ok(true)
            }
            // A mistake of the job or the host: nothing after it would be right.
            Err(error) => Err(error),
        }
    }
}

/// A resumed run's kernel is not the one that its trials had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the kernel of {arm} is not the one that the run began with: its source has changed")]
#[diagnostic(help("put the source back as it was, or begin another run"))]
struct AnotherKernel {
    arm: String,
}

impl Fault for AnotherKernel {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Keeps what an arm's kernel is made from; a resumed run has it.
fn keep(record: &Record, arm: &Arm, facts: &KernelFacts, image: &KernelImage) -> Result<(), Error> {
    match record.kernel_facts(&arm.name)? {
        None => {
            record.kernel(&arm.name, facts, &image.config, &image.log)?;
            if let Some(counters) = &image.counters {
                record.changed(&arm.name, &counters.changed)?;
            }
            Ok(())
        }
        Some(before) if before.key == facts.key => Ok(()),
        Some(_) => Err(AnotherKernel {
            arm: arm.name.clone(),
        }
        .into()),
    }
}

/// The files in which lines are counted, in every arm alike: those that any of
/// them patches. An arm that has no patches for its kernel says so when its
/// turn comes.
async fn instrumented(
    context: &Context,
    store: &Store,
    sources: &mut Sources,
    plan: &Plan,
) -> Result<BTreeSet<PathBuf>, Error> {
    let mut files = BTreeSet::new();
    for arm in &plan.arms {
        let tree = sources.tree(context, store, &arm.recipe.source).await?;
        if let Ok(series) = arm.recipe.select(&tree.version) {
            files.extend(kernel::sources_of(&series));
        }
    }
    Ok(files)
}

/// Makes one arm's kernel, or finds it in the store; and its version.
pub(crate) async fn kernel(
    context: &Context,
    store: &Store,
    sources: &mut Sources,
    arm: &Arm,
) -> Result<(KernelImage, KernelVersion), Error> {
    let tree = sources.tree(context, store, &arm.recipe.source).await?;
    let image = kernel::make_from(context, store, &tree, &arm.recipe).await?;
    Ok((image, tree.version))
}

pub(crate) fn facts(image: &KernelImage, left_out: &[String]) -> KernelFacts {
    KernelFacts {
        release: image.release.clone(),
        origin: image.record.source.clone(),
        key: image.key.as_str().to_owned(),
        cached: image.cached,
        patches: image
            .record
            .patches
            .iter()
            .map(|patch| (patch.name.clone(), patch.sha256.clone()))
            .collect(),
        left_out: left_out.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostFacts;
    use crate::job::Choice;
    use crate::kernel::{BuildRecord, ConfigError};
    use crate::store::{Key, StoreError, write_json};

    const JOB: &str = "\
name: j
kernel: { source: { dir: /linux }, config: [base] }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 1
arms:
  stock: { control: true }
";

    fn plan(home: &std::path::Path) -> Plan {
        std::fs::create_dir_all(home.join("kconfigs")).unwrap();
        std::fs::write(home.join("kconfigs/base.config"), "").unwrap();
        std::fs::write(home.join("job.yaml"), JOB).unwrap();
        Plan::load(&home.join("job.yaml"), &Choice::default()).unwrap()
    }

    /// A kernel of a few bytes in the store.
    async fn image(store: &Store) -> KernelImage {
        let key = Key::of(["kernel"]);
        let fill = async |place: PathBuf| {
            for name in ["bzImage", "vmlinux", "config", "System.map", "build.log"] {
                std::fs::write(place.join(name), name).unwrap();
            }
            let record = BuildRecord {
                release: "7.3.4".to_owned(),
                source: "dir".to_owned(),
                patches: Vec::new(),
                fragments: Vec::new(),
                compiler: String::new(),
                objects_compiled: 0,
                objects_total: 0,
                elapsed_ms: 0,
                files: [].into(),
            };
            write_json(&place.join("build.json"), &record)
        };
        let filled = store.fill::<StoreError, _, _>("builds", key.as_str(), fill);
        filled.await.unwrap();
        kernel::built(store, &key).await.unwrap()
    }

    #[tokio::test]
    async fn a_kernel_that_is_there_ends_what_was_said_of_its_absence() {
        let home = tempfile::tempdir().unwrap();
        let mut plan = plan(home.path());
        plan.dump = true;
        let store = Store::at(home.path().join("cache")).unwrap();
        let started = jiff::Timestamp::UNIX_EPOCH;
        let host = HostFacts::default();
        let record = Record::create(&home.path().join("run"), &plan, &host, started).unwrap();
        let (ready, mut handed_on) = mpsc::unbounded_channel();
        let keep = Keep {
            context: &Context::default(),
            plan: &plan,
            record: &record,
            ready,
        };
        let arm = &plan.arms[0];
        let version: KernelVersion = "7.3.4".parse().unwrap();
        // As often as the run is resumed.
        for _ in 0..2 {
            let lost = ConfigError::Lost {
                version: "7.3.4".to_owned(),
                lost: vec!["CONFIG_CEPH=y came out as n".to_owned()],
            };
            assert!(keep.made(arm, Err(lost.into())).unwrap());
            let why = record.why_broken("stock").unwrap().unwrap();
            assert!(
                why.message
                    .starts_with("kernel 7.3.4 cannot be configured as asked:")
                    && why.message.ends_with("CONFIG_CEPH=y came out as n"),
                "{why:?}"
            );
            let help = why.help.unwrap();
            assert!(
                help.starts_with("add what is needed to a fragment"),
                "{help}"
            );
            let image = image(&store).await;
            let vmlinux = image.vmlinux.clone();
            assert!(keep.made(arm, Ok((image, version.clone()))).unwrap());
            assert!(handed_on.try_recv().is_ok());
            assert_eq!(record.why_broken("stock").unwrap(), None);
            assert!(record.kernel_facts("stock").unwrap().is_some());
            assert_eq!(std::fs::read_to_string(vmlinux).unwrap(), "vmlinux");
        }
    }
}
