//! docs/architecture.md says that data flows one way through kvet's modules. Here
//! no two of them may need each other, over however many others, and neither may two
//! files: imports of the code are read, those of its tests are not. A module's first
//! file and those below it are one to the test. And what docs/architecture.md calls
//! pure names no module that touches files, processes or clocks; that it does not do
//! so by itself, clippy sees.
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

/// The lines of a file's code, without comments and tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The modules that a file's code names: what follows `crate::`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    code(text).flat_map(|line| {
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

/// What they say to clippy; clippy.toml has the list.
const DENIED: &str = "\n#![forbid(clippy::disallowed_methods)]\n";

/// Modules of kvet's own by which something outside is reached.
const OUTWARD: &[&str] = &["bounded", "process", "store", "trace"];

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

/// The paths in a file's code that begin with `crate` or `super`, those in braces one
/// by one.
fn paths(text: &str) -> Vec<Vec<String>> {
    let (mut paths, mut path, mut outer) = (Vec::new(), Vec::new(), Vec::new());
    let mut word = String::new();
    let text = code(text).collect::<Vec<_>>().join("\n") + "\n";
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '_' || c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        if !word.is_empty() && (!path.is_empty() || ["crate", "super"].contains(&&*word)) {
            path.push(std::mem::take(&mut word));
        }
        word.clear();
        match c {
            ':' if rest.next_if_eq(&':').is_some() => {
                if rest.next_if_eq(&'{').is_some() {
                    outer.push(path.clone());
                }
            }
            ',' | '}' => {
                paths.push(std::mem::take(&mut path));
                if c == '}' {
                    outer.pop();
                }
                path = outer.last().cloned().unwrap_or_default();
            }
            c if c.is_whitespace() && !outer.is_empty() => {}
            _ => {
                paths.push(std::mem::take(&mut path));
                outer.clear();
            }
        }
    }
    paths.retain(|path| path.len() > 1);
    paths
}

/// What each file of `src` names of the others, but for those above and below it.
/// A file is called by its module: `job::plan`.
fn files(src: &Path) -> Imports {
    let mut found = Vec::new();
    sources(src, &mut found);
    let module = |file: &Path| -> Vec<String> {
        let place = file.strip_prefix(src).unwrap().with_extension("");
        let parts = place.iter().map(|part| part.to_str().unwrap().to_owned());
        parts.filter(|part| part != "mod").collect()
    };
    let modules: BTreeSet<Vec<String>> = found.iter().map(|file| module(file)).collect();
    let mut imports = Imports::new();
    for file in &found {
        let own = module(file);
        let text = std::fs::read_to_string(file).unwrap();
        let others = imports.entry(own.join("::")).or_default();
        for path in paths(&text) {
            let up = path.iter().take_while(|part| *part == "super").count();
            let mut place = match path[0].as_str() {
                "crate" => Vec::new(),
                _ => own[..own.len().saturating_sub(up)].to_vec(),
            };
            place.extend_from_slice(&path[up.max(1)..]);
            while !place.is_empty() && !modules.contains(&place) {
                place.pop();
            }
            if !own.starts_with(&place) && !place.starts_with(&own) {
                others.insert(place.join("::"));
            }
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
fn no_two_files_need_each_other() {
    let mut files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    // It is one of the tests, and the shape of jobs refers to it in tests alone.
    files.remove("job::schema");
    assert!(files.len() > 200 && files["run::schedule"].contains("run::one_trial"));
    assert!(files["testbed::saved::make"].contains("testbed::kernel"));
    for file in files.keys() {
        if let Some(way) = circle(&files, file) {
            panic!("files need each other: {}", way.join(" -> "));
        }
    }
}

#[test]
fn paths_in_braces_are_told_one_by_one() {
    let text = "// crate::no\nuse super::{a::{self, B}, c};\nlet x = crate::d::e(super::f);\n\
                #[cfg(test)]\nmod tests { crate::no }";
    let said: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    assert_eq!(
        said,
        [
            "super::a::self",
            "super::a::B",
            "super::c",
            "crate::d::e",
            "super::f"
        ]
    );
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
        let file = [format!("{module}.rs"), format!("{module}/mod.rs")];
        let mut files = file.map(|name| src.join(name)).into_iter();
        let text = std::fs::read_to_string(files.find(|file| file.exists()).unwrap());
        assert!(text.unwrap().contains(DENIED), "{module}");
    }
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
