//! Reports in the hands of those who read them: the kernel's own KTAP parser,
//! the validator of `KernelCI`, a browser. One that is not on this host is said to be
//! missing and costs its own tests only; `ci/check` gets them, and with `--full` none
//! may be missing.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says where"
)]

mod browser;
mod skipped;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use browser::Browser;
use serde_json::{Value, json};
use skipped::skipped;
use tempfile::TempDir;

/// Text that wants to be markup, commands of a terminal, and other words than
/// it is.
const EVIL: &str = "</code></li></ol></pre></title></script><script>document.title='owned'</script>\
    <img src=x onerror=\"document.title='owned'\"><svg onload=\"document.title='owned'\"> \
    \u{1b}[2J\u{1b}]0;owned\u{7} \u{202e}desrever\u{202c} @here #1 ok 1 x # SKIP \
    Subtest: x Kernel panic - not syncing: VFS: KTAP version 1";

/// A run that was judged, with a journal, and with guests that say bad things.
fn run() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let run = home.path().join("run");
    copy(Path::new("tests/cmd/judge.in/run"), &run);
    let attempt = run.join("arms/stock/trials/example/1/1");
    let mut console = fs::OpenOptions::new()
        .append(true)
        .open(attempt.join("console.log"))
        .unwrap();
    writeln!(console, "{EVIL}").unwrap();
    console.write_all(b"\xff\xfe\x00 no text\n").unwrap();
    let journal = [
        json!({ "at": 0.5, "machine": { "process": 1 } }),
        json!({ "at": 2.0, "step_began": { "step": 0, "label": "mount a", "side": "guest",
            "background": false, "limit": 40.0 } }),
        json!({ "at": 3.0, "step_ended": { "step": 0, "result": "done" } }),
        json!({ "at": 3.0, "step_began": { "step": 1, "label": EVIL, "side": "host",
            "background": true, "limit": 40.0 } }),
        json!({ "at": 4.0, "step_began": { "step": 2, "label": "writeback", "side": "guest",
            "background": false, "limit": 40.0 } }),
        json!({ "at": 4.5, "service": { "what": EVIL } }),
        json!({ "at": 7.5, "finding": { "class": "hung_task", "title": EVIL, "line": 3 } }),
        json!({ "at": 7.6, "dump": null }),
    ];
    let journal: Vec<String> = journal.iter().map(|line| format!("{line}\n")).collect();
    let journal = journal.concat();
    fs::write(attempt.join("journal.jsonl"), journal).unwrap();
    let judged = kvet().arg("judge").arg(&run).output().unwrap();
    assert!(judged.status.code() != Some(128), "{judged:?}");
    (home, run)
}

/// The same, whose report was tampered with so that bad things stand wherever a
/// guest's words may.
fn tampered() -> (TempDir, PathBuf) {
    let (home, run) = run();
    let path = run.join("report.json");
    let mut report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let findings = report["arms"][0]["trials"][0]["findings"].clone();
    let trial = &mut report["arms"][1]["trials"][0];
    trial["outcome"] = json!("other");
    trial["reason"] = json!(EVIL);
    trial["findings"] = findings;
    let finding = &mut report["arms"][1]["trials"][0]["findings"][0];
    finding["title"] = json!(EVIL);
    finding["signature"] = json!(EVIL);
    finding["task"] = json!(EVIL);
    finding["frames"][0]["function"] = json!(EVIL);
    report["arms"][1]["trials"][1]["outcome"] = json!("harness");
    report["arms"][1]["trials"][1]["reason"] = json!(EVIL);
    report["verdict"]["kind"] = json!("inconclusive");
    report["verdict"]["reasons"] = json!([EVIL]);
    report["host"]["qemu"] = json!(EVIL);
    fs::write(&path, report.to_string()).unwrap();
    (home, run)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn kvet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kvet"))
}

fn report(run: &Path, format: &str) -> String {
    let told = kvet()
        .arg("report")
        .arg(run)
        .args(["--format", format])
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    String::from_utf8(told.stdout).unwrap()
}

/// Tells a figure, past the test's own capture.
#[expect(clippy::explicit_write, reason = "a test's own capture would hide it")]
fn tell(what: &str) {
    writeln!(std::io::stderr(), "\n{what}\n").unwrap();
}

