//! `kvet list jobs|workloads|series|fragments`

use std::fmt::Write;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::on_a_thread;
use super::output::{Format, print, print_json};
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::library::{Found, Kind, Place, Places};
use crate::printable::printable_lines;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Form of the list on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// What `kvet run` takes
    Jobs,
    /// What guests and clusters do in a trial
    Workloads,
    /// Patches, for several kernels each
    Series,
    /// Kconfig fragments, of which kernels' configurations are made
    Fragments,
}

impl What {
    fn kind(self) -> Kind {
        match self {
            Self::Jobs => Kind::Job,
            Self::Workloads => Kind::Workload,
            Self::Series => Kind::Series,
            Self::Fragments => Kind::Fragment,
        }
    }
}

/// One thing of the list, in JSON.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    found: Found,
    about: Option<String>,
}

pub(super) async fn list(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let places = Places::of_the_user(&Store::open()?).await?;
    let tell = move || {
        let here = std::path::absolute(".").unwrap_or_default();
        let rows = places.around(&here).list(arguments.what.kind());
        match arguments.format {
            Format::Human => print(&printable_lines(&text(&rows)))?,
            Format::Json => {
                let rows = rows.into_iter();
                let rows: Vec<Row> = rows.map(|(found, about)| Row { found, about }).collect();
                print_json(&rows)?;
            }
        }
        Ok(Exit::Good)
    };
    on_a_thread(context, tell).await
}

/// A paragraph for each: its name, what it is for, and where it is if it did not
/// come with kvet.
fn text(rows: &[(Found, Option<String>)]) -> String {
    let mut text = String::new();
    for (found, about) in rows {
        let about = about.as_deref().unwrap_or("says nothing of itself");
        let _ = writeln!(text, "{}\n    {about}", found.name);
        if found.place != Place::Shipped {
            let _ = writeln!(text, "    in {}", found.path.display());
        }
    }
    text
}
