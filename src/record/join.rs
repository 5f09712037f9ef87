//! One record of the records of its parts: the same files as if one machine had
//! done it all. Nothing is judged here. What a part has besides (its log, its
//! events, its service's logs) stays together below `parts/N`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde_json::Value;
use thiserror::Error;

use super::{Beginning, PAST, Record, RecordError, file_name, read_self_test};
use crate::error::{Exit, Fault};
use crate::job::Plan;
use crate::store::{StoreError, io_error};

/// How deep directories of a record go.
const DEEPEST: u32 = 8;

/// A part's own report, for how long it took.
const REPORT: &str = "report.json";

/// What an arm's directory holds besides its trials.
const OF_ARM: &[&str] = &[
    "kernel.json",
    "config",
    "build.log",
    "changed.json",
    "decoded.json",
    "vmlinux",
    "broken.json",
];

/// The directory of its self-test.
const SELF_TEST: &str = "self-test";

/// Parts do not make one run.
#[derive(Debug, Error, Diagnostic)]
pub enum JoinError {
    /// A record could not be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// There is nothing to join.
    #[error("there are no parts to join")]
    #[diagnostic(help("name the directories that `kvet run --part` wrote"))]
    Nothing,
    /// A record is a whole run's.
    #[error("{} is not a part: it is the record of a whole run", .0.display())]
    #[diagnostic(help("`kvet judge` gives its verdict"))]
    Whole(PathBuf),
    /// Two records are of the same part.
    #[error("{} and {} are both part {part}", one.display(), other.display())]
    #[diagnostic(help("leave one of them out: the older one, if a part was run again"))]
    Twice {
        /// Which part.
        part: String,
        /// The first.
        one: PathBuf,
        /// The second.
        other: PathBuf,
    },
    /// Two records are not of the same run.
    #[error("{} and {} are not parts of one run: they differ in {what}", one.display(), other.display())]
    #[diagnostic(help(
        "parts are of one run if `kvet run` got the same job, the same files and the same \
         arguments everywhere, but for --part"
    ))]
    Different {
        /// The first.
        one: PathBuf,
        /// The second.
        other: PathBuf,
        /// In what.
        what: String,
    },
}

impl From<StoreError> for JoinError {
    fn from(error: StoreError) -> Self {
        Self::Record(error.into())
    }
}

impl Fault for JoinError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What was joined.
#[derive(Debug)]
pub struct Joined {
    /// The record of the whole run.
    pub record: Record,
    /// Its beginning.
    pub beginning: Beginning,
    /// The parts that were not there, by number. Their trials count as not run.
    pub missing: Vec<u32>,
    /// What the parts were run on differently, for people.
    pub differences: Vec<String>,
}

struct Piece {
    path: PathBuf,
    record: Record,
    beginning: Beginning,
}

/// Makes one record of these parts at `out`, which must not be there yet.
pub fn join(parts: &[PathBuf], out: &Path) -> Result<Joined, JoinError> {
    let pieces = opened(parts)?;
    let Some((_, first)) = pieces.first_key_value() else {
        return Err(JoinError::Nothing);
    };
    let Some(part_of) = &first.beginning.plan.part_of else {
        return Err(JoinError::Whole(first.path.clone()));
    };
    let of = part_of.part.of;
    let whole = &part_of.whole;
    for piece in pieces.values() {
        same_run(first, piece)?;
    }
    let cut = whole.parts(of);
    for (number, piece) in &pieces {
        let expected = cut.get(*number as usize - 1);
        if expected.map(taken) != Some(taken(&piece.beginning.plan)) {
            return Err(JoinError::Different {
                one: first.path.clone(),
                other: piece.path.clone(),
                what: format!("how the run was cut: part {number} has other trials"),
            });
        }
    }
    same_kernels(&pieces)?;
    let started = pieces.values().map(|piece| piece.beginning.started).min();
    let started = started.unwrap_or(first.beginning.started);
    let record = Record::create(out, whole, &first.beginning.host, started)?;
    at_last(out, || {
        let mut pieces = pieces.iter();
        pieces.try_for_each(|(number, piece)| copy_piece(*number, piece, out))
    })?;
    let (record, beginning) = Record::open(record.path())?;
    Ok(Joined {
        missing: (1..=of)
            .filter(|number| !pieces.contains_key(number))
            .collect(),
        differences: differences(first, &pieces),
        record,
        beginning,
    })
}

