//! `lsgan dataset` as a user runs it: inspect, pack and export, killed and started again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use lsgan_tests::binaries::root;
use lsgan_tests::lab::{SHORT, pictures};
use lsgan_tests::process::Ended;
use lsgan_tests::{Lab, Process, until};
use serde_json::Value;

const LSUN: &str = "crates/data/tests/fixtures/lsun_lmdb";
const LABELS: &str = "datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz";

fn place(path: &str) -> String {
    root().join(path).display().to_string()
}

/// Starts `lsgan dataset WHAT` on the data of `small.yaml`.
fn start_of_run(lab: &Lab, what: &str, more: &[&str]) -> Process {
    lab.lsgan(["dataset".to_owned(), what.to_owned()].into_iter().chain(lab.run_arguments(more)))
}

/// `lsgan dataset WHAT` on the data of `small.yaml`.
fn of_run(lab: &Lab, what: &str, more: &[&str]) -> Ended {
    start_of_run(lab, what, more).wait()
}

fn dataset(lab: &Lab, arguments: &[&str]) -> Ended {
    lab.lsgan([&["dataset"], arguments].concat()).wait()
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let paths = entries.map(|entry| entry.expect("a folder can be listed").path());
    paths
        .map(|path| (path.strip_prefix(dir).expect("it is in it").into(), fs::read(&path).expect("a file")))
        .collect()
}

/// Names of files and of folders, which are classes, with all that moves a cursor or begins a line.
#[test]
fn hostile_names_reach_no_terminal() {
    const NAME: &str = "a\u{1b}[2J\u{9b}1m\r\nerror: the disk is full";
    let lab = Lab::new();
    let class = lab.path("pictures").join(NAME);
    fs::create_dir_all(&class).expect("Linux takes such names");
    let good = fs::read(place("crates/data/tests/fixtures/odd/lossy.webp")).expect("the fixture is there");
    fs::write(class.join("0.webp"), &good).expect("there is room");
    fs::write(class.join(format!("{NAME}.jpg")), &good[..40]).expect("there is room");
    fs::write(class.join(format!("{NAME}.gif")), b"GIF89a").expect("there is room");
    let hostile = |text: &str| {
        text.contains(['\u{1b}', '\u{9b}', '\r']) || text.lines().any(|it| it.starts_with("error: the disk"))
    };
    for more in [&[][..], &["--json"]] {
        let ended = dataset(&lab, &[&["inspect", "pictures"], more].concat()).expect_out(&["\\u001b[2J"]);
        assert!(!hostile(&ended.out) && !hostile(&ended.err), "{ended}");
    }
    for arguments in [["inspect", NAME], ["pack", NAME], ["export", NAME]] {
        let ended = dataset(&lab, &arguments);
        assert!(ended.code != Some(0) && !hostile(&ended.out) && !hostile(&ended.err), "{ended}");
    }
}

#[test]
fn inspect_shows_what_is_in_a_data_set_as_text_as_json_and_as_a_sheet() {
    let lab = Lab::new();
    let labels = format!("data.source.idx.labels={}", place(LABELS));
    let more = ["--set", &labels, "--sheet", "sheet.png", "--grid", "6x4"];
    of_run(&lab, "inspect", &more).expect_code(0).expect_out(&[
        "kind         idx",
        "records      10000",
        "sample       32 x 32 x 1, fit pad",
        "looked at    1000: 1000 pixels, 0 corrupt",
        "width        28",
        "classes      10",
        "sheet        sheet.png",
    ]);
    let size = image::image_dimensions(lab.path("sheet.png")).expect("the sheet is a picture");
    assert_eq!(size, (6 * 34 + 2, 4 * 34 + 2));

    let told = of_run(&lab, "inspect", &["--set", &labels, "--json"]).expect_code(0).json();
    let counts = told["classes"]["counts"].as_array().expect("a list");
    assert_eq!(counts.len(), 10);
    assert!(counts.iter().all(|row| row["records"] == 1000), "Fashion-MNIST has 1,000 of each: {told:#}");

    let points = place("configs/gaussian-ring-lsgan.yaml");
    let plot = ["inspect", "--config", &points, "--sheet", "plot.png"];
    dataset(&lab, &plot).expect_code(0).expect_out(&["a point of the plane", "classes      8"]);
    assert_eq!(image::image_dimensions(lab.path("plot.png")).expect("a picture"), (512, 512));
}

