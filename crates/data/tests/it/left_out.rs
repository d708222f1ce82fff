//! What a source leaves out is counted and named, also from an index. A file that is no data set is named by its kind.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use lsgan_data::left_out::Reason;
use lsgan_data::{OpenOptions, Source, open_with};
use lsgan_spec::DataSpec;

use crate::common::{fixture, folder, gzipped, idx, lsun, opened, refused, shards};

fn picture() -> Vec<u8> {
    fs::read(fixture("odd/colour.jpg")).unwrap()
}

/// Reason, count and examples.
fn left_out(source: &dyn Source) -> Vec<(Reason, u64, Vec<String>)> {
    source.left_out().groups().map(|(reason, it)| (reason, it.count, it.examples.clone())).collect()
}

fn expected(rows: &[(Reason, &[&str])]) -> Vec<(Reason, u64, Vec<String>)> {
    let names = |names: &[&str]| names.iter().take(3).map(|&name| name.to_owned()).collect();
    rows.iter().map(|(reason, all)| (*reason, all.len() as u64, names(all))).collect()
}

#[test]
fn a_folder_reports_what_is_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let write = |name: &str, bytes: &[u8]| fs::write(at(name), bytes).unwrap();
    for sub in ["class", "class.jpg", ".cache"] {
        fs::create_dir(at(sub)).unwrap();
    }
    for name in ["a.jpg", "class/b.JPEG", "class.jpg/c", "d.bmp"] {
        write(name, &picture()); // d.bmp is a JPEG
    }
    write("damaged.png", b"");
    for name in ["1.bmp", "2.TIF", "3.heic", "class/4.gif"] {
        write(name, b"\x00\x01nothing");
    }
    write("5", b"GIF89a");
    write("README", b"words");
    write("labels.csv", b"a,b");
    write("empty", b"");
    write(".hidden", b"words");
    write(".hidden.jpg", &picture());
    write("._a.jpg", b"\0\x05\x16\x07 what macOS writes beside a.jpg");
    write(".cache/x.jpg", &picture());
    symlink("nowhere", at("link.jpg")).unwrap();
    symlink("itself", at("itself")).unwrap();
    symlink(".", at("around")).unwrap();
    symlink("a.jpg", at("class/linked.jpg")).unwrap(); // leads nowhere from there
    symlink("../a.jpg", at("class/good.jpg")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.jpg")).unwrap();

    let source = opened(&folder(dir.path()));
    let keys: Vec<_> = (0..source.len()).map(|record| source.key(record).unwrap()).collect();
    assert_eq!(keys, ["a.jpg", "class/b.JPEG", "class/good.jpg", "class.jpg/c", "d.bmp", "damaged.png"]);
    assert_eq!(
        left_out(&*source),
        expected(&[
            (Reason::OtherFormat, &["1.bmp", "2.TIF", "3.heic", "5", "class/4.gif"]),
            (Reason::HiddenPicture, &[".hidden.jpg"]),
            (Reason::BrokenLink, &["class/linked.jpg", "itself", "link.jpg"]),
            (Reason::NoPicture, &["README", "labels.csv"]),
            (Reason::EmptyFile, &["empty"]),
            (Reason::Hidden, &["._a.jpg", ".cache", ".hidden"]),
            (Reason::Special, &["socket.jpg"]),
            (Reason::Loop, &["around"]),
        ])
    );
}

/// A folder has the same fingerprint with and without files that are left out.
#[test]
fn the_fingerprint_ignores_what_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jpg"), picture()).unwrap();
    let before = opened(&folder(dir.path())).fingerprint();
    symlink("nowhere", dir.path().join("link.jpg")).unwrap();
    let lost = dir.path().join("lost+found");
    fs::create_dir(&lost).unwrap();
    fs::write(lost.join("found.jpg"), picture()).unwrap();
    fs::set_permissions(&lost, fs::Permissions::from_mode(0o700)).unwrap();
    // Only root's folder belongs to the file system; another user's is a class.
    let is_root = fs::metadata(&lost).is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let source = opened(&folder(dir.path()));
    assert_eq!(source.fingerprint() == before, is_root);
    if is_root {
        let rows = expected(&[(Reason::BrokenLink, &["link.jpg"]), (Reason::LostAndFound, &["lost+found"])]);
        assert_eq!(left_out(&*source), rows);
    }
}

/// A tar file; a name that begins with `->` is a link to the first member.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        match name.strip_prefix("->") {
            Some(name) => {
                header.set_size(0);
                header.set_entry_type(tar::EntryType::Link);
                tar.append_link(&mut header, name, members[0].0).unwrap();
            }
            None => tar.append_data(&mut header, name, *bytes).unwrap(),
        }
    }
    tar.into_inner().unwrap()
}

