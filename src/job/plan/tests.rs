//! Plans of jobs that are written here.

use std::time::Duration;

use miette::Diagnostic;

use super::*;
use crate::job::Confidence;

/// Loads a job from a directory that has one fragment and one series.
fn load(job: &str, choice: &Choice) -> Result<Plan, JobError> {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("kconfigs")).unwrap();
    std::fs::create_dir_all(root.path().join("patches/cure")).unwrap();
    std::fs::write(root.path().join("kconfigs/base.config"), "").unwrap();
    let path = root.path().join("job.yaml");
    std::fs::write(&path, job).unwrap();
    Plan::load(&path, choice)
}

const JOB: &str = "\
name: j
kernel: { source: { debian: linux-source-7.3 }, config: [base] }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 2
arms:
  stock: { control: true }
  early: { control: true, target: { class: vfs_bug }, trials: 5 }
  fixed: { patches: [cure] }
";

#[test]
fn an_arm_of_an_older_record_is_read_and_written_with_the_same_keys() {
    let arm = r#"{"name":"fixed","control":false,"source":{"dir":"/linux"},
            "patches":["/p/cure"],"fragments":["/k/base.config"],"command_line":"",
            "target":null,"trials":3,"workloads":["w"]}"#;
    let before: serde_json::Value = serde_json::from_str(arm).unwrap();
    let arm: Arm = serde_json::from_str(arm).unwrap();
    assert_eq!(arm.recipe.series, [PathBuf::from("/p/cure")]);
    assert_eq!(arm.recipe.fragments, [PathBuf::from("/k/base.config")]);
    assert_eq!(serde_json::to_value(&arm).unwrap(), before);
}

#[test]
fn what_is_compared_is_measured() {
    let compare = "compare:\n  - { name: n, workload: evict-truncate, counter: c }\n";
    let plan = load(&format!("{JOB}{compare}"), &Choice::default()).unwrap();
    assert!(plan.measures("evict-truncate") && !plan.measures("quota"));
    let all = "compare:\n  - { name: n, counter: c }\n";
    let plan = load(&format!("{JOB}{all}"), &Choice::default()).unwrap();
    assert!(plan.measures("evict-truncate"));
    let plan = load(JOB, &Choice::default()).unwrap();
    assert!(!plan.measures("evict-truncate"));
}

#[test]
fn an_arm_s_own_words_win_over_the_job_s_and_the_command_line_over_both() {
    let plan = load(JOB, &Choice::default()).unwrap();
    let trials = |plan: &Plan| plan.arms.iter().map(|a| a.trials).collect::<Vec<_>>();
    assert_eq!(trials(&plan), [2, 5, 2]);
    assert_ne!(plan.arms[0].target, plan.arms[1].target);
    assert_eq!(plan.arms[0].target, plan.arms[2].target);
    assert!(plan.arms[2].recipe.series[0].ends_with("patches/cure"));
    let choice = Choice {
        arms: vec!["fixed".to_owned(), "early".to_owned()],
        trials: Some(1),
        ..Choice::default()
    };
    let plan = load(JOB, &choice).unwrap();
    let names: Vec<&str> = plan.arms.iter().map(|arm| arm.name.as_str()).collect();
    assert_eq!(names, ["early", "fixed"]);
    assert_eq!(trials(&plan), [1, 1]);
}

#[test]
fn a_patch_adds_an_arm_beside_the_plainest_control() {
    let choice = Choice {
        patched: vec![PathBuf::from("/mails/x")],
        ..Choice::default()
    };
    let shown = |job: &str, choice: &Choice| {
        let plan = load(job, choice).unwrap();
        let arms = plan.arms.into_iter();
        let shown = arms.map(|arm| (arm.name, arm.control, arm.recipe.series.len()));
        shown.collect::<Vec<_>>()
    };
    let arm = |name: &str, control, series| (name.to_owned(), control, series);
    let job = JOB.replace(
        "  stock:",
        "  first: { control: true, patches: [cure] }\n  stock:",
    );
    let both = [arm("stock", true, 0), arm("patched", false, 1)];
    assert_eq!(shown(&job, &choice), both);
    let three = Choice {
        arms: ["fixed", "patched", "first"].map(str::to_owned).to_vec(),
        ..choice.clone()
    };
    let three = shown(&job, &three);
    assert_eq!(
        three,
        [
            arm("first", true, 1),
            arm("patched", false, 1),
            arm("fixed", false, 1)
        ]
    );
    let taken = JOB.replace("  fixed:", "  patched:");
    let error = load(&taken, &choice).unwrap_err().to_string();
    assert!(error.contains("job.yaml:9:"), "{error}");
    let none = Choice {
        arms: vec!["patched".to_owned()],
        ..Choice::default()
    };
    assert!(load(JOB, &none).is_err());
}

