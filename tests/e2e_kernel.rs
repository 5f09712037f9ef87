//! Real kernels from Debian's archive, patched and built for real.
#![cfg(feature = "e2e")]

use kvet::Context;
use kvet::kernel::{SourceSpec, fetch};
use kvet::store::Store;

#[tokio::test]
async fn debian_s_newest_arrives_and_is_there_the_second_time() {
    let store = Store::open().unwrap();
    let spec: SourceSpec = serde_yaml::from_str("{ debian: linux-source-7.3 }").unwrap();
    let first = fetch(&Context::default(), &store, &spec).await.unwrap();
    assert_eq!(first.version.to_string(), "7.3.4");
    let second = fetch(&Context::default(), &store, &spec).await.unwrap();
    assert_eq!(first.path, second.path);
}
