//! The arguments that say on which hosts trials run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::duration;
use crate::fleet::{FleetOptions, On, SILENCE};

#[derive(Debug, Clone, Args)]
pub(super) struct HostArguments {
    /// Run trials on other hosts: slurm, slurm:PARTITION, or ssh:HOST,HOST
    ///
    /// Hosts make the kernels, too, each one once: first one that has objects of the
    /// kernel's source; here if none of them can. On Slurm, trials are the tasks of job
    /// arrays, and driver and nodes need a directory that all of them see (--spool; the
    /// run's own unless it is given), or with --spool none go through srun. Over ssh
    /// nothing has to be shared; `KVET_SSH` names another command than `ssh`. With --jobs, so many
    /// trials run at a time on each host, or in each task of Slurm's.
    #[arg(long, value_name = "WHERE")]
    on: Option<On>,
    /// A directory that driver and Slurm's nodes share, or none, if they share nothing
    /// [default: the run directory]
    #[arg(long, value_name = "DIR", requires = "on")]
    spool: Option<PathBuf>,
    /// How long a host may say nothing before its trials go elsewhere [default: 1m]
    #[arg(long, value_name = "TIME", requires = "on", value_parser = silence)]
    silence: Option<Duration>,
    /// The kvet that hosts run, if this one does not run there
    #[arg(long, value_name = "FILE", requires = "on")]
    host_program: Option<PathBuf>,
}

/// A host shows every two seconds that it lives.
fn silence(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text)?;
    if time < Duration::from_secs(5) {
        return Err("at least 5s: what is slow is not gone".to_owned());
    }
    Ok(time)
}

impl HostArguments {
    /// How a run uses them; `None` if its trials run here.
    pub(super) fn options(&self, jobs: Option<u16>) -> Option<FleetOptions> {
        let apart = self.spool.as_deref() == Some(Path::new("none"));
        Some(FleetOptions {
            on: self.on.clone()?,
            at_a_time: jobs.map(usize::from),
            spool: self.spool.clone().filter(|_| !apart),
            apart,
            silence: self.silence.unwrap_or(SILENCE),
            program: self.host_program.clone(),
        })
    }
}