#[test]
fn a_workload_s_options_for_the_cluster_give_way_to_the_job_s() {
    let plan = load(JOB, &Choice::default()).unwrap();
    let option = "mds_session_blocklist_on_evict";
    assert_eq!(plan.service.cluster().unwrap().options[option], "false");
    let job = format!("{JOB}cluster: {{ options: {{ {option}: \"true\" }} }}\n");
    let plan = load(&job, &Choice::default()).unwrap();
    assert_eq!(plan.service.cluster().unwrap().options[option], "true");
}

/// The job with this for its workloads.
fn with_workloads(workloads: &str) -> String {
    JOB.replace("{ use: evict-truncate }", workloads)
}

#[test]
fn workloads_are_one_or_a_list_by_name_or_with_more_words() {
    for one in [
        "evict-truncate",
        "[evict-truncate]",
        "[use: evict-truncate]",
    ] {
        let plan = load(&with_workloads(one), &Choice::default()).unwrap();
        assert_eq!(plan.workloads.len(), 1, "{one}");
        assert_eq!(plan.arms[0].workloads, ["evict-truncate"]);
    }
    let list = "[evict-truncate, { use: flush-ack, timeout: 5m }]";
    let plan = load(&with_workloads(list), &Choice::default()).unwrap();
    let limits: Vec<_> = plan.workloads.iter().map(|w| w.timeout).collect();
    assert_eq!(limits, [None, Some(Duration::from_mins(5))]);
}

#[test]
fn trials_of_an_arm_go_through_its_workloads_with_the_same_seeds() {
    let job = with_workloads("[evict-truncate, flush-ack]").replace(
        "fixed: { patches: [cure] }",
        "fixed: { patches: [cure], workloads: [flush-ack] }",
    );
    let plan = load(&job, &Choice::default()).unwrap();
    let course = |arm: &Arm| -> Vec<_> {
        let ids = arm.ids();
        ids.map(|id| (id.workload.clone(), id.seed())).collect()
    };
    let trial = |name: &str, seed| (name.to_owned(), seed);
    let (a, b) = ("evict-truncate", "flush-ack");
    let stock = [trial(a, 1), trial(a, 2), trial(b, 1), trial(b, 2)];
    assert_eq!(course(&plan.arms[0]), stock);
    assert_eq!(course(&plan.arms[2]), [trial(b, 1), trial(b, 2)]);
    let only = Choice {
        workloads: vec![a.to_owned()],
        ..Choice::default()
    };
    let plan = load(&job, &only).unwrap();
    assert_eq!(plan.arms[0].workloads, [a]);
    assert_eq!(plan.arms.len(), 2, "an arm with nothing to do is left out");
    let nothing = Choice {
        arms: vec!["fixed".to_owned()],
        ..only
    };
    assert!(matches!(load(&job, &nothing), Err(JobError::Choice(..))));
}

#[test]
fn a_kernel_leaves_out_what_is_for_later_ones() {
    let job = with_workloads("[evict-truncate, encrypted-names]");
    let plan = load(&job, &Choice::default()).unwrap();
    assert!(
        plan.to_string()
            .contains("encrypted-names (9 steps, from 6.6)")
    );
    let workloads = |kernel: &str| {
        let left_out = plan.too_new(&plan.arms[0], &kernel.parse().unwrap());
        plan.arms[0].without(&left_out).workloads
    };
    assert_eq!(workloads("6.5.13"), ["evict-truncate"]);
    assert_eq!(workloads("6.6-rc1"), ["evict-truncate", "encrypted-names"]);
}

#[test]
fn workloads_that_are_not_there_or_twice_are_shown_in_their_place() {
    for (workloads, place, message) in [
        (
            "[evict-truncate, flush-ak]",
            ":3:28:",
            "no workload `flush-ak`",
        ),
        ("{ use: flush-ak }", ":3:18:", "no workload `flush-ak`"),
        ("[flush-ack, flush-ack]", ":3:23:", "appears twice"),
        ("[]", ":3:11:", "at least one workload"),
    ] {
        let error = load(&with_workloads(workloads), &Choice::default()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(message) && error.contains(place), "{error}");
    }
    let job = JOB.replace("[cure]", "[cure], workloads: [flush-ack]");
    let error = load(&job, &Choice::default()).unwrap_err().to_string();
    assert!(error.contains("has no workload `flush-ack`"), "{error}");
}

