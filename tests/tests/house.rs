//! The rules of the house, over `cargo metadata` and the sources. ARCHITECTURE.md says what they are for; a failure
//! names the rule and what to do instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lsgan_tests::binaries::root;
use serde_json::Value;

/// Crates without clock, file, runtime or randomness: whoever needs time gets `now: Millis`.
const PURE: [&str; 4] = ["lsgan-spec", "lsgan-plan", "lsgan-control", "lsgan-sim"];

/// Crates that may see libtorch.
const WITH_LIBTORCH: [&str; 4] = ["lsgan-train", "lsgan-evaluate", "lsgan-worker", "lsgan-cli"];

/// A package of the workspace.
struct Package {
    name: String,
    dir: PathBuf,
    /// What its Cargo.toml says: name and version requirement; none for a path.
    declared: Vec<(String, Option<String>)>,
    /// All packages that building it needs, without those that only tests need.
    needs: BTreeSet<String>,
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has a text here")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo metadata has a list here")
}

/// The workspace as cargo resolves it for this machine.
fn packages() -> &'static [Package] {
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
        })
        .collect()
    })
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
fn sources(folder: &Path) -> Vec<PathBuf> {
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

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of `[workspace.dependencies]`: name and what is said of it.
fn workspace_dependencies() -> Vec<(String, String)> {
    let manifest = read(&root().join("Cargo.toml"));
    let (_, table) = manifest.split_once("[workspace.dependencies]").expect("the workspace has one table");
    let lines = table.lines().skip(1).take_while(|line| !line.starts_with('['));
    let lines = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(" = ").unwrap_or_else(|| panic!("one dependency a line: {line}")))
        .map(|(name, what)| (name.to_owned(), what.to_owned()))
        .collect()
}

/// Fails with the rule and all that break it.
#[track_caller]
fn assert_rule(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}

#[test]
fn a_package_is_named_after_its_folder() {
    let broken = packages().iter().filter(|package| {
        let folder = package.dir.file_name().and_then(|name| name.to_str()).expect("folders have names");
        package.name != format!("lsgan-{folder}")
    });
    let broken: Vec<_> =
        broken.map(|package| format!("{} in {}", package.name, package.dir.display())).collect();
    assert_rule("A crate is called lsgan-<folder>. Rename it.", &broken);
    assert!(packages().len() >= 13, "all of the house is there: {}", packages().len());
}

#[test]
fn spec_depends_on_none_of_ours_and_plan_and_control_only_on_spec() {
    for (name, allowed) in
        [("lsgan-spec", &[][..]), ("lsgan-plan", &["lsgan-spec"]), ("lsgan-control", &["lsgan-spec"])]
    {
        let package = packages().iter().find(|package| package.name == name).expect("it is in the workspace");
        let ours =
            package.declared.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("lsgan-"));
        // For its tests a crate may ask itself for more features.
        let broken = ours.filter(|other| !allowed.contains(other) && *other != name);
        let broken: Vec<_> = broken.map(|other| format!("{name} depends on {other}")).collect();
        assert_rule(
            "spec depends on none of the house's crates, plan and control only on spec. Move what both need down into \
             spec, or what needs more up into the coordinator or the worker.",
            &broken,
        );
    }
}

#[test]
fn only_train_evaluate_worker_and_cli_see_libtorch() {
    for package in packages().iter().filter(|package| !WITH_LIBTORCH.contains(&package.name.as_str())) {
        let declared = package.declared.iter().map(|(name, _)| name);
        let seen =
            declared.chain(&package.needs).filter(|name| ["tch", "torch-sys"].contains(&name.as_str()));
        let broken: Vec<_> = seen.map(|name| format!("{} sees {name}", package.name)).collect();
        assert_rule(
            "Only train, evaluate, worker and cli see libtorch; above all the coordinator never does. Say it with \
             slices and types of spec, and let the worker turn them into tensors.",
            &broken,
        );
    }
    let worker = packages().iter().find(|package| package.name == "lsgan-worker").expect("there is a worker");
    assert!(worker.needs.contains("tch"), "this test sees what a package needs: {:?}", worker.needs);
}

#[test]
fn pure_crates_have_no_runtime() {
    for package in packages().iter().filter(|package| PURE.contains(&package.name.as_str())) {
        let broken = ["tokio", "mio", "tonic", "rusqlite", "object_store"];
        let broken = broken.iter().filter(|name| package.needs.contains(**name));
        let broken: Vec<_> = broken.map(|name| format!("{} needs {name}", package.name)).collect();
        assert_rule(
            "spec, plan, control and sim are pure: no runtime, no sockets, no database. Push an effect and let the \
             coordinator's shell perform it.",
            &broken,
        );
    }
}

#[test]
fn pure_crates_have_no_clock_no_file_and_no_randomness_of_their_own() {
    let words = [
        ("Instant::now", "take `now: Millis` as an argument"),
        ("SystemTime", "take `now: Millis` as an argument"),
        ("thread::sleep", "say in `next_deadline` when to be woken"),
        ("rand::rng", "draw from a seed"),
        ("RandomState", "draw from a seed, and use ordered collections"),
        ("HashMap", "use BTreeMap: one history gives one history"),
        ("HashSet", "use BTreeSet: one history gives one history"),
        ("std::fs", "let the coordinator or the worker read and write"),
        ("std::net", "let the coordinator or the worker connect"),
        ("std::env", "take it as an argument"),
    ];
    // The run's file is read where its errors are made, and the simulator's program is a shell around it.
    let excepted = ["spec/src/load.rs", "spec/src/check.rs"];
    let mut broken = Vec::new();
    for package in packages().iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for file in sources(&package.dir.join("src")) {
            let path = file.display().to_string();
            if excepted.iter().any(|end| path.ends_with(end)) || path.contains("/src/bin/") {
                continue;
            }
            for (number, line) in read(&file).lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found = words.iter().filter(|(word, _)| code.contains(word));
                broken
                    .extend(found.map(|(word, instead)| format!("{path}:{}: {word}; {instead}", number + 1)));
            }
        }
    }
    assert_rule("spec, plan, control and sim are pure.", &broken);
}

