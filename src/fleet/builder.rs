//! The host's side of a kernel that is made elsewhere: it says what it has of the
//! kernel's line, takes what it lacks, makes the kernel in its own store, where
//! objects of the line stay, and hands over the files.

use std::time::Duration;

use tokio::io::{BufReader, Stdin, Stdout};
use tokio::sync::Mutex;

use super::batch::HostEnd;
use super::error::FleetError;
use super::wire::{FromHost, ToHost, hear, receive_file, say, send_files};
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::kernel::elsewhere::Order;
use crate::store::{Scratch, Store, io_error};

/// How often the host shows that it lives.
const BEAT: Duration = Duration::from_secs(2);

/// How long a driver may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// Makes the kernel of an order that came over standard input.
pub(super) async fn build(
    context: &Context,
    store: &Store,
    order: &Order,
    mut input: BufReader<Stdin>,
) -> Result<(), Error> {
    let output = Mutex::new(tokio::io::stdout());
    let inner = Context {
        cancel: context.cancel.child_token(),
        ..context.clone()
    };
    let beating = async {
        loop {
            let said = say(&mut *output.lock().await, &FromHost::Beat).await;
            if said.is_err() {
                // Nobody is there to hear it.
                inner.cancel.cancel();
                return std::future::pending().await;
            }
            tokio::time::sleep(BEAT).await;
        }
    };
    let made = tokio::select! {
        made = make(&inner, store, order, &mut input, &output) => made,
        never = beating => never,
    };
    let end = match made {
        Ok(end) => end,
        Err(error) if error.exit() == Exit::Interrupted => HostEnd::Stopped,
        Err(error) => HostEnd::Unfit(error.one_line()),
    };
    // A driver that is gone does not hear it.
    drop(say(&mut *output.lock().await, &FromHost::End(end)).await);
    Ok(())
}

async fn make(
    context: &Context,
    store: &Store,
    order: &Order,
    input: &mut BufReader<Stdin>,
    output: &Mutex<Stdout>,
) -> Result<HostEnd, Error> {
    if let Some(why) = order.refused(context).await? {
        return Ok(HostEnd::Unfit(why));
    }
    let (trees, own) = order.known(context, store).await?;
    tell(output, &FromHost::Has { trees, own }).await?;
    if !own {
        let scratch = Scratch::new()?;
        let pack = scratch.join("tree.pack");
        loop {
            match heard(input).await? {
                Some(ToHost::Pack { size }) => {
                    receive_file(input, &pack, size, "the driver").await?;
                    break;
                }
                Some(ToHost::Beat) => {}
                _ => return Ok(HostEnd::Stopped),
            }
        }
        order.take(context, store, &pack).await?;
    }
    let gone = async { while let Ok(Some(_)) = heard(input).await {} };
    let made = tokio::select! {
        made = order.make(context, store) => made,
        () = gone => return Ok(HostEnd::Stopped),
    };
    match made {
        Ok(image) => {
            let output = &mut *output.lock().await;
            let files = |files| FromHost::Built { files };
            send_files(output, image.directory(), files).await?;
        }
        Err(error) if error.exit() == Exit::Undecided => {
            let (message, help) = (error.one_line(), error.help());
            tell(output, &FromHost::NotBuilt { message, help }).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(HostEnd::Done)
}

/// What the driver says next; nothing if it is gone.
async fn heard(input: &mut BufReader<Stdin>) -> Result<Option<ToHost>, FleetError> {
    match tokio::time::timeout(SILENCE, hear(input, "the driver")).await {
        Ok(heard) => heard,
        Err(_) => Ok(None),
    }
}

async fn tell(output: &Mutex<Stdout>, what: &FromHost) -> Result<(), Error> {
    let said = say(&mut *output.lock().await, what).await;
    let path = std::path::Path::new("standard output");
    Ok(said.map_err(io_error("write to", path))?)
}
