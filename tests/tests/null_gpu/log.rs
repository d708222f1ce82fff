//! What the null GPU counted (tests/null-gpu/log.h).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// A line with numbers, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, i64>);

impl Counts {
    fn of(line: &Value) -> Self {
        let fields = line.as_object().into_iter().flatten();
        Self(fields.filter_map(|(name, value)| Some((name.clone(), value.as_i64()?))).collect())
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> i64 {
        *self.0.get(name).unwrap_or_else(|| panic!("the null GPU counts no {name}: {:?}", self.0))
    }
}

/// What all processes of a run have logged, in the order of each.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// A line each time a half's report was copied to the host, of each process.
    pub halves: Vec<Vec<Counts>>,
    pub captures: Vec<Counts>,
    /// What CUDA does not allow.
    pub violations: Vec<String>,
}

impl Log {
    /// Reads the files with this prefix.
    pub fn read(prefix: &Path) -> Self {
        let name = prefix.file_name().expect("a prefix ends with a name").to_string_lossy().into_owned();
        let folder =
            std::fs::read_dir(prefix.parent().expect("it is in a folder")).expect("it can be listed");
        let files = folder.map(|entry| entry.expect("it can be listed").path());
        let is_log = |file: &Path| {
            let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            file.starts_with(&format!("{name}.")) && file.ends_with(".jsonl")
        };
        let mut log = Self::default();
        for file in files.filter(|file| is_log(file)) {
            log.add(&std::fs::read_to_string(&file).expect("it is text"));
        }
        log
    }

    fn add(&mut self, text: &str) {
        let mut halves = Vec::new();
        for line in text.lines() {
            // The last line of a process that was killed may be half a line.
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            match line["event"].as_str() {
                Some("half") => halves.push(Counts::of(&line)),
                Some("capture") => self.captures.push(Counts::of(&line)),
                Some("violation") => {
                    self.violations.push(line["what"].as_str().unwrap_or_default().to_owned())
                }
                _ => panic!("the null GPU logs no such line: {line}"),
            }
        }
        if !halves.is_empty() {
            self.halves.push(halves);
        }
    }

    /// The halves of the one process that trained.
    #[track_caller]
    pub fn of_one(&self) -> &[Counts] {
        let [halves] = &self.halves[..] else { panic!("{} processes have trained", self.halves.len()) };
        halves
    }

    #[track_caller]
    pub fn assert_legal(&self) {
        assert!(self.violations.is_empty(), "CUDA does not allow this: {:#?}", self.violations);
    }
}
