//! What `lsgan sample`, `timelapse` and `nearest` make of a run, as files that other programs read.

use std::fs;
use std::io::BufReader;
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder as _, DynamicImage, Frame};
use lsgan_snapshots::{Part, TensorData, parse_part};
use lsgan_tests::binaries::root;
use lsgan_tests::{Lab, Weights};
use serde_json::{Map, Value, json};

fn opened(path: &Path) -> DynamicImage {
    image::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn file(path: &Path) -> BufReader<fs::File> {
    BufReader::new(fs::File::open(path).expect("it was written"))
}

fn frames(path: &Path) -> Vec<Frame> {
    let animated = PngDecoder::new(file(path)).expect("it is a PNG").apng().expect("it is animated");
    animated.into_frames().collect_frames().expect("it is whole")
}

fn webp_frames(path: &Path) -> Vec<Frame> {
    let animated = WebPDecoder::new(file(path)).expect("it is a WebP");
    animated.into_frames().collect_frames().expect("it is whole")
}

/// The same pictures for the same times.
fn assert_same(some: &[Frame], others: &[Frame]) {
    assert_eq!(some.len(), others.len());
    for (one, other) in some.iter().zip(others) {
        assert_eq!(one.delay().numer_denom_ms(), other.delay().numer_denom_ms());
        assert!(one.buffer() == other.buffer());
    }
}

#[test]
fn single_samples_are_those_of_the_grid_with_their_own_size_and_channels() {
    let lab = Lab::finished();
    let run = lab.run_dir().display().to_string();
    lab.lsgan(["sample", "--run", &run, "--count", "4", "--out", "grid.png"]).succeeds();
    lab.lsgan(["sample", "--run", &run, "--count", "70", "--singles", "many"])
        .succeeds()
        .expect_out(&["many: 70 samples of generator_ema at step 30"]);
    let mut names: Vec<_> =
        fs::read_dir(lab.path("many")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!((names.len(), names[69].to_str()), (70, Some("000069.png")));
    let grid = opened(&lab.path("grid.png")).into_luma8();
    for at in 0..4 {
        let single = opened(&lab.path(&format!("many/{at:06}.png")));
        assert_eq!((single.color(), single.width(), single.height()), (image::ColorType::L8, 32, 32));
        // Two pixels of frame and between two.
        let (left, top) = (2 + at % 2 * 34, 2 + at / 2 * 34);
        let cut = image::imageops::crop_imm(&grid, left, top, 32, 32).to_image();
        assert!(cut == single.into_luma8(), "sample {at}");
    }
    lab.lsgan(["sample", "--run", &run, "--singles", "many"])
        .fails(2, &["--singles many: it is not empty, and nothing in it is overwritten"]);
    lab.lsgan(["sample", "--run", &run]).fails(2, &["--out <FILE.png>"]);
    lab.lsgan(["sample", "--run", &run, "--count", "5000", "--out", "x.png"])
        .fails(2, &["--count 5000: a grid has at most 4096", "--singles DIR"]);
}

#[test]
fn another_seed_and_truncated_noise_make_other_samples_the_same_every_time() {
    let lab = Lab::finished();
    let run = lab.run_dir().display().to_string();
    let made = |name: &str, more: &[&str]| {
        let arguments = [&["sample", "--run", &run, "--count", "4", "--out", name], more].concat();
        lab.lsgan(arguments).succeeds();
        fs::read(lab.path(name)).expect("it was written")
    };
    let own = made("own.png", &[]);
    let other = made("other.png", &["--seed", "77"]);
    let truncated = made("truncated.png", &["--truncation", "0.5"]);
    assert!(own != other && own != truncated && other != truncated);
    assert!(made("again.png", &["--seed", "77"]) == other);
    assert!(made("wide.png", &["--truncation", "10"]) == own, "no number lies beyond 10");
    lab.lsgan(["sample", "--run", &run, "--out", "x.png", "--truncation", "0"])
        .fails(2, &["--truncation <LIMIT>", "a number, 0.01 to 10"]);
}

#[test]
fn an_animation_goes_through_all_samples_and_a_timelapse_through_the_runs_pictures() {
    let lab = Lab::new();
    lab.up(1, &["--set", "steps=30", "--set", "samples.every=10", "--set", "samples.grid=3x2"]).succeeds();
    let run = lab.run_dir().display().to_string();
    for out in ["walk.png", "walk.webp"] {
        let walk =
            ["sample", "--run", &run, "--count", "3", "--interpolate", "5", "--fps", "10", "--out", out];
        lab.lsgan(walk).succeeds();
    }
    let walk = frames(&lab.path("walk.png"));
    assert_same(&walk, &webp_frames(&lab.path("walk.webp")));
    assert_eq!(walk.len(), 15);
    lab.lsgan(["sample", "--run", &run, "--count", "3", "--singles", "keys"]).succeeds();
    for (at, frame) in walk.iter().step_by(5).enumerate() {
        assert_eq!(frame.delay().numer_denom_ms(), (100, 1));
        let key = opened(&lab.path(&format!("keys/{at:06}.png"))).into_rgba8();
        let shown = image::imageops::crop_imm(frame.buffer(), 2, 2, 32, 32).to_image();
        assert!(shown == key, "every fifth frame is a sample");
    }

    lab.lsgan(["timelapse", "--run", &run, "--out", "lapse.png"])
        .succeeds()
        .expect_out(&["lapse.png: 3 pictures"]);
    let lapse = frames(&lab.path("lapse.png"));
    for (step, frame) in [10, 20, 30].into_iter().zip(&lapse) {
        let picture = opened(&lab.run_dir().join(format!("samples/step-{step:010}.png"))).into_rgba8();
        assert!(*frame.buffer() == picture, "step {step}");
    }
    lab.lsgan(["timelapse", "--run", &run, "--out", "lapse.webp"])
        .succeeds()
        .expect_out(&["lapse.webp: 3 pictures"]);
    assert_same(&lapse, &webp_frames(&lab.path("lapse.webp")));
    lab.lsgan(["timelapse", "--run", &run, "--out", "lapse.gif"])
        .fails(2, &["--out lapse.gif: animations are written as PNG or WebP", "lapse.webp"]);
    lab.lsgan(["sample", "--run", &run, "--out", "grid.webp"]).fails(2, &["pictures are written as PNG"]);
    // One that is no picture, and one of another grid.
    fs::write(lab.run_dir().join("samples/step-0000000005.png"), "no picture").unwrap();
    fs::copy(lab.path("keys/000000.png"), lab.run_dir().join("samples/step-0000000006.png")).unwrap();
    let told = lab.lsgan(["timelapse", "--run", &run, "--out", "lapse.png", "--json"]).succeeds();
    let told = told.expect_err(&["step-0000000005.png is left out", "1 pictures are left out"]);
    assert_eq!((&told.json()["frames"], &told.json()["left_out"]), (&3.into(), &1.into()));
    fs::create_dir(lab.path("empty")).unwrap();
    lab.lsgan(["timelapse", "--run", "empty", "--out", "x.png"])
        .fails(1, &["holds no pictures", "samples.every"]);
    lab.lsgan(["timelapse", "--run", "s3://bucket/run", "--out", "x.png"])
        .fails(2, &["--run s3://bucket/run: a bucket has a run's snapshots", "runs/NAME", "--run-dir"]);
    let url = format!("file://{run}");
    lab.lsgan(["timelapse", "--run", &url, "--out", "url.png"])
        .succeeds()
        .expect_out(&["url.png: 3 pictures"]);
}

#[test]
fn samples_are_shown_beside_the_training_pictures_that_are_most_like_them() {
    let lab = Lab::finished();
    let run = lab.run_dir().display().to_string();
    let arguments = ["nearest", "--run", &run, "--count", "3", "--neighbours", "2", "--real", "500", "--out"];
    let told = lab.lsgan([&arguments[..], &["near.png", "--json"]].concat()).succeeds().json();
    let rows = told["samples"].as_array().expect("a row for each sample");
    assert_eq!(rows.len(), 3);
    for row in rows {
        let [first, second] = [0, 1].map(|at| row[at]["distance"].as_f64().expect("a distance"));
        assert!(0.0 < first && first <= second, "{row}");
        assert!(row[0]["record"].as_u64().is_some_and(|record| record < 10_000));
    }
    let picture = opened(&lab.path("near.png"));
    assert_eq!((picture.width(), picture.height()), (2 + 3 * 34, 2 + 3 * 34));
    lab.lsgan([&arguments[..], &["near.png"]].concat())
        .succeeds()
        .expect_out(&["nearest records", "near.png: 3 samples"]);
    // Their first column has the samples that `lsgan sample` makes with the same noise.
    for (name, noise) in [("seed", ["--seed", "77"]), ("truncation", ["--truncation", "0.5"])] {
        let (near, single) = (format!("{name}.png"), format!("{name}s"));
        lab.lsgan([&arguments[..], &[near.as_str()], &noise].concat()).succeeds();
        let one = ["sample", "--run", &run, "--count", "1", "--singles", &single];
        lab.lsgan([&one[..], &noise].concat()).succeeds();
        let rows = opened(&lab.path(&near)).into_luma8();
        let first = image::imageops::crop_imm(&rows, 2, 2, 32, 32).to_image();
        assert!(first == opened(&lab.path(&format!("{single}/000000.png"))).into_luma8(), "{name}");
    }
}

/// The weights of a run, in another run on other data: its first samples are those of the old one.
#[test]
fn a_run_begins_with_the_weights_that_were_imported() {
    let lab = Lab::finished();
    let weights = |name: &str| lab.run_dir().join(format!("final/{name}.safetensors")).display().to_string();
    let (generator, discriminator) = (weights("generator"), weights("discriminator"));
    let to = format!("checkpoint.to={}", lab.path("next").display());
    let more = ["--set", "data.image.flip=random", "--set", &to, "--set", "steps=10"];
    let import = |more: &[&str]| {
        let run = lab.run_arguments(more);
        lab.lsgan(std::iter::once("import".to_owned()).chain(run))
    };
    let both = [&more[..], &["--generator", &generator, "--discriminator", &discriminator]].concat();
    import(&both).succeeds().expect_out(&["has a snapshot of step 0 with these weights"]);
    import(&both).fails(2, &["holds a run already"]);

    let picture = |run: &str, name: &str| {
        lab.lsgan(["sample", "--run", run, "--weights", "raw", "--count", "4", "--out", name]).succeeds();
        fs::read(lab.path(name)).expect("it was written")
    };
    let (old, new) = (lab.run_dir().display().to_string(), lab.path("next").display().to_string());
    assert!(picture(&old, "old.png") == picture(&new, "new.png"));
    lab.up(1, &more).succeeds().expect_err(&["snapshot of step 0"]);
    assert!(picture(&new, "trained.png") != picture(&old, "old.png"));

    let to = format!("checkpoint.to={}", lab.path("other").display());
    let other = ["--set", &to, "--generator", &generator, "--set", "model.generator.dcgan.width=4"];
    import(&other).fails(2, &["generator.safetensors: ", "generator: main.0.weight is [16, 32, 4, 4]"]);
}

/// A safetensors file with the numbers of a part, each of which `bytes_of` writes as this type.
fn safetensors(part: &Part, dtype: &str, bytes_of: impl Fn(f32) -> Vec<u8>) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), vec![]);
    for tensor in &part.tensors {
        let TensorData::F32(numbers) = &tensor.data else { continue };
        let begin = data.len();
        data.extend(numbers.iter().flat_map(|number| bytes_of(*number)));
        let offsets = [begin, data.len()];
        let about = json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": offsets });
        header.insert(tensor.name.clone(), about);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data.as_slice()].concat()
}

