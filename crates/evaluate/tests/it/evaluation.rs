//! Snapshots scored: the same bits whatever computes, and what they depend on.

use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;

use lsgan_data::{RecordError, SampleShape, source};
use lsgan_evaluate::evaluation::{Progress, REAL_MAX};
use lsgan_evaluate::kept::{self, Kept};
use lsgan_evaluate::{Choice, EvaluateError, Evaluation, Plan, Resize, npz};
use lsgan_metrics::{MetricError, Score, Set, Statistics, fid};
use lsgan_spec::{DataSpec, IdxSource, Metric, Part, RunSpec, Source};
use lsgan_train::Replica;
use lsgan_train::rehearsal::runs::{small_dcgan, small_mlp};

use crate::common::{fixtures, floats, tensor};

type Data = Box<dyn lsgan_data::Source>;

/// A run on the quickstart's pictures.
fn spec() -> RunSpec {
    let images = "../../datasets/fashion-mnist/t10k-images-idx3-ubyte.gz";
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join(images);
    let mut spec = small_dcgan();
    spec.data = DataSpec::of(Source::Idx(IdxSource::of(images)), spec.data.image.clone());
    spec
}

fn plan(metrics: &[Metric], threads: usize) -> Plan {
    Plan {
        metrics: metrics.to_vec(),
        samples: 150,
        real_max: 200,
        extractor: Choice::Clothes,
        resize: Resize::Antialiased,
        reference: None,
        threads: NonZero::new(threads).unwrap(),
    }
}

fn generator(spec: &RunSpec) -> Part {
    let parts = Replica::builder(spec).build().unwrap().export();
    parts.into_iter().find(|part| part.name == "generator").unwrap()
}

fn open(spec: &RunSpec) -> Result<Data, EvaluateError> {
    Ok(lsgan_data::open(&spec.data, spec.seed).unwrap())
}

fn evaluate(spec: &RunSpec, plan: Plan, kept: &Kept) -> Result<Vec<Score>, EvaluateError> {
    let evaluation = Evaluation::new(spec, plan, || open(spec), kept, &|_| ())?;
    evaluation.score(&generator(spec), &|_| ())
}

const ALL: [Metric; 6] =
    [Metric::Kid, Metric::Fid, Metric::Precision, Metric::Recall, Metric::Density, Metric::Coverage];

#[test]
fn any_number_of_threads_gives_the_same_bits_and_so_do_features_that_were_kept() {
    let (spec, dir) = (spec(), tempfile::tempdir().unwrap());
    let bits = |scores: Vec<Score>| -> Vec<_> {
        scores.iter().map(|score| (score.metric, score.value.to_bits())).collect()
    };
    let nowhere = |name: &str| Kept::at(&dir.path().join(name));
    let one = bits(evaluate(&spec, plan(&ALL, 1), &nowhere("1")).unwrap());
    assert_eq!(one.iter().map(|(metric, _)| *metric).collect::<Vec<_>>(), ALL);
    for threads in [2, 5] {
        let kept = nowhere(&threads.to_string());
        assert_eq!(bits(evaluate(&spec, plan(&ALL, threads), &kept).unwrap()), one, "{threads} threads");
    }
    assert_eq!(bits(evaluate(&spec, plan(&ALL, 2), &nowhere("1")).unwrap()), one, "kept");
}

/// What is kept is not computed again, and a file that is not whole is.
#[test]
fn features_of_real_samples_are_kept_and_a_damaged_file_is_not_believed() {
    let (spec, dir) = (spec(), tempfile::tempdir().unwrap());
    let kept = Kept::at(dir.path());
    let seen = |kept: &Kept| {
        let seen = Mutex::new(0);
        let told = |progress| {
            if let Progress::Real(done, total) = progress {
                assert!(done <= total && total == 200);
                *seen.lock().unwrap() += 1;
            }
        };
        let open = || open(&spec);
        let evaluation = Evaluation::new(&spec, plan(&[Metric::Kid], 1), open, kept, &told).unwrap();
        assert_eq!(evaluation.reference().unwrap().statistics.samples, Some(200));
        *seen.lock().unwrap()
    };
    assert_eq!((seen(&kept), seen(&kept)), (4, 0), "chunks of 64");
    let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!((seen(&kept), seen(&kept)), (4, 0));
    std::fs::write(&file, &bytes[..100]).unwrap();
    assert_eq!((seen(&kept), seen(&kept)), (4, 0));
}

