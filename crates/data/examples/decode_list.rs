//! Decodes the pictures whose paths come on standard input, one a line, and writes for each a line `PATH WxHxC` with its
//! pixels behind it, or `PATH refused REASON`. `scripts/make-jpeg-matrix compare` reads it.
//!
//! Run: `ls *.jpg | cargo run --release -p lsgan-data --example decode_list -- colour|grey`.

use std::io::{self, BufRead, Write};

use lsgan_data::decode::decode;
use lsgan_data::picture::Channels;

fn main() -> io::Result<()> {
    let wanted = match std::env::args().nth(1).as_deref() {
        Some("colour") => Channels::Colour,
        Some("grey") => Channels::Grey,
        _ => panic!("one argument; see the head of this file"),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    for path in io::stdin().lock().lines() {
        let path = path?;
        match decode(&std::fs::read(&path)?, wanted) {
            Ok(picture) => {
                writeln!(out, "{path} {}x{}x{}", picture.width, picture.height, picture.channels.count())?;
                out.write_all(&picture.pixels)?;
            }
            Err(reason) => writeln!(out, "{path} refused {reason}")?,
        }
    }
    out.flush()
}
