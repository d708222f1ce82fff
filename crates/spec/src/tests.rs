//! Properties over all specs, and the tables held against the types.

use std::collections::{BTreeMap, BTreeSet};

use garde::Validate;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::fields::{self, FIELDS, Part};
use crate::leaves::{self, LeafValue};
use crate::{Override, RunSpec, testing};

const QUICKSTART: &str = include_str!("../../../configs/quickstart.yaml");

fn quickstart(sets: &[String]) -> RunSpec {
    let sets: Vec<Override> = sets.iter().map(|set| set.parse().expect("never")).collect();
    RunSpec::parse(QUICKSTART, "quickstart.yaml", &sets).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A run's text in which `path` can be set: its choices are the ones that the path goes through.
fn spec_with(path: &str) -> RunSpec {
    let points =
        "data: { source: { gaussian: { modes: { ring: { count: 8, radius: 1.0 } }, sigma: 0.01 } } }";
    let mut sets = Vec::new();
    if path.contains("gaussian") || path.contains("mlp") {
        sets.push(points.replacen("data: ", "data=", 1));
        sets.push("model.generator={ mlp: { latent: { normal: 2 }, width: 4, depth: 1 } }".to_owned());
        sets.push("model.discriminator={ mlp: { width: 4, depth: 1 } }".to_owned());
    }
    if path.ends_with("labels") {
        sets.push(format!("{path}={}", fields::example(path)));
    }
    if let Some(modes) = ["grid", "line"].into_iter().find(|word| path.contains(&format!(".modes.{word}"))) {
        let example = fields::example(&format!("data.source.gaussian.modes.{modes}"));
        sets.push(format!("data.source.gaussian.modes={{ {modes}: {example} }}"));
    }
    if let Some(source) = ["folder", "lsun", "webdataset"].into_iter().find(|word| path.contains(word)) {
        let example = fields::example(&format!("data.source.{source}"));
        sets.push(format!("data.source={{ {source}: {example} }}"));
    }
    if path.contains("lsgan112") {
        sets.push("data.image.size=112".to_owned());
        sets.push("model.generator={ lsgan112: { latent: { normal: 2 } } }".to_owned());
        sets.push("model.discriminator={ lsgan112: {} }".to_owned());
    }
    if let Some((generator, _)) = path.split_once(".latent.uniform") {
        sets.push(format!("{generator}.latent={{ uniform: 2 }}"));
    }
    if let Some(objective) = path.strip_prefix("objective.").filter(|rest| !rest.contains('.')) {
        sets.push(format!("objective={objective}"));
    }
    quickstart(&sets)
}

/// The bounds in a row's text: `1 to 1,024`, `0 to 2^63 - 1`.
fn whole_bounds(accepts: &str) -> Option<(i128, i128)> {
    let (least, most) = accepts.strip_prefix("a whole number, ")?.split_once(" to ")?;
    let most = match most.strip_prefix("2^") {
        Some("63 - 1") => (1 << 63) - 1,
        Some(power) => 1 << power.parse::<u32>().ok()?,
        None => most.replace(',', "").parse().ok()?,
    };
    Some((least.parse().ok()?, most))
}

fn accepts(base: &RunSpec, path: &str, value: &str) -> bool {
    // The checks of several fields are not the subject: a wider batch and a narrower wish for workers.
    let mut sets = vec![format!("{path}={value}")];
    match path {
        "cluster.min_workers" => {
            sets.extend(["batch.virtual_ranks=4096".into(), "cluster.max_workers=4096".into()])
        }
        "batch.per_rank" if base.data.image.is_some() => return per_rank_of_points(value),
        _ => {}
    }
    let sets: Vec<Override> = sets.iter().map(|set| set.parse().expect("never")).collect();
    RunSpec::parse(&base.to_yaml(), "run.yaml", &sets).is_ok()
}

/// Batch norm, which pictures have, wants two samples; the field's own range begins at one.
fn per_rank_of_points(value: &str) -> bool {
    accepts(&spec_with("mlp"), "batch.per_rank", value)
}

proptest! {
    #[test]
    fn a_spec_written_as_yaml_and_read_again_is_the_same(spec in testing::run_spec()) {
        let text = spec.to_yaml();
        let again = RunSpec::parse(&text, "written.yaml", &[]).map_err(|errors| {
            TestCaseError::fail(format!("{errors}\n{text}"))
        })?;
        prop_assert_eq!(&again, &spec);
        prop_assert_eq!(again.identity(), spec.identity());
        prop_assert_eq!(again.to_yaml(), text);
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
        if let Err(errors) = RunSpec::parse(&text, "run.yaml", &[set]) {
            prop_assert_eq!(errors.render_plain().lines().count(), errors.errors().len());
        }
    }

    /// Values of the wrong kind anywhere in a good file: always an answer, and at least the place is named.
    #[test]
    fn any_field_set_to_anything_gets_an_answer(
        row in 0..FIELDS.len(),
        up in 0..4usize,
        value in "(-?[0-9]{1,20}|~|\\[\\]|\\{\\}|true|[a-z]{1,8}|\\.nan|\\{ [a-z]{1,4}: 1 \\}|[0-9]\\.[0-9]e[0-9]{1,3})",
    ) {
        let mut path = FIELDS[row].path;
        for _ in 0..up {
            path = path.rsplit_once('.').map_or(path, |(parent, _)| parent);
        }
        let set: Override = format!("{path}={value}").parse().expect("never");
        if let Err(errors) = RunSpec::parse(QUICKSTART, "run.yaml", &[set]) {
            prop_assert!(errors.errors().iter().any(|e| e.origin.starts_with("--set")
                || e.to_string().contains("data.") || e.to_string().contains("model.")), "{}", errors);
        }
    }
}

#[test]
fn every_field_of_the_types_has_a_row_and_every_row_is_a_field() {
    let mut runner = TestRunner::deterministic();
    let mut have = BTreeSet::new();
    for _ in 0..200 {
        let spec = testing::run_spec().new_tree(&mut runner).expect("a spec can be made").current();
        have.extend(leaves::of(&spec).into_iter().map(|leaf| leaf.path));
    }
    let rows: BTreeSet<String> = FIELDS.iter().map(|field| field.path.to_owned()).collect();
    assert_eq!(rows.len(), FIELDS.len(), "a row stands twice");
    assert_eq!(have, rows);
}

#[test]
fn every_choice_of_the_table_offers_what_its_type_accepts() {
    let refused = |path: &str| {
        let set: Override = format!("{path}={{ zzzzzzzzzzzz: 1 }}").parse().expect("never");
        let base = spec_with(path).to_yaml();
        RunSpec::parse(&base, "run.yaml", &[set]).expect_err("no choice is called that").render_plain()
    };
    for path in fields::CHOICES {
        let message = refused(path);
        assert!(
            message.contains(&format!("accepted: {}", fields::listed(&fields::children(path), "or"))),
            "{message}"
        );
    }
}

#[test]
fn every_example_is_accepted() {
    for field in FIELDS {
        let base = spec_with(field.path);
        assert!(
            accepts(&base, field.path, field.example),
            "{} does not accept {}",
            field.path,
            field.example
        );
    }
}

#[test]
fn every_range_in_the_table_is_the_one_that_is_enforced() {
    let mut checked = 0;
    for field in FIELDS {
        let base = spec_with(field.path);
        let takes = |value: String| accepts(&base, field.path, &value);
        if let Some((least, most)) = whole_bounds(field.accepts) {
            // What another field allows is another check's.
            let most_free = if field.path == "batch.virtual_ranks" { 4096 } else { most };
            assert!(takes(least.to_string()) && takes(most_free.to_string()), "{} is narrower", field.path);
            assert!(
                !takes((least - 1).to_string()) && !takes((most + 1).to_string()),
                "{} is wider",
                field.path
            );
            assert!(
                !takes(format!("{least}.5")) && !takes("text".to_owned()),
                "{} takes no whole number",
                field.path
            );
            checked += 1;
        }
        let open = match field.accepts {
            "a number above 0, at most 1" => Some((["1e-30", "1"], ["0", "-1", "1.0000001"])),
            "a number above 0, at most 10" => Some((["1e-30", "10"], ["0", "-1", "10.000001"])),
            "a number above 0, at most 100" => Some((["1e-30", "100"], ["0", "-1", "100.00001"])),
            "a number, at least 0 and below 1" => Some((["0", "0.999999"], ["-0.001", "1", "2"])),
            "a number, 0 to 1" => Some((["0", "1"], ["-0.001", "1.001", "2"])),
            "a number, 1.1 to 100" => Some((["1.1", "100"], ["1.09", "100.1", "-2"])),
            "a number, -10^6 to 10^6" => Some((["-1000000", "1000000"], ["-1000001", "1000001", "1e300"])),
            _ => None,
        };
        if let Some((good, bad)) = open {
            assert!(good.iter().all(|value| takes((*value).to_owned())), "{} is narrower", field.path);
            assert!(!bad.iter().any(|value| takes((*value).to_owned())), "{} is wider", field.path);
            for value in [".nan", ".inf", "-.inf"] {
                assert!(!takes(value.to_owned()), "{} takes {value}", field.path);
            }
            checked += 1;
        }
    }
    for (path, good, bad) in [
        ("cluster.failure_timeout", ["200ms", "1h"], ["199ms", "3601s"]),
        ("cluster.gather", ["0s", "1h"], ["-1s", "3601s"]),
        ("samples.grid", ["1x64", "64x1"], ["0x8", "65x1"]),
        ("data.image.channels", ["1", "3"], ["2", "0"]),
        ("compute.device", ["cuda", "cuda:1023"], ["cuda:1024", "cuda:-1"]),
        ("compute.deterministic", ["true", "false"], ["yes", "1"]),
        ("run", ["a", "a-b_c.9"], ["-a", "''"]),
    ] {
        let base = quickstart(&[]);
        assert!(good.iter().all(|value| accepts(&base, path, value)), "{path} is narrower");
        assert!(!bad.iter().any(|value| accepts(&base, path, value)), "{path} is wider");
        checked += 1;
    }
    let (base, field) = (quickstart(&[]), "cluster.failure_timeout");
    assert!(
        accepts(&base, field, "auto") && !accepts(&base, field, "always") && !accepts(&base, field, "1.5")
    );
    // Words, sizes, paths and empty choices are the rest; they have tests of their own.
    assert_eq!(FIELDS.len() - checked, 18, "a field has a range that no test knows");
}

#[test]
fn garde_finds_the_same_fields_as_the_table_names() {
    let mut spec = spec_with("mlp");
    spec.seed = u64::MAX;
    spec.data.shard_records = 0;
    let report = spec.validate().expect_err("two fields are out of range");
    let all = leaves::of(&spec);
    let named: Vec<_> = report
        .iter()
        .map(|(path, _)| {
            leaves::named_by_garde(&all, &path.to_string()).expect("it is a field").path.as_str()
        })
        .collect();
    assert_eq!(named, ["data.shard_records", "seed"]);
}

/// Another value than `value` that the field accepts.
fn another(path: &str, value: &LeafValue) -> String {
    match (path, value) {
        ("data.image.size", _) => "64".to_owned(),
        ("data.image.channels", _) => "3".to_owned(),
        ("data.image.fit", _) => "crop".to_owned(),
        ("data.image.flip", _) => "random".to_owned(),
        ("precision", _) => "bf16".to_owned(),
        ("reduction", _) => "fast".to_owned(),
        ("compute.device", _) => "cpu".to_owned(),
        ("cluster.numerics", _) => "any".to_owned(),
        ("cluster.straggler_factor", _) => "3.5".to_owned(),
        ("cluster.stragglers", _) => "evict".to_owned(),
        ("compute.cpu_isa", _) => "avx2".to_owned(),
        ("compute.cuda_graphs", _) => "auto".to_owned(),
        ("samples.weights", _) => "raw".to_owned(),
        ("samples.grid", _) => "2x3".to_owned(),
        (_, LeafValue::Whole(value)) => (value + 1).to_string(),
        (_, LeafValue::Real(value)) => format!("{:?}", value / 2.0 + 0.125),
        (path, _) if path.starts_with("cluster.") => "777ms".to_owned(),
        (_, LeafValue::Text(text)) => format!("{text}2"),
        (_, LeafValue::Bool(value)) => (!value).to_string(),
        (_, LeafValue::Nothing) => "{}".to_owned(),
    }
}

#[test]
fn a_field_changes_the_identity_exactly_if_its_row_says_so() {
    for field in FIELDS {
        let mut base = spec_with(field.path);
        // So that one more worker is allowed.
        base.cluster.min_workers = 1;
        if field.path == "data.image.size" || field.path == "data.image.fit" {
            base = quickstart(&[]);
        }
        let all: BTreeMap<_, _> = leaves::of(&base).into_iter().map(|leaf| (leaf.path, leaf.value)).collect();
        let Some(value) = all.get(field.path) else {
            panic!("{} is not in its own spec", field.path);
        };
        if *value == LeafValue::Nothing {
            // A choice without content: another choice is the change.
            assert_ne!(base.identity(), quickstart(&[]).identity(), "{}", field.path);
            continue;
        }
        let mut set = format!("{}={}", field.path, another(field.path, value));
        if field.path == "data.image.size" && field.part == Part::Value && base.data.image.is_none() {
            set = "data.image.size=64".to_owned();
        }
        let sets = [set.parse::<Override>().expect("never")];
        let other =
            RunSpec::parse(&base.to_yaml(), "run.yaml", &sets).unwrap_or_else(|errors| panic!("{errors}"));
        assert_ne!(other, base, "{} did not change", field.path);
        let decides = field.part.decides();
        assert_eq!(other.identity() != base.identity(), decides, "{}", field.path);
        let diff: Vec<String> = base.identity_diff(&other).into_iter().map(|diff| diff.path).collect();
        assert_eq!(diff, if decides { vec![field.path.to_owned()] } else { Vec::new() });
    }
}

#[test]
fn a_diff_shows_both_sides_and_what_only_one_has() {
    let ours = quickstart(&[]);
    let theirs = quickstart(&["seed=7".into(), "objective={ minimax: {} }".into(), "run=other".into()]);
    let lines: Vec<_> = ours.identity_diff(&theirs).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "objective.least_squares.a: -1.0 here, not there there",
            "objective.least_squares.b: 1.0 here, not there there",
            "objective.least_squares.c: 0.0 here, not there there",
            "objective.minimax: not there here, {} there",
            "seed: 1 here, 7 there",
        ]
    );
}

