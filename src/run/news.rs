//! What a run asks, as one key: whoever asks only what is new compares it with
//! what was asked before.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use crate::context::Context;
use crate::error::Error;
use crate::job::Plan;
use crate::kernel::source::{Extent, Network, pin};
use crate::kernel::{SourceSpec, Sources};
use crate::record::paths;
use crate::report::Report;
use crate::store::{Key, Store, StoreError, io_error};
use crate::tested::{Answer, Tested};

/// Files of a series or a recipe that are read.
const MOST_FILES: usize = 10_000;

/// Puts in the place of each source what it stands for now, asking once for each.
pub async fn pin_sources(
    context: &Context,
    store: &Store,
    plan: &mut Plan,
    extent: Extent,
) -> Result<(), Error> {
    let network = Network::from_environment();
    let mut pinned: Vec<(SourceSpec, SourceSpec)> = Vec::new();
    for arm in &mut plan.arms {
        let source = &mut arm.recipe.source;
        let known = pinned.iter().find(|(asked, _)| asked == source);
        let found = if let Some((_, found)) = known {
            found.clone()
        } else {
            let found = pin(context, store, source, extent, &network).await?;
            pinned.push((source.clone(), found.clone()));
            found
        };
        *source = found;
    }
    Ok(())
}

/// What decides a run's answer: the kernels, the content of patches and
/// fragments, and all that the job says. Where files lie does not. The states of
/// directories that it is about are pinned in the plan: what is edited before the
/// build is of the next question.
pub async fn question_key(context: &Context, store: &Store, plan: &mut Plan) -> Result<Key, Error> {
    let mut value = serde_json::to_value(&*plan).unwrap_or_default();
    if let Some(plan) = value.as_object_mut() {
        for key in [
            "job",
            "found",
            "stream",
            "question",
            "snapshots",
            "notify",
            "part_of",
            "known_at",
        ] {
            plan.remove(key);
        }
        for arm in plan
            .get_mut("arms")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            for key in ["patches", "fragments", "whole_config"] {
                for path in paths(arm.get_mut(key)) {
                    let of = PathBuf::from(path.as_str().unwrap_or_default());
                    *path = digest(&of)?.as_str().into();
                }
            }
        }
    }
    let mut parts = vec![value.to_string()];
    // Each is taken once: two arms of one directory are of one state of it.
    let mut sources = Sources::default();
    plan.snapshots.clear();
    for arm in &plan.arms {
        // Its path says nothing of what is in it now.
        if let source @ SourceSpec::Directory { path } = &arm.recipe.source {
            let tree = sources.tree(context, store, source).await?;
            plan.snapshots.insert(path.clone(), tree.id().to_owned());
            parts.push(tree.key.as_str().to_owned());
        }
    }
    Ok(Key::of(parts))
}

/// The content of a file, or of all files of a directory with their names.
fn digest(path: &Path) -> Result<Key, StoreError> {
    let mut files = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(next) = left.pop() {
        if next.is_dir() && files.len() < MOST_FILES {
            let entries = std::fs::read_dir(&next).map_err(io_error("read", &next))?;
            left.extend(entries.flatten().map(|entry| entry.path()));
        } else if next.is_file() {
            files.push(next);
        }
    }
    files.sort();
    let mut parts = Vec::new();
    for file in files {
        let name = file.strip_prefix(path).unwrap_or(&file);
        parts.push(name.as_os_str().as_encoded_bytes().to_vec());
        let content = crate::bounded::read(&file, 64 << 20).map_err(io_error("read", &file))?;
        parts.push(content);
    }
    Ok(Key::of(parts))
}

/// Keeps what a run answered, if its question is one that is kept.
pub(super) fn remember(
    context: &Context,
    plan: &Plan,
    report: &Report,
    run: &Path,
) -> Result<(), StoreError> {
    let Some(question) = &plan.question else {
        return Ok(());
    };
    Tested::open(context, &plan.name)?.keep(Answer {
        question: question.clone(),
        sources: sources(plan),
        at: Timestamp::now(),
        verdict: report.verdict.kind,
        run: run.display().to_string(),
        undecided: 0,
    })
}

/// The plan's sources, each once, for people.
#[must_use]
pub fn sources(plan: &Plan) -> Vec<String> {
    let mut sources: Vec<String> = Vec::new();
    for arm in &plan.arms {
        let name = arm.recipe.source.name();
        if !sources.contains(&name) {
            sources.push(name);
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_names_and_content_and_not_of_the_place() {
        let home = tempfile::tempdir().unwrap();
        let series = |name: &str, patch: &str, content: &str| {
            let directory = home.path().join(name);
            std::fs::create_dir_all(directory.join("7.3")).unwrap();
            std::fs::write(directory.join("7.3").join(patch), content).unwrap();
            digest(&directory).unwrap()
        };
        let one = series("one", "a.patch", "x");
        assert_eq!(one, series("two", "a.patch", "x"));
        assert_ne!(one, series("three", "b.patch", "x"));
        assert_ne!(one, series("four", "a.patch", "y"));
    }

    #[tokio::test]
    async fn what_is_built_is_what_was_asked_about() {
        use crate::job::Choice;
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "linux/Makefile",
            "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n",
        );
        write("linux/fs.c", "asked about");
        write("kconfigs/base.config", "");
        let job = format!(
            "name: j\n\
             kernel: {{ source: {{ dir: {}/linux }}, config: [base] }}\n\
             workload: {{ use: evict-truncate }}\n\
             target: {{ class: hung_task }}\n\
             trials: 1\n\
             arms: {{ stock: {{ control: true }} }}\n",
            home.path().display()
        );
        write("job.yaml", &job);
        let mut plan = Plan::load(&home.path().join("job.yaml"), &Choice::default()).unwrap();
        let context = Context::default();
        let store = Store::at(home.path().join("cache")).unwrap();
        question_key(&context, &store, &mut plan).await.unwrap();
        // It is what a resumed run reads, too.
        let plan = serde_json::to_string(&plan).unwrap();
        let plan: Plan = serde_json::from_str(&plan).unwrap();
        assert_eq!(plan.snapshots.len(), 1);

        write("linux/fs.c", "edited before the build");
        let source = &plan.arms[0].recipe.source;
        let mut pinned = Sources::pinned(&context, &store, &plan.snapshots)
            .await
            .unwrap();
        let tree = pinned.tree(&context, &store, source).await.unwrap();
        let text = tree.file(&context, "fs.c").await.unwrap();
        assert_eq!(text, b"asked about");

        // If the cache has it no longer, the state must be there again.
        let empty = Store::at(home.path().join("another")).unwrap();
        let gone = Sources::pinned(&context, &empty, &plan.snapshots).await;
        assert!(gone.unwrap_err().to_string().contains("has changed"));
        write("linux/fs.c", "asked about");
        Sources::pinned(&context, &empty, &plan.snapshots)
            .await
            .unwrap();
    }
}
