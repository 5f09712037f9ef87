//! Kernels that hosts make: each order goes to a host that is free, first to one
//! that has objects of the kernel's line. What comes back lies in this host's store
//! as if it had been made here. A host that cannot make kernels, or fails, is left
//! out by name; where none is left, kernels are made here.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify, OnceCell};
use tokio_util::sync::CancellationToken;

use super::batch::{Digest, HostEnd};
use super::connection::{Connection, Refusal, listen_to};
use super::error::FleetError;
use super::on::On;
use super::reach::Reach;
use super::wire::{BEAT, FromHost, ToHost, beating, hear, receive_result, say, send_file};
use super::{FleetOptions, srun, ssh};
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::kernel::elsewhere::{self, Order};
use crate::kernel::{KernelImage, Recipe, Tree, make_from};
use crate::process::{GRACE, ProcessError};
use crate::store::{Key, Scratch, Store, StoreError, state_directory, write_json};

/// How long sending a tree may take.
const SENDING: Duration = Duration::from_secs(1800);

/// How long a host may take for what it does before a build.
const READY: Duration = Duration::from_secs(900);

/// Which host has objects of which line: so many of the last are remembered.
const REMEMBERED: usize = 500;

/// The hosts that make a run's kernels.
#[derive(Debug)]
pub struct Builders {
    silence: Duration,
    program: (PathBuf, Digest),
    /// What tasks of Slurm's are called.
    job: String,
    on: On,
    /// They are asked for when there is something to make.
    asked: OnceCell<()>,
    hosts: RefCell<Vec<Host>>,
    /// A host is free again.
    freed: Notify,
    /// One kernel at a time is made here.
    here: Mutex<()>,
}

#[derive(Debug)]
struct Host {
    reach: Rc<Reach>,
    busy: bool,
    out: bool,
    /// Lines of which it has objects.
    warm: Vec<Key>,
}

/// What came of an order on a host.
enum Came {
    Made(Box<KernelImage>),
    /// The kernel is to blame.
    Broken(Error),
    /// The host is.
    Failed(String),
}