#[test]
fn verify_names_every_record_that_does_not_decode_and_says_so_with_its_exit_code() {
    let lab = Lab::new();
    let keys = fs::read_to_string(root().join("crates/data/tests/fixtures/lsun_lmdb.txt")).expect("its keys");
    let key = |record: usize| {
        keys.lines().nth(record).and_then(|line| line.split_whitespace().next()).expect("a key")
    };
    // Looking tells the kind.
    let ended = dataset(&lab, &["inspect", &place(LSUN), "--verify"]).expect_code(1).expect_one_error();
    let ended = ended.expect_out(&["kind         lsun", "2 corrupt", key(7), key(50)]);
    ended.expect_err(&["2 of 90 records do not decode"]);
    let told =
        dataset(&lab, &["inspect", &format!("lsun:{}", place(LSUN)), "--verify", "--json"]).expect_code(1);
    let corrupt = told.json()["looked_at"]["corrupt"].clone();
    assert_eq!([&corrupt[0]["record"], &corrupt[1]["record"]], [&Value::from(7), &Value::from(50)]);
}

#[test]
fn a_pack_that_is_killed_goes_on_and_ends_with_the_bytes_of_one_that_was_not() {
    let lab = Lab::new();
    let options = ["--size", "64", "--shard-records", "250", "--threads", "1", "--format", "webp"];
    of_run(&lab, "pack", &[&["--out", "whole"], &options[..]].concat()).expect_code(0);
    let pack = || start_of_run(&lab, "pack", &[&["--out", "killed"], &options[..]].concat());
    for shards in [1, 4] {
        let mut process = pack();
        let shard = lab.path(&format!("killed/shard-{shards:06}.tar"));
        until("some shards are there", || if shard.exists() { Ok(()) } else { Err(process.running().err()) });
        let ended = process.kill_if_it_runs();
        assert_eq!(ended.signal, Some(9), "it was killed in the middle; {ended}");
        assert!(!lab.path("killed/manifest.json").exists());
    }
    pack().succeeds().expect_out(&["10000 of 10000 records are in 40 shards", "of them were there already"]);
    assert!(files(&lab.path("killed")) == files(&lab.path("whole")), "another pack than the undisturbed one");
}

#[test]
fn training_on_packed_shards_ends_with_the_weights_of_training_on_their_source() {
    let lab = Lab::finished();
    let packed = Lab::new();
    let told = of_run(&packed, "pack", &["--out", "packed", "--shard-mib", "4"]).expect_code(0);
    // What the command prints is what the run's file gets.
    let source =
        told.out.lines().find_map(|line| line.trim().strip_prefix("source: ")).expect("it prints the source");
    assert!(source.starts_with("{ webdataset: { shards: 'packed/shard-{000000..0000"), "{told}");
    let source = format!("data.source={source}");
    packed.up(2, &[&SHORT[..], &["--set", &source]].concat()).succeeds();
    assert_eq!(packed.weights(), lab.weights());
}

#[test]
fn an_export_is_a_folder_with_the_classes_and_the_same_samples() {
    let lab = Lab::new();
    let labels = format!("data.source.idx.labels={}", place(LABELS));
    let ended = of_run(&lab, "export", &["--set", &labels, "--out", "clothes"]).expect_code(0);
    ended.expect_out(&["10000 of 10000 records are in clothes", "source: { folder: { path: 'clothes' } }"]);
    // The first picture is an ankle boot, class 9.
    assert_eq!(image::image_dimensions(lab.path("clothes/9/000000.png")).expect("a picture"), (28, 28));
    let told = dataset(&lab, &["inspect", "folder:clothes", "--json"]).expect_code(0).json();
    assert_eq!(told["records"], 10_000);
    let counts = told["classes"]["counts"].as_array().expect("a list");
    assert!(counts.len() == 10 && counts.iter().all(|row| row["records"] == 1000), "{told:#}");
    let again = of_run(&lab, "export", &["--set", &labels, "--out", "clothes", "--json"]).expect_code(0);
    assert_eq!(again.json()["records_kept"], 10_000);
}

#[test]
fn inspect_takes_what_pack_wrote_and_a_single_file_of_every_kind() {
    let lab = Lab::new();
    let pack = ["pack", &place(LSUN), "--size", "16", "--shard-records", "40", "--out", "packed"];
    dataset(&lab, &pack).expect_code(0);
    let odd = place("crates/data/tests/fixtures/odd");
    for (what, kind, records) in [
        ("packed".to_owned(), "webdataset", 88),
        ("packed/shard-000000.tar".to_owned(), "webdataset", 40),
        (format!("{}/data.mdb", place(LSUN)), "lsun", 90),
        (pictures().display().to_string(), "idx", 10_000),
        (format!("{odd}/colour.jpg"), "folder", 1),
        (format!("folder:{odd}/lossy.webp"), "folder", 1),
        (odd, "folder", 48),
    ] {
        let told = dataset(&lab, &["inspect", &what, "--json"]).expect_code(0).json();
        assert_eq!((&told["kind"], &told["records"]), (&Value::from(kind), &Value::from(records)), "{what}");
    }
}

