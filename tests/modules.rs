//! docs/architecture.md says that data flows one way through kvet's modules. Here
//! no two of them may need each other, over however many others: imports of the
//! code are read, those of its tests are not.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Imports = BTreeMap<String, BTreeSet<String>>;

/// Every file below a directory whose name ends in `.rs`, but for tests of their
/// own.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
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
