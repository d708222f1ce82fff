//! `configs/reference.yaml` is held against the types: it has every field, at its default where there is one, and
//! says of each what the program enforces. The other configurations are read as they stand.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::{Override, Problem, RunSpec, fields};

const REFERENCE: &str = include_str!("../../../configs/reference.yaml");
const TYPES: &str = include_str!("../src/run.rs");

/// A line of the file that gives a field or begins a section.
#[derive(Debug)]
struct Line {
    index: usize,
    path: String,
    /// Empty where a section begins.
    value: String,
    /// The comment lines right above, as one text.
    comment: String,
}

/// A line `# or: { … }` and what it stands for.
#[derive(Debug)]
struct Alternative {
    path: String,
    value: String,
    comment: String,
}

/// Reads block style only, which is what the reference and `to_yaml` use.
fn lines(text: &str) -> (Vec<Line>, Vec<Alternative>) {
    let (mut found, mut alternatives) = (Vec::<Line>::new(), Vec::new());
    let mut stack: Vec<(usize, String)> = Vec::new();
    let mut comment = String::new();
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.is_empty() || line == "#" {
            comment.clear();
        } else if let Some(value) = line.strip_prefix("# or: ") {
            stack.retain(|(outer, _)| *outer < indent);
            let path = dotted(&stack);
            alternatives.push(Alternative { path, value: value.to_owned(), comment: comment.clone() });
        } else if let Some(text) = line.strip_prefix("# ") {
            comment += &format!(" {text}");
        } else if line == "{}" {
            // `to_yaml` writes an empty map on a line of its own.
            found.last_mut().expect("a value has a key").value = line.to_owned();
        } else {
            let (key, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("{line:?} is neither a comment nor `key: value`:\n{text}"));
            stack.retain(|(outer, _)| *outer < indent);
            stack.push((indent, key.to_owned()));
            let comment = std::mem::take(&mut comment);
            found.push(Line { index, path: dotted(&stack), value: value.trim().to_owned(), comment });
        }
    }
    (found, alternatives)
}

fn dotted(stack: &[(usize, String)]) -> String {
    let keys: Vec<&str> = stack.iter().map(|(_, key)| key.as_str()).collect();
    keys.join(".")
}

/// The fields of a spec with their values, defaults included.
fn all_fields(spec: &RunSpec) -> BTreeMap<String, String> {
    let text = spec.to_yaml();
    let (lines, _) = lines(&text);
    lines.into_iter().filter(|line| !line.value.is_empty()).map(|line| (line.path, line.value)).collect()
}

fn parse(text: &str, sets: &[String]) -> Result<RunSpec, lsgan_spec::SpecErrors> {
    let sets: Vec<Override> = sets.iter().map(|set| set.parse().expect("never")).collect();
    RunSpec::parse(text, "reference.yaml", &sets)
}

