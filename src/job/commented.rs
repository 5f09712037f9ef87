//! A job's text with a word on each of its keys: what somebody who has not
//! written one yet starts from.

use std::fmt::Write;

/// What stands before each key of a job, and an example for a job without it.
const KEYS: &[(&str, &str, &str)] = &[
    ("name", "What reports and directories call it.", ""),
    ("about", "What is asked, for those who read it later.", ""),
    (
        "kernel",
        "The kernel that all arms share: where its source comes from (`debian`, `version`,\n\
         `url` with `sha256`, `git`, `dir`; `kvet run --kernel .` takes another for once),\n\
         and the fragments of its configuration (`kvet list fragments`).",
        "",
    ),
    (
        "machine",
        "The guests: CPUs and MiB of memory.",
        "machine: { cpus: 2, memory: 1024 }",
    ),
    (
        "start",
        "How guests come up: restored from one that was booted once (`restore`), or each from\n\
         its reset on (`boot`), which a bug needs that depends on what is decided at boot.",
        "start: boot",
    ),
    (
        "rootfs",
        "What programs guests have besides kvet's agent.",
        "rootfs: shell",
    ),
    (
        "cluster",
        "What guests mount: how many daemons of each kind; `none` does without.",
        "cluster: { mon: 1, mgr: 1, osd: 1, mds: 1, objectstore: memstore }",
    ),
    (
        "disk",
        "With `cluster: none`, what guests mount instead: a disk of each guest's own, with ext4,\n\
         xfs, btrfs or f2fs; the kernel takes the fragment of that name.",
        "disk: { size: 1GiB, fs: ext4 }",
    ),
    (
        "workload",
        "What guests and cluster do in a trial (`kvet list workloads`); a file in\n\
         `workloads/` beside this job comes first.",
        "",
    ),
    (
        "trials",
        "Trials of each arm and workload; `until 95%` goes on until the verdict is that sure.",
        "trials: 3",
    ),
    (
        "target",
        "The bug: the class of the finding, and functions on its stack in this order. Controls\n\
         must show it, other arms must not. `kvet scan LOG` names what a log of yours shows.",
        "",
    ),
    (
        "rate",
        "How often the bug shows, for `kvet bisect`: only `1`, in every trial, if that is sure.",
        "rate: 1",
    ),
    (
        "amplify",
        "Other ways to run the trial, of which `kvet bisect --amplify` takes the most telling.",
        "amplify: [{ name: impatient, sysctls: { kernel.hung_task_timeout_secs: 2 } }]",
    ),
    (
        "known",
        "Findings that are shown and not counted.",
        "known: [{ title: \"WARNING in something else\", reason: \"it has nothing to do with this\" }]",
    ),
    (
        "self_test",
        "Whether each kernel is first made to fail, to see that it would say so.",
        "self_test: true",
    ),
    (
        "notify",
        "A webhook that is called when the verdict is another one than before; its address is\n\
         a secret and stands in this variable of the environment.",
        "notify: { webhook: { env: KVET_WEBHOOK } }",
    ),
    (
        "dump",
        "Whether the memory of guests that show the bug is kept, for crash and drgn.",
        "dump: true",
    ),
    (
        "arms",
        "The kernels that are compared. A control must show the bug; `patches` go on top of the\n\
         kernel (`kvet list series`, or files in `patches/` beside this job).",
        "",
    ),
];

/// The job's text under another name, each of its keys with a comment, and those
/// it does not have as comments at its end.
#[must_use]
pub fn commented(text: &str, name: &str) -> String {
    let mut job = String::new();
    let key_of = |line: &str| {
        let (key, _) = line.split_once(':')?;
        KEYS.iter().find(|(known, ..)| *known == key)
    };
    for line in text.lines() {
        if let Some((key, comment, _)) = key_of(line) {
            if !job.is_empty() {
                job.push('\n');
            }
            comment_out(&mut job, comment);
            if *key == "name" {
                let _ = writeln!(job, "name: {}", quoted(name));
                continue;
            }
        }
        job.push_str(line);
        job.push('\n');
    }
    let missing = KEYS.iter().filter(|(key, _, example)| {
        let has = |line: &str| line.split_once(':').is_some_and(|(found, _)| found == *key);
        !example.is_empty() && !text.lines().any(has)
    });
    for (_, comment, example) in missing {
        job.push('\n');
        comment_out(&mut job, comment);
        comment_out(&mut job, example);
    }
    job
}

/// A name that YAML would take for something else, such as `1.0`, in quotes.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !matches!(
            name,
            "true" | "false" | "null" | "yes" | "no" | "on" | "off"
        );
    if plain {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

fn comment_out(job: &mut String, text: &str) {
    for line in text.lines() {
        job.push_str("# ");
        job.push_str(line);
        job.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;

    #[test]
    fn each_job_that_comes_with_kvet_stays_what_it_is() {
        let jobs = crate::library::texts("jobs", ".yaml");
        assert!(jobs.len() > 5);
        for (name, text) in jobs {
            let before: Job = serde_yaml::from_str(text).unwrap();
            let own = commented(text, "own");
            let after: Job = serde_yaml::from_str(&own).unwrap();
            assert_eq!(after.name, "own", "{name}");
            let renamed = Job {
                name: before.name.clone(),
                ..after
            };
            assert_eq!(format!("{renamed:?}"), format!("{before:?}"), "{name}");
            assert!(own.contains("# The kernels that are compared."), "{own}");
        }
    }

    #[test]
    fn each_example_is_part_of_a_job_when_it_is_one() {
        let (_, text) = crate::library::texts("jobs", ".yaml")[1];
        for (key, _, example) in KEYS {
            let others: String = text
                .split_inclusive('\n')
                .filter(|line| !line.starts_with(&format!("{key}:")))
                .collect();
            if !example.is_empty() {
                serde_yaml::from_str::<Job>(&format!("{others}{example}\n")).unwrap();
            }
        }
    }
}