/// The identity is kept in journals and manifests: when this fails, every old run is refused. A new field with a
/// default needs a new canonical form.
#[test]
fn the_identity_of_the_quickstart_is_what_it_was() {
    let identity = quickstart(&["data.source.idx.images=elsewhere.gz".into(), "steps=5".into()]).identity();
    assert_eq!(identity, quickstart(&[]).identity());
    let text = identity.to_string();
    assert_eq!(text.parse(), Ok(identity));
    assert_eq!(serde_json::to_string(&identity).expect("it is a text"), format!("\"{text}\""));
    assert!("12".parse::<crate::Identity>().is_err());
    // The golden values of the quickstart's mathematics, written out so that a change of the file is not one.
    let fixed = include_str!("../tests/identity.yaml");
    let spec = RunSpec::parse(fixed, "identity.yaml", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(spec.identity().to_string(), include_str!("../tests/identity.expected").trim());
}

/// A folder's default differs from the others', and is in the identity as if it had been written.
#[test]
fn the_default_of_mix_is_that_of_the_source_and_stands_in_the_spec() {
    let folder = "data.source={ folder: { path: photos } }".to_owned();
    let spec = quickstart(std::slice::from_ref(&folder));
    assert_eq!((quickstart(&[]).data.mix, spec.data.mix), (1, 16));
    assert!(spec.to_yaml().contains("mix: 16"), "{}", spec.to_yaml());
    assert_eq!(spec.identity(), quickstart(&[folder.clone(), "data.mix=16".into()]).identity());
    assert_ne!(spec.identity(), quickstart(&[folder.clone(), "data.mix=1".into()]).identity());
    assert_eq!(quickstart(&[folder, "data.mix=3".into()]).data.mix, 3);
    // What was written down comes back as it was, whatever the defaults are now.
    for mix in [1, 16, 5] {
        let then =
            quickstart(&["data.source={ folder: { path: photos } }".into(), format!("data.mix={mix}")]);
        let again = RunSpec::parse(&then.to_yaml(), "old", &[]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(again, then);
    }
}

#[test]
fn overrides_are_applied_in_their_order_and_may_make_what_is_not_there() {
    let spec = quickstart(&[
        "data.image.size=128".into(),
        "data.image.size = 64".into(),
        "cluster.failure_timeout=3s".into(),
        "objective=non_saturating".into(),
        "data.image.fit=\"crop\"".into(),
    ]);
    assert_eq!(spec.data.image.as_ref().map(|image| image.size), Some(64));
    let three = std::time::Duration::from_secs(3);
    assert_eq!(spec.cluster.failure_timeout, crate::FailureTimeout::Fixed(three));
    assert_eq!(spec.objective, crate::Objective::NonSaturating {});
    assert_eq!(spec.data.image.map(|image| image.fit), Some(crate::Fit::Crop));
}

#[test]
fn a_text_from_the_wire_is_not_held_against_this_hosts_files() {
    let text = quickstart(&["data.source.idx.images=/nowhere/at/all".into()]).to_yaml();
    let spec =
        RunSpec::parse(&text, "the coordinator's run", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let refused =
        spec.check_paths("the coordinator's run").expect_err("the file is not there").render_plain();
    assert!(
        refused.starts_with("the coordinator's run: data.source.idx.images is `/nowhere/at/all`, which"),
        "{refused}"
    );
}

#[test]
fn a_wrong_word_that_its_fields_name_ends_with_does_not_shorten_the_name() {
    let set: Override = "precision=n".parse().expect("never");
    let errors = RunSpec::parse(QUICKSTART, "run.yaml", &[set]).expect_err("there is no such precision");
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert!(errors.to_string().contains("precision is `n`"), "{errors}");
}
