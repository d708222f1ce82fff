//! Every kind of source trains real runs: the same bits on any number of workers, each record once an epoch whatever is
//! killed, and records that do not decode counted over the workers.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use lsgan_tests::binaries::root;
use lsgan_tests::disturb::random_step;
use lsgan_tests::lab::pictures;
use lsgan_tests::process::{children_named, children_of, send};
use lsgan_tests::{Journal, Lab, Process, Weights};
use nix::sys::signal::Signal;

const PICTURES: &str = "
  generator:     { dcgan: { latent: { normal: 16 }, width: 8 } }
  discriminator: { dcgan: { width: 8 } }";
const POINTS: &str = "
  generator:     { mlp: { latent: { normal: 16 }, width: 16, depth: 2 } }
  discriminator: { mlp: { width: 16, depth: 2 } }";

fn fixture(name: &str) -> String {
    root().join("crates/data/tests/fixtures").join(name).display().to_string()
}

/// Writes a run's file for this data set, and says where it is.
fn run_file(lab: &Lab, source: &str, model: &str, more: &str) -> PathBuf {
    let image =
        if model == PICTURES { "image: { size: 32, channels: 3, fit: crop, flip: random }" } else { "" };
    let text = format!(
        "run: fed
seed: 3
steps: 40
data:
  source: {source}
  {image}
  shard_records: 4
  mix: 2
{more}
model:{model}
objective: {{ least_squares: {{ a: -1, b: 1, c: 0 }} }}
optimizer:
  generator:     {{ adam: {{ learning_rate: 2.0e-4 }} }}
  discriminator: {{ adam: {{ learning_rate: 2.0e-4 }} }}
batch: {{ virtual_ranks: 3, per_rank: 4 }}
checkpoint: {{ to: run, every: 10 }}
report: {{ every: 1 }}
"
    );
    let path = lab.path("run.yaml");
    fs::write(&path, text).expect("a file can be written there");
    path
}

/// `lsgan up` of the run in `run.yaml`, which writes into `run_dir`.
fn up(lab: &Lab, workers: u32, run_dir: &str, more: &[&str]) -> Process {
    let to = format!("checkpoint.to={}", lab.path(run_dir).display());
    let workers = workers.to_string();
    let arguments = ["up", "--config", "run.yaml", "--workers", &workers, "--set", &to];
    lab.lsgan([&arguments, more].concat())
}

/// The source of a folder's pictures.
fn folder(path: &Path) -> String {
    format!("{{ folder: {{ path: {} }} }}", path.display())
}

/// Writes a picture of one colour.
fn write_picture(path: &Path, side: u32, colour: [u8; 3]) {
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
    let picture = image::RgbImage::from_pixel(side, side, image::Rgb(colour));
    picture.save(path).expect("a picture can be written");
}

