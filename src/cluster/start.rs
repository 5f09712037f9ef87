//! Starts a cluster of the host's own programs: from a prepared one where there can
//! be one, and from nothing otherwise.

use std::path::Path;

use super::monitor::Monitor;
use super::prepared::Prepared;
use super::{Access, ClusterError, Daemons, Site, native, prepared};
use crate::error::Error;
use crate::event::Event;
use crate::store::{Store, io_error, remove_tree};

/// Starts everything and waits until it is healthy: from a prepared cluster where
/// there can be one, and from nothing otherwise.
pub(super) async fn start(
    site: &Site<'_>,
    store: &Store,
    daemons: &mut Daemons,
) -> Result<(Access, Monitor), ClusterError> {
    let Some(prepared) = prepared::get(site, store).await? else {
        return native::fresh(site, daemons).await;
    };
    match resume(site, &prepared, daemons).await {
        Err(ClusterError::Interrupted) => Err(ClusterError::Interrupted),
        Err(error) => {
            let text = Error::from(error).one_line();
            let text = format!("a prepared cluster does not start and is removed: {text}");
            site.context.emit(Event::Warning(text));
            prepared.discard(store).await?;
            *daemons = Daemons::new(site.logs.to_owned());
            clear(site.state)?;
            native::fresh(site, daemons).await
        }
        started => started,
    }
}

/// Removes all that lies where a cluster was to run, but the lock on it.
fn clear(state: &Path) -> Result<(), ClusterError> {
    let entries = std::fs::read_dir(state).map_err(io_error("read the directory", state))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_lock = path.file_name().is_some_and(|name| name == ".lock");
        if path.is_dir() && !path.is_symlink() {
            remove_tree(&path)?;
        } else if !is_lock {
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

async fn resume(
    site: &Site<'_>,
    prepared: &Prepared,
    daemons: &mut Daemons,
) -> Result<(Access, Monitor), ClusterError> {
    prepared.copy_to(site.state)?;
    native::resume(site, &prepared.fsid, daemons).await
}
