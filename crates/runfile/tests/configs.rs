//! The shipped configurations: they are accepted as they stand, by the program and by the schema, and their runs are the
//! runs that they were.

use std::path::{Path, PathBuf};

use lsgan_runfile::{load, parse, reference, schema, to_yaml};
use lsgan_spec::{Identity, Objective, ReductionMode, RunSpec};

/// The identities, with `reduction: exact64`, which is how all runs summed that began with version 0.1.0. They are kept in
/// journals and manifests: when one of these changes, every run of before is refused. A new field with a default says
/// `identity_unless`, and a word that gets another meaning `identity_as`.
const IDENTITIES: &[(&str, &str)] = &[
    ("bench/configs/dcgan32-f32.yaml", "e48635e65b150ce130abb1dab1fc5e71a0452e652d7cbbf1d47e2a01bcdc97c8"),
    ("bench/configs/dcgan64-bf16.yaml", "8a465e5b48e9879cc99ce4b1a4d78e61924ed372b58697b457d1fc4c1f7a7331"),
    ("bench/configs/dcgan64-f32.yaml", "c54a84bfa2873e37711046fde53dd5a7236ddaca26396cad5736991563956f82"),
    ("bench/configs/lsgan112-f32.yaml", "ae115575c54f797b2b986efb7274689b0734dbee08ae0dd7ec3a72c630ac1bdd"),
    ("bench/configs/recovery.yaml", "acf9d8e66e0a22d7132365460b9b70a92e862df53536fb38a2f7cb54277400c9"),
    ("bench/configs/sessions.yaml", "ba67a0a81c7436dfd084fd2d9d406df01c1cd28779da5cb1056d2fda2b995d8b"),
    ("bench/configs/snapshot.yaml", "de789833e83f9072944a37563392d313b795c1276cd3e6a2a9dc247f30f28f37"),
    ("configs/gaussian-grid-lsgan.yaml", "66cc9e55da1ac6fe39bd04a5d40a84fce438db1cd34e438464d0c003f8615581"),
    ("configs/gaussian-ring-gan.yaml", "4aba11748528fc99c2666d47a501d962c294901e6ea26cdb13fcb2293f59d4fc"),
    ("configs/gaussian-ring-lsgan.yaml", "0d676cfdfd72ff246ade941d4398ced0e9e7804487bcba110d8f614e67bc09b4"),
    (
        "configs/gaussian-ring-paper-gan.yaml",
        "8c520a7df79219b71fecb17c0b52ee88232cafc7883cc29c3701fdb3d76d40e0",
    ),
    (
        "configs/gaussian-ring-paper-lsgan.yaml",
        "aec2d52fe00433ab2e6cb5c55bdc17105045bcd28841f79e45e0b0c3dcdac124",
    ),
    ("configs/quickstart.yaml", "acf9d8e66e0a22d7132365460b9b70a92e862df53536fb38a2f7cb54277400c9"),
    ("configs/reference.yaml", "e1da4b6c78620db28a63905ec7cc085873bcae481ede11197c2cc64779942f9e"),
    ("deploy/kubernetes/run.yaml", "e1da4b6c78620db28a63905ec7cc085873bcae481ede11197c2cc64779942f9e"),
    ("tests/small.yaml", "99eef3d836235ddbe68a78261d5ea4fd60e82b70536b70421c62ca3800dc8473"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Configurations for users, in the order of their names.
fn shipped() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("configs")).expect("configs is there");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("a folder can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
}

/// What the table makes is what the file in the repository says; LSGAN_UPDATE_EXPECTED=1 writes it.
#[track_caller]
fn assert_made(path: &str, made: &str) {
    if std::env::var_os("LSGAN_UPDATE_EXPECTED").is_some() {
        std::fs::write(root().join(path), made).expect("it can be written");
    }
    let is = read(path);
    let differs = is.lines().zip(made.lines()).find(|(is, made)| is != made);
    assert!(is == made, "{path} is not what the table makes; the first lines that differ: {differs:?}");
}

#[test]
fn the_reference_and_the_schema_are_made_from_the_table() {
    assert_made("configs/reference.yaml", &reference());
    assert_made("configs/run.schema.json", &schema());
}

#[test]
fn every_configuration_is_accepted_as_it_stands() {
    std::env::set_current_dir(root()).expect("the checkout's root is there");
    let files = shipped();
    assert!(files.len() >= 5, "{files:?}");
    for path in files {
        let spec = load(&path, &[]).unwrap_or_else(|errors| panic!("{errors}")).spec;
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        assert_eq!(spec.run, name, "a run is called as its file");
        assert_eq!(spec.checkpoint.to, format!("runs/{name}"));
    }
}

/// A YAML text as JSON, as an editor reads it: `off` is a text since YAML 1.2.
fn json(text: &str) -> serde_json::Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_schema_accepts_every_configuration_and_refuses_what_the_program_refuses() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("the schema is JSON");
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("run.schema.json", schema).expect("it is a schema");
    let index = compiler.compile("run.schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    for path in shipped() {
        let text = read(&path);
        assert!(text.starts_with("# yaml-language-server: $schema=run.schema.json\n"), "{}", path.display());
        schemas.validate(&json(&text), index).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let good = read("configs/quickstart.yaml");
    for (from, to) in [
        ("seed: 1", "seed: -1"),
        ("seed: 1", "sed: 1"),
        ("seed: 1\n", ""),
        ("size: 32", "size: 60"),
        ("fit: pad", "fit: stretch"),
        ("objective: {", "objective: { minimax: {},"),
        ("grid: 8x8", "grid: 8*8"),
        ("run: quickstart", "run: ../quickstart"),
    ] {
        assert!(good.contains(from), "{from}");
        assert!(schemas.validate(&json(&good.replacen(from, to, 1)), index).is_err(), "`{to}` is accepted");
    }
    for (from, to) in [
        ("objective: {", "objective: minimax # {"),
        ("run: q", "cluster: { gather: 1m 30s }\nrun: q"),
        ("evaluate: {", "evaluate: { weights: [ema, raw],"),
    ] {
        let text = good.replacen(from, to, 1);
        schemas.validate(&json(&text), index).unwrap_or_else(|error| panic!("{to}: {error}"));
    }
}

#[test]
fn the_identities_of_the_shipped_configurations_are_what_they_were() {
    let mut others = vec![];
    for (path, was) in IDENTITIES {
        let spec = parse(&read(path), path, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let spec = RunSpec { reduction: ReductionMode::Exact64, ..spec };
        let identity: Identity = was.parse().expect("it is an identity");
        if spec.identity() != identity {
            others.push(format!("(\"{path}\", \"{}\"),", spec.identity()));
        }
        assert_eq!(serde_json::to_string(&identity).expect("it is a text"), format!("\"{was}\""));
    }
    assert!(others.is_empty(), "these are other runs now:\n{}", others.join("\n"));
    assert!("12".parse::<Identity>().is_err());
}

/// Lines that none of the texts of earlier versions has: fields that came later, at their defaults.
const LATER: &[&str] = &[
    "      weights: equal\n",
    "updates: alternating\n",
    "  discriminator_steps: 1\n",
    "journal:\n  replicate: auto\n",
    "evaluate:\n  every: 0\n  metrics: auto\n  samples: 5000\n  weights: ema\n  keep_best: true\n  where: beside\n",
    "  ramp: 0.0\n",
    "regularization:\n  r1:\n    gamma: 0.0\n    every: 16\n",
    "  classes:\n    count: 0\n    embedding: 256\n    discriminator: projection\n",
    "  batch_norm: both\n  spectral_norm: false\n",
    "augment:\n  color: false\n  translation: 0.0\n  cutout: 0.0\n",
    "alerts:\n  enabled: true\n  collapse: 0.1\n  saturated: 0.002\n  score: 2.0\n  stall_s: 60\n  straggler: 2.0\n  flapping: 5\n  \
     corrupt: 0.0005\n  snapshot: 3\n  webhook: auto\n",
    "  schedule:\n    warm_up_steps: 0\n    decay: none\n    decay_steps: 0\n    floor: 0.0\n  clip_norm: 0.0\n",
];

/// Their data sets are not in the repository, so that they are read as a journal's text is, without a look at files.
#[test]
fn the_papers_configurations_are_accepted_where_their_data_are() {
    for name in ["lsun-bedroom-112", "hwdb-64", "lsun-church-256", "sngan-bedroom-64", "stability-bedroom-64"]
    {
        let text = read(format!("configs/paper/{name}.yaml"));
        let spec = parse(&text, name, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(spec.run, name);
        assert!(lsgan_spec::rules::broken(&spec).is_empty(), "{name}");
    }
}

/// What earlier versions wrote into journals and manifests: `stored.txt` has identities, each with its text.
#[test]
fn the_texts_of_earlier_versions_are_read_as_they_were_meant() {
    let stored = include_str!("stored.txt");
    for one in stored.split("=== ").skip(1) {
        let (identity, text) = one.split_once('\n').expect("a text follows its identity");
        let mut spec = parse(text, "stored", &[]).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let without = |yaml: String, later: &&str| yaml.replace(later, "");
        assert_eq!(LATER.iter().fold(to_yaml(&spec), without), text);
        assert_eq!(spec.keep_reduction(identity).is_some(), text.contains("reduction: exact"));
        assert_eq!(spec.identity().to_string(), identity);
    }
    // One from before `data.mix`, `data.image.flip` and half of `cluster` were there.
    let mut spec =
        parse(include_str!("first.yaml"), "first.yaml", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let identity = "d28f73942100852607b32f7118a87895f737b686d8159b12afa44e06eb7da0d2";
    assert!(spec.keep_reduction(identity).is_some());
    assert_eq!(spec.identity().to_string(), identity);
}

/// `exact` stood for `exact64` once.
#[test]
fn a_run_keeps_the_sum_that_it_began_with() {
    let text = read("configs/quickstart.yaml");
    let read = |sets: &[&str]| {
        let sets: Vec<_> = sets.iter().map(|set| set.parse().expect("an override")).collect();
        parse(&text, "quickstart", &sets).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let (now, then) = (read(&[]), read(&["reduction=exact64"]));
    assert_ne!(now.identity(), then.identity());
    let lines: Vec<_> = now.identity_diff(&then).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["reduction: exact here, exact64 there"]);

    let mut resumed = now.clone();
    assert!(
        resumed.keep_reduction(&then.identity().to_string()).is_some_and(|said| said.contains("exact64"))
    );
    assert_eq!(resumed, then);
    // One that began now, one that says what it wants, one that differs elsewhere as well.
    let kept = |spec: &RunSpec, began: &RunSpec| spec.clone().keep_reduction(&began.identity().to_string());
    assert_eq!(kept(&now, &now), None);
    assert_eq!(kept(&then, &then), None);
    assert_eq!(kept(&read(&["reduction=fast"]), &then), None);
    assert_eq!(kept(&read(&["seed=7"]), &then), None);
}

/// The shipped pair and the authors'.
#[test]
fn the_rings_of_a_pair_differ_in_their_objective_only() {
    let read = |path: String| parse(&read(&path), &path, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    for (pair, steps, batch) in [("ring", 10_000, 128), ("ring-paper", 15_000, 512)] {
        let [lsgan, gan] = ["lsgan", "gan"].map(|loss| read(format!("configs/gaussian-{pair}-{loss}.yaml")));
        let diff = lsgan.identity_diff(&gan);
        assert!(
            diff.iter().all(|field| field.path.starts_with("objective.")) && !diff.is_empty(),
            "{diff:?}"
        );
        assert_eq!((lsgan.steps, gan.steps), (steps, steps));
        assert_eq!(lsgan.batch.virtual_ranks * lsgan.batch.per_rank, batch);
        let Objective::LeastSquares { a, b, c } = lsgan.objective else {
            panic!("{pair}: {:?}", lsgan.objective)
        };
        assert_eq!((a, b, c), (0.0, 1.0, 1.0), "{pair}");
    }
}
