//! Strategies for property tests, made from the table.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use proptest::{option, string::string_regex};
use serde_json::{Map, Number, Value as Json};

use crate::model::{SIDES, sides};
use crate::table::{self, Form, Kind, Presence, Range, Row, Scalar, join};
use crate::{AugmentSpec, BatchNorm, Device, RunSpec, Source, Updates, Webhook, rules};

/// Any spec that passes all checks, except that the files it names need not exist. Edges are favoured.
pub fn run_spec() -> BoxedStrategy<RunSpec> {
    Union::new(SIDES.iter().map(|(model, _)| section("", table::rows(), model)))
        .prop_map(|json| serde_json::from_value::<RunSpec>(json).expect("the table and the types are one"))
        .prop_map(|mut spec| {
            let steps = spec.optimizer.discriminator_steps;
            if spec.model.spectral_norm || spec.compute.device != Device::Cpu || steps > 1 {
                spec.updates = Updates::Alternating;
            }
            if spec.data.source.gives_pictures() {
                spec.batch.per_rank = spec.batch.per_rank.max(2);
            } else {
                spec.model.batch_norm = BatchNorm::Both;
                spec.augment = AugmentSpec::default();
            }
            let metrics = spec.evaluate.named_metrics().unwrap_or_default();
            if metrics.iter().any(|metric| metric.is_of_points() == spec.data.source.gives_pictures()) {
                spec.evaluate.metrics = "auto".to_owned();
            }
            if let Source::Gaussian(mixture) = &mut spec.data.source
                && mixture.mode_weights().len() != mixture.modes.centres().len()
            {
                mixture.weights = "equal".to_owned();
            }
            spec.cluster.min_workers = spec.cluster.min_workers.min(spec.batch.virtual_ranks);
            spec.cluster.max_workers = spec.cluster.max_workers.max(spec.cluster.min_workers);
            // What is not written of it does not come back.
            spec.alerts.webhook = Webhook::from(spec.alerts.webhook.to_string());
            spec
        })
        .prop_filter("fields go together", |spec| rules::broken(spec).is_empty())
        .boxed()
}

/// Any value of a field of a run with this kind of model.
fn value(path: &str, row: &'static Row, model: &'static str) -> BoxedStrategy<Json> {
    match row.field.kind {
        Kind::Whole(least, most) => whole(least, most).prop_map(Json::from).boxed(),
        Kind::OneOf(values) => select(values).prop_map(|(value, _)| Json::from(value)).boxed(),
        Kind::Side => select(sides(model)).prop_map(Json::from).boxed(),
        Kind::Number(range) => number(range),
        Kind::Words(words) => select(words).prop_map(|word| Json::from(word.name)).boxed(),
        Kind::YesNo => any::<bool>().prop_map(Json::from).boxed(),
        Kind::Duration { auto, least, most } => {
            let nanos = |duration: std::time::Duration| duration.as_nanos() as u64;
            let duration = whole(nanos(least), nanos(most)).prop_map(std::time::Duration::from_nanos);
            let text = duration.prop_map(|value| Json::from(humantime::format_duration(value).to_string()));
            if auto { prop_oneof![Just(Json::from("auto")), text].boxed() } else { text.boxed() }
        }
        Kind::Text(form) => text(form),
        Kind::Section(rows) => section(path, rows, model),
        Kind::Choice(rows) => choice(path, rows, model),
    }
}

fn section(path: &str, rows: &'static [Row], model: &'static str) -> BoxedStrategy<Json> {
    let fields = rows.iter().filter(|row| row.name != "image" || !sides(model).is_empty());
    let fields: Vec<_> = fields
        .map(|row| {
            let value = value(&join(path, row.name), row, model);
            let optional = row.field.presence == Presence::Optional && row.name != "image";
            let value = if optional { option::of(value).boxed() } else { value.prop_map(Some).boxed() };
            value.prop_map(|value| (row.name.to_owned(), value))
        })
        .collect();
    fields
        .prop_map(|fields| {
            let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
            Json::Object(given.collect::<Map<_, _>>())
        })
        .boxed()
}

fn choice(path: &str, rows: &'static [Row], model: &'static str) -> BoxedStrategy<Json> {
    let of_the_model =
        |row: &&Row| !path.starts_with("model.") || path.matches('.').count() > 1 || row.name == model;
    let variants = rows.iter().filter(of_the_model).map(|row| {
        let content = value(&join(path, row.name), row, model);
        content.prop_map(|content| Json::Object(Map::from_iter([(row.name.to_owned(), content)]))).boxed()
    });
    let any = Union::new(variants);
    if path != "data.source" {
        return any.boxed();
    }
    any.prop_filter("the model fits the source", move |source| {
        let source: Source = serde_json::from_value(source.clone()).expect("the table and the type are one");
        source.gives_pictures() != sides(model).is_empty()
    })
    .boxed()
}

/// A whole number of the range, its ends more often than the rest.
fn whole(least: u64, most: u64) -> BoxedStrategy<u64> {
    prop_oneof![1 => Just(least), 1 => Just(most), 4 => least..=most].boxed()
}

fn number(range: Range) -> BoxedStrategy<Json> {
    let Range { least, most, .. } = range;
    prop_oneof![Just(least), Just(most), Just(1e-8), Just(f64::MIN_POSITIVE), Just(0.0), least..=most]
        .prop_filter("it is in the range", move |value| range.contains(*value))
        .prop_map(|value| Json::Number(Number::from_f64(value).expect("the range is finite")))
        .boxed()
}

/// Among the texts are words and numbers that YAML would take for something else.
fn text(form: Form) -> BoxedStrategy<Json> {
    let pattern = form.pattern.trim_start_matches('^').trim_end_matches('$');
    let pattern = if pattern == r"\S" { "[a-zA-Z0-9~./_ é#:-]{0,20}[a-z0-9]" } else { pattern };
    let of_its_form = string_regex(pattern).expect("the table's patterns are regular expressions");
    prop_oneof![4 => of_its_form, 1 => r"(no|null|true|1e5|0x10|1_0|12|1\.5|010|y)"]
        .prop_filter("it has the form", move |text| Kind::Text(form).takes(&Scalar::Text(text.clone())))
        .prop_map(Json::from)
        .boxed()
}
