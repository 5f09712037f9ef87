//! Hosts that a Slurm cluster lends: job arrays whose tasks do a batch each. What
//! passes between driver and tasks goes through a directory that both see.
//!
//! Slurm says which tasks wait, run or are gone; a task itself says that it lives
//! and how it ended. When the controller is away the tasks go on and so does the
//! collecting of their results. A task that Slurm lost, or that says nothing for
//! long, has its items done elsewhere; should it come back, what it brings late
//! is thrown away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::batch::{Batch, HostEnd, ItemKey};
use super::error::FleetError;
use super::ledger::Task;
use super::spool::Spool;
use super::{Fleet, inputs};
use crate::event::Event;
use crate::process::{Command, ProcessError, find_program};
use crate::store::free;

/// How often the spool is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How often Slurm is asked. It serves the whole cluster.
pub(super) const ASK: Duration = Duration::from_secs(3);

/// How long one of Slurm's programs may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the controller may be away while no trial ends.
pub(super) const AWAY: Duration = Duration::from_secs(20 * 60);

/// So many answers of Slurm's that a task runs which is over, and it is cancelled.
const GHOST: u32 = 5;

/// How long no task runs before it is told why.
const IDLE: Duration = Duration::from_secs(30);

/// How much of its time a task should spend on trials, in seconds: its testbed
/// and its place in the queue cost some.
const TASK_SECONDS: f64 = 300.0;

/// Items of a task.
const ITEMS: (usize, usize) = (20, 100);

/// Tasks of one array: below Slurm's `MaxArraySize`, which is 1001 unless the
/// site says otherwise.
const ARRAY: usize = 500;

/// The spool has too little room below so many bytes.
const ROOM: u64 = 16 << 20;

