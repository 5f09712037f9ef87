//! docs/architecture.md says that data flows one way through kvet's modules. Here
//! no two of them may need each other, over however many others: imports of the
//! code are read, those of its tests are not. And what it calls pure touches no
//! files, no processes and no clocks.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Imports = BTreeMap<String, BTreeSet<String>>;

/// Every file below a directory whose name ends in `.rs`, but for tests of their
/// own: `tests.rs` and what is in `tests`.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file's code names: what follows `crate::`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| {
        line.split("crate::").skip(1).map(|rest| {
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            &rest[..end.unwrap_or(rest.len())]
        })
    })
}

/// Modules that work on what they are given, and on nothing else.
const PURE: &[&str] = &[
    "console",
    "context",
    "detect",
    "duration",
    "outcome",
    "printable",
    "redact",
    "step",
    "trial_id",
    "verdict",
];

/// Words of code by which something outside the program is reached.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::{",
    "tokio::fs",
    "tokio::net",
    "tokio::process",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
];

/// Modules of kvet's own by which it is.
const OUTWARD: &[&str] = &["bounded", "process", "store", "trace"];

/// The first word of a file's code by which something outside is reached.
fn reached(text: &str) -> Option<&str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.find_map(|line| OUTSIDE.iter().copied().find(|word| line.contains(word)))
}

/// What each module of `src` names of the others. A name that is no module's is
/// one that lib.rs itself has.
fn imports(src: &Path) -> Imports {
    let mut files = Vec::new();
    sources(src, &mut files);
    let module = |path: &Path| {
        let first = path.strip_prefix(src).unwrap().components().next();
        let name = Path::new(first.unwrap().as_os_str()).file_stem();
        name.unwrap().to_str().unwrap().to_owned()
    };
    let roots = ["lib", "main", "agent"];
    let modules: BTreeSet<String> = files.iter().map(|file| module(file)).collect();
    let mut imports = Imports::new();
    for file in &files {
        let own = module(file);
        let text = std::fs::read_to_string(file).unwrap();
        assert!(
            !text.contains("use crate::{"),
            "{}: one module per `use`, for this test",
            file.display()
        );
        let others = named(&text)
            .filter(|name| *name != own && modules.contains(*name))
            .map(str::to_owned);
        if !roots.contains(&own.as_str()) {
            imports.entry(own.clone()).or_default().extend(others);
        }
    }
    imports
}

/// A way from a module back to itself, if there is one.
fn circle(imports: &Imports, from: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in imports.get(way.last()?).into_iter().flatten() {
            let mut longer = way.clone();
            longer.push(next.clone());
            if next == from {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

#[test]
fn no_two_modules_need_each_other() {
    let imports = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(imports.len() > 30 && imports["run"].contains("trial"));
    for module in imports.keys() {
        if let Some(way) = circle(&imports, module) {
            panic!("modules need each other: {}", way.join(" -> "));
        }
    }
}

#[test]
fn what_is_pure_reaches_nothing_outside() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let imports = imports(&src);
    for module in PURE {
        let outward = OUTWARD
            .iter()
            .find(|other| imports[*module].contains(**other));
        assert_eq!(outward, None, "{module}");
        let mut files = Vec::new();
        match src.join(module) {
            directory if directory.is_dir() => sources(&directory, &mut files),
            file => files.push(file.with_extension("rs")),
        }
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(reached(&text), None, "{}", file.display());
        }
    }
    let text =
        "// std::fs\nlet a = std::fs::read(path);\n#[cfg(test)]\nmod tests { Instant::now() }";
    assert_eq!(reached(text), Some("std::fs"));
    assert_eq!(reached(text.split_once('\n').unwrap().0), None);
}

#[test]
fn a_circle_is_found_over_others() {
    let imports: Imports = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")]
        .map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()])))
        .into();
    assert_eq!(circle(&imports, "b").unwrap(), ["b", "c", "b"]);
    assert_eq!(circle(&imports, "a"), None);
    assert_eq!(circle(&imports, "d"), None);
    let text = "// crate::no\nuse crate::yes::X; crate::too\n#[cfg(test)]\nmod tests {crate::no}";
    assert_eq!(named(text).collect::<Vec<_>>(), ["yes", "too"]);
}

/// Modules that are the same whatever guests mount, and one file of `guest`.
const FOR_ANY_SERVICE: &[&str] = &[
    "bundle",
    "context",
    "event",
    "fleet",
    "guest/protocol",
    "history",
    "job",
    "notify",
    "outcome",
    "record",
    "report",
    "run",
    "testbed",
    "tested",
    "trial",
    "trial_id",
    "verdict",
    "workload",
];

/// The files that a file declares to be modules for tests alone.
fn for_tests(file: &Path, text: &str) -> BTreeSet<PathBuf> {
    let below = match file.file_name().unwrap().to_str().unwrap() {
        "mod.rs" | "lib.rs" => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    let declared = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
        let line = rest.lines().next()?;
        line.split_once("mod ")?.1.strip_suffix(';')
    });
    let file = |name| below.join(name).with_extension("rs");
    declared.map(file).collect()
}

/// The first line of a file's code that has this word, however it is written.
fn naming<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.find(|line| line.to_lowercase().contains(word))
}

#[test]
fn what_is_for_any_service_does_not_name_ceph() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for module in FOR_ANY_SERVICE {
        match src.join(module) {
            directory if directory.is_dir() => sources(&directory, &mut files),
            file => files.push(file.with_extension("rs")),
        }
    }
    let texts: BTreeMap<PathBuf, String> = files
        .into_iter()
        .map(|file| (file.clone(), std::fs::read_to_string(file).unwrap()))
        .collect();
    let for_tests: BTreeSet<PathBuf> = texts
        .iter()
        .flat_map(|(file, text)| for_tests(file, text))
        .collect();
    for (file, text) in texts.iter().filter(|(file, _)| !for_tests.contains(*file)) {
        assert_eq!(naming(text, "ceph"), None, "{}", file.display());
        let own = named(text).find(|module| *module == "cluster");
        assert_eq!(
            own,
            None,
            "{}: `service` is for all of them",
            file.display()
        );
    }
    let service = std::fs::read_to_string(src.join("service/mod.rs")).unwrap();
    assert_eq!(naming(&service, "ceph"), Some("mod ceph;"));
}
