//! A data set that is truncated, changed or removed: before the start it is refused, during a run it is an error.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgan_data::file_kind::FileKind;
use lsgan_data::{
    DataError, Leases, Loader, LoaderError, LoaderOptions, OpenOptions, RecordError, Source, open, open_with,
};
use lsgan_plan::{Geometry, Plan};
use lsgan_spec::{DataSpec, Step, VirtualRank};

use crate::common::{fixture, folder, lsun, opened, refused, shards, within_deadline};

/// A copy of a fixture, to be damaged.
fn copied(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join(name);
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    (dir, to)
}

fn cut(path: &Path, len_bytes: u64) {
    File::options().write(true).open(path).unwrap().set_len(len_bytes).unwrap();
}

fn read_all(source: &dyn Source) -> Vec<Result<(), RecordError>> {
    let mut sample = vec![0.0; source.sample_len()];
    (0..source.len()).map(|record| source.read(record, &mut sample)).collect()
}

/// Reads the records: all are lost, with a reason that contains `reason`.
#[track_caller]
fn assert_lost(source: &dyn Source, records: impl IntoIterator<Item = u64>, reason: &str) {
    let outcomes = read_all(source);
    for record in records {
        match &outcomes[record as usize] {
            Err(RecordError::Lost { reason: found, .. }) => assert!(found.contains(reason), "{found}"),
            other => panic!("record {record}: {other:?}"),
        }
    }
}

/// SIGBUS would kill this test if the file were memory-mapped.
#[test]
fn an_lmdb_file_that_is_cut_off_under_the_run_is_an_error_of_the_loader_and_no_crash() {
    let (_dir, path) = copied("lsun_lmdb");
    let source: Arc<dyn Source> = opened(&lsun(&path)).into();
    let undecodable = read_all(&*source).iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(undecodable, 2);

    let plan = Plan::new(1, Geometry::new(source.len(), 16, 1, 4).unwrap());
    let leases = Arc::new(Leases::new());
    leases.grant(VirtualRank(0), u64::MAX);
    let options = LoaderOptions {
        ranks: vec![VirtualRank(0)],
        from: Step(0),
        threads: 2,
        depth_steps: 2,
        classes: false,
    };
    let mut loader = Loader::start(Arc::clone(&source), plan, leases, options).unwrap();
    loader.next().unwrap();
    cut(&path.join("data.mdb"), 3 * 4096);
    let error = within_deadline("the error", move || {
        loop {
            if let Err(error) = loader.next() {
                return error;
            }
        }
    });
    let LoaderError::Lost(RecordError::Lost { reason, .. }) = &error else { panic!("{error}") };
    assert!(reason.contains("bytes and now has 12288"), "{reason}");
    assert_lost(&*source, 0..source.len(), "data.mdb had ");
}

#[test]
fn a_file_that_is_written_to_is_lost_and_one_that_is_unlinked_is_read_to_the_end() {
    let (_dir, path) = copied("lsun_lmdb");
    let source = opened(&lsun(&path));
    let before = read_all(&*source);
    fs::remove_file(path.join("data.mdb")).unwrap();
    assert_eq!(read_all(&*source), before, "the open file is still there");

    let (_dir, path) = copied("lsun_lmdb");
    let source = opened(&lsun(&path));
    let file = File::options().append(true).open(path.join("data.mdb")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_lost(&*source, 0..source.len(), "was written to");
}

#[test]
fn a_shard_that_is_cut_off_or_gone_is_lost_and_the_others_are_read() {
    let (_dir, path) = copied("shards");
    let pattern = path.join("train-{000000..000001}.tar").display().to_string();
    let source = opened(&shards(&pattern));
    assert!(read_all(&*source).iter().all(Result::is_ok));
    cut(&path.join("train-000001.tar"), 700);
    assert_lost(&*source, 12..20, "the file was written to; it had 30720 bytes and now has 700");
    assert!(read_all(&*source)[..12].iter().all(Result::is_ok));
    fs::remove_file(path.join("train-000000.tar")).unwrap();
    assert_lost(&*source, 0..12, "No such file");
}

#[test]
fn an_object_that_changed_or_is_gone_is_lost() {
    let (_dir, path) = copied("shards");
    let pattern = format!("file://{}/train-{{000000..000001}}.tar", path.display());
    let source = opened(&shards(&pattern));
    assert!(read_all(&*source).iter().all(Result::is_ok));
    cut(&path.join("train-000001.tar"), 700);
    fs::remove_file(path.join("train-000000.tar")).unwrap();
    assert_lost(&*source, 0..20, "");
}

#[test]
fn a_picture_that_changed_its_length_or_is_gone_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::copy(fixture("odd/colour.jpg"), dir.path().join(name)).unwrap();
    }
    let source = opened(&folder(dir.path()));
    assert!(read_all(&*source).iter().all(Result::is_ok));
    cut(&dir.path().join("b"), 100);
    fs::remove_file(dir.path().join("c")).unwrap();
    assert_eq!(read_all(&*source)[0], Ok(()));
    assert_lost(&*source, [1], "another length");
    assert_lost(&*source, [2], "No such file");
}