/// Pictures in sub-folders, made of the fixtures.
fn folders(lab: &Lab) -> String {
    let odd = root().join("crates/data/tests/fixtures/odd");
    for (number, entry) in fs::read_dir(odd).expect("the fixtures are there").flatten().enumerate() {
        let (from, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if name.contains("expected") {
            continue;
        }
        let class = lab.path("pictures").join(if number % 2 == 0 { "even" } else { "odd" });
        fs::create_dir_all(&class).expect("a folder can be made");
        fs::copy(from, class.join(name)).expect("a picture can be copied");
    }
    folder(&lab.path("pictures"))
}

#[test]
fn every_kind_of_source_trains_the_same_bits_with_one_and_with_three_workers() {
    let lab = Lab::new();
    let idx = pictures();
    let bad = "  max_corrupt: 1";
    let rows = [
        ("idx", format!("{{ idx: {{ images: {} }} }}", idx.display()), PICTURES, ""),
        ("folder", folders(&lab), PICTURES, ""),
        ("lsun", format!("{{ lsun: {{ path: {} }} }}", fixture("lsun_lmdb")), PICTURES, bad),
        (
            "webdataset",
            format!("{{ webdataset: {{ shards: \"{}\" }} }}", fixture("shards/train-{000000..000001}.tar")),
            PICTURES,
            "",
        ),
        (
            "gaussian",
            "{ gaussian: { modes: { ring: { count: 8, radius: 1.0 } }, sigma: 0.01, records: 100 } }"
                .to_owned(),
            POINTS,
            "",
        ),
    ];
    let mut trained: Vec<Weights> = Vec::new();
    for (kind, source, model, more) in rows {
        run_file(&lab, &source, model, more);
        let weights = [1, 3].map(|workers| {
            let run_dir = format!("{kind}-{workers}");
            up(&lab, workers, &run_dir, &[]).succeeds();
            Weights::of(&lab.path(&run_dir))
        });
        assert_eq!(weights[0], weights[1], "{kind}");
        trained.extend(weights);
    }
    trained.dedup();
    assert_eq!(trained.len(), 5, "each trains something else");
}

/// The fixture has two of 90 that do not decode.
const LSUN_BAD: u64 = 2;

fn lsun(lab: &Lab, max_corrupt: f64) {
    let source = format!("{{ lsun: {{ path: {} }} }}", fixture("lsun_lmdb"));
    run_file(lab, &source, PICTURES, &format!("  max_corrupt: {max_corrupt}"));
}

#[test]
fn records_that_do_not_decode_are_reported_once_counted_and_listed() {
    let lab = Lab::new();
    lsun(&lab, 1.0);
    let mut run = up(&lab, 3, "run", &["--set", "steps=1000"]);
    let client = lab.client(&mut run);
    let status = client.wait_until("both are known", |status| status.corrupt_count == LSUN_BAD);
    let keys: Vec<_> = status.corrupt_records.iter().map(|r| r.key.clone()).collect();
    // Through some more epochs, in which other workers may read them again.
    client.wait_for_step(status.step + 60);
    let address = client.address().to_owned();
    let shown = lab.lsgan(["status", "--coordinator", &address]).wait();
    shown.expect_code(0).expect_out(&["2 corrupt records, of which", &keys[0], &keys[1]]);
    // A coordinator that starts again knows them, and hears of them again without a word.
    send(children_named(run.id(), "coordinator")[0], Signal::SIGKILL);
    client.wait_until("the new coordinator knows them too", |status| status.corrupt_count == LSUN_BAD);
    run.signal(Signal::SIGINT);
    run.wait().expect_code(130);

    let journal = lab.journal();
    let mut known = journal.texts("select key from corrupt_records");
    known.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(known, keys);
    let told = "select count(*) from events where text like '%does not decode%'";
    assert!((1..=LSUN_BAD).contains(&journal.number(told)), "each is told once");
}

#[test]
fn more_corrupt_records_than_accepted_stop_the_run_with_a_snapshot_and_it_goes_on_when_they_are_accepted() {
    let lab = Lab::new();
    lsun(&lab, 0.02); // one of 90
    let ended = up(&lab, 2, "run", &["--set", "steps=4000"]).wait().expect_code(1);
    ended.expect_err(&["2 of 90 records do not decode", "data.max_corrupt accepts a share of 0.02"]);
    let stopped_at = lab.journal().number("select max(step) from checkpoints");
    assert!((1..4000).contains(&stopped_at));
    // The same command says so again before anything starts.
    let ended = up(&lab, 2, "run", &["--set", "steps=4000"]).wait().expect_code(2);
    ended.expect_err(&["2 of 90 records do not decode"]);

    let steps = format!("steps={}", stopped_at + 10);
    let accepted = ["--set", "data.max_corrupt=0.05", "--set", &steps];
    up(&lab, 2, "run", &accepted).succeeds();
    up(&lab, 1, "whole", &accepted).succeeds();
    assert_eq!(Weights::of(&lab.run_dir()), Weights::of(&lab.path("whole")));
}

/// 64 pictures and one file that is none, alone in the last shard: another shard's record takes its place, the same one for
/// any number of workers, and whatever the two bad files have in them.
#[test]
fn a_bad_record_alone_in_the_last_shard_is_replaced_from_another_one() {
    let lab = Lab::new();
    let pictures = lab.path("pictures");
    for index in 0..64_u8 {
        write_picture(&pictures.join(format!("{index:03}.png")), 40, [index * 3, 255 - index, 90]);
    }
    fs::write(pictures.join("zzz.jpg"), b"64").expect("a file can be written");
    let mut undisturbed = None;
    for mix in ["data.mix=1", "data.mix=2"] {
        run_file(&lab, &folder(&pictures), PICTURES, "  max_corrupt: 0.5");
        let weights = [1, 3].map(|workers| {
            let run_dir = format!("{mix}-{workers}");
            up(&lab, workers, &run_dir, &["--set", mix]).succeeds();
            let journal = Journal::open(&lab.path(&run_dir));
            assert_eq!(journal.texts("select key from corrupt_records"), ["zzz.jpg"]);
            Weights::of(&lab.path(&run_dir))
        });
        assert_eq!(weights[0], weights[1], "{mix}");
        undisturbed = weights.into_iter().next();
    }
    // The same data from somebody hostile, mixed as before.
    let (good, bad) = (pictures.join("007.png"), pictures.join("zzz.jpg"));
    let plain = fs::read(&good).expect("it was written");
    fs::write(&good, with_bomb(&plain)).expect("a file can be written");
    File::create(&bad).and_then(|file| file.set_len(16 << 30)).expect("a file can be sparse");
    up(&lab, 2, "hostile", &["--set", "data.mix=2"]).succeeds();
    assert_eq!(Some(Weights::of(&lab.path("hostile"))), undisturbed, "no bomb changes a bit");
}

/// A PNG with a colour profile of 16 MiB, which are 16 KiB of the file.
fn with_bomb(png: &[u8]) -> Vec<u8> {
    let mut profile = flate2::write::ZlibEncoder::new(b"name\0\0".to_vec(), flate2::Compression::best());
    profile.write_all(&vec![0; 16 << 20]).expect("memory takes all");
    let data = [b"iCCP".to_vec(), profile.finish().expect("memory takes all")].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&data);
    let len_bytes = u32::try_from(data.len() - 4).expect("it is short").to_be_bytes();
    // Behind the magic and the header.
    let (begin, end) = png.split_at(8 + 25);
    [begin, &len_bytes, &data, &crc.sum().to_be_bytes(), end].concat()
}

