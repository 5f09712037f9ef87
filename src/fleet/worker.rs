//! The host's side: makes a testbed, does the items it is given, hands over each
//! result as soon as it is there, and ends with nothing left behind. Who gave
//! them and how results travel is the outlet's business.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{BufReader, Stdin, Stdout};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, watch};

use super::batch::{Digest, HostCard, HostEnd, Item, Opening, Work, kind, own_name};
use super::builder;
use super::error::FleetError;
use super::inputs::{self, Input, Inputs};
use super::spool::{Spool, SpoolTask};
use super::wire::{FromHost, ToHost, hear, receive_file, say, send_result};
use crate::context::Context;
use crate::doctor::{self, Lack};
use crate::error::{Error, Exit};
use crate::host;
use crate::service::ServiceSpec;
use crate::store::{Scratch, Store, StoreError, io_error, remove_tree};
use crate::testbed::{Setup, Testbed};
use crate::trial;

/// Where the service's logs go, below a host's scratch directory and an attempt's.
const LOGS: &str = "cluster";

/// So many bytes of a log are kept, its end.
const LOG: u64 = 1 << 20;

/// How long a driver may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// How often a host shows that it lives.
const BEAT: Duration = Duration::from_secs(2);

/// What carries out items on a host.
#[expect(async_fn_in_trait, reason = "kvet runs on one thread")]
pub trait Bed: Sized {
    /// What of it the host lacks, in a line.
    async fn lacks(service: &ServiceSpec) -> Option<String>;
    /// Makes it.
    async fn open(context: &Context, store: &Store, setup: Setup<'_>) -> Result<Self, Error>;
    /// What runs guests, `kvm` or `tcg`.
    fn accelerator(&self) -> String;
    /// Does an item, whose files go to `directory`. Returns why no further one
    /// can be done, if none can.
    async fn carry_out(
        &self,
        context: &Context,
        work: &Work,
        directory: &Path,
    ) -> Result<Option<String>, Error>;
    /// Ends all that runs.
    async fn close(self);
}

impl Bed for Testbed {
    async fn lacks(service: &ServiceSpec) -> Option<String> {
        let checks = doctor::checks_for_trials(service).await;
        let lacking: Vec<String> = checks
            .into_iter()
            .filter_map(|check| match check.lack? {
                Lack::Package(package) => Some(format!("{} (package {package})", check.what)),
                Lack::Other { problem, .. } => Some(format!("{}: {problem}", check.what)),
            })
            .collect();
        (!lacking.is_empty()).then(|| format!("it lacks {}", lacking.join(", ")))
    }

    async fn open(context: &Context, store: &Store, setup: Setup<'_>) -> Result<Self, Error> {
        Testbed::open(context, store, setup).await
    }

    fn accelerator(&self) -> String {
        Testbed::accelerator(self).name().to_owned()
    }

    async fn carry_out(
        &self,
        context: &Context,
        work: &Work,
        directory: &Path,
    ) -> Result<Option<String>, Error> {
        match work {
            Work::Trial(request) => {
                let trial = trial::run(context, self, request, directory).await?;
                Ok(trial::settle(context, self, request, &trial).await)
            }
            Work::SelfTest(request) => {
                trial::self_test(context, self, request, directory).await?;
                Ok(None)
            }
        }
    }

