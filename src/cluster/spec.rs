//! What a job asks of its cluster: the `cluster:` part of the YAML, and the
//! checks that need no running daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ClusterError;
use super::conf::canonical;

/// Monitors get the ports 6789, 6790, …; the other daemons' range starts at 6800.
const MOST_MONITORS: u32 = 9;

/// Daemons of one other kind. A typing error should not start a thousand.
const MOST_DAEMONS: u32 = 64;

/// The longest that a cluster may take to start.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A cluster, as a job describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Monitors.
    #[cfg_attr(test, schemars(range(min = 1, max = 9)))]
    pub mon: u32,
    /// Managers; 0 is allowed, a kernel client does not need one.
    #[cfg_attr(test, schemars(range(max = 64)))]
    pub mgr: u32,
    /// Object storage daemons.
    #[cfg_attr(test, schemars(range(min = 1, max = 64)))]
    pub osd: u32,
    /// Metadata servers; those beyond `max_mds` are standbys.
    #[cfg_attr(test, schemars(range(min = 1, max = 64)))]
    pub mds: u32,
    /// Metadata servers that are active at a time (ranks).
    pub max_mds: u32,
    /// Where the OSDs keep their objects.
    pub objectstore: ObjectStore,
    /// More options for the `[global]` section of ceph.conf. They win over
    /// kvet's own.
    #[cfg_attr(test, schemars(schema_with = "crate::schema::scalars"))]
    pub options: BTreeMap<String, String>,
    /// How long the cluster may take from its first daemon to healthy.
    #[serde(with = "crate::duration")]
    #[cfg_attr(test, schemars(with = "crate::schema::Time"))]
    pub deadline: Duration,
    /// Let Ceph's own development script start the daemons instead.
    pub vstart: Option<VstartSpec>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            mon: 1,
            mgr: 1,
            osd: 1,
            mds: 1,
            max_mds: 1,
            objectstore: ObjectStore::Memstore,
            options: BTreeMap::new(),
            deadline: Duration::from_secs(60),
            vstart: None,
        }
    }
}

/// An OSD's back end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ObjectStore {
    /// In the daemon's memory: the fastest, and enough for a kernel client.
    #[default]
    Memstore,
    /// What production runs, in a sparse file.
    Bluestore,
}

impl ObjectStore {
    /// The name Ceph and the job file use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memstore => "memstore",
            Self::Bluestore => "bluestore",
        }
    }
}

/// Which `vstart.sh` to run, and with whose binaries. With nothing set, the
/// script comes from the distribution's ceph source package and drives the
/// installed binaries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VstartSpec {
    /// A Ceph build tree (the directory with `bin/ceph-mon`): its script, its
    /// binaries, its libraries.
    pub build: Option<PathBuf>,
    /// A script to use instead, with the binaries of `build` or the installed
    /// ones.
    pub script: Option<PathBuf>,
    /// The Debian suite whose ceph source package has the script.
    pub suite: Option<String>,
}

impl ClusterSpec {
    /// What is wrong with it, as far as can be told without starting anything.
    pub fn check(&self) -> Result<(), ClusterError> {
        let wrong = |problem: String| Err(ClusterError::Spec { problem });
        for (name, count, least, most) in [
            ("mon", self.mon, 1, MOST_MONITORS),
            ("mgr", self.mgr, 0, MOST_DAEMONS),
            ("osd", self.osd, 1, MOST_DAEMONS),
            ("mds", self.mds, 1, MOST_DAEMONS),
        ] {
            if !(least..=most).contains(&count) {
                return wrong(format!(
                    "`{name}` is {count}, but must be {least} to {most} for a file system to mount"
                ));
            }
        }
        if self.max_mds < 1 || self.max_mds > self.mds {
            return wrong(format!(
                "`max_mds` is {}, but must be 1 to {} (`mds`)",
                self.max_mds, self.mds
            ));
        }
        if self.deadline.is_zero() || self.deadline > LONGEST {
            return wrong("`deadline` must be more than nothing and at most a day".to_owned());
        }
        let mut names = BTreeSet::new();
        for (name, value) in &self.options {
            if !names.insert(canonical(name)) {
                return wrong(format!(
                    "{name:?} in `options` appears twice, spelled in two ways"
                ));
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
            if name.trim().is_empty() || !name.chars().all(plain) {
                return wrong(format!(
                    "{name:?} in `options` is not the name of a Ceph option"
                ));
            }
            // A backslash at its end makes the next line a part of it.
            if value.chars().any(char::is_control) || value.trim_end().ends_with('\\') {
                return wrong(format!(
                    "the value of {name:?} in `options` is more than one line"
                ));
            }
        }
        Ok(())
    }

    /// The cluster in a few words, for events.
    #[must_use]
    pub fn summary(&self) -> String {
        let script = if self.vstart.is_some() {
            " by vstart.sh"
        } else {
            ""
        };
        format!(
            "{} mon, {} mgr, {} osd ({}), {} mds{script}",
            self.mon,
            self.mgr,
            self.osd,
            self.objectstore.name(),
            self.mds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_description_is_the_smallest_cluster() {
        let spec: ClusterSpec = serde_yaml::from_str("{}").unwrap();
        assert_eq!(spec, ClusterSpec::default());
        spec.check().unwrap();
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ClusterSpec>(&text).unwrap(), spec);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_yaml::from_str::<ClusterSpec>("osds: 3").is_err());
        assert!(serde_yaml::from_str::<ClusterSpec>("vstart: {tree: /x}").is_err());
        assert!(serde_yaml::from_str::<ClusterSpec>("objectstore: filestore").is_err());
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (yaml, named) in [
            ("osd: 0", "`osd`"),
            ("mon: 10", "`mon`"),
            ("mds: 2\nmax_mds: 3", "`max_mds`"),
            ("deadline: 500000y", "`deadline`"),
            ("deadline: 0s", "`deadline`"),
            ("options: {'a]': x}", "a]"),
            ("options: {a: \"x\\n[osd]\"}", "more than one line"),
            ("options: {ms_type: x, ms type: y}", "appears twice"),
            ("options: {a: 'x\\ '}", "more than one line"),
        ] {
            let spec: ClusterSpec = serde_yaml::from_str(yaml).unwrap();
            let error = spec.check().unwrap_err().to_string();
            assert!(error.contains(named), "{yaml}: {error}");
        }
    }
}
