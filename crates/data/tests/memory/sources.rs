//! Files of data sets that are larger than they seem, or say that they are. A sparse file has any length for nothing.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lsgan_data::{OpenOptions, RecordError, open, open_with};
use lsgan_fuzz::{alone, measured};
use lsgan_spec::DataSpec;
use tempfile::TempDir;

use super::MIB;
use super::common::{cifar10, fixture, folder, gzipped, idx, lsun, opened, sample, shards};

const GIB: u64 = 1 << 30;

/// A file that begins with `begin` and has holes up to `len_bytes`.
fn sparse(path: &Path, begin: &[u8], len_bytes: u64) {
    let mut file = File::create_new(path).unwrap();
    file.write_all(begin).unwrap();
    file.set_len(len_bytes).unwrap();
}

/// That a data set is refused with all of `words`, for at most `allowed` bytes of memory.
fn refuse(spec: &DataSpec, words: &[&str], allowed: usize) {
    let (result, peak) = measured(|| open(spec, 1).map(drop));
    let text = result.expect_err("it is not to be opened").to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert!(peak <= allowed, "{peak} bytes; {allowed} are allowed: {text}");
}

fn idx_header(count: u32, height: u32, width: u32) -> Vec<u8> {
    let numbers = [0x0000_0803, count, height, width];
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[test]
fn an_idx_file_is_not_read_if_its_length_is_not_what_its_header_says() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    sparse(&at("short"), &idx_header(15 << 20, 32, 32), 12 * GIB);
    refuse(&idx(&at("short")), &["short: the file is cut off: its header says 15728640 pictures"], MIB);
    sparse(&at("long"), &idx_header(4, 32, 32), 12 * GIB);
    refuse(&idx(&at("long")), &["long: the file is longer than its header says: 4 pictures"], MIB);
    sparse(&at("huge"), &idx_header(u32::MAX, 1 << 16, 1 << 16), 12 * GIB);
    refuse(&idx(&at("huge")), &["huge: the header says 4294967295 pictures", "at most 16 GiB"], MIB);
}

/// A gzip stream of zeros is a thousandth of what it unpacks to.
#[test]
fn a_gzip_stream_that_grows_without_end_is_refused() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("zeros.gz");
    // Many streams one after another are one, so that no gigabyte is compressed here.
    let zeros = gzipped(&vec![0; 64 * MIB]);
    let streams = [gzipped(&idx_header(1 << 20, 32, 32)), zeros.repeat(16)].concat();
    std::fs::write(&path, streams).unwrap();
    let len_bytes = path.metadata().unwrap().len();
    let words = ["zeros.gz: the gzip stream has", "more than 200 times", "unpack it with gunzip"];
    assert!(len_bytes * 200 < 256 << 20, "{len_bytes}");
    refuse(&idx(&path), &words, 600 * MIB);
    // Pictures with nothing on them are not refused for that.
    let blank = [idx_header(60_000, 28, 28), vec![0; 60_000 * 28 * 28]].concat();
    let path = dir.path().join("blank.gz");
    std::fs::write(&path, gzipped(&blank)).unwrap();
    assert_eq!(opened(&idx(&path)).len(), 60_000);
}

#[test]
fn a_cifar_file_of_any_length_is_not_read_whole_before_it_is_checked() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("huge.bin");
    sparse(&path, b"", 3073 * (6 << 20));
    refuse(&cifar10(&path), &["huge.bin: it has 19333644288 bytes; at most 16 GiB are accepted"], MIB);
    let path = dir.path().join("odd.bin");
    sparse(&path, b"", 3073 * (1 << 20) + 1);
    refuse(&cifar10(&path), &["odd.bin: it has 3222274049 bytes", "records of 3073"], MIB);
    let path = dir.path().join("class.bin");
    sparse(&path, &[11], 3073 * (1 << 20));
    refuse(&cifar10(&path), &["class.bin: record 0 has class 11"], MIB);
}

/// A tar header of a member of this type and length.
fn header(kind: u8, name: &str, len_bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_path(name).unwrap();
    header.set_size(len_bytes);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// The tar crate reads these headers as a whole: GNU's long names and links, and those of PAX.
#[test]
fn the_headers_of_a_tar_member_are_bounded() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    for kind in *b"LKxg" {
        let path = dir.path().join(format!("{}.tar", char::from(kind)));
        let long = header(kind, "long", 8 * GIB);
        sparse(&path, long.as_bytes(), 8 * GIB + 4096);
        let name = path.file_name().unwrap().to_str().unwrap();
        // A global header is skipped, and what follows it here are empty blocks.
        let words = if kind == b'g' { vec![name] } else { vec![name, "more than 2^20 bytes"] };
        refuse(&shards(path.to_str().unwrap()), &words, 8 * MIB);
    }
}