/// The kernel's own parser, from a source tree in the cache.
fn kunit() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let sources = fs::read_dir(cache.join("kvet/worktrees")).ok()?;
    let parser = |tree: fs::DirEntry| tree.path().join("tree/tools/testing/kunit/kunit.py");
    sources.flatten().map(parser).find(|path| path.exists())
}

#[test]
fn the_kernel_s_own_parser_reads_ktap_without_a_complaint() {
    let Some(kunit) = kunit() else {
        skipped("KTAP by kunit.py: no kernel source in the cache; run a job first");
        return;
    };
    for ((_home, run), trials) in [(run(), 7), (tampered(), 7)] {
        let file = run.join("report.ktap");
        fs::write(&file, report(&run, "ktap")).unwrap();
        let parsed = Command::new("python3")
            .arg(&kunit)
            .arg("parse")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&parsed.stdout).into_owned();
        // Six trials and the verdict; a lost one would be told as an error.
        assert!(said.contains(&format!("Ran {trials} tests")), "{said}");
        assert!(!said.contains("[ERROR]"), "{said}");
        assert!(!said.contains("[CRASHED]"), "{said}");
    }
}

/// A Python that has the validator: `ci/check` makes it, since tests
/// fetch nothing.
fn kcidb() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kcidb-io/bin/python");
    let asked = Command::new(&python)
        .args(["-c", "import kcidb_io, jsonschema"])
        .output();
    asked
        .is_ok_and(|asked| asked.status.success())
        .then_some(python)
}

#[test]
fn kernelci_s_validator_takes_what_is_submitted() {
    let Some(python) = kcidb() else {
        skipped("KCIDB and the JSON schema: kcidb-io is not in target/tmp/kcidb-io");
        return;
    };
    let check = "import json, sys, kcidb_io\n\
        data = json.load(open(sys.argv[1]))\n\
        schema = kcidb_io.schema.LATEST\n\
        assert (schema.major, schema.minor) >= (5, 3), schema\n\
        schema.validate(data)\n\
        print(len(data['tests']), len(data['incidents']))\n";
    for (_home, run) in [run(), tampered()] {
        let file = run.join("kcidb.json");
        fs::write(&file, report(&run, "kcidb")).unwrap();
        let checked = Command::new(&python)
            .args(["-c", check])
            .arg(&file)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success(), "{complaint}");
        assert!(checked.stdout.starts_with(b"6 "), "{checked:?}");
    }
}

#[test]
fn the_report_as_data_is_of_the_schema() {
    let Some(python) = kcidb() else {
        skipped("the JSON schema: jsonschema is not in target/tmp/kcidb-io");
        return;
    };
    let check = "import json, sys, jsonschema\n\
        schema, data = (json.load(open(path)) for path in sys.argv[1:])\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        jsonschema.Draft202012Validator(schema).validate(data)\n";
    for (_home, run) in [run(), tampered()] {
        let file = run.join("told.json");
        fs::write(&file, report(&run, "json")).unwrap();
        let checked = Command::new(&python)
            .args(["-c", check, "schema/report.json"])
            .arg(&file)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success(), "{complaint}");
    }
}

#[test]
fn a_form_that_cannot_be_written_costs_neither_the_others_nor_the_verdict() {
    let (home, run) = run();
    let all = home.path().join("all");
    // Where a file should be there is a directory with something in it.
    fs::create_dir_all(all.join("junit.xml/occupied")).unwrap();
    let told = kvet()
        .arg("report")
        .arg(&run)
        .arg("--all")
        .arg(&all)
        .output()
        .unwrap();
    assert_eq!(told.status.code(), Some(128), "{told:?}");
    assert!(
        String::from_utf8_lossy(&told.stderr).contains("junit.xml"),
        "{told:?}"
    );
    let mut written: Vec<String> = fs::read_dir(&all)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    written.sort();
    let expected = [
        "annotations.txt",
        "kcidb.json",
        "mail.txt",
        "patchwork.json",
        "report.html",
        "report.json",
        "report.ktap",
        "report.txt",
        "summary.md",
    ];
    assert_eq!(written, expected);
    // The verdict again, whose JUnit file cannot be kept.
    let verdict = kvet().arg("judge").arg(&run).output().unwrap();
    fs::remove_file(run.join("junit.xml")).unwrap();
    fs::create_dir_all(run.join("junit.xml/occupied")).unwrap();
    let again = kvet().arg("judge").arg(&run).output().unwrap();
    assert_eq!(again.status.code(), verdict.status.code(), "{again:?}");
    assert_eq!(again.stdout, verdict.stdout);
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("junit.xml"),
        "{again:?}"
    );
}