impl Builders {
    /// The hosts that `options` name.
    pub fn open(options: &FleetOptions) -> Result<Self, Error> {
        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().unwrap_or_else(|_| "kvet".into()),
        };
        let digest = Digest::of(&program)?;
        let own = super::digest_of_path(&program);
        let job = format!("kvet-build-{own}");
        Ok(Self {
            silence: options.silence,
            program: (program, digest),
            job,
            on: options.on.clone(),
            asked: OnceCell::new(),
            hosts: RefCell::default(),
            freed: Notify::new(),
            here: Mutex::new(()),
        })
    }

    /// The kernel of a recipe, from the store, or made by one of the hosts, or here
    /// if none can.
    pub async fn make(
        &self,
        context: &Context,
        store: &Store,
        tree: &Tree,
        recipe: &Recipe,
    ) -> Result<KernelImage, Error> {
        if let Some(order) = elsewhere::order(context, store, tree, recipe).await? {
            self.asked.get_or_try_init(|| self.ask(context)).await?;
            while let Some(host) = self.free(order.line()).await {
                let reach = self.hosts.borrow()[host].reach.clone();
                let name = reach.name().to_owned();
                context.emit(Event::Note(format!("{name} makes {}", order.subject)));
                let busy = Busy {
                    builders: self,
                    host,
                };
                let came = tokio::select! {
                    came = self.on(context, store, &reach, &order, tree) => came?,
                    () = context.cancel.cancelled() => {
                        return Err(ProcessError::Interrupted.into());
                    }
                };
                drop(busy);
                match came {
                    Came::Made(image) => {
                        self.warmed(host, &name, order.line());
                        return Ok(*image);
                    }
                    Came::Broken(error) => return Err(error),
                    Came::Failed(why) => {
                        self.hosts.borrow_mut()[host].out = true;
                        let text = format!("{name} makes no more kernels: {why}");
                        context.emit(Event::Warning(text));
                    }
                }
            }
        }
        let _alone = self.here.lock().await;
        make_from(context, store, tree, recipe).await
    }

    /// Who they are. A Slurm that does not answer is the trials' trouble: kernels are
    /// then made here.
    async fn ask(&self, context: &Context) -> Result<(), Error> {
        let reaches: Vec<Reach> = match &self.on {
            On::Ssh(hosts) => {
                let host = |name: &String| {
                    Reach::Ssh(ssh::Remote {
                        name: name.clone(),
                        token: context.cancel.clone(),
                    })
                };
                hosts.iter().map(host).collect()
            }
            On::Slurm(partition) => match nodes(context, partition.as_deref(), &self.job).await {
                Ok(nodes) => nodes,
                Err(error @ FleetError::NoSlurm(_)) => return Err(error.into()),
                Err(error) => {
                    let text = Error::from(error).one_line();
                    let text = format!("kernels are made here, not by Slurm's nodes: {text}");
                    context.emit(Event::Warning(text));
                    Vec::new()
                }
            },
        };
        let known = remembered();
        let host = |reach: Reach| {
            let own = known.iter().filter(|known| known.host == reach.name());
            Host {
                warm: own.map(|known| known.line.clone()).collect(),
                reach: Rc::new(reach),
                busy: false,
                out: false,
            }
        };
        *self.hosts.borrow_mut() = reaches.into_iter().map(host).collect();
        Ok(())
    }

    /// Calls off what is left.
    pub async fn close(&self) {
        let of_slurm = |host: &Host| matches!(*host.reach, Reach::Srun(_));
        if self.hosts.borrow().iter().any(of_slurm) {
            srun::call_off(&self.job).await;
        }
    }

    /// Waits for a host that has nothing to do and takes it; `None` if none is left.
    async fn free(&self, line: &Key) -> Option<usize> {
        loop {
            let freed = self.freed.notified();
            {
                let mut hosts = self.hosts.borrow_mut();
                let states: Vec<Standing> = hosts.iter().map(|host| host.standing(line)).collect();
                if let Some(host) = choose(&states) {
                    hosts[host].busy = true;
                    return Some(host);
                }
                if states.iter().all(|state| *state == Standing::Out) {
                    return None;
                }
            }
            freed.await;
        }
    }

    fn warmed(&self, host: usize, name: &str, line: &Key) {
        let warm = &mut self.hosts.borrow_mut()[host].warm;
        if !warm.contains(line) {
            warm.push(line.clone());
        }
        // Without it the next run may begin on a cold host.
        drop(remember(name, line));
    }

    /// Has a host make a kernel. An error is this host's own.
    async fn on(
        &self,
        context: &Context,
        store: &Store,
        reach: &Reach,
        order: &Order,
        tree: &Tree,
    ) -> Result<Came, Error> {
        let (program, digest) = &self.program;
        let mut connection = match reach.start((digest, program)).await {
            Ok(connection) => connection,
            Err(Refusal::Failed(why) | Refusal::Unfit(why)) => return Ok(Came::Failed(why)),
        };
        let scratch = Scratch::new()?;
        let talk = Talk {
            context,
            store,
            order,
            tree,
            name: reach.name(),
            silence: self.silence,
            scratch: &scratch,
        };
        let came = talk.hold(&mut connection).await;
        let Connection {
            input,
            mut process,
            errors,
            ..
        } = connection;
        drop(input);
        let complaints = RefCell::new(String::new());
        drop(tokio::time::timeout(GRACE, listen_to(errors, &complaints)).await);
        process.stop(GRACE).await;
        match came {
            Ok(came) => Ok(came),
            Err(error @ (FleetError::Store(_) | FleetError::Process(_))) => Err(error.into()),
            Err(error) => {
                let said = complaints.into_inner();
                let said = said.trim().lines().last().map(str::to_owned);
                let why = said.unwrap_or_else(|| Error::from(error).one_line());
                Ok(Came::Failed(why))
            }
        }
    }
}

/// Gives a host back, however its build ended.
struct Busy<'a> {
    builders: &'a Builders,
    host: usize,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.builders.hosts.borrow_mut()[self.host].busy = false;
        self.builders.freed.notify_waiters();
    }
}

/// How a host stands to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It makes no kernels.
    Out,
    Busy,
    /// It is free.
    Free {
        /// It has objects of the line.
        warm: bool,
    },
}

impl Host {
    fn standing(&self, line: &Key) -> Standing {
        match (self.out, self.busy) {
            (true, _) => Standing::Out,
            (_, true) => Standing::Busy,
            (false, false) => Standing::Free {
                warm: self.warm.contains(line),
            },
        }
    }
}

/// The host for an order: a free one, with objects of the line if there is one. A
/// cold one makes a kernel sooner than one that is busy with another.
fn choose(hosts: &[Standing]) -> Option<usize> {
    let first = |wanted: bool| {
        let is = |state: &Standing| *state == Standing::Free { warm: wanted };
        hosts.iter().position(is)
    };
    first(true).or_else(|| first(false))
}

/// A conversation about one order.
struct Talk<'a> {
    context: &'a Context,
    store: &'a Store,
    order: &'a Order,
    tree: &'a Tree,
    name: &'a str,
    silence: Duration,
    scratch: &'a Scratch,
}