/// Ten classes, sorted as folders are: with little mixing it is said; by default a folder is mixed; and a run that began with
/// another default goes on with it.
#[test]
fn a_folder_is_mixed_by_default_and_a_run_keeps_what_it_began_with() {
    let lab = Lab::new();
    for index in 0..400_u32 {
        let name = format!("pictures/class-{}/{index:03}.png", index / 40);
        write_picture(&lab.path(&name), 8, [(index % 250) as u8, 100, 90]);
    }
    let file = run_file(&lab, &folder(&lab.path("pictures")), PICTURES, "");
    let text = fs::read_to_string(&file).expect("it was written").replace("  mix: 2\n", "");
    fs::write(&file, text.replace("shard_records: 4", "shard_records: 20")).expect("a file can be written");
    let journal_says =
        |run: &str| Journal::open(&lab.path(run)).texts("select value from meta where key = 'spec_yaml'");

    let old = up(&lab, 1, "old", &["--set", "steps=10", "--set", "data.mix=1"]).succeeds();
    old.expect_err(&["the data set is sorted by class, and data.mix is 1. Set data.mix to"]);
    let went_on = up(&lab, 1, "old", &[]).succeeds();
    went_on.expect_err(&[
        "data.mix is 1, as when this run began; the file says nothing of it, and the default is 16 now",
    ]);
    up(&lab, 2, "whole", &["--set", "data.mix=1"]).succeeds();
    assert_eq!(Weights::of(&lab.path("old")), Weights::of(&lab.path("whole")));
    // What the file says is another matter.
    let refused = up(&lab, 1, "old", &["--set", "data.mix=16"]).wait().expect_code(2);
    refused.expect_err(&["data.mix: 16 here, 1 there"]);

    let new = up(&lab, 1, "new", &["--set", "steps=10"]).succeeds();
    assert!(!new.err.contains("sorted by class"), "{new}");
    assert!(journal_says("new")[0].contains("mix: 16"), "{:?}", journal_says("new"));
    assert!(journal_says("old")[0].contains("mix: 1\n"), "{:?}", journal_says("old"));

    let inspect = |mix: &str| {
        let arguments = ["dataset", "inspect", "--config", "run.yaml", "--set", mix];
        lab.lsgan(arguments).succeeds()
    };
    inspect("data.mix=1").expect_out(&["batches      of the 10 classes", "the data set is sorted by class"]);
    assert!(!inspect("data.mix=16").out.contains("sorted by class"));
}