#[test]
fn a_bisection_has_its_forms_and_says_which() {
    let (_home, run) = bisection();
    assert!(report(&run, "human").contains("cured"));
    let json: Value = serde_json::from_str(&report(&run, "json")).unwrap();
    assert_eq!(json["candidates"], 12);
    let mut refused = kvet();
    let refused = refused.arg("report").arg(&run).args(["--format", "junit"]);
    let refused = refused.output().unwrap();
    assert_eq!(refused.status.code(), Some(128));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("human, json, html and mail"), "{said}");
    let all = run.join("reports");
    let written = kvet()
        .arg("report")
        .arg(&run)
        .arg("--all")
        .arg(&all)
        .status()
        .unwrap();
    assert!(written.success());
    assert_eq!(fs::read_dir(&all).unwrap().count(), 4);
    // One that was cut off, and one that is another version's.
    fs::remove_file(run.join("bisection.json")).unwrap();
    let cut = kvet()
        .arg("report")
        .arg(&run)
        .args(["--format", "html"])
        .output()
        .unwrap();
    assert_eq!(cut.status.code(), Some(128));
    let said = String::from_utf8(cut.stderr).unwrap();
    assert!(said.contains("did not come to its end"), "{said}");
}

/// A browser with a run's page, which is kept beside the run.
fn page(run: &Path) -> Option<Browser> {
    if !Browser::there_is_one() {
        skipped("the page in a browser: there is no chromium on this host");
        return None;
    }
    let file = run.join("report.html");
    fs::write(&file, report(run, "html")).unwrap();
    let mut browser = Browser::start();
    browser.show(&file);
    Some(browser)
}

#[test]
fn a_page_full_of_markup_does_nothing_but_show_it() {
    for (_home, run) in [run(), tampered()] {
        let Some(mut browser) = page(&run) else {
            return;
        };
        browser.value("document.querySelectorAll('details').forEach((box) => { box.open = true })");
        assert_eq!(browser.complaints(), Vec::<String>::new());
        assert_eq!(browser.requests().len(), 1, "{:?}", browser.requests());
        let title = browser.value("document.title");
        assert!(title.as_str().unwrap().starts_with("example: "), "{title}");
        assert_eq!(browser.value("document.scripts.length"), 1);
        assert_eq!(
            browser.value("document.querySelectorAll('img, [onload], [onerror]').length"),
            0
        );
        let text = browser.value("document.body.textContent");
        let text = text.as_str().unwrap();
        assert!(text.contains("<script>document.title='owned'</script>"));
        assert!(text.contains("␛[2J"));
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\0']));
        // Even markup that slipped in would run nothing.
        browser.value(
            "const script = document.createElement('script'); \
             script.textContent = \"document.title = 'owned'\"; document.body.append(script)",
        );
        assert_ne!(browser.value("document.title"), "owned");
    }
}