/// Has `fill` make the rest of a record whose beginning is at `out`, which has none
/// meanwhile: half of it is not a record, whoever is killed in between.
fn at_last(out: &Path, fill: impl FnOnce() -> Result<(), JoinError>) -> Result<(), JoinError> {
    let (beginning, aside) = (out.join("run.json"), out.join(".run.json"));
    std::fs::rename(&beginning, &aside).map_err(io_error("rename", &beginning))?;
    if let Err(error) = fill() {
        drop(std::fs::remove_file(aside));
        return Err(error);
    }
    Ok(std::fs::rename(&aside, &beginning).map_err(io_error("rename", &aside))?)
}

/// The arms and workloads of a plan.
fn taken(plan: &Plan) -> Vec<(&str, &[String])> {
    let arms = plan.arms.iter();
    arms.map(|arm| (arm.name.as_str(), arm.workloads.as_slice()))
        .collect()
}

/// The parts by number.
fn opened(parts: &[PathBuf]) -> Result<BTreeMap<u32, Piece>, JoinError> {
    let mut pieces = BTreeMap::<u32, Piece>::new();
    for path in parts {
        let (record, beginning) = Record::open(path)?;
        let Some(part_of) = &beginning.plan.part_of else {
            return Err(JoinError::Whole(path.clone()));
        };
        let part = part_of.part;
        if let Some(other) = pieces.get(&part.number) {
            return Err(JoinError::Twice {
                part: part.to_string(),
                one: other.path.clone(),
                other: path.clone(),
            });
        }
        let piece = Piece {
            path: path.clone(),
            record,
            beginning,
        };
        pieces.insert(part.number, piece);
    }
    Ok(pieces)
}

/// Refuses a piece of another run than the first's: another question, or the
/// same one cut differently.
fn same_run(first: &Piece, other: &Piece) -> Result<(), JoinError> {
    let different = |what: &str| JoinError::Different {
        one: first.path.clone(),
        other: other.path.clone(),
        what: what.to_owned(),
    };
    let (Some(one), Some(two)) = (&first.beginning.plan.part_of, &other.beginning.plan.part_of)
    else {
        return Err(different("whether they are parts"));
    };
    if one.part.of != two.part.of {
        return Err(different("how many parts there are"));
    }
    let [one, two] = [&one.whole, &two.whole].map(comparable);
    if one == two {
        return Ok(());
    }
    let (Value::Object(one), Value::Object(two)) = (one, two) else {
        return Err(different("the plan"));
    };
    let mut keys = one.keys().chain(two.keys());
    let key = keys.find(|key| one.get(*key) != two.get(*key));
    let what = match key.map(String::as_str) {
        None => "the plan".to_owned(),
        Some("question") => "the kernels, patches or configuration".to_owned(),
        Some(key) => format!("`{key}`"),
    };
    Err(different(&what))
}

/// A plan without what may differ from machine to machine: where files lie. That
/// they are the same is seen by the question, which has their content.
fn comparable(plan: &Plan) -> Value {
    let mut value = serde_json::to_value(plan).unwrap_or_default();
    if let Some(plan) = value.as_object_mut() {
        for key in ["job", "found", "rootfs", "notify", "known_at", "snapshots"] {
            plan.remove(key);
        }
        let arms = plan.get_mut("arms").and_then(Value::as_array_mut);
        for arm in arms.into_iter().flatten() {
            for key in ["patches", "fragments", "whole_config"] {
                for path in paths(arm.get_mut(key)) {
                    let name = path.as_str().and_then(|path| path.rsplit('/').next());
                    *path = name.unwrap_or_default().into();
                }
            }
        }
    }
    value
}