impl Talk<'_> {
    async fn hold(&self, connection: &mut Connection) -> Result<Came, FleetError> {
        let name = self.name;
        let lost = |source| FleetError::Link {
            host: name.to_owned(),
            source,
        };
        let Connection { input, output, .. } = connection;
        let order = ToHost::Build(Box::new(self.order.clone()));
        say(input, &order).await.map_err(lost)?;
        let mut beats = tokio::time::interval(BEAT);
        let mut patience = READY;
        loop {
            let said = {
                // What is read is a whole line: nothing of it is lost if a beat is due.
                let mut hearing = std::pin::pin!(hear::<FromHost>(output, name));
                let mut silent = std::pin::pin!(tokio::time::sleep(patience));
                loop {
                    tokio::select! {
                        said = &mut hearing => break said?,
                        () = &mut silent => {
                            let silence = humantime::format_duration(patience);
                            let why = format!("it has said nothing for {silence}");
                            return Ok(Came::Failed(why));
                        }
                        _ = beats.tick() => say(input, &ToHost::Beat).await.map_err(lost)?,
                    }
                }
            };
            match said {
                None => {
                    let why = "the session ended before the kernel was there".to_owned();
                    return Err(FleetError::Link {
                        host: name.to_owned(),
                        source: std::io::Error::other(why),
                    });
                }
                Some(FromHost::Beat) => patience = self.silence,
                Some(FromHost::Has { own: true, .. }) => {}
                Some(FromHost::Has { trees, own: false }) => self.send(input, &trees).await?,
                Some(FromHost::Built { files }) => {
                    let directory = self.scratch.join("kernel");
                    std::fs::create_dir(&directory)
                        .map_err(crate::store::io_error("create", &directory))?;
                    receive_result(output, &files, &directory, name, || {}).await?;
                    return Ok(self.accept(&directory).await);
                }
                Some(FromHost::NotBuilt { message, help }) => {
                    let broken = FleetError::NotBuilt {
                        host: name.to_owned(),
                        message,
                        advice: help,
                    };
                    return Ok(Came::Broken(broken.into()));
                }
                Some(FromHost::End(HostEnd::Unfit(why))) => return Ok(Came::Failed(why)),
                Some(_) => {
                    return Ok(Came::Failed(
                        "it stopped before the kernel was there".to_owned(),
                    ));
                }
            }
        }
    }

    /// Takes over what came. Files that are not what they should be are the host's
    /// fault.
    async fn accept(&self, directory: &Path) -> Came {
        match self.order.accept(self.store, directory).await {
            Ok(image) => Came::Made(Box::new(image)),
            Err(error) => Came::Failed(Error::from(error).one_line()),
        }
    }

    /// Sends the files of the tree that the host lacks.
    async fn send(
        &self,
        input: &mut tokio::process::ChildStdin,
        known: &[String],
    ) -> Result<(), FleetError> {
        let place = self.scratch.join("pack");
        std::fs::create_dir(&place).map_err(crate::store::io_error("create", &place))?;
        // Of a whole tree this takes its time, and the host waits for it.
        let pack = elsewhere::pack(self.context, self.tree, known, &place);
        let pack = beating(input, pack).await;
        let pack = pack.map_err(|error| FleetError::Unpacked(error.one_line()))?;
        let size = std::fs::metadata(&pack)
            .map_err(crate::store::io_error("look at", &pack))?
            .len();
        let line = ToHost::Pack { size };
        let sending = send_file(input, &line, &pack, size);
        let sent = tokio::time::timeout(SENDING, sending).await;
        sent.unwrap_or_else(|_| {
            Err(FleetError::Link {
                host: self.name.to_owned(),
                source: std::io::ErrorKind::TimedOut.into(),
            })
        })?;
        Ok(crate::store::remove_tree(&place)?)
    }
}

/// The nodes of a Slurm cluster, which share no directory for this.
async fn nodes(
    context: &Context,
    partition: Option<&str>,
    job: &str,
) -> Result<Vec<Reach>, FleetError> {
    let nodes = srun::nodes(context, partition).await?;
    let node = |(node, cpus)| {
        Reach::Srun(srun::Remote {
            node,
            partition: partition.map(str::to_owned),
            job: job.to_owned(),
            cpus,
            token: CancellationToken::clone(&context.cancel),
        })
    };
    Ok(nodes.into_iter().map(node).collect())
}

/// A host that has objects of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    host: String,
    line: Key,
}

/// Where that is kept from one run to the next.
fn memory() -> Result<PathBuf, StoreError> {
    Ok(state_directory()?.join("build-hosts.json"))
}

fn remembered() -> Vec<Known> {
    let read = || crate::record::read_json(&memory().ok()?).ok();
    read().unwrap_or_default()
}

fn remember(host: &str, line: &Key) -> Result<(), StoreError> {
    let one = Known {
        host: host.to_owned(),
        line: line.clone(),
    };
    let mut known = remembered();
    known.retain(|other| *other != one);
    known.push(one);
    known.drain(..known.len().saturating_sub(REMEMBERED));
    let path = memory()?;
    if let Some(home) = path.parent() {
        std::fs::create_dir_all(home).map_err(crate::store::io_error("create", home))?;
    }
    write_json(&path, &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_host_comes_first_and_no_host_waits_for_another() {
        let (warm, cold) = (
            Standing::Free { warm: true },
            Standing::Free { warm: false },
        );
        assert_eq!(choose(&[cold, warm, warm]), Some(1));
        assert_eq!(choose(&[Standing::Busy, cold]), Some(1));
        assert_eq!(choose(&[Standing::Out, Standing::Busy]), None);
    }
}