    async fn close(self) {
        Testbed::close(self).await;
    }
}

/// Does a batch of a shared spool: one task of a job array.
pub async fn task<B: Bed>(
    context: &Context,
    store: &Store,
    spool: &Path,
    task: u64,
) -> Result<(), Error> {
    let spool = Spool::at(spool);
    let batch = spool.batch(task)?;
    let (give, items) = unbounded_channel();
    for item in batch.items {
        // The receiver is held below.
        let _ = give.send(item);
    }
    drop(give);
    let outlet = Outlet::Spool(SpoolTask::new(spool, task));
    work::<B>(context, store, &batch.opening, items, &outlet).await
}

/// Does what comes over standard input, and tells on standard output.
pub async fn session<B: Bed>(context: &Context, store: &Store) -> Result<(), Error> {
    let mut input = BufReader::new(tokio::io::stdin());
    let opening = match hear(&mut input, "the driver").await? {
        Some(ToHost::Open(opening)) => opening,
        Some(ToHost::Build(order)) => {
            return builder::build(context, store, &order, input).await;
        }
        _ => return Ok(()),
    };
    let (give, items) = unbounded_channel();
    let incoming = Scratch::new()?;
    let (arrive, arrived) = watch::channel(BTreeSet::new());
    let outlet = Outlet::Pipe(Pipe {
        output: Mutex::new(tokio::io::stdout()),
        incoming: incoming.join("inputs"),
        asked: RefCell::default(),
        arrived,
    });
    let inner = Context {
        cancel: context.cancel.child_token(),
        ..context.clone()
    };
    let working = work::<B>(&inner, store, &opening, items, &outlet);
    let listening = async {
        listen(&mut input, give, &incoming.join("inputs"), arrive).await;
        // The driver is gone: nobody wants the rest.
        inner.cancel.cancel();
        std::future::pending().await
    };
    tokio::select! {
        result = working => result,
        never = listening => never,
    }
}

/// Hands on items until the driver goes, which may be before it has said that
/// there are no more.
async fn listen(
    input: &mut BufReader<Stdin>,
    give: UnboundedSender<Item>,
    incoming: &Path,
    arrive: watch::Sender<BTreeSet<Digest>>,
) {
    let mut give = Some(give);
    loop {
        // It shows that it lives: where a pipe's end is not passed on, silence is
        // the only sign of a driver that was killed.
        let heard = tokio::time::timeout(SILENCE, hear(input, "the driver")).await;
        let Ok(heard) = heard else { return };
        match heard {
            Ok(Some(ToHost::Input { digest, size })) => {
                let entry = incoming.join(digest.as_str());
                let content = entry.join(inputs::CONTENT);
                let made = remove_tree(&entry).is_ok() && std::fs::create_dir_all(&entry).is_ok();
                // A disk that is full ends the session, which says so.
                let received = receive_file(input, &content, size, "the driver").await;
                if !made || received.is_err() {
                    return;
                }
                arrive.send_modify(|all| {
                    all.insert(digest);
                });
            }
            Ok(Some(ToHost::Item(item))) => {
                if let Some(give) = &give {
                    // Nobody takes it any more once the service is lost.
                    let _ = give.send(*item);
                }
            }
            Ok(Some(ToHost::Finish)) => give = None,
            Ok(Some(ToHost::Open(_) | ToHost::Build(_) | ToHost::Beat)) => {}
            // A pack is for who makes kernels.
            Ok(Some(ToHost::Pack { .. }) | None) | Err(_) => return,
        }
    }
}

/// Where results go.
enum Outlet {
    Spool(SpoolTask),
    Pipe(Pipe),
}

/// A driver at the other end of standard input and output.
struct Pipe {
    output: Mutex<Stdout>,
    /// Where inputs are that it sent.
    incoming: PathBuf,
    /// Those that it was asked for.
    asked: RefCell<BTreeSet<Digest>>,
    /// Those that have arrived.
    arrived: watch::Receiver<BTreeSet<Digest>>,
}

impl Outlet {
    async fn say(&self, what: FromHost) -> Result<bool, FleetError> {
        match (self, what) {
            (Self::Pipe(pipe), what) => {
                let said = say(&mut *pipe.output.lock().await, &what).await;
                // Its other end is noticed as the end of standard input.
                Ok(said.is_ok())
            }
            (Self::Spool(task), FromHost::Hello(card)) => task.hello(&card).map(|()| true),
            (Self::Spool(task), FromHost::End(end)) => task.end(&end).map(|()| true),
            (Self::Spool(task), FromHost::Beat) => task.beat(),
            // What else is said is said over a pipe.
            (Self::Spool(_), _) => Ok(true),
        }
    }

    async fn deliver(&self, item: &Item, files: &Path) -> Result<(), FleetError> {
        match self {
            Self::Spool(task) => task.deliver(&item.key, files),
            Self::Pipe(pipe) => send_result(&mut *pipe.output.lock().await, &item.key, files).await,
        }
    }

