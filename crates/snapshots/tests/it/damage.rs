//! Every kind of damage has its name, is passed over in favour of the snapshot before, and can be written over.

use std::fs;

use lsgan_snapshots::Error;
use lsgan_spec::Step;

use crate::common::{Fixture, snapshot};

/// A kind of damage: what is done to a file of the newest snapshot, and the error that it gives.
struct Damage {
    name: &'static str,
    file: &'static str,
    spoil: fn(Vec<u8>) -> Option<Vec<u8>>,
    expected: Expected,
}

/// What a damage is called.
enum Expected {
    Unfinished,
    /// By a text that has these words.
    Damaged(&'static [&'static str]),
}

impl Expected {
    fn is(&self, error: &Error) -> bool {
        match (self, error) {
            (Self::Unfinished, Error::Unfinished { .. }) => true,
            (Self::Damaged(words), Error::Damaged { text }) => words.iter().all(|word| text.contains(word)),
            _ => false,
        }
    }
}

const PART: &str = "generator.safetensors";
const MANIFEST: &str = "manifest.json";

const DAMAGES: &[Damage] = &[
    Damage {
        name: "a truncated part",
        file: PART,
        spoil: |bytes| Some(bytes[..bytes.len() - 1].to_vec()),
        expected: Expected::Damaged(&["bytes; its manifest says"]),
    },
    Damage {
        name: "an emptied part",
        file: PART,
        spoil: |_| Some(Vec::new()),
        expected: Expected::Damaged(&["has 0 bytes; its manifest says"]),
    },
    Damage {
        name: "a part that has grown",
        file: PART,
        spoil: |bytes| Some([bytes, vec![0]].concat()),
        expected: Expected::Damaged(&["bytes; its manifest says"]),
    },
    Damage {
        name: "a flipped bit in a part's numbers",
        file: PART,
        spoil: |bytes| Some(flip(bytes, |len| len - 1)),
        expected: Expected::Damaged(&["has the BLAKE3 hash"]),
    },
    Damage {
        name: "a flipped bit in a part's header length",
        file: PART,
        spoil: |bytes| Some(flip(bytes, |_| 7)),
        expected: Expected::Damaged(&["has the BLAKE3 hash"]),
    },
    Damage {
        name: "a missing part",
        file: PART,
        spoil: |_| None,
        expected: Expected::Damaged(&["is missing, though its manifest names it"]),
    },
    Damage { name: "a missing manifest", file: MANIFEST, spoil: |_| None, expected: Expected::Unfinished },
    Damage {
        name: "an emptied manifest",
        file: MANIFEST,
        spoil: |_| Some(Vec::new()),
        expected: Expected::Damaged(&["manifest", "cannot be read"]),
    },
    Damage {
        name: "a manifest cut short",
        file: MANIFEST,
        spoil: |bytes| Some(bytes[..bytes.len() / 2].to_vec()),
        expected: Expected::Damaged(&["manifest", "cannot be read"]),
    },
    Damage {
        name: "a manifest with an unknown key",
        file: MANIFEST,
        spoil: |bytes| Some(replace(bytes, "\"format\": 1,", "\"format\": 1, \"more\": 2,")),
        expected: Expected::Damaged(&["manifest", "cannot be read"]),
    },
    Damage {
        name: "a changed text in the manifest",
        file: MANIFEST,
        spoil: |bytes| Some(replace(bytes, "seed: 1", "seed: 2")),
        expected: Expected::Damaged(&["manifest", "states BLAKE3"]),
    },
    Damage {
        name: "a hostile size in the manifest",
        file: MANIFEST,
        spoil: |bytes| Some(reseal(&bytes, |s| s["parts"][0]["len_bytes"] = u64::MAX.into())),
        expected: Expected::Damaged(&["bytes; its manifest says 18446744073709551615"]),
    },
    Damage {
        name: "a manifest that points out of its folder",
        file: MANIFEST,
        spoil: |bytes| Some(reseal(&bytes, |s| s["parts"][0]["file"] = "../x.safetensors".into())),
        expected: Expected::Damaged(&["manifest", "does not belong here"]),
    },
    Damage {
        name: "a manifest of another step",
        file: MANIFEST,
        spoil: |bytes| Some(reseal(&bytes, |s| s["step"] = 100.into())),
        expected: Expected::Damaged(&["manifest", "does not belong here"]),
    },
    Damage {
        name: "a manifest of enormous size",
        file: MANIFEST,
        spoil: |bytes| Some([bytes, vec![b' '; 5 << 20]].concat()),
        expected: Expected::Damaged(&["manifest", "bytes; at most 4194304 are accepted"]),
    },
];

