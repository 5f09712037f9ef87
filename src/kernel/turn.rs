//! Waiting for another kvet, which may take as long as a download or a build: the
//! user is told, and can end it.

use std::path::Path;

use crate::context::Context;
use crate::event::Event;
use crate::process::ProcessError;
use crate::store::{Lock, StoreError};

/// Takes a lock as soon as nobody has it. `does` says what another kvet does that
/// has it.
pub(super) async fn turn<E>(context: &Context, lock: &Path, does: &str) -> Result<Lock, E>
where
    E: From<StoreError> + From<ProcessError>,
{
    if let Some(lock) = Lock::try_acquire(lock)? {
        return Ok(lock);
    }
    let note = format!("waiting for another kvet that {does}");
    context.emit(Event::Note(note));
    tokio::select! {
        lock = Lock::acquire(lock) => Ok(lock?),
        () = context.cancel.cancelled() => Err(ProcessError::Interrupted.into()),
    }
}