#[test]
fn an_lmdb_file_that_was_cut_off_before_is_refused_with_its_page() {
    let (_dir, path) = copied("lsun_lmdb");
    let file = path.join("data.mdb");
    let whole = fs::read(&file).unwrap();
    for len_bytes in (4096 * 2..whole.len()).step_by(4096) {
        fs::write(&file, &whole[..len_bytes]).unwrap();
        // If only free pages are missing, the records are complete.
        match open(&lsun(&path), 1) {
            Ok(source) => assert_eq!(read_all(&*source).iter().filter(|it| it.is_err()).count(), 2),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("the LMDB file is damaged: page "), "{text}");
                assert!(["cut off", "ends before"].iter().any(|words| text.contains(words)), "{text}");
            }
        }
    }
    fs::write(&file, &whole[..4100]).unwrap();
    assert!(refused(&lsun(&path)).to_string().contains("this is not an LMDB file"));
    fs::write(&file, b"").unwrap();
    assert!(matches!(refused(&lsun(&path)), DataError::OtherKind { found: FileKind::Empty, .. }));
}

/// Flips bytes of all pages: an error or records, never a panic or an endless walk.
#[test]
fn a_damaged_lmdb_file_is_an_error_or_records_that_do_not_decode() {
    let (_dir, path) = copied("lsun_lmdb");
    let file = path.join("data.mdb");
    let whole = fs::read(&file).unwrap();
    let file = File::options().write(true).open(file).unwrap();
    for (at, byte) in whole.iter().enumerate().step_by(97) {
        file.write_all_at(&[!byte], at as u64).unwrap();
        if let Ok(source) = open(&lsun(&path), 1) {
            assert!(source.len() <= 90, "byte {at}");
            let mut sample = vec![0.0; source.sample_len()];
            (0..source.len()).step_by(11).for_each(|record| drop(source.read(record, &mut sample)));
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
}

#[test]
fn a_file_that_is_no_lmdb_no_tar_and_no_folder_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, vec![7; 20_000]).unwrap();
    let text = refused(&lsun(&file)).to_string();
    assert!(text.ends_with(
        "/file: this is not an LMDB file: its magic is 0x07070707 instead of 0xbeefc0de. Point \
         data.source.lsun.path at the folder with data.mdb in it, as LSUN is downloaded and unpacked."
    ));
    let text = refused(&lsun(dir.path())).to_string();
    let place = dir.path().display();
    assert!(text.starts_with(&format!("{place}: there is no data.mdb in this folder.")), "{text}");
    let text = refused(&shards(&file.display().to_string())).to_string();
    assert!(text.contains("this is not a whole tar file") && text.contains(", at byte 0. "), "{text}");
    assert!(matches!(refused(&folder(&dir.path().join("no"))), DataError::Missing { .. }));
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(refused(&folder(&empty)).to_string().contains("/empty: there are no pictures in it;"));
    let no_word = DataSpec { image: None, ..folder(&empty) };
    assert!(refused(&no_word).to_string().starts_with("data.image is missing; the source folder"));
}