/// The upper half of an f32 is a bf16, whose value is that of the f32 without the lower half.
#[test]
fn weights_in_bf16_are_imported_as_the_f32_of_their_values() {
    let lab = Lab::finished();
    let weights = fs::read(lab.run_dir().join("final/generator.safetensors")).expect("it was written");
    let weights = parse_part("generator", &weights, "generator.safetensors").expect("it is a part");
    let short = safetensors(&weights, "BF16", |number| number.to_le_bytes()[2..].to_vec());
    let long = safetensors(&weights, "F32", |number| {
        let [.., third, fourth] = number.to_le_bytes();
        vec![0, 0, third, fourth]
    });
    let pictures = [("bf16", short), ("f32", long)].map(|(name, file)| {
        let path = lab.path(&format!("{name}.safetensors"));
        fs::write(&path, file).expect("there is room");
        let to = format!("checkpoint.to={}", lab.path(name).display());
        let (path, run) = (path.display().to_string(), lab.path(name).display().to_string());
        let arguments = lab.run_arguments(&["--set", &to, "--generator", &path]);
        lab.lsgan(std::iter::once("import".to_owned()).chain(arguments)).succeeds();
        let out = format!("{name}.png");
        lab.lsgan(["sample", "--run", &run, "--weights", "raw", "--count", "4", "--out", &out]).succeeds();
        fs::read(lab.path(&out)).expect("it was written")
    });
    assert!(pictures[0] == pictures[1]);
}

