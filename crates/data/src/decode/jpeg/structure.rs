//! Parses the segments of a JPEG (ITU-T T.81, annex B).
//!
//! Skips bytes between segments and after the end marker, as viewers do. Refuses unsupported variants by name.

use super::colours::Colours;
use super::frame::{BLOCK, Frame, Process, Quantization, Size};
use super::huffman::{Class, Definition};
use super::scan::{Scan, ScanComponent};
use crate::decode::check_sides;

/// Real files have at most a few dozen; a small file with thousands would take minutes.
const SCANS_MAX: usize = 100;
const DECODED: &str =
    "decoded are baseline, extended and progressive JPEGs with Huffman codes and 8 bits a sample";
pub(super) const ENDS: &str = "it ends early: its end marker is missing";

/// The index (row × 8 + column) of each coefficient, in the coded order from low to high frequencies.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; BLOCK] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55,
    62, 63,
];

/// A parsed JPEG.
pub(super) struct Jpeg<'a> {
    pub(super) frame: Frame,
    pub(super) colours: Colours,
    /// The colour transform in Adobe's marker.
    pub(super) adobe: Option<u8>,
    pub(super) scans: Vec<Scan<'a>>,
    /// The data of the last EXIF segment.
    pub(super) exif: Option<&'a [u8]>,
    /// The file reduced to the segments on which the pixels depend.
    pub(super) plain: Vec<u8>,
    /// A quantization table follows a scan.
    pub(super) late_quantization: bool,
}

impl<'a> Jpeg<'a> {
    /// Parses a file. The coded data are checked later, when they are read.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let mut parser = Parser { bytes, at: 2, plain: Vec::with_capacity(bytes.len()), ..Parser::default() };
        parser.plain.extend([0xff, 0xd8]);
        loop {
            let marker = parser.next_marker()?;
            if marker == 0xd9 {
                break;
            }
            parser.segment(marker)?;
        }
        parser.plain.extend([0xff, 0xd9]);
        parser.whole()
    }
}

