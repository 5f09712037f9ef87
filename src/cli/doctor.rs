//! `kvet doctor [JOB] [--fix]`

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::print;
use super::{load_plan, on_a_thread};
use crate::context::Context;
use crate::doctor::{self, Lack};
use crate::error::{Error, Exit};
use crate::job::Choice;
use crate::printable::printable_lines;
use crate::rootfs::Recipe;
use crate::service::ServiceSpec;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Install what is missing
    #[arg(long)]
    fix: bool,
    /// A job whose needs count, too, such as those of a `vstart.sh`
    job: Option<PathBuf>,
}

pub(super) async fn doctor(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let store = Store::open()?;
    let (service, rootfs) = if let Some(job) = arguments.job {
        let plan = load_plan(context, job, Choice::default()).await?;
        (plan.service, plan.rootfs)
    } else {
        (ServiceSpec::default(), Recipe::default())
    };
    let mut checks = doctor::checks(&service, &rootfs).await;
    let packages = doctor::missing_packages(&checks);
    if arguments.fix && !packages.is_empty() {
        doctor::install(context, &packages).await?;
        drop(packages);
        checks = doctor::checks(&service, &rootfs).await;
    }
    checks.push(doctor::space(&store));
    let mut text = String::new();
    for check in &checks {
        let state = match &check.lack {
            None => "ok".to_owned(),
            Some(Lack::Package(package)) => format!("missing, comes with {package}"),
            Some(Lack::Other { problem, advice }) => format!("{problem}; {advice}"),
        };
        let what = match check.purpose {
            Some(purpose) => format!("{} (for {purpose})", check.what),
            None => check.what.clone(),
        };
        let _ = writeln!(text, "{what:44} {state}");
    }
    let packages = doctor::missing_packages(&checks);
    if !packages.is_empty() {
        let _ = writeln!(
            text,
            "\nTo mend it:\n    apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    on_a_thread(context, move || Ok(print(&printable_lines(&text))?)).await?;
    Ok(if checks.iter().all(|check| check.lack.is_none()) {
        Exit::Good
    } else {
        Exit::Usage
    })
}
