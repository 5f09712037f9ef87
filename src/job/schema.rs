//! The JSON schema of job files, made from the types that read them. It is
//! committed as `schema/job.json`, which `kvet schema` prints; the tests here
//! make it anew, hold all jobs of this repository against it, and see that it
//! refuses what the loader refuses, as far as a schema can say it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::limits::MOST_TRIALS;
use super::spec::{ArmSpec, Trials, WorkloadSpec};
use crate::cluster::ClusterSpec;
use crate::schema::shape;
use crate::service::ServiceSpec;

/// Letters, digits and `-_+.`, a letter or digit first.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_+.-]{0,63}$";

/// One workload or a list of them.
pub(crate) struct Workloads;

shape!(Workloads, "Workloads", |generator| {
    let whole = generator.subschema_for::<WorkloadSpec>();
    let one = json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, whole] });
    json_schema!({
        "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": 256 }]
    })
});

shape!(Trials, "Trials", |_generator| {
    let number = json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST_TRIALS });
    json_schema!({
        "description": "A number, `until 95%`, or `{ until: 95%, most: 200 }`.",
        "anyOf": [
            number,
            { "type": "string", "pattern": "^until +[0-9.]+ *%$" },
            {
                "type": "object",
                "properties": { "until": { "type": "string", "pattern": "^ *[0-9.]+ *% *$" }, "most": number },
                "required": ["until"],
                "additionalProperties": false,
            },
        ]
    })
});

shape!(ServiceSpec, "Cluster", |generator| {
    let cluster = generator.subschema_for::<ClusterSpec>();
    json_schema!({ "anyOf": [{ "const": "none" }, cluster] })
});

/// Arms by name: each of them may be empty.
pub(crate) fn arms(generator: &mut SchemaGenerator) -> Schema {
    let arm = generator.subschema_for::<ArmSpec>();
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": arm,
        "minProperties": 1,
        "maxProperties": 256,
    })
}

