//! What is written is read back bit for bit; equal states give equal bytes; the bytes are safetensors.

use std::sync::Arc;

use lsgan_snapshots::snapshot::{from_bytes, to_bytes};
use lsgan_snapshots::{Error, NamedTensor, Part, Snapshot, Store, TensorData};
use lsgan_spec::Step;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::common::{Fixture, in_file_order, snapshot};

fn shape_and_len() -> impl Strategy<Value = (Vec<usize>, usize)> {
    let shape = prop_oneof![Just(vec![]), Just(vec![0]), Just(vec![3, 0, 2]), vec(1_usize..4, 1..5)];
    shape.prop_map(|shape| (shape.clone(), shape.iter().product()))
}

fn data(len: usize) -> impl Strategy<Value = TensorData> {
    prop_oneof![
        // Any bits: infinities, NaNs with their payload, −0.
        vec(any::<u32>(), len)
            .prop_map(|bits| TensorData::F32(bits.into_iter().map(f32::from_bits).collect())),
        vec(any::<i64>(), len).prop_map(TensorData::I64),
    ]
}

fn tensors() -> impl Strategy<Value = Vec<NamedTensor>> {
    let name = prop_oneof!["[a-z]{1,8}(\\.[0-9]\\.[a-z]{1,8})?", any::<String>(), Just(String::new())];
    let tensor = shape_and_len().prop_flat_map(|(shape, len)| (Just(shape), data(len)));
    btree_map(name.prop_filter("the format's own", |name| name != "__metadata__"), tensor, 0..6).prop_map(
        |named| named.into_iter().map(|(name, (shape, data))| NamedTensor { name, shape, data }).collect(),
    )
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let texts = (any::<u64>(), "[0-9a-f]{64}", any::<String>(), any::<String>(), any::<String>());
    let parts = btree_map("[a-z0-9_]{1,20}", tensors(), 0..5);
    (texts, parts).prop_map(|((step, identity, data_fingerprint, numerics, spec_yaml), parts)| Snapshot {
        step: Step(step),
        identity,
        data_fingerprint,
        numerics,
        spec_yaml,
        parts: parts.into_iter().map(|(name, tensors)| Arc::new(Part { name, tensors })).collect(),
    })
}

fn in_memory() -> Store {
    Store::over(Arc::new(InMemory::new()), Path::from("a/run"), "memory:")
}

proptest! {
    #[test]
    fn any_snapshot_is_read_back_bit_for_bit(snapshot in any_snapshot()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
        let store = in_memory();
        let loaded = runtime.block_on(async {
            let manifest = store.write(&snapshot).await?;
            assert_eq!(store.verify(snapshot.step).await?, manifest);
            store.load(snapshot.step).await
        });
        prop_assert_eq!(loaded.expect("it was written"), in_file_order(snapshot));
    }

    #[test]
    fn equal_tensors_give_equal_bytes_whatever_their_order(
        (ordered, shuffled) in tensors().prop_flat_map(|t| (Just(t.clone()), Just(t).prop_shuffle()))
    ) {
        let bytes = |tensors| to_bytes(&Part { name: "generator".to_owned(), tensors }).expect("it is valid");
        prop_assert_eq!(bytes(ordered), bytes(shuffled));
    }
}

/// A property test found it: they share an offset, by which the format's crate orders them in its hash map's order.
#[test]
fn tensors_without_elements_are_loaded_in_the_order_of_their_names() {
    let names: Vec<String> = (0..20).map(|i| format!("t{i:02}")).collect();
    let tensors = names.iter().map(|name| NamedTensor::f32(name, [0], vec![])).collect();
    let bytes = to_bytes(&Part { name: "generator".to_owned(), tensors }).expect("it is valid");
    let part = from_bytes("generator", &bytes, "generator.safetensors").expect("it is valid");
    assert_eq!(part.tensors.into_iter().map(|tensor| tensor.name).collect::<Vec<_>>(), names);
}