    /// An input: from the host's own store, or from where the driver has put it, who
    /// is asked for it if need be.
    async fn input(&self, inputs: &Inputs<'_>, digest: &Digest) -> Result<Input, FleetError> {
        let store = inputs.store;
        let is_here = inputs.has(digest).await?;
        let pipe = match self {
            Self::Spool(task) => {
                return inputs::get(store, digest, Some(&task.spool().inputs())).await;
            }
            Self::Pipe(pipe) => pipe,
        };
        if !is_here {
            // Several items may wait for it.
            if pipe.asked.borrow_mut().insert(digest.clone()) {
                self.say(FromHost::Wants(digest.clone())).await?;
            }
            let mut arrived = pipe.arrived.clone();
            let there = |all: &BTreeSet<Digest>| all.contains(digest);
            if arrived.wait_for(there).await.is_err() {
                return Err(FleetError::NoInput(digest.as_str().to_owned()));
            }
        }
        let got = inputs::get(store, digest, Some(&pipe.incoming)).await?;
        remove_tree(&pipe.incoming.join(digest.as_str()))?;
        Ok(got)
    }

    fn has(&self, item: &Item) -> bool {
        matches!(self, Self::Spool(task) if task.has(&item.key))
    }
}

/// All of a host's part, and how it ended, told to whoever listens.
async fn work<B: Bed>(
    context: &Context,
    store: &Store,
    opening: &Opening,
    items: UnboundedReceiver<Item>,
    outlet: &Outlet,
) -> Result<(), Error> {
    let inner = Context {
        cancel: context.cancel.child_token(),
        ..context.clone()
    };
    let beating = async {
        loop {
            if !matches!(outlet.say(FromHost::Beat).await, Ok(true)) {
                // Nobody is there to hear it, or nothing can be written.
                inner.cancel.cancel();
                return std::future::pending().await;
            }
            tokio::time::sleep(BEAT).await;
        }
    };
    // First of all: whatever ends it, it is known where.
    outlet.say(FromHost::Beat).await?;
    let end = tokio::select! {
        end = all_items::<B>(&inner, store, opening, items, outlet) => end,
        never = beating => never,
    };
    let end = match end {
        Ok(end) => end,
        Err(error) if error.exit() == Exit::Interrupted => HostEnd::Stopped,
        Err(error) => HostEnd::Unfit(error.one_line()),
    };
    outlet.say(FromHost::End(end)).await?;
    Ok(())
}

async fn all_items<B: Bed>(
    context: &Context,
    store: &Store,
    opening: &Opening,
    mut items: UnboundedReceiver<Item>,
    outlet: &Outlet,
) -> Result<HostEnd, Error> {
    if let Some(lack) = B::lacks(&opening.service).await {
        return Ok(HostEnd::Unfit(lack));
    }
    inputs::forget_old(store)?;
    let inputs = Inputs::of(store);
    let image = outlet.input(&inputs, &opening.image).await?;
    let kernel = outlet.input(&inputs, &opening.kernel).await?;
    let scratch = Scratch::new()?;
    let setup = Setup {
        service: &opening.service,
        logs: &scratch.join(LOGS),
        image: image.path.clone(),
        acceleration: opening.acceleration,
        kernel: &kernel.path,
    };
    let bed = tokio::select! {
        bed = B::open(context, store, setup) => bed?,
        () = context.cancel.cancelled() => return Ok(HostEnd::Stopped),
    };
    let card = card(context, opening, bed.accelerator()).await;
    let fits = opening.kind.as_ref().is_none_or(|kind| *kind == card.kind);
    let at_a_time = card.at_a_time;
    outlet.say(FromHost::Hello(Box::new(card.clone()))).await?;
    let result = if fits {
        let place = Place {
            context,
            inputs: &inputs,
            bed: &bed,
            outlet,
            scratch: &scratch,
            image: &image.path,
            host: &card.name,
        };
        tokio::select! {
            result = place.each(&mut items, at_a_time) => result,
            () = context.cancel.cancelled() => Ok(HostEnd::Stopped),
        }
    } else {
        Ok(HostEnd::OtherKind)
    };
    bed.close().await;
    result
}

/// Who this host is.
async fn card(context: &Context, opening: &Opening, accelerator: String) -> HostCard {
    let mut facts = host::facts(context).await;
    facts.accelerator = accelerator;
    HostCard {
        name: opening.name.clone().unwrap_or_else(own_name),
        kind: kind(&facts, &opening.service),
        at_a_time: opening.at_a_time.unwrap_or(facts.cpus).max(1),
        facts,
    }
}

/// What a host's items share.
struct Place<'a, B> {
    context: &'a Context,
    inputs: &'a Inputs<'a>,
    bed: &'a B,
    outlet: &'a Outlet,
    scratch: &'a Scratch,
    image: &'a Path,
    host: &'a str,
}

