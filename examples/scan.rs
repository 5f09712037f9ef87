//! Runs `kvet scan` by itself, for measuring.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use kvet::cli::scan::{ScanArgs, scan};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    scan: ScanArgs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    #[allow(clippy::print_stderr)]
    let mut complain = |error: &kvet::Error| eprintln!("{error}");
    match scan(&arguments.scan, &mut out, &mut complain) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            complain(&error);
            ExitCode::from(error.exit().code())
        }
    }
}