/// Written by a user with pictures in other formats, files and folders that are not for him, and links to nowhere; read by
/// another user than root, as trainings are.
#[test]
fn what_a_folder_leaves_out_is_counted_and_named_and_the_rest_is_read() {
    let lab = Lab::new();
    let everybody = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
    everybody(&lab.path(""));
    let is_root = fs::metadata(lab.path("")).is_ok_and(|meta| meta.uid() == 0);
    let photos = lab.path("photos");
    for (folder, mode) in [("lost+found", 0o700), ("closed", 0o000), ("open", 0o755)] {
        fs::create_dir_all(photos.join(folder)).expect("a folder can be made");
        fs::copy(place("crates/data/tests/fixtures/odd/colour.jpg"), photos.join(folder).join("a.jpg"))
            .expect("copied");
        fs::set_permissions(photos.join(folder), fs::Permissions::from_mode(mode)).expect("ours");
    }
    for (name, mode) in [("b.jpg", 0o644), ("mine.jpg", 0o000), ("mine", 0o000), ("c.bmp", 0o644)] {
        fs::copy(place("crates/data/tests/fixtures/odd/colour.jpg"), photos.join(name)).expect("copied");
        fs::set_permissions(photos.join(name), fs::Permissions::from_mode(mode)).expect("ours");
    }
    fs::write(photos.join("d.tif"), b"II*\0").expect("written");
    std::os::unix::fs::symlink("nowhere.jpg", photos.join("link.jpg")).expect("linked");
    let inspect = |more: &[&str]| {
        let mut command = std::process::Command::new(lsgan_tests::binaries::binary("lsgan"));
        command.args(["dataset", "inspect", "folder:photos"]).args(more);
        command.env("XDG_CACHE_HOME", "/nowhere");
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        lab.start_command("inspect", command).succeeds()
    };
    let told = inspect(&["--json", "--verify"]).json();
    assert_eq!(told["records"], 3, "{told:#}");
    let found: BTreeMap<_, _> = told["left_out"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|group| (group["reason"].as_str().unwrap_or_default().to_owned(), group["examples"].to_string()))
        .collect();
    let wanted = [
        ("broken_link", r#"["link.jpg"]"#),
        ("lost_and_found", r#"["lost+found"]"#),
        ("other_format", r#"["d.tif"]"#),
        ("unreadable_file", r#"["mine","mine.jpg"]"#),
        ("unreadable_folder", r#"["closed"]"#),
    ];
    if is_root {
        assert_eq!(found, wanted.map(|(reason, names)| (reason.to_owned(), names.to_owned())).into());
    }
    inspect(&[]).expect_out(&[
        "left out     ",
        "  1 picture in a format that is not read (`d.tif`): convert them to JPEG, PNG or WebP",
        "  2 files that this user may not read (`mine`, `mine.jpg`): let this user read them",
    ]);
    everybody(&photos.join("closed"));
}

#[test]
fn what_cannot_be_done_is_one_error_that_says_what_to_do() {
    let lab = Lab::new();
    fs::write(lab.path("notes.txt"), "nothing that is known").expect("a file can be written");
    let wrong = |arguments: &[&str], code: i32, says: &str| {
        dataset(&lab, arguments).expect_code(code).expect_one_error().expect_err(&[says]);
    };
    let lsun = place(LSUN);
    wrong(&["inspect", "nowhere"], 2, "nowhere: No such file");
    wrong(
        &["inspect", "notes.txt"],
        2,
        "this is a text that begins with `nothing that is known`, and no data set that is read.",
    );
    wrong(&["inspect", "gaussian:8"], 2, "Take --config with a run's file.");
    wrong(&["inspect", &lsun, "--labels", "x"], 2, "--labels is for idx files");
    wrong(&["pack", &lsun, "--out", "packed"], 2, "Give one of them.");
    let clothes = place("datasets/fashion-mnist");
    wrong(
        &["pack", &lsun, "--size", "16", "--out", &clothes],
        1,
        "the directory holds other files, `LICENSE` for one",
    );
    let ring = place("configs/gaussian-ring-gan.yaml");
    wrong(&["pack", "--config", &ring, "--out", "packed"], 1, "only pictures are written");
    wrong(&["export", "--config", &ring, "--out", "exported"], 1, "only pictures are written");
    let images = pictures().display().to_string();
    wrong(
        &["inspect", &images, "--labels", &images],
        2,
        "an IDX file of pictures in a gzip stream, and no IDX file of labels",
    );
    assert!(!lab.path("packed").exists() && !lab.path("exported").exists());
}