#[test]
fn another_transform_extractor_or_number_of_samples_is_kept_apart() {
    let spec = spec();
    let data = open(&spec).unwrap();
    let clothes = Choice::Clothes.open(Resize::Antialiased).unwrap();
    let legacy = Choice::Clothes.open(Resize::Legacy).unwrap();
    let tiny = Choice::TorchScript(fixtures().join("tiny.pt")).open(Resize::Antialiased).unwrap();
    let mut other = spec.data.clone();
    other.image.as_mut().unwrap().fit = lsgan_spec::Fit::Squash;
    let mut keys = vec![
        kept::key(&*data, &spec.data, 100, &*clothes),
        kept::key(&*data, &spec.data, 101, &*clothes),
        kept::key(&*data, &spec.data, 100, &*legacy),
        kept::key(&*data, &spec.data, 100, &*tiny),
        kept::key(&*data, &other, 100, &*clothes),
    ];
    assert_eq!(keys[0], kept::key(&*data, &spec.data, 100, &*clothes));
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
}

/// One half of the records against the other is near; a generator that knows nothing is far.
#[test]
fn an_untrained_generator_is_far_from_what_it_is_to_learn() {
    let (spec, dir) = (spec(), tempfile::tempdir().unwrap());
    let metrics = [Metric::Fid, Metric::Kid, Metric::Precision, Metric::Coverage];
    let plan = Plan { samples: 300, real_max: 600, ..plan(&metrics, 2) };
    let found = evaluate(&spec, plan, &Kept::at(dir.path())).unwrap();
    let value = |metric| found.iter().find(|score| score.metric == metric).unwrap().value;
    assert!(value(Metric::Kid) > 0.1 && value(Metric::Fid) > 1.0, "{found:?}");
    assert!(value(Metric::Precision) < 0.05 && value(Metric::Coverage) < 0.05, "{found:?}");
}

#[test]
fn points_are_scored_by_the_modes_of_their_mixture() {
    let spec = small_mlp();
    let metrics = [Metric::HighQuality, Metric::Modes, Metric::ModesKde];
    let evaluation =
        Evaluation::new(&spec, plan(&metrics, 1), || open(&spec), &Kept::in_cache(), &|_| ()).unwrap();
    assert!(evaluation.extractor().is_none() && evaluation.reference().is_none());
    let found = evaluation.score(&generator(&spec), &|_| ()).unwrap();
    assert_eq!(found.iter().map(|score| score.metric).collect::<Vec<_>>(), metrics);
    assert!(found[0].value < 0.2 && found[1].value <= 8.0 && found[2].value <= 8.0, "{found:?}");
    let refused = evaluate(&spec, plan(&[Metric::Fid], 1), &Kept::in_cache());
    assert!(matches!(refused, Err(EvaluateError::Metric(MetricError::OtherSubject { .. }))));
}

/// The quickstart's records, of which every third does not decode.
struct Torn(Data);

impl lsgan_data::Source for Torn {
    fn kind(&self) -> &'static str {
        "torn"
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn sample_shape(&self) -> SampleShape {
        self.0.sample_shape()
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        match record % 3 {
            0 => Err(RecordError::Undecodable {
                kind: "torn",
                key: record.to_string(),
                reason: "a test".into(),
            }),
            1 if record > 9990 => {
                Err(RecordError::Lost { kind: "torn", key: record.to_string(), reason: "a test".into() })
            }
            _ => self.0.read(record, out),
        }
    }

    fn fingerprint(&self) -> source::Fingerprint {
        blake3::hash(b"torn")
    }
}