/// Records that are too long do not decode; the next ones take their places as for any other reason.
#[test]
fn a_record_of_gigabytes_is_not_read() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let jpeg = std::fs::read(fixture("odd/colour.jpg")).unwrap();
    let pictures = dir.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    std::fs::write(pictures.join("0.jpg"), &jpeg).unwrap();
    sparse(&pictures.join("1.jpg"), &jpeg, 40 * GIB);
    let tar = dir.path().join("0.tar");
    let mut begin = header(b'0', "0.jpg", jpeg.len() as u64).as_bytes().to_vec();
    begin.extend(&jpeg);
    begin.resize(begin.len().next_multiple_of(512), 0);
    begin.extend(header(b'0', "1.jpg", 3 * GIB).as_bytes());
    let len_bytes = begin.len() as u64 + 3 * GIB + 1024;
    sparse(&tar, &begin, len_bytes);
    for spec in [folder(&pictures), shards(tar.to_str().unwrap())] {
        let source = opened(&spec);
        assert_eq!(source.len(), 2);
        let mut place = vec![0.0; source.sample_len()];
        let (read, peak) = measured(|| source.read(1, &mut place));
        let Err(RecordError::Undecodable { key, reason, .. }) = read else { panic!("{read:?}") };
        assert!(reason.ends_with("bytes; at most 2^28 are decoded"), "{reason}");
        assert_eq!(source.key(1).unwrap(), key, "it is named without being read");
        assert!(peak < MIB, "{peak} bytes");
        sample(&*source, 0);
    }
}

/// LMDB's fixture has long values on pages of their own. They are made to say that they have 4 GB, in a file that has more.
#[test]
fn a_value_of_gigabytes_in_an_lmdb_file_is_not_read() {
    let _alone = alone();
    const PAGE: usize = 4096;
    const LEAF: usize = 2;
    const BIGDATA: usize = 1;
    let mut bytes = std::fs::read(fixture("lsun_lmdb/data.mdb")).unwrap();
    let word = |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    for page in (2 * PAGE..bytes.len())
        .step_by(PAGE)
        .filter(|page| word(&bytes, page + 10) == LEAF)
        .collect::<Vec<_>>()
    {
        for offset in (page + 16..page + word(&bytes, page + 12)).step_by(2) {
            let node = page + word(&bytes, offset);
            if word(&bytes, node + 4) == BIGDATA {
                bytes[node..node + 4].fill(0xff);
            }
        }
    }
    let dir = TempDir::new().unwrap();
    sparse(&dir.path().join("data.mdb"), &bytes, 8 * GIB);
    let source = opened(&lsun(dir.path()));
    let mut place = vec![0.0; source.sample_len()];
    let (long, peak) = measured(|| {
        let wrong = (0..source.len()).filter_map(|record| source.read(record, &mut place).err());
        wrong.filter(|error| error.to_string().contains("it has 4294967295 bytes; at most 2^28 are")).count()
    });
    assert!(long > 0);
    assert!(peak < 16 * MIB, "{peak} bytes");
}

/// A tree that leads to a leaf again and again has as many records as the file has pages, times those of the leaf.
#[test]
fn an_lmdb_tree_that_meets_a_leaf_twice_is_refused() {
    let _alone = alone();
    let mut bytes = std::fs::read(fixture("lsun_lmdb/data.mdb")).unwrap();
    let word = |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    for page in (2 * 4096..bytes.len()).step_by(4096) {
        // A branch: its second child becomes its first.
        if word(&bytes, page + 10) == 1 {
            let [first, second] = [16, 18].map(|offset| page + word(&bytes, page + offset));
            bytes.copy_within(first..first + 6, second);
        }
    }
    let dir = TempDir::new().unwrap();
    sparse(&dir.path().join("data.mdb"), &bytes, 8 * GIB);
    refuse(
        &lsun(dir.path()),
        &["data.mdb: the LMDB file is damaged", "is not behind that of the record before"],
        MIB,
    );
}

/// An index lies beside the data, where others may write.
#[test]
fn an_index_of_any_length_is_not_read_if_it_is_not_of_this_data_set() {
    let _alone = alone();
    let dir = TempDir::new().unwrap();
    let options = || OpenOptions { index_dir: Some(dir.path().into()), ..OpenOptions::new(1) };
    let spec = lsun(&fixture("lsun_lmdb"));
    let first = open_with(&spec, &options()).unwrap();
    let index = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let file = File::options().write(true).open(&index).unwrap();
    // Of another data set, and of this one.
    for (byte, len_bytes) in [(40, 3 * GIB), (40, 400 * GIB), (0, 400 * GIB)] {
        file.write_all_at(&[0x55], byte).unwrap();
        file.set_len(len_bytes).unwrap();
        let (source, peak) = measured(|| open_with(&spec, &options()).unwrap());
        assert_eq!(source.fingerprint(), first.fingerprint());
        assert!(peak < 8 * MIB, "{peak} bytes");
    }
}