fn flip(mut bytes: Vec<u8>, at: fn(usize) -> usize) -> Vec<u8> {
    let index = at(bytes.len());
    bytes[index] ^= 1;
    bytes
}

fn replace(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes).expect("a manifest is text");
    assert!(text.contains(from), "{text}");
    text.replace(from, to).into_bytes()
}

/// Changes a manifest and its hash with it, as an attacker would.
fn reseal(bytes: &[u8], change: fn(&mut serde_json::Value)) -> Vec<u8> {
    let mut file: serde_json::Value = serde_json::from_slice(bytes).expect("a manifest is JSON");
    change(&mut file["snapshot"]);
    let manifest: lsgan_snapshots::Manifest =
        serde_json::from_value(file["snapshot"].clone()).expect("the change keeps the types");
    let compact = serde_json::to_vec(&manifest).expect("it can be written");
    file["blake3"] = blake3::hash(&compact).to_hex().to_string().into();
    serde_json::to_vec(&file).expect("it can be written")
}

impl Damage {
    async fn done_to_the_newer_of_two(&self) -> Fixture {
        let fixture = Fixture::with(&[100, 200]).await;
        let path = fixture.step_dir(200).join(self.file);
        let bytes = fs::read(&path).expect("it was written");
        match (self.spoil)(bytes.clone()) {
            Some(spoilt) => {
                assert_ne!(spoilt, bytes, "{} changes nothing", self.name);
                fs::write(&path, spoilt).expect("it can be overwritten");
            }
            None => fs::remove_file(&path).expect("it can be removed"),
        }
        fixture
    }
}

#[tokio::test]
async fn every_kind_of_damage_has_its_own_error_with_the_path() {
    for damage in DAMAGES {
        let fixture = damage.done_to_the_newer_of_two().await;
        let verified = fixture.store.verify(Step(200)).await.expect_err(damage.name);
        let loaded = fixture.store.load(Step(200)).await.expect_err(damage.name);
        for error in [verified, loaded] {
            assert!(damage.expected.is(&error), "{}: {error}", damage.name);
            assert!(error.is_damage(), "{}", damage.name);
            let folder = fixture.step_dir(200).canonicalize().expect("it is there").display().to_string();
            assert!(error.to_string().contains(&folder), "{}: {error}", damage.name);
        }
    }
}

#[tokio::test]
async fn a_damaged_newest_snapshot_is_passed_over_and_named() {
    for damage in DAMAGES {
        let fixture = damage.done_to_the_newer_of_two().await;
        let found = fixture.store.newest_valid().await.expect("the store answers");
        assert_eq!(found.manifest.map(|manifest| manifest.step), Some(Step(100)), "{}", damage.name);
        let [skipped] = &found.skipped[..] else { panic!("{}: {:?}", damage.name, found.skipped) };
        assert_eq!(skipped.step, Step(200));
        assert!(damage.expected.is(&skipped.reason), "{}: {}", damage.name, skipped.reason);
    }
}

