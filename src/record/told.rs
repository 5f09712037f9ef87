//! What is told while somebody works on a run, and what kvet itself does for it:
//! both are kept in the run directory, line by line, so that nothing of them is lost
//! when the process is killed.

use super::{Record, keep_events};
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::store::StoreError;
use crate::trace;

/// The file with what kvet did: of a run, or of an attempt that a process of its own
/// made.
pub const TRACE: &str = "kvet.log";

impl Record {
    /// Does what is to be done for this run, with a context whose events are kept in
    /// the run directory, too, and traces what it does there. Work that goes on with a
    /// run goes on with its files. That either could not be kept is a warning: it costs
    /// nothing of what the work comes to.
    pub async fn logged<T, W>(
        &self,
        context: &Context,
        work: impl FnOnce(Context) -> W,
    ) -> Result<T, Error>
    where
        W: Future<Output = Result<T, Error>>,
    {
        let trace = trace::to_file(&self.path().join(TRACE), trace::OF_A_RUN);
        let _trace = trace.map_err(|unkept| warn(context, unkept));
        let (events, told) = context.events.and_channel();
        let inner = Context {
            cancel: context.cancel.child_token(),
            events,
        };
        let file = self.events_file();
        let (result, kept) = tokio::join!(work(inner), keep_events(&file, told));
        kept.unwrap_or_else(|unkept| warn(context, unkept));
        result
    }
}

fn warn(context: &Context, unkept: StoreError) {
    let text = Error::from(unkept).one_line();
    let text = format!("the record does not have all that was told: {text}");
    context.emit(Event::Warning(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventSink;
    use crate::record::VERSION;

    fn record() -> (Record, tempfile::TempDir) {
        let home = tempfile::tempdir().unwrap();
        let record = Record {
            path: home.path().to_owned(),
            version: VERSION,
        };
        (record, home)
    }

    #[tokio::test]
    async fn a_run_that_goes_on_goes_on_with_its_files() {
        let (record, _home) = record();
        let (events, mut heard) = EventSink::channel();
        let context = Context {
            events,
            ..Context::default()
        };
        for text in ["first", "second"] {
            let work = |context: Context| async move {
                context.emit(Event::Note(text.to_owned()));
                Ok(())
            };
            record.logged(&context, work).await.unwrap();
            assert!(heard.try_recv().is_ok(), "{text} is not told");
        }
        let told = std::fs::read_to_string(record.events_file()).unwrap();
        let notes: Vec<&str> = (told.lines())
            .filter_map(|line| line.split_once("\"note\":"))
            .map(|(_, note)| note)
            .collect();
        assert_eq!(notes, ["\"first\"}", "\"second\"}"], "{told}");
        assert!(record.path().join(TRACE).is_file());
    }

    #[tokio::test]
    async fn a_verdict_stands_though_what_was_told_could_not_be_kept() {
        let (record, _home) = record();
        std::fs::create_dir(record.events_file()).unwrap();
        let (events, mut warnings) = EventSink::warnings();
        let context = Context {
            events,
            ..Context::default()
        };
        let verdict = record.logged(&context, async |context| {
            context.emit(Event::Note("one".to_owned()));
            Ok("a verdict")
        });
        assert_eq!(verdict.await.unwrap(), "a verdict");
        let warned = warnings();
        assert!(
            matches!(&warned[..], [one] if one.contains("events.jsonl")),
            "{warned:?}"
        );
    }
}
