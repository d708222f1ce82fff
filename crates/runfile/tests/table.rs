//! Properties over all specs, and the table of fields held against the types.

use lsgan_runfile::{Override, RunFile, load, parse, to_yaml};
use lsgan_spec::table::{self, Kind, Row, Scalar, join};
use lsgan_spec::{FailureTimeout, Fit, Objective, RunSpec, SampleWeights, leaves, testing};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const QUICKSTART: &str = include_str!("../../../configs/quickstart.yaml");

fn quickstart(sets: &[&str]) -> RunSpec {
    let sets: Vec<Override> = sets.iter().map(|set| set.parse().expect("never")).collect();
    parse(QUICKSTART, "quickstart.yaml", &sets).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The rows that hold a value, with their paths.
fn values() -> impl Iterator<Item = (String, &'static Row)> {
    let is_value = |row: &Row| !matches!(row.field.kind, Kind::Section([_, ..]) | Kind::Choice(_));
    table::all().into_iter().filter(move |(_, row)| is_value(row))
}

/// A run of examples whose choices are those of `path`, and there this value. The rules over several fields do not count.
fn with(path: &str, value: Option<Json>) -> RunSpec {
    let mut run =
        Json::Object(table::rows().iter().map(|row| (row.name.to_owned(), row.example_value())).collect());
    let (mut here, mut walked) = (&mut run, String::new());
    for name in path.split('.') {
        let parent = table::find(&walked).map(|row| row.field.kind);
        walked = join(&walked, name);
        if matches!(parent, Some(Kind::Choice(_))) {
            *here = json!({ name: table::find(&walked).expect("it is a row").example_value() });
        }
        here = &mut here[name];
    }
    if let Some(value) = value {
        *here = value;
    }
    serde_json::from_value(run).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn value_at(spec: &RunSpec, path: &str) -> Scalar {
    let leaf = leaves::of(spec).into_iter().find(|leaf| leaf.path == path);
    leaf.unwrap_or_else(|| panic!("{path} is not in its own spec")).value
}

/// Values at the edges of what a row accepts; more than one for each.
fn edges(row: &Row) -> Vec<Json> {
    match row.field.kind {
        Kind::Whole(least, most) => vec![json!(least), json!(most)],
        Kind::OneOf(values) => values.iter().map(|(value, _)| json!(value)).collect(),
        Kind::Side => vec![json!(32), json!(112)],
        Kind::Number(range) => vec![json!(range.least + 1e-9), json!(range.most - 1e-9)],
        Kind::Words(words) => words.iter().map(|word| json!(word.name)).collect(),
        Kind::YesNo => vec![json!(true), json!(false)],
        Kind::Duration { least, most, .. } => {
            [least, most].map(|edge| json!(format!("{}ms", edge.as_millis()))).to_vec()
        }
        Kind::Text(form) => {
            let texts = [
                "elsewhere",
                "cuda:1023",
                "cpu",
                "64x1",
                "1x64",
                "another",
                "kid,fid",
                "2,1",
                "equal",
                "off",
                "raw",
                "ema,raw",
            ];
            texts.into_iter().filter(|text| (form.takes)(text)).map(Json::from).collect()
        }
        Kind::Section(_) | Kind::Choice(_) => vec![json!({})],
    }
}

proptest! {
    #[test]
    fn a_spec_written_and_read_again_is_the_same(spec in testing::run_spec()) {
        let text = to_yaml(&spec);
        let again = parse(&text, "written.yaml", &[]).map_err(|errors| {
            TestCaseError::fail(format!("{errors}\n{text}"))
        })?;
        prop_assert_eq!(&again, &spec);
        prop_assert_eq!(again.identity(), spec.identity());
        prop_assert_eq!(to_yaml(&again), text);
        // As it travels between processes.
        prop_assert_eq!(&RunSpec::from_json(&spec.to_json()).expect("it was written by us"), &spec);
        let file = RunFile { spec, sets_mix: true };
        prop_assert_eq!(&file.to_string().parse::<RunFile>().expect("it was written by us"), &file);
    }

    #[test]
    fn identities_differ_exactly_where_the_diff_says_so(a in testing::run_spec(), b in testing::run_spec()) {
        prop_assert_eq!(a.identity() == b.identity(), a.identity_diff(&b).is_empty());
        prop_assert!(a.identity_diff(&a).is_empty());
    }

    /// Whatever bytes come, the answer is a spec or errors, never a panic, and errors are one line each.
    #[test]
    fn any_text_gets_an_answer(text in "[a-z0-9:{}\\[\\]&*,.'\"!|>#~\n\t -]{0,200}", set in "[a-z.={}: 0-9]{0,40}") {
        let set: Override = set.parse().expect("never");
        if let Err(errors) = parse(&text, "run.yaml", &[set]) {
            prop_assert_eq!(errors.render_plain().lines().count(), errors.errors().len());
        }
    }

    /// Values of the wrong kind anywhere in a good file: always an answer, and at least the place is named.
    #[test]
    fn any_field_set_to_anything_gets_an_answer(
        row in 0..table::all().len(),
        value in "(-?[0-9]{1,20}|~|\\[\\]|\\{\\}|true|[a-z]{1,8}|\\.nan|\\{ [a-z]{1,4}: 1 \\}|[0-9]\\.[0-9]e[0-9]{1,3})",
    ) {
        let set: Override = format!("{}={value}", table::all()[row].0).parse().expect("never");
        if let Err(errors) = parse(QUICKSTART, "run.yaml", &[set]) {
            prop_assert!(errors.errors().iter().any(|e| e.origin.starts_with("--set")
                || e.to_string().contains("data.") || e.to_string().contains("model.")), "{}", errors);
        }
    }
}

#[test]
fn the_type_of_every_row_holds_all_that_the_row_accepts() {
    for (path, row) in values() {
        for edge in edges(row) {
            let spec = with(&path, Some(edge.clone()));
            let value = value_at(&spec, &path);
            let takes = row.field.kind.takes(&value) || value == Scalar::Nothing;
            assert!(takes, "{path} does not accept {edge}, which its type makes {value}");
        }
    }
}

#[test]
fn every_example_and_default_is_accepted() {
    for (path, row) in values() {
        let value = value_at(&with(&path, Some(row.example_value())), &path);
        assert!(row.field.kind.takes(&value) || value == Scalar::Nothing, "{path}: {value}");
    }
}

#[test]
fn every_range_ends_where_it_says() {
    let takes = |path: &str, value: Scalar| table::find(path).expect("it is a row").field.kind.takes(&value);
    for (path, good, bad) in [
        ("steps", [1, 1 << 40], [0, (1 << 40) + 1]),
        ("seed", [0, (1 << 63) - 1], [-1, 1 << 63]),
        ("data.image.channels", [1, 3], [0, 2]),
    ] {
        assert!(good.iter().all(|value| takes(path, Scalar::Whole(*value))), "{path} is narrower");
        assert!(!bad.iter().any(|value| takes(path, Scalar::Whole(*value))), "{path} is wider");
        assert!(!takes(path, Scalar::Real(1.0)) && !takes(path, Scalar::Text("1".to_owned())), "{path}");
    }
    for (path, good, bad) in [
        ("ema.decay", [0.0, 0.999_999], [-0.001, 1.0]),
        ("optimizer.generator.adam.epsilon", [1e-30, 1.0], [0.0, 1.000_000_1]),
        ("data.max_corrupt", [0.0, 1.0], [-0.001, 1.001]),
        ("cluster.straggler_factor", [1.1, 100.0], [1.09, 100.1]),
        ("objective.least_squares.a", [-1e6, 1e6], [-1_000_001.0, 1e300]),
    ] {
        assert!(good.iter().all(|value| takes(path, Scalar::Real(*value))), "{path} is narrower");
        let never = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        assert!(!bad.iter().chain(&never).any(|value| takes(path, Scalar::Real(*value))), "{path} is wider");
    }
    for (path, good, bad) in [
        ("cluster.failure_timeout", ["200ms", "auto"], ["199ms", "3601s"]),
        ("cluster.gather", ["0s", "1h"], ["auto", "3601s"]),
        ("samples.grid", ["1x64", "64x1"], ["0x8", "65x1"]),
        ("compute.device", ["cuda", "cuda:1023"], ["cuda:1024", "cuda:-1"]),
        ("run", ["a", "a-b_c.9"], ["-a", ""]),
        ("precision", ["f32", "bf16"], ["F32", ""]),
        ("checkpoint.to", ["s3://bucket/runs", "runs"], ["", "a\nb"]),
        ("alerts.webhook", ["off", "https://box:8443/hook"], ["on", "ftp://box"]),
    ] {
        assert!(
            good.iter().all(|value| takes(path, Scalar::Text((*value).to_owned()))),
            "{path} is narrower"
        );
        assert!(!bad.iter().any(|value| takes(path, Scalar::Text((*value).to_owned()))), "{path} is wider");
    }
}

#[test]
fn a_field_changes_the_identity_exactly_if_its_row_says_so() {
    for (path, row) in values() {
        let base = with(&path, None);
        let now = value_at(&base, &path);
        if now == Scalar::Nothing {
            // A choice without content: another choice is the change.
            let other = with("objective.least_squares.a", None);
            let diff = base.identity_diff(&other);
            assert!(diff.iter().any(|diff| diff.path == path), "{path}: {diff:?}");
            continue;
        }
        let others = edges(row).into_iter().map(|edge| with(&path, Some(edge)));
        let other = others.into_iter().find(|other| value_at(other, &path) != now);
        let other = other.unwrap_or_else(|| panic!("{path}: no other value is known"));
        let decides = row.part().decides();
        assert_eq!(other.identity() != base.identity(), decides, "{path}");
        let diff: Vec<String> = base.identity_diff(&other).into_iter().map(|diff| diff.path).collect();
        assert_eq!(diff, if decides { vec![path.clone()] } else { Vec::new() });
    }
}

#[test]
fn a_diff_shows_both_sides_and_what_only_one_has() {
    let ours = quickstart(&[]);
    let theirs = quickstart(&["seed=7", "objective={ minimax: {} }", "run=other", "data.mix=4"]);
    let lines: Vec<_> = ours.identity_diff(&theirs).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "data.mix: 1 here, 4 there",
            "objective.least_squares.a: -1.0 here, not there there",
            "objective.least_squares.b: 1.0 here, not there there",
            "objective.least_squares.c: 0.0 here, not there there",
            "objective.minimax: not there here, {} there",
            "seed: 1 here, 7 there",
        ]
    );
}