/// 32 PNG and 64 in other formats: what is not read is said once, before the first step.
#[test]
fn what_a_data_set_leaves_out_is_said_when_a_run_starts() {
    let lab = Lab::new();
    let pictures = lab.path("pictures");
    for index in 0..32_u8 {
        write_picture(&pictures.join(format!("{index:03}.png")), 40, [index * 3, 255 - index, 90]);
        for (ending, bytes) in [("bmp", &b"BM"[..]), ("tif", b"II*\0")] {
            fs::write(pictures.join(format!("{index:03}.{ending}")), bytes).expect("a file can be written");
        }
    }
    run_file(&lab, &folder(&pictures), PICTURES, "");
    let ended = up(&lab, 1, "run", &["--set", "steps=2"]).succeeds();
    let text = "the data set has 32 records; left out are 64 pictures in formats that are not read (`000.bmp`, `000.tif`, \
                `001.bmp`, …): convert them to JPEG, PNG or WebP";
    ended.expect_err(&[text]);
}

/// The promise to the data: whatever dies, each record is consumed once an epoch, as the journal shows.
#[test]
fn killed_in_the_middle_of_an_epoch_and_resumed_each_shard_is_consumed_exactly_once() {
    let lab = Lab::new();
    let idx = subset(&lab, 403);
    run_file(&lab, &format!("{{ idx: {{ images: {} }} }}", idx.display()), PICTURES, "");
    let steps = ["--set", "steps=200"];
    up(&lab, 1, "whole", &steps).succeeds();

    let mut run = up(&lab, 3, "run", &steps);
    let client = lab.client(&mut run);
    let first = random_step();
    client.wait_for_step(first);
    send(children_named(run.id(), "worker")[0], Signal::SIGKILL);
    client.wait_for_step(first + 30);
    let mut all: Vec<_> = children_of(run.id()).iter().map(|seen| seen.id).collect();
    all.insert(0, run.id());
    for id in all {
        send(id, Signal::SIGKILL);
    }
    run.wait();
    up(&lab, 2, "run", &steps).succeeds().expect_err(&["from the snapshot of step"]);
    assert_eq!(Weights::of(&lab.run_dir()), Weights::of(&lab.path("whole")));

    // 403 records are 100 shards of 4 and one of 3; 200 steps of 12 are 2,400 records: almost six epochs.
    let journal = lab.journal();
    for epoch in 0..5 {
        let shards = format!("select count(*) from completions where epoch = {epoch}");
        let distinct = format!("select count(distinct shard) from completions where epoch = {epoch}");
        assert_eq!((journal.number(&shards), journal.number(&distinct)), (101, 101), "epoch {epoch}");
    }
    let same = "select count(*) from completions";
    let whole = Journal::open(&lab.path("whole"));
    assert_eq!(journal.number(same), whole.number(same));
}

/// The first pictures of Fashion-MNIST's test set, as a file of their own.
fn subset(lab: &Lab, count: u32) -> PathBuf {
    let whole = pictures();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(fs::File::open(whole).expect("it is in the repository")),
        &mut bytes,
    )
    .expect("it is whole");
    bytes.truncate(16 + count as usize * 28 * 28);
    bytes[4..8].copy_from_slice(&count.to_be_bytes());
    let path = lab.path("subset-idx3-ubyte");
    fs::write(&path, bytes).expect("a file can be written there");
    path
}

/// Data is leased in whole positions and consumed in groups of `data.mix`: the shortest lease still has to reach the end
/// of a step, or the run would wait for ever.
#[test]
fn the_shortest_lease_reaches_as_far_as_the_largest_steps_need() {
    let lab = Lab::new();
    let source = format!("{{ idx: {{ images: {} }} }}", subset(&lab, 403).display());
    run_file(&lab, &source, PICTURES, "");
    // Groups of nine records and batches of four: a step in the middle needs two groups.
    let mixed = ["--set", "data.mix=3", "--set", "data.shard_records=3"];
    up(&lab, 1, "far", &mixed).succeeds();
    let short = [&mixed[..], &["--set", "cluster.lease_horizon_steps=1"]].concat();
    up(&lab, 2, "short", &short).succeeds();
    assert_eq!(Weights::of(&lab.path("short")), Weights::of(&lab.path("far")));
}