#[tokio::test]
async fn a_damaged_snapshot_is_replaced_when_the_run_comes_to_its_step_again() {
    let undamaged = Fixture::with(&[100, 200]).await.files();
    for damage in DAMAGES {
        let fixture = damage.done_to_the_newer_of_two().await;
        fixture.store.write(&snapshot(200, 0)).await.expect(damage.name);
        fixture.store.verify(Step(200)).await.expect(damage.name);
        if damage.file == MANIFEST {
            assert_eq!(fixture.files(), undamaged, "{}", damage.name);
        }
    }
}

/// With `reduction: fast` the run comes to the step with other bits than before.
#[tokio::test]
async fn a_damaged_snapshot_is_replaced_by_another_state_too() {
    for damage in DAMAGES {
        let fixture = damage.done_to_the_newer_of_two().await;
        let manifest = fixture.store.write(&snapshot(200, 1)).await.expect(damage.name);
        assert_eq!(fixture.store.verify(Step(200)).await.expect(damage.name), manifest);
        let files = fs::read_dir(fixture.step_dir(200)).expect("it is there").count();
        assert_eq!(files, 4, "{}: what the manifest does not name is gone", damage.name);
    }
}

/// Newer software wrote it: passed over like damage, but never overwritten or deleted.
#[tokio::test]
async fn a_snapshot_of_another_format_is_refused_and_left_alone() {
    let fixture = Fixture::with(&[100, 200, 300]).await;
    let path = fixture.step_dir(200).join(MANIFEST);
    let newer =
        replace(fs::read(&path).expect("it is there"), "\"format\": 1,", "\"format\": 2, \"more\": [],");
    fs::write(&path, newer).expect("it can be overwritten");
    let before = fixture.files();
    for error in [
        fixture.store.load(Step(200)).await.expect_err("it is newer"),
        fixture.store.write(&snapshot(200, 0)).await.expect_err("it is newer"),
    ] {
        assert!(matches!(error, Error::Format { found: 2, .. }), "{error}");
    }
    assert_eq!(fixture.files(), before);
    assert_eq!(fixture.store.retain(1, &[]).await.expect("the store answers"), [Step(100)]);
}

/// A file with a hole has any length for nothing, and a manifest says what its writer likes.
#[tokio::test]
async fn a_part_of_more_than_16_gib_is_not_read() {
    const LEN_BYTES: u64 = (16 << 30) + 1;
    let fixture = Fixture::with(&[100, 200]).await;
    let dir = fixture.step_dir(200);
    let part = fs::File::options().write(true).open(dir.join(PART)).expect("it is there");
    part.set_len(LEN_BYTES).expect("a hole takes no room");
    let manifest = fs::read(dir.join(MANIFEST)).expect("it is there");
    let resealed = reseal(&manifest, |snapshot| {
        let parts = snapshot["parts"].as_array_mut().expect("it is a list");
        let part = parts.iter_mut().find(|part| part["file"] == PART).expect("it is there");
        part["len_bytes"] = LEN_BYTES.into();
    });
    fs::write(dir.join(MANIFEST), resealed).expect("it can be overwritten");
    let errors = [
        fixture.store.load(Step(200)).await.expect_err("it is too large"),
        fixture.store.verify(Step(200)).await.expect_err("it is too large"),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(error.is_damage() && text.contains("has 17179869185 bytes; a part has at most"), "{text}");
    }
    let found = fixture.store.newest_valid().await.expect("the store answers");
    assert_eq!(found.manifest.map(|manifest| manifest.step), Some(Step(100)));
}

#[tokio::test]
async fn a_step_that_was_never_written_is_no_snapshot() {
    let fixture = Fixture::with(&[100]).await;
    let error = fixture.store.load(Step(150)).await.expect_err("there is none");
    assert!(matches!(error, Error::NoSnapshot { step: Step(150), .. }), "{error}");
}

#[tokio::test]
async fn an_empty_store_has_no_snapshot_and_skips_none() {
    let found = Fixture::new().store.newest_valid().await.expect("the store answers");
    assert!(found.manifest.is_none() && found.skipped.is_empty());
}
