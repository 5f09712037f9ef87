//! A run on a Slurm cluster whose nodes share no directory with the driver.

use std::time::Instant;

use super::error::FleetError;
use super::reach::Reach;
use super::slurm::{self, is_away};
use super::{Fleet, session, srun};
use crate::error::Error;
use crate::event::Event;

/// Drives the nodes of a run until it is stopped.
pub(super) async fn drive(fleet: &Fleet, partition: Option<&str>) -> Result<(), FleetError> {
    let nodes = waited_for(fleet, partition).await?;
    let cpus = usize::try_from(fleet.cpus).unwrap_or(1).max(1);
    let hosts = nodes.into_iter().map(|(node, _)| {
        Reach::Srun(srun::Remote {
            node,
            partition: partition.map(str::to_owned),
            job: fleet.name.clone(),
            cpus: cpus * fleet.opening.at_a_time.unwrap_or(1),
            token: fleet.stopped.clone(),
        })
    });
    let driven = session::drive(fleet, hosts.collect()).await;
    srun::call_off(&fleet.name).await;
    driven
}

/// The nodes that can have tasks; a controller that is away is waited for.
async fn waited_for(
    fleet: &Fleet,
    partition: Option<&str>,
) -> Result<Vec<(String, usize)>, FleetError> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let error = match srun::nodes(&fleet.context, partition).await {
            Err(FleetError::Process(error)) => error,
            nodes => return nodes,
        };
        let said = Error::from(error).one_line();
        if !is_away(&said) {
            return Err(FleetError::Refused { said });
        }
        if began.elapsed() > slurm::AWAY {
            return Err(FleetError::Away {
                minutes: began.elapsed().as_secs() / 60,
                said,
                run: fleet.record.path().to_owned(),
            });
        }
        if !std::mem::replace(&mut told, true) {
            let text = format!("Slurm's controller does not answer ({said}); waiting for it");
            fleet.context.emit(Event::Warning(text));
        }
        tokio::time::sleep(slurm::ASK).await;
    }
}