impl<B: Bed> Place<'_, B> {
    /// Does items as they come, several at a time, until there are no more.
    async fn each(
        &self,
        items: &mut UnboundedReceiver<Item>,
        at_a_time: usize,
    ) -> Result<HostEnd, Error> {
        let mut running = FuturesUnordered::new();
        let mut open = true;
        let mut lost = None;
        loop {
            let room = open && lost.is_none() && running.len() < at_a_time;
            tokio::select! {
                item = items.recv(), if room => match item {
                    Some(item) => running.push(self.one(item)),
                    None => open = false,
                },
                Some(ended) = running.next(), if !running.is_empty() => {
                    lost = lost.or(ended?);
                }
                else => break,
            }
        }
        Ok(lost.map_or(HostEnd::Done, HostEnd::ServiceLost))
    }

    /// Does an item and hands over its files.
    async fn one(&self, item: Item) -> Result<Option<String>, Error> {
        if self.outlet.has(&item) {
            return Ok(None);
        }
        let kernel = self.outlet.input(self.inputs, &item.kernel).await?;
        let directory = self.scratch.join(item.key.as_str());
        std::fs::create_dir(&directory).map_err(io_error("create", &directory))?;
        let work = here(&item.work, &kernel.path, self.image, self.host);
        let lost = self.bed.carry_out(self.context, &work, &directory).await?;
        if lost.is_some() {
            keep_logs(&self.scratch.join(LOGS), &directory.join(LOGS))?;
        }
        self.outlet.deliver(&item, &directory).await?;
        remove_tree(&directory)?;
        Ok(lost)
    }
}

/// Keeps the ends of the service's logs with the attempt at which it was lost:
/// nobody can ask this host for them later.
fn keep_logs(from: &Path, to: &Path) -> Result<(), StoreError> {
    let Ok(entries) = std::fs::read_dir(from) else {
        return Ok(());
    };
    std::fs::create_dir_all(to).map_err(io_error("create", to))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if !std::fs::symlink_metadata(&path).is_ok_and(|data| data.is_file()) {
            continue;
        }
        let read = || {
            let mut file = File::open(&path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG)))?;
            let mut end = Vec::new();
            file.take(LOG).read_to_end(&mut end)?;
            Ok(end)
        };
        let end = read().map_err(io_error("read", &path))?;
        let to = to.join(entry.file_name());
        std::fs::write(&to, end).map_err(io_error("write", &to))?;
    }
    Ok(())
}

/// The same work with this host's paths.
fn here(work: &Work, kernel: &Path, image: &Path, host: &str) -> Work {
    let mut work = work.clone();
    match &mut work {
        Work::Trial(request) => {
            kernel.clone_into(&mut request.kernel);
            image.clone_into(&mut request.image);
            request.host = Some(host.to_owned());
        }
        Work::SelfTest(request) => kernel.clone_into(&mut request.kernel),
    }
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_logs_are_kept_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        let mut long = vec![b'a'; usize::try_from(LOG).unwrap()];
        long.extend(b"the end");
        std::fs::write(from.join("osd.0.log"), &long).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("mon.log")).unwrap();
        keep_logs(&from, &to).unwrap();
        let kept = std::fs::read(to.join("osd.0.log")).unwrap();
        assert_eq!(kept, long[7..]);
        assert!(!to.join("mon.log").exists());
        // A service that left none is no fault.
        keep_logs(&home.path().join("nowhere"), &to).unwrap();
    }
}
