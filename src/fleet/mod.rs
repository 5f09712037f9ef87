//! Trials on other hosts: of a Slurm cluster, or over ssh. kvet is no scheduler;
//! it uses the one that is there.
//!
//! The driver builds kernels and image once and hands out items (an attempt at a
//! trial, a self-test); a host makes a testbed of its own beside its guests and
//! sends back an attempt's directory, which is moved into the record exactly
//! once. A host that dies, hangs, fills up or lacks something costs its items
//! another journey and is left out by name.
//!
//! `ledger` decides who gets what (pure), `merge` is a result's way into the
//! record, `worker` the host's side. `slurm` goes through a shared directory
//! (`spool`), `session` over a pipe (`wire`) to whatever `reach` leads to: `ssh`, or
//! `srun` where no directory is shared; `connection` is what these give, and `apart`
//! drives such a run. `builds` has hosts make the kernels, too
//! (`builder` is their side). docs/scale.md says what bounds it.

mod apart;
mod batch;
mod builder;
mod builds;
mod connection;
mod error;
mod inputs;
mod later;
mod ledger;
mod merge;
mod on;
mod reach;
mod session;
mod slurm;
mod spool;
mod srun;
mod ssh;
mod wire;
mod worker;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use batch::{Digest, HostCard, Work, is_host_s, kind};
pub use builds::Builders;
pub use error::FleetError;
pub use later::Later;
pub use on::On;
pub use worker::{Bed, session, task};

use batch::{Item, ItemKey, Opening};
use ledger::Ledger;
use reach::Reach;

use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::host::HostFacts;
use crate::record::{Ending, HostRecord, Record, read_json, read_trial};
use crate::service::ServiceSpec;
use crate::store::{Lock, StoreError, write_json};
use crate::vm::Acceleration;

/// How a run uses its hosts.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Where.
    pub on: On,
    /// Trials at a time on each host; in each task of a job array.
    pub at_a_time: Option<usize>,
    /// A directory that driver and nodes share, if the run's own is not.
    pub spool: Option<PathBuf>,
    /// Driver and nodes share no directory.
    pub apart: bool,
    /// How long a host may say nothing before its items go elsewhere.
    pub silence: Duration,
    /// The kvet that hosts run, if not this one.
    pub program: Option<PathBuf>,
}

/// What a run's items have in common.
#[derive(Debug, Clone)]
pub struct Common<'a> {
    /// What guests mount.
    pub service: &'a ServiceSpec,
    /// The initramfs.
    pub image: &'a Path,
    /// What may run guests.
    pub acceleration: Acceleration,
    /// A kernel to find that out with.
    pub kernel: &'a Path,
    /// Virtual CPUs of a guest.
    pub cpus: u32,
    /// Trials must not have others beside them.
    pub alone: bool,
}

/// `fleet.json` in a run directory: what a resumed driver has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    on: On,
    /// The shared directory.
    spool: PathBuf,
    /// What jobs are called.
    name: String,
    at_a_time: Option<usize>,
    #[serde(default)]
    apart: bool,
    silence: f64,
    program: Option<PathBuf>,
}

/// Where a run that was begun on other hosts ran: what `--resume` goes on with.
pub fn resumed(run: &Path) -> Result<Option<FleetOptions>, FleetError> {
    let path = run.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let kept: Kept = read_json(&path)?;
    Ok(Some(FleetOptions {
        on: kept.on,
        at_a_time: kept.at_a_time,
        spool: Some(kept.spool),
        apart: kept.apart,
        silence: Duration::try_from_secs_f64(kept.silence).unwrap_or(SILENCE),
        program: kept.program,
    }))
}

/// The file in the run directory.
const FILE: &str = "fleet.json";

/// How long a host may say nothing, unless the user says otherwise.
pub const SILENCE: Duration = Duration::from_secs(60);

/// How long hosts may take to end what they do when a run is over.
const FAREWELL: Duration = Duration::from_secs(60);

