//! Whether snapshots are whole, asked over a real socket, of snapshots that are written here.

use std::path::Path;
use std::sync::Arc;

use lsgan_snapshots::{NamedTensor, Part, Snapshot, Store};
use lsgan_spec::Step;

use crate::common::Site;

fn snapshot(step: u64) -> Snapshot {
    let part = |name: &str| {
        let tensors = vec![NamedTensor::f32("main.0.weight", [2, 2], vec![1.0, 2.0, 3.0, step as f32])];
        Arc::new(Part { name: name.to_owned(), tensors })
    };
    Snapshot {
        step: Step(step),
        identity: "1f".repeat(32),
        data_fingerprint: "2e".repeat(32),
        numerics: "these".to_owned(),
        spec_yaml: "run: small\n".to_owned(),
        parts: vec![part("generator"), part("discriminator")],
    }
}

/// Changes the last byte of a file: one of a tensor.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn every_byte_of_a_snapshot_is_read_and_the_hashes_are_compared() {
    let site = Site::new();
    drop(site.journal("saved"));
    let dir = site.run_dir("saved");
    let store = Store::open(dir.to_str().unwrap()).unwrap();
    for step in [20, 40] {
        site.runtime.block_on(store.write(&snapshot(step))).unwrap();
    }
    let id = site.id();
    let path = |step: &str| format!("/api/runs/{id}/snapshots/{step}/verify");
    damage(&dir.join("snapshots/step-0000000040/discriminator.safetensors"));

    let whole = site.json(&path("20"));
    assert_eq!([&whole["state"], &whole["why"]], [&"whole".into(), &serde_json::Value::Null], "{whole}");
    assert_eq!([whole["step"].as_u64(), whole["parts"].as_u64()], [Some(20), Some(2)], "{whole}");
    assert!(whole["len_bytes"].as_u64() > Some(32) && whole["took_ms"].is_f64(), "{whole}");
    let damaged = site.json(&path("40"));
    assert_eq!(damaged["state"], "damaged", "{damaged}");
    let why = damaged["why"].as_str().unwrap();
    assert!(why.contains("discriminator.safetensors") && why.contains("BLAKE3"), "{why}");
    assert_eq!(site.json(&path("60"))["state"], "missing");

    assert_eq!(site.get(&path("x")).0, 400);
    assert_eq!(site.get("/api/runs/none/snapshots/20/verify").0, 404);
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n", path("20"));
    let refused = site.raw(&format!("{request}Connection: close\r\n\r\n"));
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert_eq!(site.json(&path("20"))["state"], "whole", "its turn has ended each time");
}
