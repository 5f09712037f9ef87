//! What a cluster's description amounts to, without one running.

use std::collections::BTreeMap;

use crate::cluster::ClusterSpec;
use crate::service::Unfit;

/// The file among a cluster's logs that says how it was set up. No key is in it.
pub(in crate::service) const CONFIGURATION: &str = "ceph.conf";

/// The programs whose calls show how a cluster was started, in order.
pub(in crate::service) const STARTED: &[&str] =
    &["monmaptool", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds"];

/// What a host needs for it, in words.
pub(in crate::service) fn needed(spec: &ClusterSpec) -> &'static str {
    if spec.vstart.is_some() {
        "the Ceph build tree that the job names"
    } else {
        "Ceph's daemons (`ceph-mon ceph-mgr ceph-osd ceph-mds python3-rados python3-cephfs`)"
    }
}

/// The same cluster with the options that workloads of these names need. The
/// description's own word wins.
pub(in crate::service) fn with_options<'a>(
    spec: &ClusterSpec,
    workloads: impl Iterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
) -> Result<ClusterSpec, Unfit> {
    let mut wishes: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (name, options) in workloads {
        for (option, value) in options {
            let (other, earlier) = *wishes.entry(option).or_insert((name, value));
            if earlier != value && !spec.options.contains_key(option) {
                return Err(Unfit {
                    key: "workload",
                    message: format!(
                        "{other} needs {option}={earlier} and {name} {option}={value}"
                    ),
                    help: Some(
                        "say in cluster.options which it is, or make two jobs of it".to_owned(),
                    ),
                });
            }
        }
    }
    let mut cluster = spec.clone();
    for (option, (_, value)) in wishes {
        let options = &mut cluster.options;
        options
            .entry(option.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    match cluster.check() {
        Ok(()) => Ok(cluster),
        Err(error) => Err(Unfit {
            key: "cluster",
            message: error.to_string(),
            help: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(value: &str) -> BTreeMap<String, String> {
        [("mds_cache_memory_limit".to_owned(), value.to_owned())].into()
    }

    #[test]
    fn the_description_s_own_word_wins_and_workloads_must_agree() {
        let (one, two) = (options("1"), options("2"));
        let both = || [("a", &one), ("b", &two)].into_iter();
        let mut spec = ClusterSpec::default();
        let merged = with_options(&spec, both().take(1)).unwrap();
        assert_eq!(merged.options, one);
        let unfit = with_options(&spec, both()).unwrap_err();
        assert_eq!(unfit.key, "workload");
        assert_eq!(
            unfit.message,
            "a needs mds_cache_memory_limit=1 and b mds_cache_memory_limit=2"
        );
        spec.options = options("3");
        assert_eq!(with_options(&spec, both()).unwrap().options, spec.options);
        spec.osd = 0;
        assert_eq!(with_options(&spec, both()).unwrap_err().key, "cluster");
    }
}