/// Drives the tasks of a run until it is stopped.
pub(super) async fn drive(fleet: &Fleet, partition: Option<&str>) -> Result<(), FleetError> {
    for program in ["sbatch", "squeue", "scancel", "sinfo", "scontrol"] {
        if find_program(program).is_none() {
            return Err(FleetError::NoSlurm(program));
        }
    }
    let mut driver = Driver::open(fleet, partition)?;
    let mut changed = fleet.changed.subscribe();
    let result = loop {
        if let Err(error) = driver.round().await {
            break Err(error);
        }
        tokio::select! {
            () = fleet.stopped.cancelled() => break Ok(()),
            _ = changed.changed() => {
                // More follow at once: they go out together.
                tokio::time::sleep(LOOK / 5).await;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    };
    driver.close(result.is_ok()).await?;
    result
}

/// A task that is out.
#[derive(Debug)]
struct Out {
    /// Its host, once it has said so.
    host: Option<String>,
    /// Its host has shown what it is.
    greeted: bool,
    /// The last sign of life, and when it changed, by this host's clock.
    beat: Option<String>,
    heard: Instant,
    /// As Slurm says: it runs.
    runs: bool,
    /// So many answers of Slurm's did not have it.
    missing: u32,
    /// `ARRAY_INDEX`, once Slurm has named it.
    job: Option<String>,
}

impl Out {
    fn new() -> Self {
        Self {
            host: None,
            greeted: false,
            beat: None,
            heard: Instant::now(),
            runs: false,
            missing: 0,
            job: None,
        }
    }
}

struct Driver<'a> {
    fleet: &'a Fleet,
    partition: Option<&'a str>,
    spool: Spool,
    out: BTreeMap<Task, Out>,
    /// Items of tasks that an earlier driver sent out.
    inherited: BTreeMap<ItemKey, Task>,
    next: Task,
    /// Nodes that can have tasks, each with its processors.
    nodes: Vec<(String, usize)>,
    /// When Slurm was asked last, and when it answered last.
    asked: Option<Instant>,
    answered: Instant,
    /// Since when it has taken no task, though some were submitted.
    refusing: Option<Instant>,
    progress: Instant,
    told_away: bool,
    /// Tasks that are over, with so many answers of Slurm's that call them running.
    ghosts: BTreeMap<Task, u32>,
    /// Since when nothing runs, and why, if that was told.
    idle: Option<(Instant, String)>,
}

impl<'a> Driver<'a> {
    fn open(fleet: &'a Fleet, partition: Option<&'a str>) -> Result<Self, FleetError> {
        let spool = Spool::at(&fleet.spool);
        let mut driver = Self {
            fleet,
            partition,
            out: BTreeMap::new(),
            inherited: BTreeMap::new(),
            next: 1,
            nodes: Vec::new(),
            asked: None,
            answered: Instant::now(),
            refusing: None,
            progress: Instant::now(),
            told_away: false,
            ghosts: BTreeMap::new(),
            idle: None,
            spool,
        };
        if driver.spool.is_there() {
            driver.inherit()?;
        }
        driver.spool.create()?;
        for (path, digest) in [&fleet.program, &fleet.image] {
            inputs::put(&driver.spool.inputs(), path, digest)?;
        }
        Ok(driver)
    }

    /// Takes over what an earlier driver left.
    fn inherit(&mut self) -> Result<(), FleetError> {
        for task in self.spool.all_tasks()? {
            self.next = self.next.max(task + 1);
            if self.spool.said(task).end.is_some() {
                continue;
            }
            // One that was cut short in its making was not sent out either.
            let Ok(batch) = self.spool.batch(task) else {
                continue;
            };
            for item in batch.items {
                self.inherited.insert(item.key, task);
            }
            self.out.insert(task, Out::new());
        }
        Ok(())
    }

    /// Everything once.
    async fn round(&mut self) -> Result<(), FleetError> {
        self.adopt();
        self.collect()?;
        if self.asked.is_none_or(|asked| asked.elapsed() >= ASK) {
            self.ask().await?;
            self.listen().await?;
        }
        self.hand_out().await
    }

    /// Items that an inherited task has are not sent out again.
    fn adopt(&mut self) {
        if self.inherited.is_empty() {
            return;
        }
        let mut state = self.fleet.state.borrow_mut();
        let known: Vec<ItemKey> = state.items.keys().cloned().collect();
        for key in known {
            if let Some(task) = self.inherited.remove(&key)
                && self.out.contains_key(&task)
            {
                state.ledger.adopt(task, &[key]);
            }
        }
    }

    /// Moves what has arrived into the record.
    fn collect(&mut self) -> Result<(), FleetError> {
        for key in self.spool.arrived()? {
            match self.fleet.merge(&key, &self.spool.result(&key)) {
                // Its task counts as one that did not do it.
                Err(error @ FleetError::NoResult { .. }) => {
                    let text = crate::Error::from(error).one_line();
                    self.fleet.context.emit(Event::Warning(text));
                }
                merged => merged?,
            }
            self.progress = Instant::now();
        }
        Ok(())
    }

    /// Asks Slurm for its nodes and for this run's tasks.
    async fn ask(&mut self) -> Result<(), FleetError> {
        self.asked = Some(Instant::now());
        let queue = self.queue().await;
        let nodes = match &queue {
            Ok(_) => self.sinfo().await,
            Err(_) => Ok(Vec::new()),
        };
        let (queue, nodes) = match (queue, nodes) {
            (Ok(queue), Ok(nodes)) => (queue, nodes),
            (Err(error), _) | (_, Err(error)) => return self.away(error),
        };
        if self.refusing.is_none() && std::mem::take(&mut self.told_away) {
            let text = "Slurm's controller answers again".to_owned();
            self.fleet.context.emit(Event::Note(text));
        }
        self.answered = Instant::now();
        {
            let mut state = self.fleet.state.borrow_mut();
            for (node, _) in &nodes {
                state.ledger.know(node);
            }
        }
        self.nodes = nodes;
        self.tell_idle(&queue);
        self.cancel_ghosts(&queue).await;
        for (task, out) in &mut self.out {
            if let Some(queued) = queue.iter().find(|queued| queued.task == *task) {
                out.missing = 0;
                if queued.runs && !out.runs {
                    out.heard = Instant::now();
                }
                out.runs = queued.runs;
                out.job = Some(queued.job.clone());
            } else {
                out.missing += 1;
            }
        }
        Ok(())
    }

    /// Cancels tasks that have ended and that Slurm goes on to call running: it did
    /// not hear of their end, as when its controller was away, and would keep their
    /// nodes for them.
    async fn cancel_ghosts(&mut self, queue: &[Queued]) {
        let over = queue
            .iter()
            .filter(|queued| queued.runs && !self.out.contains_key(&queued.task));
        let mut ghosts = Vec::new();
        for queued in over {
            let times = self.ghosts.entry(queued.task).or_default();
            *times += 1;
            if *times == GHOST {
                ghosts.push(queued.job.clone());
            }
        }
        self.cancel(&ghosts).await;
    }

    /// Tells why none of the tasks runs, if that has been so for a while.
    fn tell_idle(&mut self, queue: &[Queued]) {
        let waiting = queue.iter().find(|queued| !queued.runs);
        let Some(waiting) = waiting.filter(|_| !queue.iter().any(|queued| queued.runs)) else {
            self.idle = None;
            return;
        };
        let (since, told) = self
            .idle
            .get_or_insert_with(|| (Instant::now(), String::new()));
        if since.elapsed() > IDLE && *told != waiting.reason {
            told.clone_from(&waiting.reason);
            let text = format!("no task runs; Slurm says: {}", waiting.reason);
            self.fleet.context.emit(Event::Note(text));
        }
    }

    /// The controller does not answer. Tasks that run go on.
    fn away(&mut self, error: ProcessError) -> Result<(), FleetError> {
        let said = crate::Error::from(error).one_line();
        let since = self.answered.max(self.progress);
        // One that answers questions and takes no task is away, too.
        let since = self.refusing.map_or(since, |refusing| refusing.min(since));
        if since.elapsed() > AWAY {
            return Err(FleetError::Away {
                minutes: since.elapsed().as_secs() / 60,
                said,
                run: self.fleet.record.path().to_owned(),
            });
        }
        if !std::mem::replace(&mut self.told_away, true) {
            let text = format!("Slurm's controller does not answer ({said}); waiting for it");
            self.fleet.context.emit(Event::Warning(text));
        }
        Ok(())
    }

    /// Hears what tasks say of themselves, and draws the consequences.
    async fn listen(&mut self) -> Result<(), FleetError> {
        let candidates: Vec<Task> = self.out.keys().copied().collect();
        for task in candidates {
            let Some(out) = self.out.get_mut(&task) else {
                continue;
            };
            let waits = !out.runs && out.missing == 0 && !self.told_away;
            if waits && out.beat.is_none() {
                continue;
            }
            let said = self.spool.said(task);
            if said.beat != out.beat {
                out.host = out.host.take().or(said.host);
                out.beat = said.beat;
                out.heard = Instant::now();
            }
            if let Some(card) = &said.card
                && !out.greeted
            {
                out.greeted = true;
                out.host = Some(card.name.clone());
                self.fleet.greet(Some(task), card)?;
            }
            if let Some(end) = said.end {
                self.ended(task, end).await?;
            } else if out.missing >= 2 {
                self.vanished(task).await?;
            } else if out.runs && out.heard.elapsed() > self.fleet.options.silence {
                self.silent(task).await?;
            }
        }
        Ok(())
    }

    /// A spool that is full ends the run: no host is to blame for it.
    fn spool_has_room(&self) -> Result<(), FleetError> {
        let room = free(self.spool.root());
        if room >= ROOM {
            return Ok(());
        }
        Err(FleetError::SpoolFull {
            path: self.spool.root().to_owned(),
            free: room >> 20,
            run: self.fleet.record.path().to_owned(),
        })
    }

    /// A task said how it ended.
    async fn ended(&mut self, task: Task, end: HostEnd) -> Result<(), FleetError> {
        // Its results come before its end.
        self.collect()?;
        if matches!(end, HostEnd::Unfit(_)) {
            self.spool_has_room()?;
        }
        let Some(out) = self.out.remove(&task) else {
            return Ok(());
        };
        let host = match out.host {
            Some(host) => Some(host),
            None => self.asked_of(out.job.as_deref()).await.0,
        };
        match (&end, &host) {
            (HostEnd::Unfit(why), Some(host)) => self.fleet.leave_out(host, why)?,
            (HostEnd::ServiceLost(why), Some(host)) => self.fault(host, why)?,
            _ => {}
        }
        let blamed = match end {
            HostEnd::Unfit(_) | HostEnd::ServiceLost(_) => host.as_deref(),
            HostEnd::Done | HostEnd::Stopped | HostEnd::OtherKind => None,
        };
        if end == HostEnd::OtherKind {
            // Nothing of it was begun.
            self.fleet.take_back(task);
        } else {
            self.fleet.over(task, blamed);
        }
        Ok(())
    }

    /// Slurm has a task no more, and it did not say how it ended.
    async fn vanished(&mut self, task: Task) -> Result<(), FleetError> {
        self.collect()?;
        self.spool_has_room()?;
        let Some(out) = self.out.remove(&task) else {
            return Ok(());
        };
        let left = self.fleet.state.borrow().ledger.of_task(task);
        let (node, how) = self.asked_of(out.job.as_deref()).await;
        let host = out.host.clone().or(node);
        if left > 0
            && let Some(host) = &host
        {
            // Cancelled, preempted or out of time says nothing of the host.
            let is_own = how.as_deref().is_none_or(|how| {
                ["FAILED", "NODE_FAIL", "BOOT_FAIL"]
                    .iter()
                    .any(|state| how.starts_with(state))
            });
            let how = how.unwrap_or_else(|| "Slurm does not say how".to_owned());
            if out.beat.is_none() && how.starts_with("FAILED") {
                let spool = self.spool.root().display();
                let why = format!(
                    "a task ended there before it said a word ({how}); \
                     is {spool} on a file system that it shares (if there is none: --spool none), \
                     and does this kvet run there?"
                );
                self.fleet.leave_out(host, &why)?;
            } else if is_own {
                self.fault(host, &format!("a task ended without a word ({how})"))?;
            }
        }
        self.fleet.over(task, host.as_deref());
        Ok(())
    }

    /// A task that should run says nothing.
    async fn silent(&mut self, task: Task) -> Result<(), FleetError> {
        self.collect()?;
        let Some(out) = self.out.remove(&task) else {
            return Ok(());
        };
        let host = match out.host {
            Some(host) => Some(host),
            None => self.asked_of(out.job.as_deref()).await.0,
        };
        if let Some(job) = &out.job {
            self.cancel(std::slice::from_ref(job)).await;
        }
        if let Some(host) = &host {
            let silence = self.fleet.options.silence;
            let silence = humantime::format_duration(silence);
            let why = format!("it runs a task that has said nothing for {silence}");
            self.fleet.leave_out(host, &why)?;
        }
        self.fleet.over(task, host.as_deref());
        Ok(())
    }

    fn fault(&self, host: &str, why: &str) -> Result<(), FleetError> {
        let mut state = self.fleet.state.borrow_mut();
        match state.ledger.attempted(host, Some(why)) {
            Some(why) => self.fleet.tell_left_out(&state, host, &why),
            None => Ok(()),
        }
    }

    /// Sends out what waits, as few tasks as keep all nodes busy.
    async fn hand_out(&mut self) -> Result<(), FleetError> {
        if self.told_away || self.fleet.state.borrow().ledger.waiting() == 0 {
            return Ok(());
        }
        let left_out = self.fleet.state.borrow().ledger.left_out();
        let is_out = |node: &str| left_out.iter().any(|(name, _)| name == node);
        let usable = self.nodes.iter().filter(|(node, _)| !is_out(node));
        // Each may have as many tasks as fit on its processors.
        let slots: usize = usable.map(|(_, cpus)| (cpus / self.cpus()).max(1)).sum();
        if slots == 0 && !left_out.is_empty() {
            return Err(self.fleet.no_host());
        }
        // Where no node is up, Slurm says why it runs nothing, or refuses.
        let slots = slots.max(1);
        self.fleet.strand();
        let mut groups: BTreeMap<Vec<String>, Vec<Task>> = BTreeMap::new();
        loop {
            let waiting = self.fleet.state.borrow().ledger.waiting();
            let most = per_task(
                waiting,
                slots.saturating_sub(self.out.len()),
                self.fleet.trial_seconds(),
                self.fleet.opening.at_a_time.unwrap_or(1),
            );
            let Some(most) = most else { break };
            let Some(not_on) = self.put(most)? else { break };
            groups.entry(not_on).or_default().push(self.next - 1);
        }
        for (not_on, tasks) in groups {
            for array in arrays(&tasks) {
                self.submit(array, &not_on).await?;
            }
        }
        Ok(())
    }

    /// Writes a batch; the hosts that must not have it.
    fn put(&mut self, most: usize) -> Result<Option<Vec<String>>, FleetError> {
        let task = self.next;
        let mut state = self.fleet.state.borrow_mut();
        let Some(cut) = state.ledger.cut(task, most) else {
            return Ok(None);
        };
        self.next += 1;
        let kernels = cut.keys.iter().map(|key| &state.items[key].kernel);
        for kernel in kernels.collect::<BTreeSet<_>>() {
            inputs::put(&self.spool.inputs(), &state.paths[kernel], kernel)?;
        }
        let mut opening = self.fleet.opening.clone();
        opening.at_a_time.get_or_insert(1);
        opening.kind = cut.kind;
        let items = cut.keys.iter().map(|key| state.items[key].clone());
        let batch = Batch {
            opening,
            items: items.collect(),
        };
        self.spool.put_batch(task, &batch)?;
        self.out.insert(task, Out::new());
        Ok(Some(cut.not_on))
    }

    /// Submits an array for tasks that follow each other.
    async fn submit(&mut self, tasks: &[Task], not_on: &[String]) -> Result<(), FleetError> {
        let Some(base) = tasks.first() else {
            return Ok(());
        };
        let (program, digest) = &self.fleet.program;
        let program = inputs::put(&self.spool.inputs(), program, digest)?;
        let script = script(&program, self.spool.root(), *base);
        let mut command = Command::new("env")
            .arg("-i")
            .args(environment())
            .arg("sbatch")
            .args(["--parsable", "--no-requeue", "--nodes=1", "--ntasks=1"])
            .args(["--chdir=/", "--open-mode=append"])
            .arg(format!("--cpus-per-task={}", self.cpus()))
            .arg("--export=ALL")
            .arg(format!("--array=0-{}", tasks.len() - 1))
            .arg(format!("--job-name={}", self.fleet.name))
            .arg(format!("--comment={base}"))
            .arg(format!(
                "--output={}/%A_%a.log",
                self.spool.logs().display()
            ));
        if let Some(partition) = self.partition {
            command = command.arg(format!("--partition={partition}"));
        }
        if !not_on.is_empty() {
            command = command.arg(format!("--exclude={}", not_on.join(",")));
        }
        let submitted = command
            .input(script)
            .deadline(PATIENCE)
            .run(&self.fleet.token)
            .await;
        match submitted {
            Ok(answer) => {
                let said = String::from_utf8_lossy(&answer.stdout).into_owned();
                self.refusing = None;
                self.submitted(tasks, &said);
                Ok(())
            }
            Err(error) => {
                let said = match &error {
                    ProcessError::Failed { stderr, .. } => stderr.trim().to_owned(),
                    error => error.to_string(),
                };
                // What may have been taken all the same shows in the queue.
                if is_away(&said) || matches!(error, ProcessError::Deadline { .. }) {
                    self.refusing.get_or_insert_with(Instant::now);
                    self.away(error)?;
                    return self.take_back(tasks).await;
                }
                Err(FleetError::Refused { said })
            }
        }
    }

    /// Remembers what Slurm calls tasks: one that is over before it is seen in the
    /// queue is asked about, too.
    fn submitted(&mut self, tasks: &[Task], said: &str) {
        let Some(array) = parse_array(said) else {
            return;
        };
        for (index, task) in tasks.iter().enumerate() {
            if let Some(out) = self.out.get_mut(task) {
                out.job = Some(format!("{array}_{index}"));
            }
        }
    }

    /// Processors of a task.
    fn cpus(&self) -> usize {
        let each = usize::try_from(self.fleet.cpus).unwrap_or(1).max(1);
        each * self.fleet.opening.at_a_time.unwrap_or(1)
    }

    /// Tasks that Slurm did not take: their items wait for its return.
    async fn take_back(&mut self, tasks: &[Task]) -> Result<(), FleetError> {
        tokio::time::sleep(LOOK).await;
        for task in tasks {
            self.out.remove(task);
            self.fleet.take_back(*task);
        }
        Ok(())
    }

    /// This run's tasks in Slurm's queue.
    async fn queue(&self) -> Result<Vec<Queued>, ProcessError> {
        let answer = Command::new("squeue")
            .args(["--noheader", "--array", "--me"])
            .arg(format!("--name={}", self.fleet.name))
            .arg("--format=%F|%K|%T|%k|%r")
            .deadline(PATIENCE)
            .run(&self.fleet.token)
            .await?;
        Ok(parse_queue(&String::from_utf8_lossy(&answer.stdout)))
    }

    /// The nodes that can have tasks.
    async fn sinfo(&self) -> Result<Vec<(String, usize)>, ProcessError> {
        let mut command = Command::new("sinfo").args(["--noheader", "--Node", "--format=%N|%T|%c"]);
        if let Some(partition) = self.partition {
            command = command.arg(format!("--partition={partition}"));
        }
        let answer = command.deadline(PATIENCE).run(&self.fleet.token).await?;
        Ok(parse_nodes(&String::from_utf8_lossy(&answer.stdout)))
    }

    /// The node of a task that is gone, and how Slurm says it ended.
    async fn asked_of(&self, job: Option<&str>) -> (Option<String>, Option<String>) {
        let Some(job) = job else {
            return (None, None);
        };
        let answer = Command::new("scontrol")
            .args(["--oneliner", "show", "job", job])
            .deadline(PATIENCE)
            .run(&self.fleet.token)
            .await;
        match answer {
            Ok(answer) => parse_job(&String::from_utf8_lossy(&answer.stdout)),
            Err(_) => (None, None),
        }
    }

    /// Cancels tasks; that it cannot is told.
    async fn cancel(&self, jobs: &[String]) {
        for some in jobs.chunks(100) {
            let cancelled = Command::new("scancel")
                .args(some)
                .deadline(PATIENCE)
                .run(&self.fleet.token)
                .await;
            if let Err(error) = cancelled {
                let text = crate::Error::from(error).one_line();
                let text = format!("cannot cancel tasks: {text}");
                self.fleet.context.emit(Event::Warning(text));
            }
        }
    }

    /// Calls off what is queued or runs, takes what has arrived, and removes the
    /// spool; `over`: nobody will go on with the run's tasks.
    async fn close(&mut self, over: bool) -> Result<(), FleetError> {
        if !over {
            // A resumed driver goes on with them.
            return Ok(());
        }
        let until = Instant::now() + super::FAREWELL * 3 / 4;
        let mut cancelled = BTreeSet::new();
        while let Ok(queue) = self.queue().await {
            let silent = |queued: &&Queued| self.is_left_behind(queued.task);
            let fresh: Vec<String> = queue
                .iter()
                .map(|queued| queued.job.clone())
                .filter(|job| cancelled.insert(job.clone()))
                .collect();
            self.cancel(&fresh).await;
            // A task on a host that does not answer ends when that one does.
            let left = queue.iter().filter(|queued| !silent(queued)).count();
            if left == 0 || Instant::now() > until {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.collect()?;
        self.fleet.tidied(self.spool.remove());
        Ok(())
    }

    /// Whether the run goes on without a task that Slurm still has.
    fn is_left_behind(&self, task: Task) -> bool {
        !self.out.contains_key(&task)
    }
}

/// How many items the next task gets, or `None` if none is to be sent yet: `idle`
/// nodes have nothing, trials took so many seconds so far.
fn per_task(waiting: usize, idle: usize, seconds: Option<f64>, at_a_time: usize) -> Option<usize> {
    let (fewest, most) = ITEMS;
    let wanted = seconds.map_or(fewest, |seconds| {
        let lanes = u32::try_from(at_a_time).unwrap_or(u32::MAX);
        let fit = TASK_SECONDS * f64::from(lanes) / seconds.max(0.001);
        // In range, so nothing is cut off.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped"
        )]
        let fit = fit.clamp(1.0, 1000.0) as usize;
        fit.clamp(fewest, most)
    });
    if waiting == 0 || (idle == 0 && waiting < wanted) {
        return None;
    }
    Some(wanted.min(waiting.div_ceil(idle.max(1))))
}

/// Runs of tasks that follow each other, none longer than an array may be.
fn arrays(tasks: &[Task]) -> Vec<&[Task]> {
    tasks
        .chunk_by(|one, next| one + 1 == *next)
        .flat_map(|run| run.chunks(ARRAY))
        .collect()
}

/// The script of an array. Slurm keeps it where others may read it: it holds
/// paths and a number.
fn script(program: &Path, spool: &Path, base: Task) -> String {
    let quote = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    format!(
        "#!/bin/sh\numask 077\nexec {} batch {} $(({base} + SLURM_ARRAY_TASK_ID))\n",
        quote(program),
        quote(spool),
    )
}

/// What sbatch and a task get of the driver's environment: what leads to programs
/// and places, and what is meant for sbatch. Anything else could be a secret, and
/// Slurm keeps a job's environment.
pub(super) fn environment() -> Vec<std::ffi::OsString> {
    let names = ["PATH", "HOME", "USER", "LANG", "TMPDIR", "XDG_CACHE_HOME"];
    let is_meant =
        |name: &str| names.contains(&name) || name == "SLURM_CONF" || name.starts_with("SBATCH_");
    let set = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_meant));
    set.map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    })
    .collect()
}