/// Classes of clothes: whatever number of workers learns them, the weights are the same; and each class has samples of its own.
#[test]
fn a_conditional_run_has_the_same_weights_on_two_workers_and_samples_of_each_class() {
    let lab = Lab::new();
    let labels = root().join("datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz");
    let labels = format!("data.source.idx.labels={}", labels.display());
    let run = |workers: u32, name: &str, more: &[&str]| {
        let to = format!("checkpoint.to={}", lab.path(name).display());
        let sets = ["steps=20", "model.classes={count: 10, embedding: 8}", "samples.every=0", &to];
        let sets: Vec<_> = sets.iter().chain(more).flat_map(|set| ["--set", set]).collect();
        lab.up(workers, &sets)
    };
    run(1, "one", &[&labels]).succeeds();
    run(2, "two", &[&labels]).succeeds();
    assert_eq!(Weights::of(&lab.path("one")), Weights::of(&lab.path("two")));
    run(1, "none", &[])
        .fails(2, &["has no class, and model.classes.count is 10", "a file of labels for idx"]);
    run(1, "few", &[&labels, "model.classes.count=5"])
        .fails(2, &["is of class ", "model.classes.count is 5"]);

    let one = lab.path("one").display().to_string();
    let made = |name: &str, more: &[&str]| {
        lab.lsgan([&["sample", "--run", &one, "--count", "20", "--out", name], more].concat()).succeeds();
        fs::read(lab.path(name)).expect("it was written")
    };
    let (all, third) = (made("all.png", &[]), made("third.png", &["--class", "3"]));
    assert!(all != third && third != made("fourth.png", &["--class", "4"]));
    lab.lsgan(["sample", "--run", &one, "--class", "10", "--out", "x.png"]).fails(2, &["the classes 0 to 9"]);

    let near = ["nearest", "--run", &one, "--count", "2", "--real", "200", "--json", "--class"];
    let near = |class: &str, name: &str| lab.lsgan([&near[..], &[class, "--out", name]].concat());
    near("3", "near.png").succeeds();
    near("10", "x.png").fails(2, &["the classes 0 to 9"]);
}