/// A disk goes with `cluster: none`.
pub(crate) fn disk_without_cluster(schema: &mut Schema) {
    let none = serde_json::json!({
        "disk": { "required": ["cluster"], "properties": { "cluster": { "const": "none" } } }
    });
    schema.insert("dependentSchemas".to_owned(), none);
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use schemars::generate::SchemaSettings;
    use serde_json::Value;

    use crate::job::{Choice, Plan, spec::Job};

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn schema() -> Value {
        let settings = SchemaSettings::draft2020_12().for_deserialize();
        let schema = settings.into_generator().into_root_schema_for::<Job>();
        serde_json::to_value(&schema).unwrap()
    }

    /// With `KVET_SCHEMA=write` in the environment it is written anew.
    #[test]
    fn the_schema_of_jobs_is_of_this_shape() {
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        let file = root().join("schema/job.json");
        if std::env::var_os("KVET_SCHEMA").is_some_and(|how| how == "write") {
            std::fs::write(&file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text,
            "schema/job.json is not of this shape: KVET_SCHEMA=write cargo test the_schema_of_jobs"
        );
    }

    fn mistakes(text: &str) -> Vec<String> {
        let job: Value = serde_yaml::from_str(text).unwrap();
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let mistakes = validator.iter_errors(&job);
        mistakes
            .map(|mistake| format!("{}: {mistake}", mistake.instance_path()))
            .collect()
    }

    fn yaml_files(directory: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(root().join(directory)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn every_job_of_this_repository_is_of_the_schema() {
        let mut jobs = yaml_files("jobs");
        assert!(jobs.len() > 5);
        // Among the tests' there are recipes, and jobs that are meant to be wrong.
        jobs.extend(yaml_files("tests/jobs"));
        let mut good = 0;
        for path in jobs {
            let loads = match Plan::load(&path, &Choice::default()) {
                Ok(_) => true,
                Err(error) => {
                    assert!(!path.starts_with(root().join("jobs")), "{error}");
                    false
                }
            };
            if loads {
                let text = std::fs::read_to_string(&path).unwrap();
                assert_eq!(mistakes(&text), [""; 0], "{}", path.display());
                good += 1;
            }
        }
        assert!(good > 15, "{good}");
    }

    const JOB: &str = "\
name: j
kernel: { source: { debian: linux-source-7.3 }, config: [base] }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 2
arms:
  stock: { control: true }
  fixed: { patches: [ceph-iput-async] }
";

    /// Each of these the loader refuses, and so does the schema.
    const WRONG: &[(&str, &str)] = &[
        ("trials: 2", "trails: 2"),
        ("trials: 2", "trials: 0"),
        ("trials: 2", "trials: 10001"),
        ("trials: 2", "trials: many"),
        ("trials: 2", "trials: { until: 95%, least: 3 }"),
        ("trials: 2", "trials: { most: 3 }"),
        ("name: j\n", ""),
        ("name: j", "name: a/b"),
        ("name: j", "name: ''"),
        ("name: j", "name: [j]"),
        ("name: j", "name: j\nmachine: { cpus: 0 }"),
        ("name: j", "name: j\nmachine: { cpus: 256 }"),
        ("name: j", "name: j\nmachine: { memory: 16 }"),
        ("name: j", "name: j\nmachine: { accel: xen }"),
        ("name: j", "name: j\nmachine: { cpu: 1 }"),
        ("name: j", "name: j\ncluster: some"),
        ("name: j", "name: j\ncluster: { osd: 0 }"),
        ("name: j", "name: j\ncluster: { osds: 1 }"),
        ("name: j", "name: j\ncluster: { objectstore: filestore }"),
        ("name: j", "name: j\ncluster: { deadline: 60 }"),
        ("name: j", "name: j\ndisk: { size: 1GiB, fs: ext4 }"),
        (
            "name: j",
            "name: j\ncluster: none\ndisk: { size: 1GiB, fs: ext5 }",
        ),
        (
            "name: j",
            "name: j\ncluster: none\ndisk: { size: 1GB, fs: ext4 }",
        ),
        ("name: j", "name: j\ncluster: none\ndisk: { size: 1GiB }"),
        (
            "name: j",
            "name: j\nknown: [{ title: a, signature: b, reason: x }]",
        ),
        ("name: j", "name: j\nknown: [{ reason: x }]"),
        ("name: j", "name: j\nknown: [{ title: a }]"),
        ("name: j", "name: j\nconfidence: sure"),
        ("name: j", "name: j\nself_test: 3"),
        (
            "name: j",
            "name: j\ncounters: [{ name: n, path: /x, keys: -1 }]",
        ),
        (
            "name: j",
            "name: j\ncounters: [{ name: n, path: /x, reached: two words }]",
        ),
        (
            "name: j",
            "name: j\ncounters: [{ name: n, path: /x, reached: '' }]",
        ),
        ("name: j", "name: j\ncompare: [{ counter: c }]"),
        ("class: hung_task", "class: hang"),
        ("class: hung_task", "klass: hung_task"),
        (
            "debian: linux-source-7.3",
            "debian: linux-source-7.3, dir: /x",
        ),
        ("debian: linux-source-7.3", "url: https://x"),
        ("debian: linux-source-7.3", "suite: sid"),
        ("debian: linux-source-7.3", "git: { repo: x }"),
        ("config: [base]", "config: base"),
        (", config: [base]", ""),
        (
            "{ use: evict-truncate }",
            "{ use: evict-truncate, timeout: 5 }",
        ),
        ("{ use: evict-truncate }", "{ name: evict-truncate }"),
        ("{ use: evict-truncate }", "[]"),
        ("control: true", "control: maybe"),
        ("control: true", "kontrol: true"),
        ("control: true", "trials: 0"),
        ("fixed:", "a/b:"),
    ];

    #[test]
    fn what_the_loader_refuses_the_schema_refuses() {
        let loads = |text: &str| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("job.yaml");
            std::fs::create_dir_all(directory.path().join("kconfigs")).unwrap();
            std::fs::create_dir_all(directory.path().join("patches/ceph-iput-async")).unwrap();
            std::fs::write(directory.path().join("kconfigs/base.config"), "").unwrap();
            std::fs::write(&path, text).unwrap();
            Plan::load(&path, &Choice::default()).is_ok()
        };
        assert!(loads(JOB) && mistakes(JOB).is_empty());
        for (from, to) in WRONG {
            let text = JOB.replace(from, to);
            assert_ne!(text, JOB, "{from}");
            assert!(!loads(&text), "the loader takes {to}");
            assert!(!mistakes(&text).is_empty(), "the schema takes {to}");
        }
    }

    #[test]
    fn what_the_loader_takes_the_schema_takes() {
        for (from, to) in [
            ("trials: 2", "trials: until 99%"),
            ("trials: 2", "trials: { until: 99%, most: 30 }"),
            (
                "name: j",
                "name: j\ncluster: { options: { a: 1, b: true, c: d } }",
            ),
            ("name: j", "name: j\ncluster: { deadline: 2m 30s }"),
            ("debian: linux-source-7.3", "version: 6.17.3"),
            (
                "debian: linux-source-7.3",
                "debian: linux-source-7.3, version: 7.3.4, suite: sid",
            ),
            ("debian: linux-source-7.3", "git: { repo: /x, ref: main }"),
            ("{ use: evict-truncate }", "evict-truncate"),
            (
                "{ use: evict-truncate }",
                "[evict-truncate, { use: flush-ack, timeout: 5m }]",
            ),
            (
                "name: j",
                "name: j\nknown: [{ title: a, reason: x, since: '6.12', expires: 2027-01-31 }]",
            ),
        ] {
            assert_eq!(mistakes(&JOB.replace(from, to)), [""; 0], "{to}");
        }
        let disk = "name: j\ncluster: none\ndisk: { size: 1GiB, fs: ext4, mkfs: [-b, 1024] }";
        let job = JOB.replace("evict-truncate", "writeback-storm");
        assert_eq!(mistakes(&job.replace("name: j", disk)), [""; 0]);
    }

    #[test]
    fn every_key_has_a_description() {
        let schema = schema();
        let described = |of: &str, properties: &Value| {
            for (key, value) in properties.as_object().unwrap() {
                let text = value.to_string();
                assert!(
                    text.contains("description") || text.contains("$ref"),
                    "{of}.{key}"
                );
            }
        };
        described("Job", &schema["properties"]);
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            if let Some(properties) = definition.get("properties") {
                described(name, properties);
            }
        }
    }
}