/// The paths of a value that is one, or a list of them.
pub(crate) fn paths(value: Option<&mut Value>) -> Vec<&mut Value> {
    match value {
        Some(Value::Array(paths)) => paths.iter_mut().collect(),
        Some(path @ Value::String(_)) => vec![path],
        _ => Vec::new(),
    }
}

/// Refuses an arm whose trials in two parts were of two kernels.
fn same_kernels(pieces: &BTreeMap<u32, Piece>) -> Result<(), JoinError> {
    let mut kernels = BTreeMap::<String, (String, &Piece)>::new();
    for piece in pieces.values() {
        for arm in &piece.beginning.plan.arms {
            let Some(facts) = piece.record.kernel_facts(&arm.name)? else {
                continue;
            };
            let known = kernels
                .entry(arm.name.clone())
                .or_insert_with(|| (facts.key.clone(), piece));
            if known.0 != facts.key {
                return Err(JoinError::Different {
                    one: known.1.path.clone(),
                    other: piece.path.clone(),
                    what: format!("the kernel of {} (another source or compiler)", arm.name),
                });
            }
        }
    }
    Ok(())
}

/// What hosts differ in that a reader of the verdict should know.
fn differences(first: &Piece, pieces: &BTreeMap<u32, Piece>) -> Vec<String> {
    let mut told = Vec::new();
    let host = &first.beginning.host;
    for (number, piece) in pieces {
        let other = &piece.beginning.host;
        for (what, one, two) in [
            ("guests ran with", &host.accelerator, &other.accelerator),
            ("QEMU was", &host.qemu, &other.qemu),
            ("kvet was", &host.kvet, &other.kvet),
        ] {
            if one != two {
                told.push(format!("in part {number} {what} {two}, elsewhere {one}"));
            }
        }
    }
    told
}

/// Copies what a part has of the arms and workloads that its plan names, and
/// keeps the rest apart. No name of a file is taken from the part but below
/// these directories.
fn copy_piece(number: u32, piece: &Piece, out: &Path) -> Result<(), JoinError> {
    for arm in &piece.beginning.plan.arms {
        let place = Path::new("arms").join(file_name(&arm.name));
        let (from, to) = (piece.path.join(&place), out.join(&place));
        for name in OF_ARM {
            copy(&from.join(name), &to.join(name), DEEPEST)?;
        }
        copy_self_test(&from.join(SELF_TEST), &to.join(SELF_TEST))?;
        for workload in &arm.workloads {
            let trials = Path::new("trials").join(file_name(workload));
            copy(&from.join(&trials), &to.join(&trials), DEEPEST)?;
        }
    }
    // Hosts are called by their names; all parts asked the same history.
    copy(&piece.path.join("hosts"), &out.join("hosts"), DEEPEST)?;
    copy(&piece.path.join(PAST), &out.join(PAST), DEEPEST)?;
    let apart = out.join("parts").join(number.to_string());
    for name in ["run.json", REPORT, "events.jsonl", "kvet.log", "cluster"] {
        copy(&piece.path.join(name), &apart.join(name), DEEPEST)?;
    }
    Ok(())
}

/// Copies an arm's self-test, whole, in the place of one of another part that says
/// less: what the kernel did not show in one it did not show, and what it showed says
/// more than a self-test that came to nothing.
fn copy_self_test(from: &Path, to: &Path) -> Result<(), JoinError> {
    let says = |directory: &Path| -> Result<Option<u32>, RecordError> {
        let result = read_self_test(directory)?;
        Ok(result.map(|result| match result.not_done {
            Some(_) => 0,
            None if result.unseen.is_empty() => 1,
            None => 2,
        }))
    };
    if to.exists() {
        if says(from)? <= says(to)? {
            return Ok(());
        }
        std::fs::remove_dir_all(to).map_err(io_error("remove", to))?;
    }
    Ok(copy(from, to, DEEPEST)?)
}

