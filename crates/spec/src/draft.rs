//! A run's description while it is checked: its tree, what was found so far, and what can be trusted of it.

use garde::Validate;

use crate::RunSpec;
use crate::check;
use crate::de::Mismatch;
use crate::errors::{Problem, Sources, SpecError, SpecErrors};
use crate::fields;
use crate::leaves;
use crate::load::yaml_problem;
use crate::overrides::{self, Override};
use crate::run::FOLDER_MIX;
use crate::suggest::{self, Meant};
use crate::tree::{self, Node, Origin, Place, Value, join, quoted};

/// After so many errors the rest is not looked for.
const MAX_ERRORS: usize = 100;

/// One description on its way to a [`RunSpec`].
pub(crate) struct Draft {
    sources: Sources,
    tree: Node,
    spec: Option<RunSpec>,
    errors: Vec<SpecError>,
    doubtful: Vec<String>,
}

impl Draft {
    /// The text as a tree, with the overrides in it.
    pub(crate) fn new(name: &str, text: &str, sets: &[Override]) -> Result<Self, SpecErrors> {
        let mut sources = Sources::new(name, text);
        let mut tree = tree::parse(text, Origin::File).map_err(|error| {
            let mut place = error.location().map_or(Place::default(), |at| tree::place(&at, Origin::File));
            place.start_bytes = byte_offset(text, place.line, place.column);
            Sources::one(sources.error(place, yaml_problem(&error)))
        })?;
        let keys = fields::listed(&fields::children(""), "and");
        match &tree.value {
            Value::Map(_) => {}
            Value::Null => {
                return Err(Sources::one(sources.error(Place::default(), Problem::Empty { accepted: keys })));
            }
            Value::Bool(_) | Value::Whole(_) | Value::Real(_) | Value::Text(_) | Value::List => {
                let problem = Problem::WrongValue {
                    path: "the run".to_owned(),
                    found: tree.shown(),
                    accepted: format!("a map with {keys}"),
                    fix: "Start from a copy of configs/quickstart.yaml.".to_owned(),
                };
                return Err(Sources::one(sources.error(tree.place, problem)));
            }
        }
        let mut twice = Vec::new();
        tree.take_duplicates("", &mut twice);
        let mut errors: Vec<_> = twice
            .into_iter()
            .map(|(path, first, second)| {
                sources.error(second, Problem::Twice { path, first_line: first.line })
            })
            .collect();
        for set in sets {
            errors.extend(overrides::apply(&mut tree, set, &mut sources).err().map(|error| *error));
        }
        Ok(Self { sources, tree, spec: None, errors, doubtful: Vec::new() })
    }

    /// Everything but the disk.
    pub(crate) fn check(&mut self) {
        self.fill_mix();
        self.spec = self.deserialize();
        let Some(spec) = self.spec.clone() else { return };
        self.check_ranges(&spec);
        for found in check::combinations(&spec) {
            if !found.about.iter().any(|path| self.is_doubtful(path)) {
                self.report_combination(found);
            }
        }
    }

    /// Whether the text or an override has this field.
    pub(crate) fn says(&self, path: &str) -> bool {
        self.tree.at(path).is_some()
    }

    /// The one default that depends on another field.
    fn fill_mix(&mut self) {
        const MIX: &str = "data.mix";
        if self.says("data.source.folder") && !self.says(MIX) {
            let value = Node { value: Value::Whole(FOLDER_MIX.into()), place: Place::NOWHERE };
            // It fails only where `data` is no map, and then has no source.
            let _ = self.tree.put(MIX, value, Place::NOWHERE);
        }
    }

    /// Tries until the tree fits the types. Each round reports one mismatch and takes it away.
    fn deserialize(&mut self) -> Option<RunSpec> {
        for _ in 0..MAX_ERRORS {
            match serde_path_to_error::deserialize::<_, RunSpec>(&self.tree) {
                Ok(spec) => return Some(spec),
                Err(error) => {
                    let path = dotted(error.path());
                    self.repair(&path, error.into_inner());
                }
            }
        }
        self.errors.push(self.sources.error(Place::NOWHERE, Problem::More { shown: MAX_ERRORS }));
        None
    }