#[derive(Default)]
struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    quantization: [Option<Quantization>; 4],
    /// By class and number.
    codes: [[Option<Definition<'a>>; 4]; 2],
    restart_interval: usize,
    jfif: bool,
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
    scans: Vec<Scan<'a>>,
    plain: Vec<u8>,
    late_quantization: bool,
}

impl<'a> Parser<'a> {
    /// Skips to the next marker and returns its code.
    fn next_marker(&mut self) -> Result<u8, String> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let marked = rest.iter().position(|&byte| byte == 0xff).ok_or(ENDS)?;
            let filled = rest[marked..].iter().position(|&byte| byte != 0xff).ok_or(ENDS)?;
            self.at += marked + filled + 1;
            // A zero means that the preceding 255 is no marker.
            match rest[marked + filled] {
                0 => {}
                marker => return Ok(marker),
            }
        }
    }

    fn segment(&mut self, marker: u8) -> Result<(), String> {
        match marker {
            // Restart markers and TEM have no length.
            0xd0..=0xd7 | 0x01 => return Ok(()),
            0xd8 => return Err("a second picture begins before the first one's end".to_owned()),
            _ => {}
        }
        let length = self.bytes.get(self.at..self.at + 2).ok_or(ENDS)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length < 2 {
            return Err(format!("the segment of marker {marker:02x} says that it has {length} bytes"));
        }
        let segment = self.bytes.get(self.at + 2..self.at + length).ok_or(ENDS)?;
        self.at += length;
        match marker {
            0xc0..=0xc2 => self.start_of_frame(marker, segment)?,
            0xc4 => self.codes(segment)?,
            0xda => return self.start_of_scan(segment),
            0xdb => self.quantization(segment)?,
            0xdd => match *segment {
                [high, low] => self.restart_interval = usize::from(u16::from_be_bytes([high, low])),
                _ => return Err("its restart interval has not 2 bytes".to_owned()),
            },
            0xe0 if segment.starts_with(b"JFIF\0") && segment.len() >= 14 => self.jfif = true,
            0xe1 if segment.len() > 6 => self.exif = segment.strip_prefix(b"Exif\0\0").or(self.exif),
            0xee if segment.starts_with(b"Adobe") && segment.len() >= 12 => self.adobe = Some(segment[11]),
            // Data of other applications, comments, and the number of lines, which the frame already has.
            0xcc | 0xdc | 0xe0..=0xef | 0xfe => return Ok(()),
            _ => return Err(format!("{}; {DECODED}", unsupported(marker))),
        }
        if matches!(marker, 0xc0..=0xc2 | 0xc4 | 0xdb | 0xdd | 0xee) {
            self.keep(marker, segment);
        }
        Ok(())
    }

    fn keep(&mut self, marker: u8, segment: &[u8]) {
        let length = u16::try_from(segment.len() + 2).expect("it was read with such a length");
        self.plain.extend([0xff, marker]);
        self.plain.extend(length.to_be_bytes());
        self.plain.extend(segment);
    }

    fn start_of_frame(&mut self, marker: u8, segment: &[u8]) -> Result<(), String> {
        if self.frame.is_some() {
            return Err("it has a second start of frame".to_owned());
        }
        let &[bits, h1, h0, w1, w0, count, ref components @ ..] = segment else {
            return Err("its start of frame is cut off".to_owned());
        };
        if bits != 8 {
            return Err(format!("it has {bits} bits a sample; {DECODED}"));
        }
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if height == 0 {
            return Err("its header does not say how many rows it has (a DNL segment would)".to_owned());
        }
        check_sides(width.into(), height.into())?;
        if components.len() != 3 * usize::from(count) {
            return Err("its start of frame has not the length that its components need".to_owned());
        }
        if ![1, 3, 4].contains(&count) {
            return Err(format!("it has {count} components; decoded are 1 (grey), 3 and 4"));
        }
        let process = if marker == 0xc2 { Process::Progressive } else { Process::Sequential };
        let size = Size { across: width.into(), down: height.into() };
        self.frame = Some(Frame::new(process, size, components)?);
        Ok(())
    }

    fn codes(&mut self, mut segment: &'a [u8]) -> Result<(), String> {
        while let [head, ref rest @ ..] = *segment {
            let class = if head >> 4 == 0 { Class::Dc } else { Class::Ac };
            let (definition, rest) = Definition::parse(rest, class)?;
            let place = self.codes.get_mut(usize::from(head >> 4));
            *place.and_then(|class| class.get_mut(usize::from(head & 15))).ok_or_else(|| {
                format!("it has a Huffman table of number {head:02x}; there are 0 to 3 and 10 to 13")
            })? = Some(definition);
            segment = rest;
        }
        Ok(())
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Result<(), String> {
        self.late_quantization |= !self.scans.is_empty();
        while let [head, ref rest @ ..] = *segment {
            let wide = head >> 4 != 0;
            let len = if wide { 2 * BLOCK } else { BLOCK };
            let values = rest.get(..len).ok_or("a table of quantization is cut off")?;
            let place = self.quantization.get_mut(usize::from(head & 15));
            let table = place.ok_or_else(|| format!("it has a table of quantization {}", head & 15))?;
            let table = table.insert([0; BLOCK]);
            for (i, &at) in ZIGZAG.iter().enumerate() {
                table[usize::from(at)] = match wide {
                    true => u16::from_be_bytes([values[2 * i], values[2 * i + 1]]),
                    false => values[i].into(),
                };
            }
            segment = &rest[len..];
        }
        Ok(())
    }

    fn start_of_scan(&mut self, segment: &[u8]) -> Result<(), String> {
        let frame = self.frame.as_mut().ok_or("a scan comes before the start of frame")?;
        if self.scans.len() == SCANS_MAX {
            return Err(format!("it has more than {SCANS_MAX} scans"));
        }
        let &[count, ref rest @ ..] = segment else { return Err("a start of scan is empty".to_owned()) };
        let count = usize::from(count);
        if rest.len() != 2 * count + 3 || !(1..=4).contains(&count) {
            return Err(format!("a start of scan of {count} components has {} bytes", segment.len()));
        }
        let (chosen, &[first, last, approximation]) = rest.split_at(2 * count) else {
            unreachable!("3 bytes are left")
        };
        let mut parts: Vec<ScanComponent<'a>> = Vec::with_capacity(count);
        for pair in chosen.chunks_exact(2) {
            let component = frame.components.iter().position(|it| it.id == pair[0]);
            let component =
                component.ok_or_else(|| format!("a scan has component {}, the frame not", pair[0]))?;
            if parts.iter().any(|part| part.component == component) {
                return Err(format!("a scan has component {} twice", pair[0]));
            }
            let code =
                |class: Class, number: u8| self.codes[class as usize].get(usize::from(number))?.clone();
            parts.push(ScanComponent {
                component,
                dc: code(Class::Dc, pair[1] >> 4),
                ac: code(Class::Ac, pair[1] & 15),
            });
            let component = &mut frame.components[component];
            if component.quantization.is_none() {
                component.quantization =
                    self.quantization.get(usize::from(component.table)).copied().flatten();
            }
        }
        frame.check_mcu(&parts)?;
        let approximation = (approximation >> 4, approximation & 15);
        let scan =
            Scan::new(parts, (first, last), approximation, self.restart_interval, &self.bytes[self.at..])?;
        self.keep(0xda, segment);
        self.plain.extend(&self.bytes[self.at..self.at + scan.len_bytes]);
        self.at += scan.len_bytes;
        self.scans.push(scan);
        Ok(())
    }

    fn whole(self) -> Result<Jpeg<'a>, String> {
        let frame = self.frame.ok_or("it has no start of frame: there is no picture in it")?;
        if self.scans.is_empty() {
            return Err("it has no scan: there is no picture in it".to_owned());
        }
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        let colours = Colours::of(&ids, self.jfif, self.adobe)?;
        let Self { adobe, scans, exif, plain, late_quantization, .. } = self;
        Ok(Jpeg { frame, colours, adobe, scans, exif, plain, late_quantization })
    }
}

/// Names the variant of an unsupported marker.
fn unsupported(marker: u8) -> String {
    match marker {
        0xc3 => "it is a lossless JPEG".to_owned(),
        0xcb => "it is a lossless, arithmetic-coded JPEG".to_owned(),
        0xc9 | 0xca => "it is an arithmetic-coded JPEG".to_owned(),
        0xc5..=0xc7 | 0xcd..=0xcf | 0xde | 0xdf => "it is a hierarchical JPEG".to_owned(),
        0xf7 => "it is a JPEG-LS file".to_owned(),
        marker => format!("it has an unknown marker, {marker:02x}"),
    }
}
