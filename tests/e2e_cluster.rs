//! Real Ceph daemons: started, asked, disturbed and ended.
#![cfg(feature = "e2e")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use kvet::Context;
use kvet::cluster::{Cluster, ClusterError, ClusterSpec, private_network};
use kvet::process::Namespace;
use kvet::store::Store;
use serde_json::json;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Long enough for a loaded machine; nothing is measured by it.
const LONG: Duration = Duration::from_secs(120);

struct Lab {
    context: Context,
    namespace: Namespace,
    home: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        Self {
            context: Context::default(),
            namespace: private_network(ADDRESS).await.unwrap(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    async fn start(&self, yaml: &str) -> Result<Cluster, ClusterError> {
        let spec: ClusterSpec = serde_yaml::from_str(yaml).unwrap();
        let store = Store::at(self.home.path().join("store")).unwrap();
        let began = Instant::now();
        let cluster = Cluster::start(
            &self.context,
            &store,
            &spec,
            &self.namespace,
            ADDRESS,
            &self.logs(),
        )
        .await;
        eprintln!("{yaml:?}: {:?}", began.elapsed());
        cluster
    }

    fn logs(&self) -> std::path::PathBuf {
        self.home.path().join("logs")
    }
}

/// Processes whose command line names a path.
fn users_of(path: &Path) -> Vec<String> {
    let needle = path.to_str().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .filter(|line| line.contains(needle))
        .collect()
}

/// The scratch directory, by the socket path in the cluster's own words.
async fn state_of(cluster: &Cluster) -> std::path::PathBuf {
    let answer = cluster
        .admin(
            "mon.a",
            json!({"prefix": "config get", "var": "admin_socket"}),
        )
        .await
        .unwrap();
    let socket = answer["admin_socket"].as_str().unwrap();
    Path::new(socket).parent().unwrap().to_owned()
}

#[tokio::test]
async fn a_cluster_starts_healthy_and_leaves_nothing() {
    let lab = Lab::new().await;
    let mut cluster = lab.start("{}").await.unwrap();
    assert_eq!(cluster.complaints().await.unwrap(), Vec::<String>::new());
    assert_eq!(
        cluster.daemons().collect::<Vec<_>>(),
        ["mon.a", "mgr.a", "mds.a", "osd.0"]
    );
    let state = state_of(&cluster).await;
    assert!(!users_of(&state).is_empty());
    let began = Instant::now();
    cluster.stop().await;
    eprintln!("stop: {:?}", began.elapsed());
    assert_eq!(users_of(&state), Vec::<String>::new());
    assert!(!state.exists());
    assert!(lab.logs().join("mds.a.log").exists());
}