    fn repair(&mut self, path: &str, mismatch: Mismatch) {
        match mismatch {
            Mismatch::UnknownKey(key) => self.repair_key(path, &key),
            Mismatch::UnknownChoice(word) => self.repair_choice(path, &word),
            Mismatch::NotOneChoice => {
                let node = self.tree.at(path).map(|entry| &entry.node);
                let place = match node.map(|node| &node.value) {
                    Some(Value::Map(entries)) => entries.last().map(|entry| entry.key_place),
                    _ => None,
                };
                let problem = Problem::WrongChoice {
                    path: path.to_owned(),
                    found: node.map_or_else(String::new, Node::shown),
                    accepted: format!("exactly one of {}", fields::listed(&fields::children(path), "or")),
                    fix: format!("Keep one, as `{}: {}`.", last(path), fields::example(path)),
                };
                self.report_at(place.unwrap_or_else(|| self.place(path)), problem);
                self.replace(path);
            }
            Mismatch::Missing(field) => {
                let path = join(path, field);
                let example = format!("{field}: {}", fields::example(&path));
                self.report(
                    &path,
                    Problem::Missing { path: path.clone(), accepted: fields::accepts(&path), example },
                );
                self.replace(&path);
            }
            Mismatch::Value => {
                let node = self.tree.at(path).map(|entry| &entry.node);
                let found = node.map_or_else(|| "not accepted".to_owned(), Node::shown);
                self.report_value(path, found);
                self.replace(path);
            }
        }
    }

    fn repair_key(&mut self, path: &str, key: &str) {
        let (parent, path) = match without_last(path, key) {
            Some(parent) => (parent.to_owned(), path.to_owned()),
            None => (path.to_owned(), join(path, key)),
        };
        let known = fields::children(&parent);
        let (meant, fix) = self.meant(&parent, key, &known);
        let place = self.tree.at(&path).map_or(Place::NOWHERE, |entry| entry.key_place);
        let accepted = fields::listed(&known, "and");
        self.report_at(place, Problem::UnknownKey { path: quoted_path(&path), accepted, fix });
        match meant.map(|meant| join(&parent, meant)) {
            // Under its right name its value is checked too, and it is not missing.
            Some(right) if self.tree.at(&right).is_none() => self.rename(&path, &right),
            _ => self.tree.remove(&path),
        }
    }

