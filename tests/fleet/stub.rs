//! A host's part of a run without guests: what a trial shows follows from which
//! one it is. Everything else is kvet's own: batches, inputs, results, beats.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use kvet::context::Context;
use kvet::detect::scan;
use kvet::error::Error;
use kvet::fleet::{Bed, Work, session, task};
use kvet::guest::protocol::Ready;
use kvet::record::{Ending, Journal, Trial, keep_request, keep_trial};
use kvet::service::ServiceSpec;
use kvet::store::Store;
use kvet::testbed::Setup;
use kvet::trial::without_guest;

/// What a hanging kernel says.
const HUNG: &[u8] = include_bytes!("../fixtures/detect/ceph_writeback_deadlock_7.3.log");

/// Whether a trial of this number hangs. Hosts take trials in turn, so what shows in
/// every third of them would show on every third host.
fn two_of_three(number: u32) -> bool {
    !number
        .wrapping_mul(2_654_435_761)
        .rotate_left(16)
        .is_multiple_of(3)
}

struct Stub;

impl Bed for Stub {
    async fn lacks(_: &ServiceSpec) -> Option<String> {
        std::env::var("KVET_STUB_LACKS").ok()
    }

    async fn open(_: &Context, _: &Store, _: Setup<'_>) -> Result<Self, Error> {
        Ok(Self)
    }

    fn accelerator(&self) -> String {
        "tcg".to_owned()
    }

    async fn carry_out(
        &self,
        _: &Context,
        work: &Work,
        directory: &Path,
    ) -> Result<Option<String>, Error> {
        let Work::Trial(request) = work else {
            return Ok(None);
        };
        let millis = std::env::var("KVET_STUB_MILLIS").ok();
        let millis = millis.and_then(|text| text.parse().ok()).unwrap_or(50);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        keep_request(directory, request)?;
        let odd = std::env::var_os("KVET_STUB_ODD").is_some();
        let kernel = std::fs::read(&request.kernel).unwrap_or_default();
        let bug = kernel.windows(3).any(|bytes| bytes == b"BUG");
        let shows = request.id.arm == "stock" || bug;
        let hangs = shows && !odd && two_of_three(request.id.number);
        let console: &[u8] = if hangs { HUNG } else { b"nothing to tell\n" };
        Journal::create(directory)?.console(console)?;
        let sysctls = [
            "hung_task_timeout_secs",
            "hung_task_warnings",
            "hung_task_panic",
        ];
        let sysctl = |name| (format!("kernel.{name}"), "10".to_owned());
        let length = u64::try_from(console.len()).unwrap_or_default();
        let trial = Trial {
            findings: scan(console),
            ready: Some(Ready {
                protocol: 1,
                release: request.release.clone(),
                version: String::new(),
                uptime: 1.0,
                memory: 1 << 30,
                processors: 2,
                sysctls: BTreeMap::from(sysctls.map(sysctl)),
                lacks: Vec::new(),
            }),
            booted_at: Some(0),
            console_length: length,
            said: length,
            seconds: 0.05,
            ..without_guest(
                request,
                if hangs {
                    Ending::Stopped
                } else {
                    Ending::Finished
                },
            )
        };
        keep_trial(directory, &trial)?;
        Ok(None)
    }

    async fn close(self) {}
}

/// `batch SPOOL TASK` or `batch -`, as kvet's.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let done = runtime.block_on(async {
        let context = Context::default();
        let cancel = context.cancel.clone();
        let listening = async {
            let kind = tokio::signal::unix::SignalKind::terminate();
            let mut term = tokio::signal::unix::signal(kind).unwrap();
            term.recv().await;
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        let store = Store::open()?;
        let working = async {
            match arguments {
                [spool, number] => {
                    let number = number.parse().unwrap();
                    task::<Stub>(&context, &store, Path::new(spool), number).await
                }
                _ => session::<Stub>(&context, &store).await,
            }
        };
        tokio::select! {
            done = working => done,
            () = listening => Ok(()),
        }
    });
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