/// A folder's default differs from the others', and is in the identity as if it had been written.
#[test]
fn the_default_of_mix_is_that_of_the_source_and_stands_in_the_spec() {
    let folder = "data.source={ folder: { path: photos } }";
    let spec = quickstart(&[folder]);
    assert_eq!((quickstart(&[]).data.mix, spec.data.mix), (1, 16));
    assert_eq!(spec.data.source.mix_by_default(), 16);
    assert!(to_yaml(&spec).contains("mix: 16"), "{}", to_yaml(&spec));
    assert_eq!(spec.identity(), quickstart(&[folder, "data.mix=16"]).identity());
    assert_ne!(spec.identity(), quickstart(&[folder, "data.mix=1"]).identity());
    assert_eq!(quickstart(&[folder, "data.mix=3"]).data.mix, 3);
    // What was written down comes back as it was, whatever the defaults are now.
    for mix in ["data.mix=1", "data.mix=16", "data.mix=5"] {
        let then = quickstart(&[folder, mix]);
        let again = parse(&to_yaml(&then), "old", &[]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(again, then);
    }
}

#[test]
fn overrides_are_applied_in_their_order_and_may_make_what_is_not_there() {
    let spec = quickstart(&[
        "data.image.size=128",
        "data.image.size = 64",
        "cluster.failure_timeout=3s",
        "objective=non_saturating",
        "data.image.fit=\"crop\"",
    ]);
    assert_eq!(spec.data.image.as_ref().map(|image| image.size), Some(64));
    let three = std::time::Duration::from_secs(3);
    assert_eq!(spec.cluster.failure_timeout, FailureTimeout::Fixed(three));
    assert_eq!(spec.objective, Objective::NonSaturating {});
    assert_eq!(spec.data.image.map(|image| image.fit), Some(Fit::Crop));
}

#[test]
fn words_with_commas_may_be_a_list() {
    let spec = quickstart(&["evaluate.weights=[ema, raw]", "evaluate.metrics=[fid, kid]"]);
    assert_eq!(spec, quickstart(&["evaluate.weights=ema,raw", "evaluate.metrics=fid,kid"]));
    assert_eq!(spec.evaluate.weights.all(), [SampleWeights::Ema, SampleWeights::Raw]);
    assert_eq!(spec.identity(), quickstart(&[]).identity());
    for one in ["evaluate.weights=raw", "evaluate.weights=[raw]"] {
        assert_eq!(quickstart(&[one]).evaluate.weights.all(), [SampleWeights::Raw]);
    }
    for wrong in ["[]", "[ema, ema]", "[[ema], raw]", "[ema, ~]", "ema,ema", "ema raw"] {
        let set: Override = format!("evaluate.weights={wrong}").parse().expect("never");
        let errors = parse(QUICKSTART, "run.yaml", &[set]).expect_err(wrong);
        assert!(errors.to_string().contains("accepted: ema, raw, or both as a list"), "{errors}");
    }
    let set: Override = "run=[a, b]".parse().expect("never");
    let errors = parse(QUICKSTART, "run.yaml", &[set]).expect_err("a name is no list");
    assert!(errors.to_string().contains("run is a list"), "{errors}");
}

#[test]
fn files_are_looked_for_where_a_file_is_loaded_and_not_in_a_text_from_elsewhere() {
    let text = to_yaml(&quickstart(&["data.source.idx.images=/nowhere/at/all"]));
    assert!(parse(&text, "the coordinator's run", &[]).is_ok());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("run.yaml");
    std::fs::write(&file, text).expect("a file can be written");
    let refused = load(&file, &[]).expect_err("the file is not there").render_plain();
    assert!(
        refused.contains("data.source.idx.images is `/nowhere/at/all`, which does not exist"),
        "{refused}"
    );
}

#[test]
fn a_wrong_word_that_its_fields_name_ends_with_does_not_shorten_the_name() {
    let set: Override = "precision=n".parse().expect("never");
    let errors = parse(QUICKSTART, "run.yaml", &[set]).expect_err("there is no such precision");
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert!(errors.to_string().contains("precision is `n`"), "{errors}");
}