/// Items that wait or are out: each takes some KiB of the driver's memory.
const MOST_ITEMS: usize = 20_000;

/// The same, before any host is known.
const FEWEST_ITEMS: usize = 4;

/// Why an item has no result.
#[derive(Debug, Clone)]
pub struct GivenUp(pub String);

/// The hosts of a run.
#[derive(Debug)]
pub struct Fleet {
    context: Context,
    record: Record,
    options: FleetOptions,
    name: String,
    spool: PathBuf,
    program: (PathBuf, Digest),
    image: (PathBuf, Digest),
    opening: Opening,
    cpus: u32,
    /// For processes of the driver's own: an interruption ends the run, and the
    /// hosts' work is then called off in order.
    token: CancellationToken,
    state: RefCell<State>,
    /// Changes when there is something new to do.
    changed: watch::Sender<u64>,
    stopped: CancellationToken,
    _lock: Lock,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    items: HashMap<ItemKey, Item>,
    waiting: HashMap<ItemKey, oneshot::Sender<Result<(), GivenUp>>>,
    /// Inputs by their path on this host.
    digests: HashMap<PathBuf, Digest>,
    /// Where they are, by digest.
    paths: HashMap<Digest, PathBuf>,
    /// What trials took, in seconds: their sum and number.
    took: (f64, u32),
    cards: HashMap<String, HostCard>,
}