#[test]
fn a_file_beside_the_job_is_named_by_a_path() {
    let job = JOB.replace("[cure]", "[job.yaml]");
    let error = load(&job, &Choice::default()).unwrap_err();
    let help = error.help().unwrap().to_string();
    assert!(help.starts_with("write `./job.yaml` for"), "{help}");
    let job = JOB.replace("[cure]", "[./job.yaml]");
    load(&job, &Choice::default()).unwrap();
}

#[test]
fn workloads_that_contradict_each_other_need_the_job_s_word() {
    let root = tempfile::tempdir().unwrap();
    let text = "{ name: other, about: x, steps: [guest: sync], \
                    cluster: { mds_session_blocklist_on_evict: true } }";
    let path = root.path().join("other.yaml");
    std::fs::write(&path, text).unwrap();
    let job = with_workloads(&format!("[evict-truncate, {}]", path.display()));
    let error = load(&job, &Choice::default()).unwrap_err().to_string();
    assert!(
        error.contains("evict-truncate needs mds_session"),
        "{error}"
    );
    let job = format!("{job}cluster: {{ options: {{ mds_session_blocklist_on_evict: 1 }} }}\n");
    load(&job, &Choice::default()).unwrap();
}

#[test]
fn the_root_file_system_has_what_workloads_run() {
    let root = tempfile::tempdir().unwrap();
    let text = "{ name: tool, about: x, steps: [ \
                    { guest: { exec: { program: /tmp/made-before } } }, \
                    { guest: { exec: { program: fio } } } ] }";
    let path = root.path().join("tool.yaml");
    std::fs::write(&path, text).unwrap();
    let job = with_workloads(&path.display().to_string());
    let error = load(&job, &Choice::default()).unwrap_err().to_string();
    assert!(error.contains("job.yaml:3:11: tool runs `fio`"), "{error}");
    let plan = load(&format!("{job}rootfs: fio\n"), &Choice::default()).unwrap();
    assert_eq!(plan.rootfs.name, "fio");
    let error = load(&format!("{job}rootfs: foi\n"), &Choice::default()).unwrap_err();
    assert!(
        error.to_string().contains("job.yaml:10:9: there is no"),
        "{error}"
    );
}

#[test]
fn a_self_test_brings_the_fragment_it_needs() {
    let job = format!("{JOB}self_test: true\n");
    let error = load(&job, &Choice::default()).unwrap_err().to_string();
    assert!(error.contains("job.yaml:10:"), "{error}");
    assert!(error.contains("fragment `lkdtm`"), "{error}");
    let root = tempfile::tempdir().unwrap();
    let kconfigs = root.path().join("kconfigs");
    std::fs::create_dir_all(&kconfigs).unwrap();
    std::fs::create_dir_all(root.path().join("patches/cure")).unwrap();
    for name in ["base", "lkdtm"] {
        std::fs::write(kconfigs.join(format!("{name}.config")), "").unwrap();
    }
    let path = root.path().join("job.yaml");
    for (config, fragments) in [("[base]", 2), ("[base, lkdtm]", 2)] {
        std::fs::write(&path, job.replace("[base]", config)).unwrap();
        let plan = Plan::load(&path, &Choice::default()).unwrap();
        assert!(plan.self_test);
        for arm in &plan.arms {
            assert_eq!(arm.recipe.fragments.len(), fragments, "{config}");
            assert!(arm.recipe.fragments[1].ends_with("kconfigs/lkdtm.config"));
        }
    }
}

#[test]
fn a_plan_survives_its_record() {
    let plan = load(JOB, &Choice::default()).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    let again: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
}

#[test]
fn an_arm_s_name_can_be_a_directory_s() {
    for name in ["../up", "a/b", "'..'", "'a b'", "''"] {
        let job = JOB.replace("fixed:", &format!("{name}:"));
        let error = load(&job, &Choice::default()).unwrap_err();
        assert!(error.to_string().contains("cannot be called"), "{error}");
    }
}

#[test]
fn a_cluster_that_cannot_be_is_told_before_anything_is_built() {
    let job = format!("{JOB}cluster: {{ osd: 0 }}\n");
    let error = load(&job, &Choice::default()).unwrap_err();
    assert!(error.to_string().contains("job.yaml:10:"), "{error}");
}