#[test]
fn filters_narrow_what_is_shown() {
    let (_home, run) = run();
    let Some(mut browser) = page(&run) else {
        return;
    };
    let count = "document.getElementById('count').textContent";
    let shown = "Array.from(document.querySelectorAll('details.trial'))\
        .filter((trial) => trial.checkVisibility()).map((trial) => trial.id).join()";
    assert_eq!(browser.value(count), "6 of 6 trials");
    browser.value("document.querySelector('#filters [value=clean]').click()");
    assert_eq!(browser.value(count), "3 of 6 trials");
    assert_eq!(browser.value(shown), "t1,t2,t3");
    browser.value("document.querySelector('#filters [value=clean]').click()");
    browser.value("document.getElementById('words').focus()");
    browser.call("Input.insertText", json!({ "text": "FIXED example 2" }));
    assert_eq!(browser.value(count), "1 of 6 trials");
    assert_eq!(browser.value(shown), "t5");
    let chips = "Array.from(document.querySelectorAll('.grid .chip')).filter((c) => c.checkVisibility()).length";
    assert_eq!(browser.value(chips), 1);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_link_unfolds_what_it_leads_to() {
    let (_home, run) = run();
    let Some(mut browser) = page(&run) else {
        return;
    };
    assert_eq!(
        browser.value("document.querySelectorAll('details[open]').length"),
        0
    );
    browser.value("document.querySelector('.grid .chip').click()");
    browser.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))");
    assert_eq!(browser.value("document.getElementById('t1').open"), true);
    // A line of a console, two folds deep. The page hears of the change of its
    // address before this does.
    browser.value(
        "new Promise((done) => { \
         addEventListener('hashchange', () => setTimeout(done), { once: true }); \
         document.querySelector('#t1 .said a').click(); })",
    );
    assert_eq!(browser.value("location.hash"), "#t1L4");
    let seen = "(() => { const box = document.getElementById('t1L4').getBoundingClientRect(); \
        return box.height > 0 && box.top >= 0 && box.bottom <= innerHeight })()";
    assert_eq!(browser.value(seen), true);
    assert_eq!(browser.value("document.activeElement.id"), "t1L4");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_keyboard_does_all_that_a_pointer_does() {
    let (_home, run) = run();
    let Some(mut browser) = page(&run) else {
        return;
    };
    let focus = "document.activeElement.dataset.trial || document.activeElement.id";
    let stops = "document.querySelectorAll('.grid .chip[tabindex=\"0\"]').length";
    assert_eq!(browser.value(stops), 1, "the grid is one stop");
    browser.value("document.querySelector('.grid .chip').focus()");
    for (key, expected) in [
        ("ArrowRight", "2"),
        ("ArrowDown", "5"),
        ("End", "6"),
        ("ArrowUp", "3"),
        ("Home", "1"),
        ("ArrowLeft", "1"),
    ] {
        browser.press(key, None);
        assert_eq!(browser.value(focus), expected, "{key}");
    }
    browser.press("Enter", Some("\r"));
    browser.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))");
    assert_eq!(browser.value("document.getElementById('t1').open"), true);
    assert_eq!(browser.value("document.activeElement.tagName"), "SUMMARY");
    browser.press("/", Some("/"));
    assert_eq!(browser.value("document.activeElement.id"), "words");
    assert_eq!(browser.value("document.getElementById('words').value"), "");
    // What is in the console's box is reached by scrolling it, not by a
    // thousand stops.
    assert_eq!(
        browser.value("document.querySelectorAll('.log a:not([tabindex=\"-1\"])').length"),
        0
    );
}

#[test]
fn a_screen_reader_has_a_name_for_everything() {
    let (_home, run) = run();
    let Some(mut browser) = page(&run) else {
        return;
    };
    browser.value("document.querySelectorAll('details').forEach((box) => { box.open = true })");
    // What was opened is in the tree once it was laid out.
    browser.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))");
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let mut seen = Vec::new();
    for node in tree["nodes"].as_array().unwrap() {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let needs_name = matches!(
            role,
            "link" | "button" | "image" | "img" | "region" | "checkbox" | "searchbox"
        );
        if needs_name && node["ignored"] == json!(false) {
            let name = node["name"]["value"].as_str().unwrap_or_default();
            assert!(!name.trim().is_empty(), "a {role} has no name: {node}");
            seen.push(role.to_owned());
        }
    }
    for role in ["link", "image", "region", "checkbox", "searchbox"] {
        let other = if role == "image" { "img" } else { role };
        assert!(
            seen.iter().any(|seen| seen == role || seen == other),
            "{role}: {seen:?}"
        );
    }
    let summary = browser.value("document.querySelector('svg.timeline title').textContent");
    assert!(
        summary.as_str().unwrap().contains("did not end"),
        "{summary}"
    );
}

#[test]
fn a_run_of_fifty_megabytes_is_a_page_of_few() {
    let (_home, run) = run();
    let line = format!(
        "[   12.345678] {}\n",
        "ceph: a word of the kernel's ".repeat(3)
    );
    let noise = line.repeat((50 << 20) / 6 / line.len() + 1);
    let mut consoles = 0;
    for arm in ["stock", "fixed"] {
        for number in 1..=3 {
            let console = run.join(format!("arms/{arm}/trials/example/{number}/1/console.log"));
            let file = fs::OpenOptions::new().append(true).open(console);
            file.unwrap().write_all(noise.as_bytes()).unwrap();
            consoles += noise.len();
        }
    }
    assert!(consoles >= 50 << 20);
    let Some(mut browser) = page(&run) else {
        return;
    };
    let size = fs::metadata(run.join("report.html")).unwrap().len();
    assert!(size < 4 << 20, "{size}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let painted = browser.value(
        "new Promise((resolve) => new PerformanceObserver((list) => \
         resolve(list.getEntriesByName('first-contentful-paint')[0].startTime))\
         .observe({ type: 'paint', buffered: true }))",
    );
    // How long it took is for people to read: a busy host takes longer.
    assert!(painted.as_f64().is_some_and(|at| at > 0.0), "{painted}");
    if std::env::var_os("KVET_TEST_PICTURES").is_some() {
        tell(&format!("{size} bytes, first painted after {painted} ms"));
    }
}

