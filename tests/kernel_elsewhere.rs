//! A kernel that another host makes: what goes there, what comes back, and what is
//! refused. The other host is another store.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod lab;

use std::path::Path;

use kvet::kernel::elsewhere::{Order, order, pack};
use kvet::kernel::{Recipe, SourceSpec, accept};
use kvet::store::Store;
use kvet::{Error, Exit};
use lab::{CONFIG, INODE, Lab, text};

fn recipe(lab: &Lab, patches: &[&str]) -> Recipe {
    let fragment = lab.home.path().join("tiny.config");
    std::fs::write(&fragment, CONFIG).unwrap();
    let patch = |name: &&str| lab.home.path().join("patches").join(name);
    Recipe {
        source: SourceSpec::Directory { path: lab.source() },
        series: patches.iter().map(patch).collect(),
        fragments: vec![fragment],
        whole_config: None,
        instrumented: Vec::new(),
    }
}

async fn ordered(lab: &Lab, patches: &[&str]) -> Option<Order> {
    let recipe = recipe(lab, patches);
    let order = order(&lab.context, &lab.store, &lab.tree, &recipe)
        .await
        .unwrap()?;
    // It travels as text.
    Some(serde_json::from_str(&serde_json::to_string(&order).unwrap()).unwrap())
}

/// What a host does with an order; bytes of the pack that it needed.
async fn made(
    lab: &Lab,
    host: &Store,
    order: &Order,
) -> Result<(kvet::kernel::KernelImage, u64), Error> {
    let context = &lab.context;
    assert_eq!(order.refused(context).await?, None);
    let (trees, own) = order.known(context, host).await?;
    let mut size = 0;
    if !own {
        let place = tempfile::tempdir().unwrap();
        let pack = pack(context, &lab.tree, &trees, place.path()).await?;
        size = std::fs::metadata(&pack).unwrap().len();
        order.take(context, host, &pack).await?;
    }
    Ok((order.make(context, host).await?, size))
}

#[tokio::test]
async fn what_another_host_makes_lies_here_as_if_made_here() {
    let mut lab = Lab::new().await;
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "TWO");
    let host = Store::at(lab.home.path().join("host")).unwrap();
    let order = ordered(&lab, &["a.patch"]).await.unwrap();
    let (image, whole) = made(&lab, &host, &order).await.unwrap();
    assert_eq!(text(&image.bzimage), "one\nTWO\nthree\nalpha\nbeta\n");
    let here = accept(&lab.store, &order.key, image.directory())
        .await
        .unwrap();
    assert!(!here.cached && here.directory().starts_with(lab.store.root()));
    // The same as made here, under the same key.
    assert!(ordered(&lab, &["a.patch"]).await.is_none());
    let again = lab.build(&["a.patch"], CONFIG).await.unwrap();
    assert!(again.cached);
    assert_eq!(text(&again.bzimage), text(&image.bzimage));
    // Another kernel of the tree needs nothing but the order and one object.
    let order = ordered(&lab, &[]).await.unwrap();
    let (image, size) = made(&lab, &host, &order).await.unwrap();
    assert_eq!((size, image.record.objects_compiled), (0, 1));
    // Another tree of the line needs what differs.
    lab.edit("fs/super.c", "ALPHA\nbeta\n");
    lab.fetch(&SourceSpec::Directory { path: lab.source() })
        .await;
    let order = ordered(&lab, &[]).await.unwrap();
    let (image, part) = made(&lab, &host, &order).await.unwrap();
    assert_eq!(text(&image.bzimage), "one\ntwo\nthree\nALPHA\nbeta\n");
    assert!(0 < part && part < whole, "{part} of {whole}");
}

#[tokio::test]
async fn what_does_not_build_there_is_the_kernel_s_fault() {
    let lab = Lab::new().await;
    lab.patch("wrong.patch", "fs/inode.c", INODE, "two", "WRONG");
    let host = Store::at(lab.home.path().join("host")).unwrap();
    let order = ordered(&lab, &["wrong.patch"]).await.unwrap();
    let error = made(&lab, &host, &order).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Undecided);
    assert!(
        error.one_line().contains("WRONG is wrong"),
        "{}",
        error.one_line()
    );
}

#[tokio::test]
async fn what_came_back_damaged_is_not_taken() {
    let lab = Lab::new().await;
    let host = Store::at(lab.home.path().join("host")).unwrap();
    let order = ordered(&lab, &[]).await.unwrap();
    let (image, _) = made(&lab, &host, &order).await.unwrap();
    std::fs::write(&image.bzimage, "another kernel").unwrap();
    let error = accept(&lab.store, &order.key, image.directory())
        .await
        .unwrap_err();
    let said = Error::from(error).one_line();
    assert!(said.contains("bzImage"), "{said}");
    let builds = lab.store.root().join("builds").join(order.key.as_str());
    assert!(!Path::new(&builds).exists());
}

#[tokio::test]
async fn another_compiler_is_refused() {
    let lab = Lab::new().await;
    let mut order = ordered(&lab, &[]).await.unwrap();
    order.compiler = "gcc 99".to_owned();
    let why = order.refused(&lab.context).await.unwrap().unwrap();
    assert!(why.ends_with("not gcc 99"), "{why}");
}

#[tokio::test]
async fn what_another_host_makes_takes_the_place_of_one_that_was_damaged() {
    let lab = Lab::new().await;
    let host = Store::at(lab.home.path().join("host")).unwrap();
    let here = lab.build(&[], CONFIG).await.unwrap();
    std::fs::write(&here.bzimage, "damaged").unwrap();
    let order = ordered(&lab, &[]).await.unwrap();
    let (image, _) = made(&lab, &host, &order).await.unwrap();
    let taken = accept(&lab.store, &order.key, image.directory())
        .await
        .unwrap();
    assert_eq!(text(&taken.bzimage), text(&image.bzimage));
}

/// It would send what it knows by a key of its own.
#[tokio::test]
async fn another_kvet_is_refused() {
    let lab = Lab::new().await;
    let mut order = ordered(&lab, &[]).await.unwrap();
    order.key = kvet::store::Key::of(["as another kvet makes it"]);
    let why = order.refused(&lab.context).await.unwrap().unwrap();
    assert!(why.contains("another key"), "{why}");
}