#[test]
fn shards_that_are_missing_cut_off_or_not_to_be_reached_are_named() {
    let (_dir, path) = copied("shards");
    let pattern = path.join("train-{000000..000002}.tar").display().to_string();
    assert!(
        matches!(refused(&shards(&pattern)), DataError::Missing { path } if path.ends_with("train-000002.tar"))
    );
    let pattern = path.join("train-{000000..000001}.tar").display().to_string();
    // After a member, in a header, in a picture, in padding.
    for len_bytes in [3072, 3000, 1800, 700, 512, 100] {
        cut(&path.join("train-000001.tar"), len_bytes);
        let error = refused(&shards(&pattern));
        assert!(
            matches!(&error, DataError::Unusable { place, what } if place.ends_with("train-000001.tar")
                && what.starts_with("this is not a whole tar file")),
            "{len_bytes}: {error}"
        );
        fs::copy(fixture("shards/train-000001.tar"), path.join("train-000001.tar")).unwrap();
    }
    assert!(refused(&shards("a{b")).to_string().starts_with("data.source.webdataset.shards is `a{b`: "));
    let url = "file:///no/such/a.tar";
    assert!(matches!(refused(&shards(url)), DataError::Store { place, .. } if place == url));
    for url in [
        "gopher://host/a.tar",
        "gcs://bucket/a.tar",
        "gs://Bucket/a.tar",
        "s3://user:secret@bucket/a.tar",
        "s3://b/a.tar",
    ] {
        let error = refused(&shards(url));
        assert!(matches!(error, DataError::Objects(_)) && !error.to_string().contains("secret@"), "{error}");
    }
}

#[test]
fn an_lmdb_has_its_keys_in_order_and_nothing_is_written_into_its_folder() {
    let (_dir, path) = copied("lsun_lmdb");
    let source = opened(&lsun(&path));
    let listed = fs::read_to_string(fixture("lsun_lmdb.txt")).unwrap();
    let keys: Vec<_> = listed.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let found: Vec<_> = (0..source.len()).map(|record| source.key(record).unwrap()).collect();
    assert_eq!(found, keys);
    let undecodable = read_all(&*source)[7].clone().unwrap_err();
    assert!(matches!(&undecodable, RecordError::Undecodable { key, .. } if *key == keys[7]), "{undecodable}");
    let files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["data.mdb"], "no lock file, no index");
}

#[test]
fn classes_are_folders_and_cls_members() {
    let (_dir, path) = copied("shards");
    let pattern = path.join("train-{000000..000001}.tar").display().to_string();
    let source = opened(&shards(&pattern));
    let classes: Vec<_> = (0..20).map(|record| source.class(record)).collect();
    assert_eq!(classes, (0..20).map(|index| Some(index % 5)).collect::<Vec<_>>());
    let odd = opened(&shards(&path.join("odd-000000.tar").display().to_string()));
    let classes: Vec<_> = (0..6).map(|record| odd.class(record)).collect();
    assert_eq!(classes, [None, Some(3), None, None, None, None]);
    assert!(odd.key(1).unwrap().ends_with(&format!("odd-000000.tar: folder/{}.jpg", "long".repeat(40))));
}

/// An index gives the same data; an index of another state of the data is not used.
#[test]
fn an_index_opens_the_same_data_and_is_made_anew_when_they_changed() {
    let (dir, path) = copied("lsun_lmdb");
    let (_other, shard_path) = copied("shards");
    let pattern = shard_path.join("train-000000.tar").display().to_string();
    let folder_path = dir.path().join("folder");
    fs::create_dir_all(folder_path.join("class")).unwrap();
    fs::copy(fixture("odd/colour.jpg"), folder_path.join("class/a.jpg")).unwrap();
    let options = || OpenOptions { index_dir: Some(dir.path().join("indexes")), ..OpenOptions::new(1) };
    let look = |spec: &DataSpec| {
        let source = open_with(spec, &options()).unwrap();
        (
            source.len(),
            source.fingerprint(),
            read_all(&*source),
            source.class(0),
            source.class_names().to_vec(),
        )
    };
    let specs = [lsun(&path), shards(&pattern), folder(&folder_path)];
    let made: Vec<_> = specs.iter().map(look).collect();
    assert_eq!(fs::read_dir(dir.path().join("indexes")).unwrap().count(), 3);
    assert_eq!(specs.iter().map(look).collect::<Vec<_>>(), made);

    fs::copy(fixture("odd/grey.jpg"), folder_path.join("class/b.jpg")).unwrap();
    fs::copy(shard_path.join("train-000001.tar"), shard_path.join("train-000000.tar")).unwrap();
    cut(&path.join("data.mdb"), fs::metadata(path.join("data.mdb")).unwrap().len() + 4096);
    let changed: Vec<_> = specs.iter().map(look).collect();
    assert_eq!([changed[0].0, changed[1].0, changed[2].0], [90, 8, 2]);
    assert_eq!(changed[0].1, made[0].1, "bytes after the tree are no data");
    assert_ne!(changed[1].1, made[1].1);
    assert_ne!(changed[2].1, made[2].1);
}