#[test]
fn records_that_do_not_decode_are_left_out_and_said_and_lost_ones_end_it() {
    let (spec, dir) = (spec(), tempfile::tempdir().unwrap());
    let torn = || -> Result<Data, EvaluateError> { Ok(Box::new(Torn(open(&spec)?))) };
    let with = |real_max| {
        let plan = Plan { real_max, ..plan(&[Metric::Kid], 2) };
        Evaluation::new(&spec, plan, torn, &Kept::at(dir.path()), &|_| ())
    };
    // The records are 0, 50, 100 …: of three in a row, one is a multiple of three.
    let evaluation = with(200).unwrap();
    let reference = evaluation.reference().unwrap();
    assert_eq!((reference.left_out, reference.statistics.samples), (67, Some(133)));
    assert_eq!(evaluation.warnings(), ["67 real pictures do not decode and are left out"]);
    let refused = with(REAL_MAX).err().expect("a record is lost");
    assert!(matches!(refused, EvaluateError::Record(RecordError::Lost { .. })), "{refused}");
}

#[test]
fn fid_of_few_samples_is_warned_of() {
    let (spec, dir) = (spec(), tempfile::tempdir().unwrap());
    let warnings = |samples, metrics: &[Metric]| {
        let plan = Plan { samples, ..plan(metrics, 1) };
        Evaluation::new(&spec, plan, || open(&spec), &Kept::at(dir.path()), &|_| ()).unwrap().warnings()
    };
    assert!(
        matches!(&warnings(127, &[Metric::Fid])[..], [text] if text.contains("fid of 127 samples with 128"))
    );
    assert!(warnings(127, &[Metric::Kid]).is_empty() && warnings(128, &[Metric::Fid]).is_empty());
}

/// numpy wrote them, compressed for clean-fid and not for pytorch-fid; what is written here is read back to the same bits.
#[test]
fn statistics_are_read_from_numpys_files_and_written_as_such() {
    let features = floats("statistics.safetensors", "features");
    let of_features = Statistics::of(&Set::new("real", 6, features).unwrap());
    let (_, mean) = tensor("statistics.safetensors", "mu");
    let mean: Vec<f64> = mean.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    for name in ["clean-fid.npz", "pytorch-fid.npz"] {
        let found = npz::read(&fixtures().join(name)).unwrap();
        assert_eq!((found.samples, found.mean()), (None, &mean[..]), "{name}");
        // The features were rounded to f32 after these statistics were taken.
        let distance = fid::fid(&found, &of_features).unwrap();
        assert!(distance.abs() < 1e-9, "{name}: {distance}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.npz");
    npz::write(&path, &of_features).unwrap();
    let again = npz::read(&path).unwrap();
    assert_eq!(again.samples, Some(40));
    assert_eq!((again.mean(), again.covariance()), (of_features.mean(), of_features.covariance()));
}

#[test]
fn a_file_of_other_arrays_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.npz");
    let refused = |path: &Path| npz::read(path).err().expect("it is none").to_string();
    std::fs::write(&path, "text").unwrap();
    assert!(refused(&path).contains("other.npz: ") && refused(&path).contains("`mu` [features]"));
    let one = tch::Tensor::from_slice(&[1.0_f64, 2.0]);
    tch::Tensor::write_npz(&[("mu", &one), ("sigma", &one)], &path).unwrap();
    assert!(refused(&path).contains("`mu` is [2] and `sigma` is [2]"), "{}", refused(&path));
    tch::Tensor::write_npz(&[("feats", &one)], &path).unwrap();
    assert!(refused(&path).contains("it has no `mu`"));
}

#[test]
fn a_file_of_statistics_takes_the_place_of_real_samples_for_fid() {
    let (spec, dir) = (spec(), tempfile::tempdir().unwrap());
    let kept = Kept::at(dir.path());
    let evaluation = Evaluation::new(&spec, plan(&[Metric::Fid], 1), || open(&spec), &kept, &|_| ()).unwrap();
    let file = dir.path().join("reference.npz");
    npz::write(&file, &evaluation.reference().unwrap().statistics).unwrap();
    let wanted = evaluation.score(&generator(&spec), &|_| ()).unwrap();
    let never = || -> Result<Data, EvaluateError> { panic!("no real sample is needed") };
    let plan = Plan { reference: Some(file), ..plan(&[Metric::Fid], 1) };
    let of_file = Evaluation::new(&spec, plan, never, &kept, &|_| ()).unwrap();
    assert_eq!(of_file.score(&generator(&spec), &|_| ()).unwrap(), wanted);
}