pub(super) fn is_away(said: &str) -> bool {
    [
        "Unable to contact slurm controller",
        "Socket timed out",
        "Connection refused",
        "Slurm backup controller",
        "Transport endpoint",
    ]
    .iter()
    .any(|word| said.contains(word))
}

/// A task in Slurm's queue.
#[derive(Debug, PartialEq, Eq)]
struct Queued {
    task: Task,
    job: String,
    runs: bool,
    /// Why it does not run.
    reason: String,
}

/// Reads `ARRAY|INDEX|STATE|BASE|REASON` lines; those of other jobs are passed over.
fn parse_queue(text: &str) -> Vec<Queued> {
    let line = |line: &str| {
        let mut parts = line.trim().split('|');
        let (array, index) = (parts.next()?, parts.next()?);
        let (state, base) = (parts.next()?, parts.next()?);
        let number: Task = index.parse().ok()?;
        Some(Queued {
            task: base.parse::<Task>().ok()?.checked_add(number)?,
            job: format!("{array}_{number}"),
            runs: state == "RUNNING",
            reason: parts.next().unwrap_or_default().to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Reads what `sbatch --parsable` says: `ARRAY`, or `ARRAY;CLUSTER`.
fn parse_array(said: &str) -> Option<u64> {
    said.trim().split(';').next()?.parse().ok()
}

/// Reads `NODE|STATE|CPUS` lines: those that can have tasks, each once.
pub(super) fn parse_nodes(text: &str) -> Vec<(String, usize)> {
    let line = |line: &str| {
        let mut parts = line.trim().split('|');
        let (node, state, cpus) = (parts.next()?, parts.next()?, parts.next()?);
        let usable = ["idle", "mixed", "allocated", "completing", "planned"];
        let cpus = cpus.parse().ok()?;
        usable.contains(&state).then(|| (node.to_owned(), cpus))
    };
    let mut nodes: Vec<(String, usize)> = text.lines().filter_map(line).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

/// Reads what `scontrol show job` says: the node, and the state with its exit
/// code.
fn parse_job(text: &str) -> (Option<String>, Option<String>) {
    let value = |name: &str| {
        let mut words = text.split_whitespace();
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.filter(|value| !value.is_empty() && *value != "(null)")
    };
    let how = value("JobState").map(|state| match value("ExitCode") {
        Some(code) => format!("{state}, exit {code}"),
        None => state.to_owned(),
    });
    (value("NodeList").map(str::to_owned), how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_read_and_others_jobs_are_not() {
        let text = "12|0|RUNNING|1|None\n12|1|PENDING|1|Resources\n13|0|COMPLETING|501|None\n\
                    14|N/A|RUNNING|(null)|None\n";
        let queue = parse_queue(text);
        let tasks: Vec<_> = queue.iter().map(|q| (q.task, q.runs)).collect();
        assert_eq!(tasks, [(1, true), (2, false), (501, false)]);
        assert_eq!((&*queue[1].job, &*queue[1].reason), ("12_1", "Resources"));
    }

    #[test]
    fn an_array_s_number_is_read() {
        assert_eq!(parse_array("123\n"), Some(123));
        assert_eq!(parse_array("123;north\n"), Some(123));
        assert_eq!(parse_array("sbatch: warning\n"), None);
    }

    #[test]
    fn nodes_that_are_down_are_not_counted() {
        let text = "n1|idle|4\nn2|down*|4\nn3|mixed|64\nn3|mixed|64\nn4|drained|4\nn5|idle*|4\n";
        let nodes = parse_nodes(text);
        assert_eq!(nodes, [("n1".to_owned(), 4), ("n3".to_owned(), 64)]);
    }

    #[test]
    fn how_a_job_ended_is_read() {
        let text = "JobId=7 ArrayJobId=7 JobState=FAILED Reason=NonZeroExitCode \
                    ExitCode=127:0 ReqNodeList=(null) NodeList=n2 BatchHost=n2";
        assert_eq!(
            parse_job(text),
            (Some("n2".into()), Some("FAILED, exit 127:0".into()))
        );
        assert_eq!(parse_job("NodeList=(null)"), (None, None));
    }

    #[test]
    fn tasks_have_20_to_100_items_but_no_node_waits_for_another_s() {
        // Nothing is known of the trials' time: the fewest.
        assert_eq!(per_task(10_000, 3, None, 1), Some(20));
        // Quick ones fill a task; slow ones do not.
        assert_eq!(per_task(10_000, 3, Some(0.1), 1), Some(100));
        assert_eq!(per_task(10_000, 3, Some(60.0), 1), Some(20));
        assert_eq!(per_task(10_000, 3, Some(5.0), 1), Some(60));
        assert_eq!(per_task(10_000, 3, Some(10.0), 2), Some(60));
        // Six trials on three nodes: two each.
        assert_eq!(per_task(6, 3, None, 1), Some(2));
        // A trickle waits until a node is free or a task's worth is there.
        assert_eq!(per_task(5, 0, None, 1), None);
        assert_eq!(per_task(25, 0, None, 1), Some(20));
        assert_eq!(per_task(0, 3, None, 1), None);
    }

    #[test]
    fn arrays_are_runs_of_tasks_and_not_too_long() {
        let tasks: Vec<Task> = (1..=3).chain(7..=1007).collect();
        let lengths: Vec<_> = arrays(&tasks).iter().map(|run| run.len()).collect();
        assert_eq!(lengths, [3, 500, 500, 1]);
    }

    #[test]
    fn the_script_survives_a_path_with_quotes() {
        let script = script(Path::new("/a/k"), Path::new("/it's"), 7);
        assert_eq!(
            script,
            "#!/bin/sh\numask 077\nexec '/a/k' batch '/it'\\''s' $((7 + SLURM_ARRAY_TASK_ID))\n"
        );
    }
}