/// The longest time that a part of the run in this directory took, in seconds.
pub(super) fn longest(run: &Path) -> f64 {
    let seconds = |part: std::fs::DirEntry| {
        let report: Value = super::read_json(&part.path().join(REPORT)).ok()?;
        report["seconds"].as_f64()
    };
    let parts = std::fs::read_dir(run.join("parts")).into_iter().flatten();
    let all = parts.flatten().filter_map(seconds);
    all.fold(0.0, f64::max)
}

/// Copies a file, or a directory with all in it. What is there already stays: an
/// arm in two parts has its kernel's facts twice. Neither links nor what is not
/// a plain file is followed or copied.
fn copy(from: &Path, to: &Path, depth: u32) -> Result<(), StoreError> {
    let Ok(metadata) = from.symlink_metadata() else {
        return Ok(());
    };
    if metadata.is_dir() && depth > 0 {
        std::fs::create_dir_all(to).map_err(io_error("create", to))?;
        let entries = std::fs::read_dir(from).map_err(io_error("read", from))?;
        for entry in entries {
            let entry = entry.map_err(io_error("read", from))?;
            copy(&entry.path(), &to.join(entry.file_name()), depth - 1)?;
        }
    } else if metadata.is_file() && !to.exists() {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        std::fs::copy(from, to).map_err(io_error("write", to))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{SelfTest, begin_self_test, end_self_test};
    use super::*;
    use crate::detect::Class;

    /// A self-test's directory whose boot says its name.
    fn tested(home: &Path, name: &str, unseen: &[Class], not_done: Option<&str>) -> PathBuf {
        let directory = home.join(name);
        let (first, boot) = begin_self_test(&directory).unwrap();
        std::fs::write(boot.join("console.log"), name).unwrap();
        let result = SelfTest {
            boots: 1,
            first,
            unseen: unseen.to_vec(),
            not_done: not_done.map(str::to_owned),
            seconds: 1,
        };
        end_self_test(&directory, &result).unwrap();
        directory
    }

    #[test]
    fn what_an_arm_did_not_show_in_one_part_it_did_not_show() {
        let home = tempfile::tempdir().unwrap();
        let good = tested(home.path(), "good", &[], None);
        let deaf = tested(home.path(), "deaf", &[Class::HungTask], None);
        let vain = tested(home.path(), "vain", &[Class::HungTask], Some("no QEMU"));
        let cut = home.path().join("cut");
        let (_, boot) = begin_self_test(&cut).unwrap();
        std::fs::write(boot.join("console.log"), "cut").unwrap();
        let none = home.path().join("none");
        let orders: [(&[&Path], &str); 5] = [
            (&[&good, &deaf, &vain], "deaf"),
            (&[&deaf, &good], "deaf"),
            // The same kernel showed it elsewhere.
            (&[&vain, &good], "good"),
            (&[&cut, &good, &none], "good"),
            (&[&none, &cut, &vain], "vain"),
        ];
        for (number, (parts, expected)) in orders.into_iter().enumerate() {
            let to = home.path().join(format!("to/{number}"));
            for part in parts {
                copy_self_test(part, &to).unwrap();
            }
            let console = std::fs::read_to_string(to.join("1/console.log")).unwrap();
            assert_eq!(console, expected, "{parts:?}");
            assert!(read_self_test(&to).unwrap().is_some());
        }
    }

    #[test]
    fn a_record_that_is_not_whole_has_no_beginning() {
        let home = tempfile::tempdir().unwrap();
        let beginning = home.path().join("run.json");
        for whole in [true, false] {
            std::fs::write(&beginning, "{}").unwrap();
            let made = at_last(home.path(), || {
                assert!(!beginning.exists());
                if whole {
                    Ok(())
                } else {
                    Err(JoinError::Nothing)
                }
            });
            assert_eq!((made.is_ok(), beginning.exists()), (whole, whole));
        }
        assert_eq!(home.path().read_dir().unwrap().count(), 0);
    }
}
