//! A run's file and its overrides with anything in them: a spec that is written and read back the same, or errors that can
//! be printed.

use std::path::Path;

use lsgan_fuzz::Fuzz;
use lsgan_runfile::{Override, SpecErrors, parse, to_yaml};
use lsgan_spec::{RunSpec, is_printable};

fn examples() -> Vec<Vec<u8>> {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let files =
        std::fs::read_dir(configs).expect("there are configurations").flatten().map(|entry| entry.path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    let texts = files.iter().map(|path| std::fs::read(path).expect("it can be read"));
    let texts: Vec<_> = texts.filter(|text| text.len() < 16 << 10).collect();
    assert!(texts.len() > 2, "{files:?}");
    texts
}

/// What came of it.
fn outcome(parsed: Result<RunSpec, SpecErrors>) -> String {
    match parsed {
        Ok(spec) => {
            let again = parse(&to_yaml(&spec), "again.yaml", &[]).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(again, spec);
            "ok".to_owned()
        }
        Err(errors) => {
            let (plain, fancy) = (errors.render_plain(), errors.render_fancy());
            assert_eq!(plain.lines().count(), errors.errors().len(), "one line each: {plain:?}");
            assert!(plain.chars().all(|c| c == '\n' || is_printable(c)), "{plain:?}");
            assert!(!fancy.is_empty());
            plain
        }
    }
}

#[test]
fn fuzz_yaml() {
    Fuzz::new("yaml", examples()).run(|bytes| match std::str::from_utf8(bytes) {
        Ok(text) => outcome(parse(text, "run.yaml", &[])),
        Err(_) => "not UTF-8".to_owned(),
    });
}

#[test]
fn fuzz_set() {
    let good = String::from_utf8(examples().remove(0)).expect("it is text");
    let examples = [
        "steps=500",
        "data.source={ webdataset: { shards: 's3://bucket/train-{000..099}.tar' } }",
        "data.image={ size: 32, channels: 3, fit: crop }",
        "model.dcgan.channels=64",
        "cluster.failure_timeout=1.5s",
        "checkpoint.to=runs/a b",
        "seed=18446744073709551615",
        "a.b.c=[1, 2.5e-3, .nan, ~, 'x']",
    ];
    Fuzz::new("set", examples.map(|text| text.as_bytes().to_vec())).run(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
        let set: Override = text.parse().expect("any text is one");
        outcome(parse(&good, "run.yaml", &[set]))
    });
}