#[test]
fn a_tensor_of_another_number_format_is_refused_by_name() {
    let header = br#"{"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0, 0]].concat();
    let error = from_bytes("generator", &bytes, "g.safetensors").expect_err("it is bf16");
    assert_eq!(
        error.to_string(),
        "tensor `w` of `g.safetensors` is BF16; F32 and I64 are accepted. Use another snapshot."
    );
    let error = from_bytes("generator", &bytes[..9], "g.safetensors").expect_err("it is cut short");
    assert!(error.to_string().starts_with("`g.safetensors` is not a safetensors file"), "{error}");
}

#[tokio::test]
async fn equal_states_give_equal_bytes_of_every_file() {
    let (one, other) = (Fixture::with(&[100]).await, Fixture::with(&[100]).await);
    assert_eq!(one.files(), other.files());
    let names: Vec<String> = one.files().keys().map(|path| path.display().to_string()).collect();
    assert_eq!(
        names,
        [
            "snapshots/step-0000000100/discriminator.safetensors",
            "snapshots/step-0000000100/generator.safetensors",
            "snapshots/step-0000000100/generator_adam.safetensors",
            "snapshots/step-0000000100/manifest.json",
        ]
    );
}

/// The two lines of Python read this: 8 bytes of length, a JSON header, the numbers.
#[test]
fn a_part_is_a_safetensors_file_by_the_letter_of_the_format() {
    let weight = NamedTensor::f32("main.0.weight", [2, 1], vec![1.5, -2.0]);
    let part =
        Part { name: "generator".to_owned(), tensors: vec![weight, NamedTensor::i64("n", [], vec![7])] };
    let bytes = to_bytes(&part).expect("it is valid");
    let (length, rest) = bytes.split_first_chunk::<8>().expect("it is longer");
    let length = usize::try_from(u64::from_le_bytes(*length)).expect("it is small");
    assert_eq!(length % 8, 0, "the numbers begin at a multiple of 8 bytes");
    let (header, numbers) = rest.split_at(length);
    let header: serde_json::Value = serde_json::from_slice(header).expect("it is JSON");
    let expected = serde_json::json!({
        "n": { "dtype": "I64", "shape": [], "data_offsets": [0, 8] },
        "main.0.weight": { "dtype": "F32", "shape": [2, 1], "data_offsets": [8, 16] },
    });
    assert_eq!(header, expected, "and no __metadata__");
    let expected = [&7_i64.to_le_bytes()[..], &1.5_f32.to_le_bytes(), &(-2.0_f32).to_le_bytes()].concat();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn the_manifest_says_size_and_blake3_of_every_part() {
    let fixture = Fixture::new();
    let manifest = fixture.store.write(&snapshot(100, 0)).await.expect("it can be written");
    assert_eq!(manifest.parts.len(), 3);
    for part in &manifest.parts {
        let bytes = std::fs::read(fixture.step_dir(100).join(&part.file)).expect("it is there");
        assert_eq!(part.len_bytes, bytes.len() as u64);
        assert_eq!(part.blake3, blake3::hash(&bytes).to_hex().as_str());
    }
}

#[tokio::test]
async fn writing_the_same_snapshot_again_changes_nothing() {
    let fixture = Fixture::with(&[100]).await;
    let before = fixture.files();
    // What is not part of the identity may differ: the run was made longer.
    let again = Snapshot { spec_yaml: "run: quickstart\nsteps: 2000\n".to_owned(), ..snapshot(100, 0) };
    let manifest = fixture.store.write(&again).await.expect("it is there already");
    assert_eq!(manifest.spec_yaml, snapshot(100, 0).spec_yaml);
    assert_eq!(fixture.files(), before);
}

#[tokio::test]
async fn another_state_of_the_same_step_is_refused_and_both_are_shown() {
    let fixture = Fixture::with(&[100]).await;
    let before = fixture.files();
    let error = fixture.store.write(&snapshot(100, 1)).await.expect_err("it differs");
    let Error::OtherSnapshot { what, theirs, ours, .. } = &error else { panic!("{error}") };
    assert_eq!(what, "part generator");
    assert_ne!(theirs, ours);
    let other_run = Snapshot { identity: "other".to_owned(), ..snapshot(100, 0) };
    let error = fixture.store.write(&other_run).await.expect_err("it differs");
    assert!(matches!(&error, Error::OtherSnapshot { what, .. } if what == "identity"), "{error}");
    assert_eq!(fixture.files(), before);
}

#[tokio::test]
async fn one_part_is_loaded_alone_and_a_missing_one_is_named() {
    let fixture = Fixture::new();
    let manifest = fixture.store.write(&snapshot(100, 0)).await.expect("it can be written");
    let part = fixture.store.load_part(&manifest, "discriminator").await.expect("it is there");
    assert_eq!(&part, &**in_file_order(snapshot(100, 0)).part("discriminator").expect("it is there"));
    assert!(part.tensor("main.0.weight").is_some());
    let error = fixture.store.load_part(&manifest, "generator_ema").await.expect_err("there is none");
    assert!(
        error
            .to_string()
            .ends_with("has no part `generator_ema`; it has generator, discriminator, generator_adam."),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_run_hands_over_has_the_hash_of_its_last_snapshots_part() {
    let fixture = Fixture::new();
    let state = snapshot(100, 0);
    let manifest = fixture.store.write(&state).await.expect("it can be written");
    let parts = &state.parts[..2];
    // A shorter run had left other files there.
    fixture.store.write_final(&snapshot(50, 0).parts[..2]).await.expect("it can be written");
    let written = fixture.store.write_final(parts).await.expect("it can be written");
    for (file, part) in written.iter().zip(&manifest.parts) {
        assert_eq!((&file.name, &file.blake3, file.len_bytes), (&part.name, &part.blake3, part.len_bytes));
        let bytes = std::fs::read(&file.path).expect("the path is that of the file");
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), file.blake3);
        assert!(file.path.ends_with(&format!("final/{}.safetensors", part.name)), "{}", file.path);
    }
}

#[tokio::test]
async fn names_and_shapes_that_cannot_be_written_are_refused_before_anything_is() {
    let fixture = Fixture::new();
    let with = |name: &str, tensors| {
        let part = Arc::new(Part { name: name.to_owned(), tensors });
        Snapshot { parts: vec![part], ..snapshot(100, 0) }
    };
    let tensor = |name: &str| NamedTensor::f32(name, [2], vec![0.0; 2]);
    let write = |snapshot| {
        let store = fixture.store.clone();
        async move { store.write(&snapshot).await.expect_err("it cannot be written").to_string() }
    };
    let part = |text: String| text.starts_with("part `") && text.contains("Part names are 1 to 100 of");
    let tensor_name = |text: String| text.starts_with("tensor `") && text.contains("a name of its own");
    assert!(part(write(with("../generator", vec![])).await));
    assert!(part(write(with("", vec![])).await));
    assert!(tensor_name(write(with("g", vec![tensor("a"), tensor("a")])).await));
    assert!(tensor_name(write(with("g", vec![tensor("__metadata__")])).await));
    let wrong = NamedTensor::f32("a", [3], vec![0.0; 2]);
    assert_eq!(
        write(with("g", vec![wrong])).await,
        "tensor `a` of part `g` has the shape [3] but 2 elements. \
         The product of the shape must be the number of elements."
    );
    let endless = NamedTensor::f32("a", [usize::MAX, 2], vec![0.0; 2]);
    assert!(write(with("g", vec![endless])).await.contains("but 2 elements"));
    let mut twice = snapshot(100, 0);
    twice.parts.push(twice.parts[0].clone());
    assert!(part(write(twice).await));
    let long = Snapshot { spec_yaml: "#".repeat(5 << 20), ..snapshot(100, 0) };
    assert!(write(long).await.contains("Shorten the run's file"));
    assert!(fixture.files().is_empty(), "{:?}", fixture.files().keys());
}