/// A bisection's directory, with bad things where names and titles stand.
fn bisection() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let run = home.path().join("bisection");
    copy(Path::new("tests/fixtures/bisection"), &run);
    let log = fs::read_to_string(run.join("log.jsonl")).unwrap();
    let evil = json!(EVIL).to_string();
    let log = log.replacen("\"INFO: task hung in evict\"", &evil, 1);
    fs::write(run.join("log.jsonl"), log).unwrap();
    let path = run.join("bisection.json");
    let mut report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    report["target"] = json!(EVIL);
    report["skipped"] = json!([[EVIL, EVIL]]);
    report["others"] = json!([[EVIL, [EVIL]]]);
    report["recipients"] = json!([EVIL]);
    fs::write(&path, report.to_string()).unwrap();
    (home, run)
}

#[test]
fn a_bisection_s_page_shows_how_the_belief_moved() {
    let (_home, run) = bisection();
    let Some(mut browser) = page(&run) else {
        return;
    };
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests().len(), 1, "{:?}", browser.requests());
    let title = browser.value("document.title");
    assert!(title.as_str().unwrap().ends_with(": bisection"), "{title}");
    let count = |selector: &str| format!("document.querySelectorAll('{selector}').length");
    assert_eq!(browser.value(&count("img, [onload], [onerror]")), 0);
    // Ten of the search, and what the table booted of candidates and the base.
    assert_eq!(browser.value(&count(".belief text.boot")), 25);
    assert_eq!(browser.value(&count(".belief text.target")), 9);
    // Twelve patches, the base, and that there is none.
    assert_eq!(browser.value(&count(".belief text.name")), 14);
    assert_eq!(browser.value(&count(".figure svg")), 4);
    let last = "document.querySelector('section[aria-labelledby=boots] tbody tr:last-child')\
        .textContent";
    let last = browser.value(last);
    assert!(last.as_str().unwrap().contains("99.9 %"), "{last}");
    let text = browser.value("document.body.textContent");
    assert!(
        !text
            .as_str()
            .unwrap()
            .contains(['\u{1b}', '\u{202e}', '\0'])
    );
    fits(&mut browser, "bisection");
}

#[test]
fn the_page_fits_a_phone_in_either_colours() {
    let (_home, run) = tampered();
    let Some(mut browser) = page(&run) else {
        return;
    };
    fits(&mut browser, "run");
}

/// A page is no wider than its screen and readable in either colours.
fn fits(browser: &mut Browser, name: &str) {
    browser.value("document.querySelectorAll('details').forEach((box) => { box.open = true })");
    let mut backgrounds = Vec::new();
    for colours in ["light", "dark"] {
        for width in [380, 1280] {
            browser.screen(width, colours);
            let wide = browser.value("document.documentElement.scrollWidth");
            assert!(
                wide.as_u64().unwrap() <= u64::from(width),
                "{wide} of {width}"
            );
            if let Some(pictures) = std::env::var_os("KVET_TEST_PICTURES") {
                browser
                    .picture(&Path::new(&pictures).join(format!("{name}-{colours}-{width}.png")));
            }
        }
        backgrounds.push(browser.value("getComputedStyle(document.body).backgroundColor"));
        // WCAG 2.2, 1.4.3: text has a contrast of 4.5 or more.
        let weak = browser.value(CONTRAST);
        assert_eq!(weak, json!([]), "{colours}");
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
}

/// The kinds of text whose contrast to their background is below 4.5.
const CONTRAST: &str = r"(() => {
    const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = parts(colour).map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (box) => {
        for (; box; box = box.parentElement) {
            const colour = getComputedStyle(box).backgroundColor;
            if (parts(colour)[3] !== 0) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const weak = new Set();
    for (const box of document.querySelectorAll('body *')) {
        const own = Array.from(box.childNodes)
            .some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own || box.closest('svg') || !box.checkVisibility()) continue;
        const [one, other] = [light(getComputedStyle(box).color), light(behind(box))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) weak.add(`${box.tagName}.${box.className} ${contrast.toFixed(2)}`);
    }
    return Array.from(weak);
})()";