#[test]
fn a_job_can_do_without_a_cluster_if_its_workloads_can() {
    let job = format!("{JOB}cluster: none\n");
    let error = load(&job, &Choice::default()).unwrap_err().to_string();
    assert!(
        error.contains("evict-truncate does things to a cluster"),
        "{error}"
    );
    let job = job.replace("evict-truncate", "writeback-storm");
    let plan = load(&job, &Choice::default()).unwrap();
    assert!(matches!(plan.service, ServiceSpec::None));
    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.contains(r#""cluster":"none""#), "{text}");
}

#[test]
fn a_job_can_have_a_disk_instead_of_a_cluster() {
    let job = JOB.replace("evict-truncate", "umount-storm");
    let with = |disk: &str| load(&format!("{job}{disk}\n"), &Choice::default());
    let disk = "cluster: none\ndisk: { size: 1GiB, fs: ext4 }";
    let plan = with(disk).unwrap();
    assert_eq!(plan.service.summary(), "none; a disk of 1 GiB with ext4");
    // What its kernel says of damage is a finding.
    let complaint = |rule: &ExtraRule| rule.message.matches("EXT4-fs error (device vda): x");
    assert!(plan.patterns.iter().any(complaint));
    // The same workload has other steps on a cluster.
    let steps = |plan: &Plan| plan.workloads[0].workload.steps.len();
    let on_ceph = load(&job, &Choice::default()).unwrap();
    assert!(steps(&plan) < steps(&on_ceph));
    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.contains(r#""cluster":{"disk":{"size":1073741824,"fs":"ext4"}}"#));
    let again: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    for (disk, says) in [
        (
            "disk: { size: 1GiB, fs: ext4 }",
            "job.yaml:10:7: guests mount a cluster or a disk",
        ),
        ("cluster: none\ndisk: { size: 1TiB, fs: ext4 }", "1TiB"),
        (
            "cluster: none\ndisk: { size: 999GiB, fs: xfs }",
            "job.yaml:11:15: a disk with xfs cannot have 999 GiB",
        ),
        (
            "cluster: none\ndisk: { size: 1GiB, fs: ext5 }",
            "unknown variant `ext5`",
        ),
        ("cluster: none\ndisk: { size: 1GiB }", "missing field `fs`"),
    ] {
        let error = with(disk).unwrap_err().to_string();
        assert!(error.contains(says), "{disk}: {error}");
    }
}

#[test]
fn trials_go_on_until_the_verdict_is_as_sure_as_was_asked_for() {
    let load = |trials: &str, choice: &Choice| {
        let job = JOB.replace("trials: 2", trials).replace(", trials: 5", "");
        load(&job, choice).map(|plan| (plan.rules, plan.arms[0].trials))
    };
    let sure = |text: &str| text.parse::<Confidence>().unwrap();
    let rules = |text, most| (Rules::until(sure(text), most), most.unwrap_or(200));
    let job = &Choice::default();
    assert_eq!(load("trials: until 99%", job).unwrap(), rules("99%", None));
    let map = "trials: { until: 99%, most: 30 }";
    assert_eq!(load(map, job).unwrap(), rules("99%", Some(30)));
    let (fixed, number) = load("trials: 2\nconfidence: 99%", job).unwrap();
    assert_eq!(
        (fixed.confidence, fixed.until, number),
        (sure("99%"), None, 2)
    );
    let choice = Choice {
        until: Some(sure("90%")),
        trials: Some(7),
        ..Choice::default()
    };
    assert_eq!(load("trials: 2", &choice).unwrap(), rules("90%", Some(7)));
    // A number on the command line is one.
    let choice = Choice {
        trials: Some(7),
        ..Choice::default()
    };
    let (fixed, number) = load(map, &choice).unwrap();
    assert_eq!(
        (fixed.confidence, fixed.until, number),
        (sure("99%"), None, 7)
    );
}

#[test]
fn what_is_no_number_of_trials_is_told() {
    for (trials, says) in [
        ("trials: until 5%", "`5%` is not a confidence"),
        ("trials: until", "expected a number, `until 95%`"),
        ("trials: { until: 95%, least: 3 }", "unknown field `least`"),
        ("trials: { until: 95%, most: 0 }", "without trials"),
        ("trials: until 95%\nconfidence: 99%", "`until` says it"),
        ("confidence: sure", "`sure` is not a confidence"),
    ] {
        let job = JOB.replace("trials: 2", trials);
        let error = load(&job, &Choice::default()).unwrap_err();
        let help = error.help().map(|help| help.to_string());
        let text = format!("{error} {}", help.unwrap_or_default());
        assert!(text.contains(says), "{text}");
    }
    let job = JOB.replace("trials: 2", "trials: until 95%");
    let choice = Choice {
        arms: vec!["fixed".to_owned()],
        ..Choice::default()
    };
    let plan = load(&job, &choice).unwrap();
    let error = plan.can_settle().unwrap_err().to_string();
    assert!(error.contains("there is no control"), "{error}");
}

#[test]
fn an_arm_needs_trials() {
    for (from, to) in [("trials: 2", "trials: 0"), ("trials: 5", "trials: 0")] {
        let error = load(&JOB.replace(from, to), &Choice::default()).unwrap_err();
        assert!(error.to_string().contains("without trials"), "{error}");
    }
}

#[test]
fn a_job_s_name_can_be_a_directory_s() {
    let long = "x".repeat(65);
    for name in [
        "/tmp/x",
        "../..",
        "''",
        "'a b'",
        ".hidden",
        "'a\u{202e}b'",
        &long,
    ] {
        let job = JOB.replace("name: j", &format!("name: {name}"));
        let error = load(&job, &Choice::default()).unwrap_err().to_string();
        assert!(error.contains("job.yaml:1:7: a job cannot be"), "{error}");
        assert!(error.len() < 400, "{error}");
    }
}

/// So many more arms of a job.
fn many_arms(count: u32) -> String {
    let arms = (0..count).map(|n| format!("  a{n}: {{}}\n"));
    arms.collect::<Vec<_>>().concat()
}

#[test]
fn what_no_host_can_do_is_told_in_its_place() {
    let forever = "{ use: evict-truncate, timeout: 500000y }";
    for (from, to, said) in [
        (
            "trials: 2",
            "trials: 4000000000",
            "job.yaml:5:9: 4000000000 trials",
        ),
        ("trials: 5", "trials: 10001", "10001 trials"),
        ("{ use: evict-truncate }", forever, "at most a day"),
        (
            "{ use: evict-truncate }",
            "{ use: evict-truncate, timeout: 0s }",
            "more than nothing",
        ),
        (
            "name: j\n",
            "name: j\nmachine: { cpus: 0 }\n",
            "job.yaml:2:18: a machine cannot have `cpus: 0`",
        ),
        (
            "name: j\n",
            "name: j\nmachine: { memory: 4000000000 }\n",
            "`memory: 4000000000`",
        ),
        ("name: j\n", "name: j\nrate: .nan\n", "`rate: NaN`"),
        (
            "config: [base]",
            "config: [base], command_line: \"a\\nb\"",
            "one line",
        ),
    ] {
        let error = load(&JOB.replace(from, to), &Choice::default()).unwrap_err();
        assert!(error.to_string().contains(said), "{to}: {error}");
    }
    let arms = many_arms(300);
    let error = load(&format!("{JOB}{arms}"), &Choice::default()).unwrap_err();
    assert!(error.to_string().contains("256 arms"), "{error}");
    let many = Choice {
        trials: Some(10_000),
        ..Choice::default()
    };
    let arms = many_arms(30);
    let error = load(&format!("{JOB}{arms}"), &many).unwrap_err();
    assert!(
        error.to_string().contains("330000 trials in all"),
        "{error}"
    );
}

#[test]
fn a_key_that_is_there_twice_is_shown() {
    let job = format!("{JOB}trials: 3\n");
    let error = load(&job, &Choice::default()).unwrap_err().to_string();
    assert!(
        error.contains("job.yaml:10:1: `trials` appears twice"),
        "{error}"
    );
    let job = JOB.replace("  fixed:", "  stock: {}\n  fixed:");
    let error = load(&job, &Choice::default()).unwrap_err().to_string();
    assert!(
        error.contains("job.yaml:9:3: `stock` appears twice"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_job_by_its_size_or_depth_is_refused() {
    let zero = Plan::load(Path::new("/dev/zero"), &Choice::default()).unwrap_err();
    assert!(matches!(zero, JobError::Read { .. }), "{zero}");
    let huge = format!("{JOB}#{}\n", "x".repeat(1 << 20));
    assert!(matches!(
        load(&huge, &Choice::default()),
        Err(JobError::Read { .. })
    ));
    let deep = format!("{JOB}about: {}\n", "[".repeat(200_000));
    let error = load(&deep, &Choice::default()).unwrap_err().to_string();
    assert!(error.contains("job.yaml:10:"), "{error}");
    let zero = with_workloads("/dev/zero");
    let error = load(&zero, &Choice::default()).unwrap_err();
    assert!(matches!(error, JobError::Workload(_)), "{error}");
    let error = load(&format!("{JOB}rootfs: /dev/zero\n"), &Choice::default()).unwrap_err();
    assert!(matches!(error, JobError::Rootfs(_)), "{error}");
}