#[test]
fn nothing_prints_but_the_console() {
    let macros = ["println!", "print!", "eprintln!", "eprint!", "dbg!"];
    let excepted = [
        // The place itself, what tests print for those who run them, and the simulator's program.
        "console/src/print.rs",
        "collective/src/contract.rs",
        "data/src/decode/jpeg/matrix.rs",
        "sim/src/world.rs",
    ];
    let mut broken = Vec::new();
    for package in packages().iter().filter(|package| package.dir.starts_with(root().join("crates"))) {
        for file in sources(&package.dir.join("src")) {
            let path = file.display().to_string();
            if excepted.iter().any(|end| path.ends_with(end)) || path.contains("/sim/src/bin/") {
                continue;
            }
            for (number, line) in read(&file).lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '!'));
                if words.any(|word| macros.contains(&word)) {
                    broken.push(format!("{path}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert_rule(
        "A line that cannot be printed (a reader that is gone, a full disk) must not end anything: `println!` and its \
         siblings panic. Use say! for people, announce! for whoever follows the process, product! for what a command was \
         asked for (lsgan_console::print).",
        &broken,
    );
}

#[test]
fn control_has_no_floats() {
    let control =
        packages().iter().find(|package| package.name == "lsgan-control").expect("it is in the workspace");
    let mut broken = Vec::new();
    for file in sources(&control.dir.join("src")) {
        for (number, line) in read(&file).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.split(|c: char| !c.is_alphanumeric()).any(|word| word == "f32" || word == "f64") {
                broken.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert_rule("The control machine decides with whole numbers. Count, or carry milliseconds.", &broken);
}

#[test]
fn every_crate_opens_with_its_map() {
    let broken = packages().iter().map(|package| package.dir.join("src/lib.rs"));
    let broken = broken.filter(|file| !read(file).starts_with("//! "));
    let broken: Vec<_> = broken.map(|file| file.display().to_string()).collect();
    assert_rule(
        "lib.rs begins with the map of its crate: `//! What is here, what is not, where to start.`",
        &broken,
    );
}

#[test]
fn every_dependency_is_pinned() {
    let unpinned = packages().iter().flat_map(|package| {
        let loose =
            package.declared.iter().filter(|(_, req)| req.as_ref().is_some_and(|req| !req.starts_with('=')));
        loose.map(|(name, req)| {
            format!("{} wants {name} {}", package.name, req.as_deref().unwrap_or_default())
        })
    });
    let in_table = workspace_dependencies()
        .into_iter()
        .filter(|(_, what)| !what.contains("path =") && !what.contains("\"="));
    let broken: Vec<_> =
        unpinned.chain(in_table.map(|(name, what)| format!("Cargo.toml: {name} = {what}"))).collect();
    assert_rule(
        "Dependencies are pinned with `=` in [workspace.dependencies], and crates say `name.workspace = true`: other \
         versions may compute other bits.",
        &broken,
    );
}

#[test]
fn every_dependency_is_used_and_explained() {
    let used: BTreeSet<&str> = packages()
        .iter()
        .flat_map(|package| package.declared.iter().map(|(name, _)| name.as_str()))
        .collect();
    let architecture = read(&root().join("ARCHITECTURE.md"));
    let (_, section) =
        architecture.split_once("## Dependencies").expect("ARCHITECTURE.md has `## Dependencies`");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let explained: BTreeSet<&str> = rows
        .flat_map(|cell| cell.split(" (").next().unwrap_or_default().split(", "))
        .map(str::trim)
        .collect();

    let theirs: Vec<_> =
        workspace_dependencies().into_iter().filter(|(_, what)| !what.contains("path =")).collect();
    assert!(theirs.len() > 30, "the table is read: {theirs:?}");
    let unused = theirs.iter().filter(|(name, _)| !used.contains(name.as_str()));
    let broken: Vec<_> = unused.map(|(name, _)| name.clone()).collect();
    assert_rule("Nobody uses these. Take them out of [workspace.dependencies].", &broken);
    let silent = theirs.iter().filter(|(name, _)| !explained.contains(name.as_str()));
    let broken: Vec<_> = silent.map(|(name, _)| name.clone()).collect();
    assert_rule(
        "ARCHITECTURE.md's table of dependencies has a row for each: what for, why this one. Add these.",
        &broken,
    );
    let known: BTreeSet<&str> = theirs.iter().map(|(name, _)| name.as_str()).collect();
    let titles = ["crate", "---"];
    let gone = explained.iter().filter(|name| !known.contains(**name) && !titles.contains(*name));
    let broken: Vec<_> = gone.map(|name| (*name).to_owned()).collect();
    assert_rule("ARCHITECTURE.md explains what is no dependency any more. Take these out.", &broken);
}
