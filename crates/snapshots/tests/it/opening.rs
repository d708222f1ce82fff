//! What the user writes as `checkpoint.to`.

use std::fs;

use lsgan_snapshots::{Error, Store};
use lsgan_spec::Step;
use tempfile::TempDir;

use crate::common::snapshot;

#[tokio::test]
async fn a_directory_and_its_file_url_are_the_same_store() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    // What URLs and the object store's own paths treat as special.
    let path = dir.path().join("a b/c#d%20e/ü&f?");
    let store = Store::open(path.to_str().expect("it is UTF-8")).expect("it can be made");
    store.write(&snapshot(100, 0)).await.expect("it can be written");
    assert!(path.join("snapshots/step-0000000100/manifest.json").is_file());
    let url = url::Url::from_directory_path(&path).expect("it is absolute");
    let same = Store::open(url.as_str()).expect("it can be opened");
    same.verify(Step(100)).await.expect("it is there");
}

#[test]
fn other_schemes_and_passwords_are_refused_with_what_is_accepted() {
    for to in ["gcs://bucket", "htp://host/run", "s3://ab/run", "az://CONTAINER/run"] {
        let error = Store::open(to).expect_err("it is not in this build");
        assert!(matches!(error, Error::Url { .. }), "{error}");
    }
    assert_eq!(
        Store::open("gcs://bucket/run").expect_err("it is not in this build").to_string(),
        "checkpoint store: `gcs://bucket/run` has the scheme `gcs`; accepted are s3://, gs://, az:// and file:// URLs, \
         and paths. Write s3://BUCKET/PREFIX."
    );
    let error = Store::open("s3://AKIA:hunter2@bucket/run").expect_err("no secrets in a URL").to_string();
    assert!(error.contains("AWS_SECRET_ACCESS_KEY") && !error.contains("hunter2"), "{error}");
    let error = Store::open("file://elsewhere/run").expect_err("it is another host's");
    assert!(matches!(error, Error::Url { .. }), "{error}");
}

#[test]
fn a_file_in_the_way_is_named() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    let path = dir.path().join("file");
    fs::write(&path, b"").expect("it can be written");
    for path in [path.clone(), path.join("below")] {
        let error = Store::open(path.to_str().expect("it is UTF-8")).expect_err("it is a file");
        assert!(matches!(error, Error::Disk { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().expect("it is UTF-8")), "{error}");
    }
}

#[test]
fn a_store_that_is_only_read_is_not_made() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    let path = dir.path().join("mistyped");
    let error = Store::open_existing(path.to_str().expect("it is UTF-8")).expect_err("there is none");
    assert!(matches!(error, Error::NoStore { .. }), "{error}");
    assert!(!path.exists());
}

/// The session spawns the writer: its future must be able to move to another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_can_be_spawned() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    let store = Store::open(dir.path().to_str().expect("it is UTF-8")).expect("it can be made");
    let writer = tokio::spawn(async move { store.write(&snapshot(100, 0)).await });
    writer.await.expect("it does not panic").expect("it can be written");
}