#[test]
fn tar_shards_report_what_is_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let jpeg = picture();
    let one = tar(&[
        ("photo.2020.01.0001.jpg", &jpeg),
        ("photo.2020.01.0002.jpg", &jpeg),
        ("photo.2020.01.0003.jpg", &jpeg),
        ("x.jpg", &jpeg),
        ("x.json", b"{}"),
        ("x.jpg", &jpeg),
        ("bitmap.bmp", b"BM"),
        ("bitmap.cls", b"3"),
        ("words.txt", b"words"),
        ("README", b"words"),
        ("._x.jpg", b"words"),
        ("nameless", &jpeg),
        ("->link.jpg", b""),
    ]);
    fs::write(dir.path().join("s-0.tar"), &one).unwrap();
    let two = [tar(&[("y.jpg", &jpeg)]), tar(&[("z.jpg", &jpeg), ("z.cls", b"1")]), tar(&[("w.png", &jpeg)])]
        .concat();
    fs::write(dir.path().join("s-1.tar"), two).unwrap();
    let pattern = dir.path().join("s-{0..1}.tar").display().to_string();
    let rows = expected(&[
        (Reason::OtherFormat, &["s-0.tar: bitmap.bmp"]),
        (
            Reason::FurtherPicture,
            &["s-0.tar: photo.2020.01.0002.jpg", "s-0.tar: photo.2020.01.0003.jpg", "s-0.tar: x.jpg"],
        ),
        (Reason::NamelessPicture, &["s-0.tar: nameless"]),
        (Reason::TarLink, &["s-0.tar: link.jpg"]),
        (Reason::BehindEnd, &["s-1.tar: z.jpg", "s-1.tar: w.png"]),
        (Reason::NoPicture, &["s-0.tar: README"]),
        (Reason::SampleWithout, &["s-0.tar: words"]),
        (Reason::Hidden, &["s-0.tar: ._x.jpg"]),
    ]);
    // The second time from the index.
    let index = dir.path().join("index");
    for pattern in [pattern.clone(), pattern, format!("file://{}/s-{{0..1}}.tar", dir.path().display())] {
        let options = OpenOptions { index_dir: Some(index.clone()), ..OpenOptions::new(1) };
        let source = open_with(&shards(&pattern), &options).unwrap();
        let keys: Vec<_> = (0..source.len()).map(|record| source.key(record).unwrap()).collect();
        let names: Vec<_> = keys.iter().map(|key| key.rsplit(": ").next().unwrap()).collect();
        assert_eq!(names, ["photo.2020.01.0001.jpg", "x.jpg", "y.jpg"]);
        assert_eq!(left_out(&*source), rows, "{pattern}");
    }
    assert_eq!(fs::read_dir(index).unwrap().count(), 2);
}

#[test]
fn an_index_keeps_what_is_left_out_unless_it_may_be_readable_now() {
    let dir = tempfile::tempdir().unwrap();
    let (data, index) = (dir.path().join("data"), dir.path().join("index"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("a.jpg"), picture()).unwrap();
    fs::write(data.join("b.bmp"), b"BM").unwrap();
    let reopened = || {
        let options = OpenOptions { index_dir: Some(index.clone()), ..OpenOptions::new(1) };
        open_with(&folder(&data), &options).unwrap()
    };
    let rows = expected(&[(Reason::OtherFormat, &["b.bmp"])]);
    assert_eq!((left_out(&*reopened()), left_out(&*reopened())), (rows.clone(), rows));
    // The target of the link appears without a change of the folder.
    symlink(dir.path().join("later.jpg"), data.join("c.jpg")).unwrap();
    assert_eq!(reopened().len(), 1);
    fs::write(dir.path().join("later.jpg"), picture()).unwrap();
    assert_eq!(reopened().len(), 2);
}

/// An LMDB file of py-lmdb, with `bytes` at `offset` of its first two pages.
fn lmdb_with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = fs::read(fixture("lsun_lmdb/data.mdb")).unwrap();
    for page in [0, 4096] {
        file[page + offset..page + offset + bytes.len()].copy_from_slice(bytes);
    }
    file
}

