//! The workspace as cargo and the sources show it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lsgan_tests::binaries::root;
use serde_json::Value;

/// A package of the workspace.
pub struct Package {
    pub name: String,
    pub dir: PathBuf,
    /// What its Cargo.toml says: name and version requirement; none for a path.
    pub declared: Vec<(String, Option<String>)>,
    /// All packages that building it needs, without those that only tests need.
    pub needs: BTreeSet<String>,
    /// The files of what Cargo builds no tests of: those of a binary, and all of a library.
    pub untested: Vec<PathBuf>,
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has a text here")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo metadata has a list here")
}

/// The workspace as cargo resolves it for this machine.
pub fn packages() -> &'static [Package] {
    static PACKAGES: OnceLock<Vec<Package>> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let metadata = metadata();
        let names: BTreeMap<&str, &str> =
            list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let edges = edges(&metadata);
        let members: BTreeSet<&str> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let ours =
            list(&metadata["packages"]).iter().filter(|package| members.contains(text(&package["id"])));
        ours.map(|package| Package {
            name: text(&package["name"]).to_owned(),
            dir: Path::new(text(&package["manifest_path"])).parent().expect("a file is somewhere").to_owned(),
            declared: list(&package["dependencies"]).iter().map(declared).collect(),
            needs: reachable(text(&package["id"]), &edges)
                .into_iter()
                .map(|id| names[id].to_owned())
                .collect(),
            untested: list(&package["targets"]).iter().flat_map(untested).collect(),
        })
        .collect()
    })
}

fn untested(target: &Value) -> Vec<PathBuf> {
    let file = PathBuf::from(text(&target["src_path"]));
    match text(&target["kind"][0]) {
        _ if target["test"] == true => vec![],
        "bin" => vec![file],
        "lib" | "cdylib" => sources(file.parent().expect("a file is somewhere")),
        _ => vec![],
    }
}

fn metadata() -> Value {
    let cargo = |arguments: &[&str]| {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(program).args(arguments).current_dir(root()).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("cargo writes UTF-8")
    };
    // For other platforms cargo would have to fetch what nobody here builds.
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo knows its host");
    let arguments = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host];
    serde_json::from_str(&cargo(&arguments)).expect("cargo writes JSON")
}

fn declared(dependency: &Value) -> (String, Option<String>) {
    let path = dependency["path"].is_string();
    (text(&dependency["name"]).to_owned(), (!path).then(|| text(&dependency["req"]).to_owned()))
}

/// What each package needs to be built.
fn edges(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let built = |dependency: &&Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
    list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let needs = list(&node["deps"]).iter().filter(built).map(|dependency| text(&dependency["pkg"]));
            (text(&node["id"]), needs.collect())
        })
        .collect()
}

fn reachable<'a>(from: &'a str, edges: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(id) = open.pop() {
        for &next in edges.get(id).into_iter().flatten() {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

/// Rust files below a folder.
pub fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of `[workspace.dependencies]`: name and what is said of it.
pub fn workspace_dependencies() -> Vec<(String, String)> {
    let manifest = read(&root().join("Cargo.toml"));
    let (_, table) = manifest.split_once("[workspace.dependencies]").expect("the workspace has one table");
    let lines = table.lines().skip(1).take_while(|line| !line.starts_with('['));
    let lines = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(" = ").unwrap_or_else(|| panic!("one dependency a line: {line}")))
        .map(|(name, what)| (name.to_owned(), what.to_owned()))
        .collect()
}

/// The package of this name.
pub fn package(name: &str) -> &'static Package {
    packages().iter().find(|package| package.name == name).expect("it is in the workspace")
}

impl Package {
    /// The crates of the house that its Cargo.toml names, without `lsgan-`. For its tests a crate may name itself.
    pub fn arrows(&self) -> BTreeSet<&str> {
        let ours = self.declared.iter().filter_map(|(name, _)| name.strip_prefix("lsgan-"));
        ours.filter(|name| self.name.strip_prefix("lsgan-") != Some(name)).collect()
    }

    /// Whether it is shipped: the others are parts of tests.
    pub fn is_shipped(&self) -> bool {
        self.dir.starts_with(root().join("crates"))
    }
}

/// Lines of code of a crate's `src` that `finds` names something in: what was found, by its place (`spec/src/load.rs`),
/// with number and line.
pub fn lines_with(package: &Package, finds: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in sources(&package.dir.join("src")) {
        let place = place(&file);
        for (number, line) in read(&file).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            found.extend(finds(code).map(|what| (place.clone(), format!("{place}:{}: {what}", number + 1))));
        }
    }
    found
}

/// A file's path below the workspace, without `crates/`.
pub fn place(file: &Path) -> String {
    let below = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    below.strip_prefix("crates/").map_or(below.clone(), str::to_owned)
}
