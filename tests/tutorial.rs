//! docs/tutorial.md, done: its files are written, its commands run, and what it
//! says that they print must be there. Commands that need a kernel of their own
//! run with `KVET_TUTORIAL=full` (`ci/check --full`).
//!
//! A block `yaml PATH` is a file. In a block `console` a line `$ kvet …` is a
//! command and those after it are expected, in this order; `…` stands for
//! anything, also for whole lines. `full` and `exit=N` say what they say.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says where"
)]

use std::path::Path;
use std::process::Command;

/// A block of the page.
struct Block<'a> {
    words: Vec<&'a str>,
    lines: Vec<&'a str>,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(words), None) => {
                let words = words.split_whitespace().collect();
                let lines = Vec::new();
                open = Some(Block { words, lines });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line),
            (None, None) => {}
        }
    }
    blocks
}

/// What an expectation asks of the rest of the output; what is left after it.
fn after<'a>(output: &'a str, expected: &str) -> Option<&'a str> {
    let mut rest = output;
    for part in expected.split('…').map(str::trim) {
        let at = rest.find(part)?;
        rest = &rest[at + part.len()..];
    }
    Some(rest)
}

fn run(home: &Path, block: &Block<'_>) {
    let exit = block
        .words
        .iter()
        .find_map(|word| word.strip_prefix("exit="));
    let exit: i32 = exit.map_or(0, |exit| exit.parse().unwrap());
    let (command, expected) = block.lines.split_first().unwrap();
    let mut words = command.strip_prefix("$ kvet ").unwrap().split(' ');
    let ran = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(&mut words)
        .current_dir(home)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&ran.stdout);
    let said = String::from_utf8_lossy(&ran.stderr);
    // `scan` ends with 1 where there are findings.
    let found = command.starts_with("$ kvet scan");
    let status = ran.status.code();
    assert!(
        status == Some(exit) || found && status == Some(1),
        "{command}: {status:?}\n{output}\n{said}"
    );
    let mut rest = output.as_ref();
    for line in expected {
        rest = after(rest, line)
            .unwrap_or_else(|| panic!("{command} does not print {line}:\n{output}\n{said}"));
    }
}

#[test]
fn the_tutorial_is_as_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/tutorial.md")).unwrap();
    let full = std::env::var_os("KVET_TUTORIAL").is_some_and(|how| how == "full");
    let home = tempfile::tempdir().unwrap();
    for file in ["report.log", "estale.patch"] {
        let from = root.join("docs/tutorial").join(file);
        std::fs::copy(from, home.path().join(file)).unwrap();
    }
    let (mut done, mut left) = (0, 0);
    for block in blocks(&page) {
        match block.words.as_slice() {
            ["yaml", path] => {
                let path = home.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, block.lines.join("\n") + "\n").unwrap();
            }
            ["console", rest @ ..] if full || !rest.contains(&"full") => {
                run(home.path(), &block);
                done += 1;
            }
            ["console", ..] => left += 1,
            other => panic!("what is a block {other:?}?"),
        }
    }
    assert!(done >= 6, "{done}");
    if left > 0 {
        eprintln!(
            "SKIPPED: {left} commands of the tutorial need kernels; ci/check --full runs them"
        );
    }
}

#[test]
fn an_expectation_is_met_in_its_order() {
    assert_eq!(after("a b\nc d e", "a … d …"), Some(" e"));
    assert_eq!(after("a b c", "… c … a"), None);
}