/// Each kind of file, given to each source that does not read it: the message has the kind and advice.
#[test]
fn a_file_of_another_kind_is_named_by_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let some_tar = tar(&[("x.jpg", &picture())]);
    let labels = [0, 0, 8, 1, 0, 0, 0, 1, 7];
    let rows: &[(&str, Vec<u8>, &str, &str)] = &[
        ("tar", some_tar.clone(), "this is a tar file", "data.source.webdataset.shards reads it."),
        (
            "tar.gz",
            gzipped(&some_tar),
            "this is a tar file in a gzip stream",
            "Unpack it to a .tar with gunzip",
        ),
        ("tar.zst", b"\x28\xb5\x2f\xfd1234".to_vec(), "compressed with zstd", "`zstd -d`"),
        ("zip", b"PK\x03\x04".to_vec(), "this is an archive (ZIP)", "Unpack it, and name the folder"),
        ("html", b"<!DOCTYPE html>\n<title>404".to_vec(), "a web page (HTML)", "The download went wrong"),
        ("html.gz", gzipped(b"<html>"), "a web page (HTML) in a gzip stream", "The download went wrong"),
        ("npy", b"\x93NUMPY\x01\0".to_vec(), "(NumPy array)", "Write its pictures as JPEG or PNG"),
        (
            "jpg",
            picture(),
            "this is a JPEG picture",
            "data.source.folder.path reads the folder that it lies in.",
        ),
        ("labels", labels.to_vec(), "this is an IDX file of labels", "the file of images beside it"),
        ("mdb", lmdb_with(0, &[]), "this is an LMDB file", "data.source.lsun.path reads it."),
        ("empty", vec![], "this is an empty file (0 bytes)", "Fetch or copy the file again."),
        ("txt", b"some words\n".to_vec(), "a text that begins with `some words`", "Check the path"),
    ];
    for (name, bytes, found, advice) in rows {
        fs::write(&file, bytes).unwrap();
        let sources = [
            (idx(&file), "IDX file of pictures", ""),
            (folder(&file), "folder of pictures", ""),
            (lsun(&file), "LMDB file", "mdb"),
            (shards(&file.display().to_string()), "tar file", "tar"),
        ];
        for (spec, wanted, reads) in sources {
            if *name == reads {
                continue;
            }
            let text = refused(&spec).to_string();
            for part in [&**found, &format!(", and no {wanted}."), advice, &file.display().to_string()] {
                assert!(text.contains(part), "{name}: {text}");
            }
        }
    }
}

#[test]
fn a_place_of_the_wrong_kind_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let say = |spec: &DataSpec| refused(spec).to_string();
    let url = Path::new("s3://bucket/photos");
    for spec in [folder(url), lsun(url), idx(url)] {
        assert!(say(&spec).contains("this is a URL, and the source"), "{}", say(&spec));
    }
    let named = |path: &str| dir.path().join(path);
    symlink("nowhere", named("link")).unwrap();
    assert!(say(&folder(&named("link"))).contains("a link that leads nowhere"));
    let _socket = std::os::unix::net::UnixListener::bind(named("socket")).unwrap();
    for spec in [folder(&named("socket")), lsun(&named("socket")), idx(&named("socket"))] {
        assert!(say(&spec).contains("this is a pipe, a socket or a device, and no "), "{}", say(&spec));
    }
    // Folders with other content.
    let packed = fixture("shards");
    let tars = format!("'{}/{{odd-000000,train-000000,train-000001}}.tar'", packed.display());
    assert!(say(&shards(&packed.display().to_string())).contains(&tars));
    assert!(
        say(&folder(&packed))
            .contains(&format!("It has tar files, which data.source.webdataset.shards reads: {tars}"))
    );
    assert!(say(&idx(&packed)).contains("this is a directory, and no IDX file of pictures."));
    let lmdb = fixture("lsun_lmdb");
    assert!(say(&folder(&lmdb)).contains("It is an LMDB folder: data.source.lsun.path reads it."));
    assert!(say(&lsun(&fixture("odd"))).contains("data.source.folder.path reads it."));
    assert!(say(&lsun(&fixture(""))).contains(&format!("name {}.", lmdb.display())));
    fs::copy(lmdb.join("data.mdb"), named("faces.lmdb")).unwrap();
    assert!(say(&lsun(dir.path())).contains(&format!("Name the file: {}.", named("faces.lmdb").display())));
    assert_eq!(opened(&lsun(&named("faces.lmdb"))).len(), 90);
    fs::create_dir(named("words")).unwrap();
    fs::write(named("words/a.bmp"), b"BM").unwrap();
    let text = say(&folder(&named("words")));
    fs::write(named("words/b.zip"), b"PK\x03\x04").unwrap();
    let archive =
        format!("{} is an archive (ZIP). Unpack it, and name the folder", named("words/b.zip").display());
    assert!(say(&folder(&named("words"))).contains(&archive));
    assert!(text.contains("It has 1 picture in a format that is not read (`a.bmp`): convert"), "{text}");
}

/// The offsets of version and flags of the main database, after a page's header of 16 bytes.
#[test]
fn an_lmdb_file_of_another_layout_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data.mdb");
    for (offset, bytes, what) in [
        (20, &[2, 0, 0, 0][..], "this LMDB file is of format 2; what is read is format 1 (LMDB 0.9)"),
        (
            92,
            &[4, 0][..],
            "this LMDB file keeps several values under a key, or its keys in another order (flags 0x0004)",
        ),
    ] {
        fs::write(&file, lmdb_with(offset, bytes)).unwrap();
        let text = refused(&lsun(dir.path())).to_string();
        assert!(text.contains(what), "{text}");
    }
    let text = refused(&lsun(&fixture("named_lmdb"))).to_string();
    assert!(text.contains("keeps records in named databases (`images`, `labels`)"), "{text}");
}

#[test]
fn a_record_of_another_kind_is_named_by_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("page.jpg"), b"<html><body>404 Not FileKind").unwrap();
    let source = opened(&folder(dir.path()));
    let error = source.read(0, &mut vec![0.0; source.sample_len()]).unwrap_err().to_string();
    assert!(error.contains("it is a web page (HTML), and neither JPEG, PNG nor WebP"), "{error}");
}