    /// The known key beside it that an unknown one was meant to be, and what to do.
    fn meant(&self, parent: &str, key: &str, known: &[&'static str]) -> (Option<&'static str>, String) {
        let beside = |meant: &'static str| (Some(meant), format!("Did you mean `{meant}`?"));
        match suggest::key(parent, key) {
            Some(Meant::Words(words)) => return (None, words.to_owned()),
            Some(Meant::Field(path)) => {
                return match known.iter().find(|name| **name == last(path)) {
                    Some(meant) => beside(meant),
                    None => (None, format!("Did you mean {}?", self.of_chosen(path))),
                };
            }
            None => {}
        }
        if let Some(near) = fields::nearest(key, known) {
            return beside(near);
        }
        let mut paths = fields::FIELDS.iter().flat_map(|field| sections(field.path));
        match paths.find(|path| last(path) == key) {
            Some(path) => (None, format!("Remove it here, or did you mean {}?", self.of_chosen(path))),
            None => (None, "Remove it.".to_owned()),
        }
    }

    /// The same field of the model that the file chooses, where it has one.
    fn of_chosen(&self, path: &str) -> String {
        let mut keys: Vec<&str> = path.split('.').collect();
        if let ["model", net, kind, ..] = &mut keys[..]
            && let Some(Value::Map(entries)) =
                self.tree.at(&format!("model.{net}")).map(|entry| &entry.node.value)
            && let [chosen] = entries.as_slice()
        {
            *kind = &chosen.key;
        }
        let chosen = keys.join(".");
        if fields::children(&chosen).is_empty() && fields::get(&chosen).is_none() {
            path.to_owned()
        } else {
            chosen
        }
    }

    fn repair_choice(&mut self, path: &str, word: &str) {
        let path = without_last(path, word).unwrap_or(path).to_owned();
        let known: Vec<&str> = match fields::get(&path) {
            Some(field) => {
                field.accepts.split([',', ' ']).filter(|word| !word.is_empty() && *word != "or").collect()
            }
            None => fields::children(&path),
        };
        let theirs = suggest::word(&path, word).and_then(|ours| known.iter().find(|name| **name == ours));
        let meant = theirs.copied().or_else(|| fields::nearest(word, &known));
        let problem = Problem::WrongChoice {
            path: path.clone(),
            found: quoted(word),
            accepted: fields::listed(&known, "or"),
            fix: meant.map_or_else(
                || format!("Write for example `{}: {}`.", last(&path), fields::example(&path)),
                |meant| format!("Did you mean `{meant}`?"),
            ),
        };
        let wrong = join(&path, word);
        match self.tree.at(&wrong).map(|entry| entry.key_place) {
            Some(place) => {
                self.report_at(place, problem);
                match meant {
                    Some(meant) => self.rename(&wrong, &join(&path, meant)),
                    None => self.replace(&path),
                }
            }
            None => {
                self.report(&path, problem);
                self.replace(&path);
            }
        }
    }

    /// Reports what garde finds; a value that is out of range is doubtful for the checks after it.
    fn check_ranges(&mut self, spec: &RunSpec) {
        let Err(report) = spec.validate() else { return };
        let all = leaves::of(spec);
        for (path, _) in report.iter() {
            let Some(leaf) = leaves::named_by_garde(&all, &path.to_string()) else { continue };
            if self.is_doubtful(&leaf.path) {
                continue;
            }
            let found = match self.tree.at(&leaf.path) {
                Some(entry) => entry.node.shown(),
                None => format!("{} by default", leaf.value),
            };
            self.report_value(&leaf.path, found);
            self.doubtful.push(leaf.path.clone());
        }
    }

    /// The files that the run needs.
    pub(crate) fn check_paths(&mut self) {
        let Some(spec) = &self.spec else { return };
        for problem in check::paths(spec) {
            let Problem::NoFile { path, .. } = &problem else { continue };
            let path = path.clone();
            if !self.is_doubtful(&path) {
                self.report(&path, problem);
            }
        }
    }

    /// The spec, or why not.
    pub(crate) fn finish(self) -> Result<RunSpec, SpecErrors> {
        match self.spec {
            Some(spec) if self.errors.is_empty() => Ok(spec),
            _ => Err(Sources::collect(self.errors)),
        }
    }

    fn report_value(&mut self, path: &str, found: String) {
        let node = self.tree.at(path).map(|entry| &entry.node);
        let fix = match node.map(|node| &node.value) {
            Some(Value::Whole(_) | Value::Real(_) | Value::Bool(_)) if fields::TEXTS.contains(&path) => {
                format!("Put it in quotes, as `{}: \"{found}\"`.", last(path))
            }
            _ => node
                .and_then(|node| suggest::value(path, node))
                .unwrap_or_else(|| format!("Write for example `{}: {}`.", last(path), fields::example(path))),
        };
        let accepted = fields::accepts(path);
        self.report(path, Problem::WrongValue { path: path.to_owned(), found, accepted, fix });
    }

    fn report_combination(&mut self, mut finding: check::Finding) {
        let written = self.tree.at(&finding.path).is_some();
        if let Problem::Combination { path, found, .. } = &mut finding.problem
            && !written
            && fields::get(path).is_some()
        {
            found.push_str(" by default");
        }
        self.report(&finding.path, finding.problem);
    }

    fn report(&mut self, path: &str, problem: Problem) {
        self.report_at(self.place(path), problem);
    }

    fn report_at(&mut self, place: Place, problem: Problem) {
        self.errors.push(self.sources.error(place, problem));
    }

    /// Where `path` is, or where the nearest thing around it begins.
    fn place(&self, path: &str) -> Place {
        if let Some(entry) = self.tree.at(path) {
            return entry.node.place;
        }
        let mut around = path;
        while let Some((parent, _)) = around.rsplit_once('.') {
            if let Some(entry) = self.tree.at(parent) {
                // A map that an option gave stands under a key of the file.
                let by_option = matches!(entry.node.place.origin, Origin::Set(_));
                return if by_option { entry.node.place } else { entry.key_place };
            }
            around = parent;
        }
        Place::default()
    }

    /// Puts a value that is known to be good in the place of one that was reported.
    fn replace(&mut self, path: &str) {
        let example =
            tree::parse(&fields::example(path), Origin::Example).expect("the table's examples are YAML");
        // A value in the way was reported before it was stepped into, so there is none; were there one, the
        // bound on the number of rounds ends it.
        let _ = self.tree.put(path, example, Place::NOWHERE);
        self.doubtful.push(path.to_owned());
    }

    fn rename(&mut self, from: &str, to: &str) {
        let Some(entry) = self.tree.at(from).cloned() else { return };
        self.tree.remove(from);
        let _ = self.tree.put(to, entry.node, entry.key_place);
    }

    /// Whether `path` or something around it was reported already.
    fn is_doubtful(&self, path: &str) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with('.');
        self.doubtful.iter().any(|around| path.strip_prefix(around.as_str()).is_some_and(inside))
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The sections that a field is in, from the outermost, and the field.
fn sections(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('.').map(|(end, _)| &path[..end]).chain([path])
}

/// A path whose last part a user made up: bounded, and without control characters.
fn quoted_path(path: &str) -> String {
    quoted(path).trim_matches('`').to_owned()
}

fn dotted(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Map { key } => text = join(&text, key),
            Segment::Enum { variant } => text = join(&text, variant),
            // There are no lists in the types, and every key of the tree is a text.
            Segment::Seq { .. } | Segment::Unknown => {}
        }
    }
    text
}

/// The byte at a line and column, as the parser's own errors do not carry it.
fn byte_offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let inside: usize = text[before..].chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
    before + inside
}

/// The path above `key`, if that is the last key of `path` and not only its last letters.
fn without_last<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    if path == key { Some("") } else { path.strip_suffix(key)?.strip_suffix('.') }
}