impl Fleet {
    /// Makes ready to hand out items of the run in `record`.
    pub fn open(
        context: &Context,
        record: &Record,
        options: &FleetOptions,
        common: &Common<'_>,
    ) -> Result<Self, FleetError> {
        let run = record.path();
        let run = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
        let lock = Lock::try_acquire(&run.join(".driver.lock"))?;
        let lock = lock.ok_or_else(|| FleetError::Busy(run.clone()))?;
        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().unwrap_or_else(|_| "kvet".into()),
        };
        let mut state = State::default();
        for (block, kind) in settled(record)? {
            state.ledger.settle(block, kind);
        }
        let mut with_digest = |path: &Path| {
            let digest = digest(&mut state, path)?;
            Ok::<_, FleetError>((path.to_owned(), digest))
        };
        let program = with_digest(&program)?;
        let image = with_digest(common.image)?;
        let (_, kernel) = with_digest(common.kernel)?;
        let opening = Opening {
            name: None,
            at_a_time: if common.alone {
                Some(1)
            } else {
                options.at_a_time
            },
            service: common.service.clone(),
            image: image.1.clone(),
            acceleration: common.acceleration,
            kernel,
            kind: None,
        };
        let kept = keep(&run, options)?;
        Ok(Self {
            context: context.clone(),
            record: record.clone(),
            options: options.clone(),
            name: kept.name,
            spool: kept.spool,
            program,
            image,
            opening,
            cpus: common.cpus,
            token: CancellationToken::new(),
            state: RefCell::new(state),
            changed: watch::Sender::new(0),
            stopped: CancellationToken::new(),
            _lock: lock,
        })
    }

    /// Has an item done somewhere: when this returns, its files are in
    /// `directory`, which is the record's. `block` names the trials it is compared
    /// with, `avoid` the hosts that failed it before.
    pub async fn carry_out(
        &self,
        work: Work,
        kernel: &Path,
        directory: &Path,
        block: Option<(String, u32)>,
        avoid: BTreeSet<String>,
    ) -> Result<Result<(), GivenUp>, Error> {
        let nowhere = || FleetError::NotOn(directory.to_owned());
        let key = ItemKey::of(self.record.path(), directory).ok_or_else(nowhere)?;
        if merge::is_there(self.record.path(), &key) {
            return Ok(Ok(()));
        }
        let (done, over) = oneshot::channel();
        {
            let mut state = self.state.borrow_mut();
            let kernel = digest(&mut state, kernel)?;
            let item = Item {
                key: key.clone(),
                work,
                kernel,
            };
            state.items.insert(key.clone(), item);
            state.waiting.insert(key.clone(), done);
            state.ledger.add(key, block, avoid);
        }
        self.changed.send_modify(|count| *count += 1);
        match over.await {
            Ok(result) => Ok(result),
            // The hosts are gone; who drove them says why.
            Err(_) => std::future::pending().await,
        }
    }

    /// Drives the hosts until [`Self::stop`], or an error that no other host can
    /// make good.
    pub async fn drive(&self) -> Result<(), Error> {
        let driven = match &self.options.on {
            On::Slurm(partition) if self.options.apart => {
                apart::drive(self, partition.as_deref()).await
            }
            On::Slurm(partition) => slurm::drive(self, partition.as_deref()).await,
            On::Ssh(hosts) => {
                let host = |name: &String| {
                    Reach::Ssh(ssh::Remote {
                        name: name.clone(),
                        token: self.token.clone(),
                    })
                };
                session::drive(self, hosts.iter().map(host).collect()).await
            }
        };
        Ok(driven?)
    }

    /// How many items may wait or be out. `dearly`: those that are not needed in
    /// the end cost something, so no more than the hosts can take at once.
    #[must_use]
    pub fn width(&self, dearly: bool) -> usize {
        if !dearly {
            return MOST_ITEMS;
        }
        let state = self.state.borrow();
        let each = self.opening.at_a_time.unwrap_or(1);
        let known = state.cards.values().map(|card| card.at_a_time);
        let known = known.fold(0, usize::saturating_add);
        known.max(state.ledger.usable() * each).max(FEWEST_ITEMS)
    }

    /// Calls off what is under way: [`Self::drive`] returns when it has ended.
    pub fn stop(&self) {
        self.stopped.cancel();
    }

    /// How long the hosts may take to end.
    #[must_use]
    pub fn farewell() -> Duration {
        FAREWELL
    }

    /// Moves a result into the record and tells whoever waits for it.
    fn merge(&self, key: &ItemKey, result: &Path) -> Result<(), FleetError> {
        let run = self.record.path();
        let directory = key.directory(run);
        if key.of_what().is_none() || !directory.is_dir() {
            // Nothing of this run's.
            crate::store::remove_tree(result)?;
            return Ok(());
        }
        merge::merge(run, key, result)?;
        if merge::is_there(run, key) {
            self.done(key, &directory)?;
        }
        Ok(())
    }

    fn done(&self, key: &ItemKey, directory: &Path) -> Result<(), FleetError> {
        let mut state = self.state.borrow_mut();
        if !state.ledger.is_open(key) {
            return Ok(());
        }
        if let Some(trial) = read_trial(directory)? {
            state.took.0 += trial.seconds;
            state.took.1 += 1;
            if let Some(host) = &trial.host {
                let fault = match &trial.ending {
                    Ending::Harness { part, what } if is_host_s(*part) => Some(what.as_str()),
                    _ => None,
                };
                if let Some(why) = state.ledger.attempted(host, fault) {
                    self.tell_left_out(&state, host, &why)?;
                }
            }
        }
        state.ledger.done(key);
        state.items.remove(key);
        if let Some(waiting) = state.waiting.remove(key) {
            // Whoever waited may be gone: the run is over.
            let _ = waiting.send(Ok(()));
        }
        Ok(())
    }

    /// A task is over: what it has not done waits again, or is given up.
    fn over(&self, task: ledger::Task, host: Option<&str>) {
        let mut state = self.state.borrow_mut();
        let given_up = state.ledger.over(task, host);
        for (key, hosts) in given_up {
            let why = format!(
                "{} hosts or tasks ended without a result: {}",
                ledger::MOST_TIMES,
                hosts.join(", ")
            );
            give_up(&mut state, &key, why);
        }
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A task was not begun by anybody: what it has waits again.
    fn take_back(&self, task: ledger::Task) {
        self.state.borrow_mut().ledger.take_back(task);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Items for a host, at most `room`. If there are none for it, those that no host
    /// can do any more are given up: more may have come since the last one was lost.
    fn give_out(&self, task: ledger::Task, host: &str, room: usize) -> Vec<Item> {
        let mut state = self.state.borrow_mut();
        let keys = state.ledger.take(task, host, room);
        let items: Vec<Item> = keys.iter().map(|key| state.items[key].clone()).collect();
        drop(state);
        if items.is_empty() && room > 0 {
            self.strand();
        }
        items
    }

    /// Items that need a kind of which no host is left are given up: on another
    /// kind they would not tell what they are compared for.
    fn strand(&self) {
        let mut state = self.state.borrow_mut();
        for (key, kind) in state.ledger.stranded() {
            let why = format!("no host is left of the kind its control ran on ({kind})");
            give_up(&mut state, &key, why);
        }
    }

    /// A host gets no more items: told once, and kept.
    fn leave_out(&self, host: &str, why: &str) -> Result<(), FleetError> {
        let mut state = self.state.borrow_mut();
        if state.ledger.leave_out(host, why) {
            self.tell_left_out(&state, host, why)?;
        }
        Ok(())
    }

    fn tell_left_out(&self, state: &State, host: &str, why: &str) -> Result<(), FleetError> {
        self.context
            .emit(Event::Warning(format!("{host} gets no more trials: {why}")));
        let own = HostRecord {
            name: host.to_owned(),
            facts: HostFacts::default(),
            kind: String::new(),
            left_out: None,
        };
        let record = if let Some(card) = state.cards.get(host) {
            HostRecord {
                facts: card.facts.clone(),
                kind: card.kind.clone(),
                ..own
            }
        } else {
            // It may have shown itself to a driver before this one.
            let mut known = self.record.hosts()?.into_iter();
            known.find(|known| known.name == host).unwrap_or(own)
        };
        self.record.keep_host(&HostRecord {
            left_out: Some(why.to_owned()),
            ..record
        })?;
        Ok(())
    }

    /// A host has shown itself.
    fn greet(&self, task: Option<ledger::Task>, card: &HostCard) -> Result<(), FleetError> {
        let mut state = self.state.borrow_mut();
        state.ledger.began(task, &card.name, &card.kind);
        let known = state.cards.insert(card.name.clone(), card.clone());
        if known.as_ref() != Some(card) {
            self.record.keep_host(&HostRecord {
                name: card.name.clone(),
                facts: card.facts.clone(),
                kind: card.kind.clone(),
                left_out: None,
            })?;
        }
        if known.is_none() {
            let other = state.cards.values().find(|other| other.kind != card.kind);
            let text = match other {
                Some(other) => format!(
                    "{} is of another kind than {} ({}; {}): what is compared stays on one kind",
                    card.name, other.name, card.kind, other.kind
                ),
                None => format!("{} runs trials", card.name),
            };
            self.context.emit(Event::Note(text));
        }
        Ok(())
    }

    /// What is left of the hosts' work could not be removed: that costs no result.
    fn tidied(&self, removed: Result<(), StoreError>) {
        if let Err(error) = removed {
            let text = Error::from(error).one_line();
            self.context.emit(Event::Warning(text));
        }
    }

    /// Why hosts are left out, a line each.
    fn no_host(&self) -> FleetError {
        let state = self.state.borrow();
        let line = |(host, why)| format!("  {host}: {why}");
        FleetError::NoHost {
            why: state.ledger.left_out().into_iter().map(line).collect(),
            run: self.record.path().to_owned(),
        }
    }

    /// The mean of what trials took so far, in seconds.
    fn trial_seconds(&self) -> Option<f64> {
        let (sum, count) = self.state.borrow().took;
        (count > 0).then(|| sum / f64::from(count))
    }
}

/// On which kinds of hosts a run that was begun before has its trials: those that are
/// compared with them go there, too.
fn settled(record: &Record) -> Result<Vec<(ledger::Block, String)>, FleetError> {
    let hosts = record.hosts()?;
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    let plan = Record::open(record.path())?.1.plan;
    let mut settled = Vec::new();
    for arm in &plan.arms {
        for workload in &arm.workloads {
            for recorded in record.trials(&arm.name, workload)? {
                let host = recorded.trial.host.as_ref();
                let known = hosts.iter().find(|known| Some(&known.name) == host);
                if let Some(known) = known.filter(|known| !known.kind.is_empty()) {
                    let block = (workload.clone(), recorded.trial.id.number);
                    settled.push((block, known.kind.clone()));
                }
            }
        }
    }
    Ok(settled)
}

fn give_up(state: &mut State, key: &ItemKey, why: String) {
    state.items.remove(key);
    if let Some(waiting) = state.waiting.remove(key) {
        let _ = waiting.send(Err(GivenUp(why)));
    }
}

/// The digest of an input, computed once.
fn digest(state: &mut State, path: &Path) -> Result<Digest, FleetError> {
    if let Some(digest) = state.digests.get(path) {
        return Ok(digest.clone());
    }
    let digest = Digest::of(path)?;
    state.digests.insert(path.to_owned(), digest.clone());
    state.paths.insert(digest.clone(), path.to_owned());
    Ok(digest)
}

/// Keeps what a resumed driver has to know; what is kept already stays.
fn keep(run: &Path, options: &FleetOptions) -> Result<Kept, FleetError> {
    let path = run.join(FILE);
    if path.exists() {
        return Ok(read_json(&path)?);
    }
    // The run's own directory tells runs apart on one cluster.
    let own = digest_of_path(run);
    let spool = match &options.spool {
        Some(spool) => spool.join(format!("kvet-{own}")),
        None => run.join("fleet"),
    };
    let kept = Kept {
        on: options.on.clone(),
        spool: std::path::absolute(&spool).unwrap_or(spool),
        name: format!("kvet-{own}"),
        at_a_time: options.at_a_time,
        apart: options.apart,
        silence: options.silence.as_secs_f64(),
        program: options.program.clone(),
    };
    write_json(&path, &kept)?;
    Ok(kept)
}

/// Twelve digits that belong to a path of this host and this moment, and to nobody
/// who asks at the same one.
fn digest_of_path(path: &Path) -> String {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let now = jiff::Timestamp::now().to_string();
    let host = rustix::system::uname();
    let asked = ASKED.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    let parts = [
        path.as_os_str().as_encoded_bytes(),
        host.nodename().to_bytes(),
        now.as_bytes(),
        &asked,
    ];
    crate::store::Key::of(parts).as_str()[..12].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventSink;
    use crate::job::{Choice, Plan};
    use crate::trial::SelfTestRequest;
    use crate::vm::Hardware;

    const JOB: &str = "\
name: j
kernel: { source: { dir: /linux }, config: [base] }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 1
arms:
  stock: { control: true }
";

    /// Hosts of a run in this directory, and what is told of it.
    pub(super) fn fleet(home: &Path) -> (Fleet, impl FnMut() -> Vec<String> + use<>) {
        std::fs::create_dir(home.join("kconfigs")).unwrap();
        std::fs::write(home.join("kconfigs/base.config"), "").unwrap();
        std::fs::write(home.join("job.yaml"), JOB).unwrap();
        let plan = Plan::load(&home.join("job.yaml"), &Choice::default()).unwrap();
        let began = jiff::Timestamp::UNIX_EPOCH;
        let run = home.join("run");
        let record = Record::create(&run, &plan, &HostFacts::default(), began).unwrap();
        let options = FleetOptions {
            on: On::Ssh(vec!["one".to_owned(), "two".to_owned()]),
            at_a_time: None,
            spool: None,
            apart: false,
            silence: SILENCE,
            program: Some(home.join("job.yaml")),
        };
        let file = home.join("job.yaml");
        let common = Common {
            service: &ServiceSpec::None,
            image: &file,
            acceleration: Acceleration::default(),
            kernel: &file,
            cpus: 1,
            alone: false,
        };
        let (events, warnings) = EventSink::warnings();
        let context = Context {
            events,
            ..Context::default()
        };
        let fleet = Fleet::open(&context, &record, &options, &common).unwrap();
        (fleet, warnings)
    }

    /// A self-test of this arm as an item, and who waits for it.
    pub(super) fn item(
        fleet: &Fleet,
        arm: &str,
        block: Option<ledger::Block>,
    ) -> (ItemKey, oneshot::Receiver<Result<(), GivenUp>>) {
        let key = ItemKey::try_from(format!("arms@{arm}@self-test")).unwrap();
        std::fs::create_dir_all(key.directory(fleet.record.path())).unwrap();
        let (done, over) = oneshot::channel();
        let mut state = fleet.state.borrow_mut();
        let item = Item {
            key: key.clone(),
            work: Work::SelfTest(SelfTestRequest {
                arm: arm.to_owned(),
                kernel: PathBuf::new(),
                hardware: Hardware::default(),
                words: String::new(),
            }),
            kernel: fleet.program.1.clone(),
        };
        state.items.insert(key.clone(), item);
        state.waiting.insert(key.clone(), done);
        state.ledger.add(key.clone(), block, BTreeSet::new());
        (key, over)
    }

    /// A result of that item, below this directory.
    pub(super) fn result(home: &Path) -> PathBuf {
        let result = home.join("result");
        std::fs::create_dir(&result).unwrap();
        let text = r#"{ "boots": 0, "unseen": [], "seconds": 1 }"#;
        std::fs::write(result.join("result.json"), text).unwrap();
        result
    }

    #[test]
    fn what_comes_after_its_last_host_was_lost_is_given_up_too() {
        let home = tempfile::tempdir().unwrap();
        let (fleet, _) = fleet(home.path());
        let block = || Some(("w".to_owned(), 1));
        {
            let ledger = &mut fleet.state.borrow_mut().ledger;
            ledger.began(None, "one", "old");
            ledger.began(None, "two", "new");
            ledger.settle(("w".to_owned(), 1), "old".to_owned());
            ledger.leave_out("one", "it burnt down");
        }
        fleet.strand();
        // A second attempt, or the trial of a kernel that was made later.
        let (_, mut over) = item(&fleet, "fixed", block());
        assert!(fleet.give_out(1, "two", 2).is_empty());
        let GivenUp(why) = over.try_recv().unwrap().unwrap_err();
        assert!(why.starts_with("no host is left of the kind"), "{why}");
        // What it can do goes on.
        let (key, _) = item(&fleet, "stock", None);
        assert_eq!(fleet.give_out(1, "two", 2)[0].key, key);
    }

    #[test]
    fn a_result_changes_nothing_but_the_directory_it_is_for() {
        let home = tempfile::tempdir().unwrap();
        let (fleet, _) = fleet(home.path());
        let run = fleet.record.path();
        std::fs::create_dir_all(run.join("arms/stock")).unwrap();
        std::fs::write(run.join("arms/stock/kernel.json"), "its own").unwrap();
        let key = ItemKey::try_from("arms@stock".to_owned()).unwrap();
        let result = result(home.path());
        std::fs::write(result.join("kernel.json"), "another").unwrap();
        fleet.merge(&key, &result).unwrap();
        let kept = std::fs::read_to_string(run.join("arms/stock/kernel.json"));
        assert_eq!(kept.unwrap(), "its own");
        assert!(!run.join("arms/stock/result.json").exists() && !result.exists());
    }

    #[test]
    fn what_cannot_be_removed_costs_no_result() {
        let home = tempfile::tempdir().unwrap();
        let (fleet, mut warnings) = fleet(home.path());
        let busy = std::io::ErrorKind::DirectoryNotEmpty.into();
        fleet.tidied(Err(crate::store::io_error("remove", "/spool")(busy)));
        fleet.tidied(Ok(()));
        let told = warnings();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("cannot remove /spool"), "{told:?}");
    }
}