fn reference() -> RunSpec {
    parse(REFERENCE, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The file without one field, and without the sections that are then empty.
fn without(line: &Line, all: &[Line]) -> String {
    let mut gone = BTreeSet::from([line.index]);
    let mut path = line.path.as_str();
    while let Some((parent, _)) = path.rsplit_once('.') {
        let inside = format!("{parent}.");
        if all.iter().any(|other| other.path.starts_with(&inside) && !gone.contains(&other.index)) {
            break;
        }
        gone.extend(all.iter().find(|other| other.path == parent).map(|other| other.index));
        path = parent;
    }
    let kept = REFERENCE.lines().enumerate().filter(|(index, _)| !gone.contains(index));
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

#[test]
fn the_reference_has_every_field_of_its_types() {
    let (lines, _) = lines(REFERENCE);
    let written: BTreeSet<_> =
        lines.iter().filter(|line| !line.value.is_empty()).map(|line| &line.path).collect();
    let types = all_fields(&reference());
    assert_eq!(written, types.keys().collect());
}

#[test]
fn the_reference_says_of_each_field_what_is_accepted_and_whether_it_decides_the_weights() {
    let (lines, _) = lines(REFERENCE);
    for line in lines.iter().filter(|line| !line.value.is_empty()) {
        let field = fields::get(&line.path).expect("a field has its row");
        let accepted = format!("Accepted: {}.", field.accepts);
        assert!(line.comment.contains(&accepted), "{}: its comment lacks `{accepted}`", line.path);
        let identity = line.comment.ends_with(" Identity.");
        assert_eq!(identity, field.part.decides(), "{}: Identity", line.path);
    }
}

#[test]
fn a_field_that_may_be_left_out_is_shown_at_its_default_and_the_others_are_called_required() {
    let (lines, _) = lines(REFERENCE);
    let spec = reference();
    for line in lines.iter().filter(|line| !line.value.is_empty()) {
        let text = without(line, &lines);
        match parse(&text, &[]) {
            Ok(left_out) => {
                assert_eq!(left_out, spec, "{} is not at its default", line.path);
                let says = format!("Default: {}.", line.value);
                assert!(line.comment.contains(&says), "{}: its comment lacks `{says}`", line.path);
            }
            Err(errors) => {
                let missing = errors.errors().iter().any(|error| match &error.problem {
                    Problem::Missing { path, .. } => line.path.starts_with(path.as_str()),
                    _ => false,
                });
                assert!(missing, "{}: {errors}", line.path);
                assert!(line.comment.contains(" Required."), "{}: its comment lacks `Required.`", line.path);
            }
        }
    }
}

/// What must be set with an alternative so that the whole makes sense.
fn with_companions(alternative: &Alternative, all: &[Alternative]) -> Vec<String> {
    let set = |other: &Alternative| format!("{}={}", other.path, other.value);
    let mut sets = Vec::new();
    for (family, image) in
        [(["gaussian", "mlp"], "data.image=null"), (["lsgan112"; 2], "data.image.size=112")]
    {
        if family.iter().any(|word| alternative.value.contains(word)) {
            sets.push(image.to_owned());
            sets.extend(
                all.iter().filter(|other| family.iter().any(|word| other.value.contains(word))).map(set),
            );
        }
    }
    // The last one wins where two stand for the same field.
    sets.push(set(alternative));
    sets
}

#[test]
fn every_alternative_of_the_reference_is_accepted_and_together_they_are_all_that_exist() {
    let (_, alternatives) = lines(REFERENCE);
    let mut have: BTreeSet<String> = all_fields(&reference()).into_keys().collect();
    for alternative in &alternatives {
        let sets = with_companions(alternative, &alternatives);
        let spec = parse(REFERENCE, &sets).unwrap_or_else(|errors| panic!("{alternative:?}\n{errors}"));
        for (path, value) in all_fields(&spec) {
            let new = path.strip_prefix(&alternative.path).is_some_and(|rest| rest.starts_with('.'));
            if new {
                let field = fields::get(&path).expect("a field has its row");
                let says = format!("Accepted: {}.", field.accepts);
                assert!(alternative.comment.contains(&says), "{path}: the comment lacks `{says}`");
                check_default_in(alternative, &path, &value, &sets, &spec);
            }
            have.insert(path);
        }
    }
    let rows: BTreeSet<String> = fields::FIELDS.iter().map(|field| field.path.to_owned()).collect();
    assert_eq!(have.intersection(&rows).collect::<Vec<_>>(), rows.iter().collect::<Vec<_>>());
}

/// The same for the fields of an alternative: left out, it is the same or it is missing.
fn check_default_in(alternative: &Alternative, path: &str, value: &str, sets: &[String], spec: &RunSpec) {
    let name = path.rsplit('.').next().expect("a path has a last part");
    let Some(start) = alternative.value.find(&format!(", {name}: ")) else { return };
    let rest = &alternative.value[start + 2..];
    let end = rest
        .find([',', ' ', '}'].as_slice())
        .map_or(0, |colon| colon + 1 + rest[colon + 1..].find([',', ' ', '}'].as_slice()).unwrap_or(0));
    let shorter = format!("{}={}{}", alternative.path, &alternative.value[..start], &rest[end..]);
    let mut sets = sets.to_vec();
    *sets.last_mut().expect("the alternative itself is in it") = shorter;
    let named = format!("{name}: ");
    let sentence = alternative.comment.split(&named).nth(1).unwrap_or(&alternative.comment);
    match parse(REFERENCE, &sets) {
        // Left out, it is not there at all.
        Ok(left_out) if !all_fields(&left_out).contains_key(path) => {
            assert!(sentence.contains("Default: none."), "{path}: its comment lacks `Default: none.`");
        }
        Ok(left_out) => {
            assert_eq!(&left_out, spec, "{path} is not at its default");
            assert!(sentence.contains("Default: "), "{path}: its comment lacks `Default: {value}.`");
            let says = format!("Default: {value}.");
            assert!(alternative.comment.contains(&says), "{path}: its comment lacks `{says}`");
        }
        Err(errors) => {
            assert!(
                matches!(&errors.errors()[0].problem, Problem::Missing { path: p, .. } if p == path),
                "{errors}"
            );
            assert!(sentence.contains("Required."), "{path}: its comment lacks `Required.`");
        }
    }
}

/// The doc comments of every field in `run.rs`, by the field's name.
fn docs() -> BTreeMap<String, Vec<String>> {
    let mut docs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut doc = String::new();
    for line in TYPES.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            doc += &format!(" {text}");
        } else if !line.starts_with("#[") {
            let name = line.trim_start_matches("pub ").split(':').next().unwrap_or_default();
            docs.entry(name.to_owned()).or_default().push(std::mem::take(&mut doc));
        }
    }
    docs
}

#[test]
fn the_doc_comments_of_the_types_have_the_ranges_of_the_table() {
    // Bounds that are said of another field there, or on the enum.
    let elsewhere = ["min_workers", "max_workers", "normal", "uniform", "b", "c"];
    let docs = docs();
    let mut checked = 0;
    for field in fields::FIELDS {
        let name = field.path.rsplit('.').next().expect("a path has a last part");
        let bounds =
            field.accepts.strip_prefix("a whole number, ").or(field.accepts.strip_prefix("a number, "));
        let bounds = bounds
            .or(field.accepts.strip_prefix("a number "))
            .or(field.accepts.strip_prefix("a duration with its unit, "));
        let Some(bounds) = bounds.filter(|_| !elsewhere.contains(&name)) else { continue };
        let plain = |text: &str| text.replace('−', "-").replace(" and ", ", ");
        let said = docs[name].iter().any(|doc| plain(doc).contains(&plain(bounds)));
        assert!(said, "no doc comment of `{name}` in run.rs says `{bounds}`: {:?}", docs[name]);
        checked += 1;
    }
    assert!(checked > 25, "only {checked} ranges were compared");
}

#[test]
fn every_configuration_is_accepted_as_it_stands() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::set_current_dir(&root).expect("the checkout's root is there");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir("configs").expect("configs is there") {
        let path = entry.expect("a folder can be listed").path();
        let spec = RunSpec::load(&path, &[]).unwrap_or_else(|errors| panic!("{errors}"));
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        assert_eq!(spec.run, name, "a run is called as its file");
        assert_eq!(spec.checkpoint.to, format!("runs/{name}"));
        names.insert(name);
    }
    for name in ["quickstart", "reference", "gaussian-ring-lsgan", "gaussian-ring-gan"] {
        assert!(names.contains(name), "configs/{name}.yaml is not there");
    }
}

#[test]
fn the_two_rings_differ_in_their_objective_only() {
    let read = |text| RunSpec::parse(text, "ring", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let lsgan = read(include_str!("../../../configs/gaussian-ring-lsgan.yaml"));
    let gan = read(include_str!("../../../configs/gaussian-ring-gan.yaml"));
    let diff = lsgan.identity_diff(&gan);
    assert!(diff.iter().all(|field| field.path.starts_with("objective.")) && !diff.is_empty(), "{diff:?}");
    assert_eq!((lsgan.steps, gan.steps), (35_000, 35_000));
    assert_eq!(lsgan.batch.virtual_ranks * lsgan.batch.per_rank, 512);
}
