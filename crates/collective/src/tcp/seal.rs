//! Encrypted frames: [`Sealer`] makes them on the dialer's end of a connection, [`Opener`] opens them on the listener's.
//!
//! A frame: the length of what is in it (u32, little-endian), that encrypted with AES-128-GCM, and a tag of 16 bytes. The
//! nonce is the number of the frame, which both ends count, so that a frame which is changed, repeated, left out or moved does
//! not open. AES-GCM, since CPUs have instructions for it.

use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use socket2::Socket;

use super::proof::FrameKeys;

/// The most in a frame: it is encrypted where the cache has it, and a rank forwards only what has come as a whole.
const FRAME_BYTES: usize = 128 << 10;
const LEN_BYTES: usize = 4;
const TAG_BYTES: usize = 16;

/// So many frames have one key: 2^20 of 2^13 blocks each are far below the 2^64 blocks after which AES-GCM shows patterns.
const FRAMES_PER_KEY: u64 = 1 << 20;

/// The keys of a connection, and how many frames it has had.
struct Counted {
    keys: FrameKeys,
    key: LessSafeKey,
    frames: u64,
}

impl Counted {
    fn new(keys: FrameKeys) -> Self {
        Self { key: keys.key(0), keys, frames: 0 }
    }

    /// The key and the nonce of the next frame.
    fn next(&mut self) -> (&LessSafeKey, Nonce) {
        if self.frames > 0 && self.frames.is_multiple_of(FRAMES_PER_KEY) {
            self.key = self.keys.key(self.frames / FRAMES_PER_KEY);
        }
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&self.frames.to_le_bytes());
        self.frames += 1;
        (&self.key, Nonce::assume_unique_for_key(nonce))
    }
}

/// Encrypts what a rank sends.
pub(crate) struct Sealer {
    counted: Counted,
    /// Room for a frame, and which of its bytes are still to be sent.
    frame: Box<[u8]>,
    unsent: Range<usize>,
}

impl Sealer {
    pub(super) fn new(keys: FrameKeys) -> Self {
        let frame = vec![0; LEN_BYTES + FRAME_BYTES + TAG_BYTES].into_boxed_slice();
        Self { counted: Counted::new(keys), frame, unsent: 0..0 }
    }

    /// Whether all is sent that was taken.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Makes a frame of the first bytes of `header` and then `values`, once the last one is sent. Returns of how many.
    pub(super) fn take(&mut self, header: &[u8], values: &[u8]) -> usize {
        debug_assert!(self.is_flushed(), "a frame is made after the last one");
        let values = &values[..values.len().min(FRAME_BYTES - header.len())];
        let len = header.len() + values.len();
        if len == 0 {
            return 0;
        }
        let (length, rest) = self.frame.split_at_mut(LEN_BYTES);
        length.copy_from_slice(&u32::try_from(len).expect("a frame is short").to_le_bytes());
        rest[..header.len()].copy_from_slice(header);
        rest[header.len()..len].copy_from_slice(values);
        let (key, nonce) = self.counted.next();
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*length), &mut rest[..len]);
        let tag = tag.expect("a frame is shorter than what the cipher takes");
        rest[len..len + TAG_BYTES].copy_from_slice(tag.as_ref());
        self.unsent = 0..LEN_BYTES + len + TAG_BYTES;
        len
    }

    /// Sends of the frame what the kernel takes now.
    pub(super) fn flush(&mut self, mut socket: &Socket) -> io::Result<usize> {
        let sent = socket.write(&self.frame[self.unsent.clone()])?;
        self.unsent.start += sent;
        Ok(sent)
    }
}

/// Decrypts what a rank receives.
pub(crate) struct Opener {
    counted: Counted,
    /// Room for a frame, and how much of it has come.
    frame: Box<[u8]>,
    filled_bytes: usize,
    /// What is decrypted of it, and not yet read.
    open: Range<usize>,
}

impl Opener {
    pub(super) fn new(keys: FrameKeys) -> Self {
        let frame = vec![0; LEN_BYTES + FRAME_BYTES + TAG_BYTES].into_boxed_slice();
        Self { counted: Counted::new(keys), frame, filled_bytes: 0, open: 0..0 }
    }

    /// As [`Read::read`]; no byte behind the frame is taken from the socket. `InvalidData` is for what nobody sealed who has
    /// the key.
    pub(super) fn read(&mut self, socket: &Socket, out: &mut [u8]) -> io::Result<usize> {
        if self.open.is_empty() {
            let Some(len) = self.next_frame(socket)? else { return Ok(0) };
            if let Some(out) = out.get_mut(..len) {
                return self.open_into(out);
            }
            self.open_in_place(len)?;
        }
        let len = self.open.len().min(out.len());
        out[..len].copy_from_slice(&self.frame[self.open.start..self.open.start + len]);
        self.open.start += len;
        Ok(len)
    }

    /// Receives a frame. Returns how much is in it; none if the connection was closed.
    fn next_frame(&mut self, mut socket: &Socket) -> io::Result<Option<usize>> {
        loop {
            let whole = match self.frame[..self.filled_bytes].first_chunk::<LEN_BYTES>() {
                None => LEN_BYTES,
                Some(len) => match u32::from_le_bytes(*len) as usize {
                    len @ 1..=FRAME_BYTES if self.filled_bytes == LEN_BYTES + len + TAG_BYTES => {
                        self.filled_bytes = 0;
                        return Ok(Some(len));
                    }
                    len @ 1..=FRAME_BYTES => LEN_BYTES + len + TAG_BYTES,
                    _ => return Err(ErrorKind::InvalidData.into()),
                },
            };
            match socket.read(&mut self.frame[self.filled_bytes..whole])? {
                0 => return Ok(None),
                count_bytes => self.filled_bytes += count_bytes,
            }
        }
    }

    /// Opens the frame that was received into `out`, which is as long as what is in it. After an error nothing in `out` counts.
    fn open_into(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (length, rest) = self.frame.split_at(LEN_BYTES);
        let (sealed, tag) = rest[..out.len() + TAG_BYTES].split_at(out.len());
        let (key, nonce) = self.counted.next();
        let opened = key.open_separate_gather(nonce, Aad::from(length), sealed, tag, out);
        opened.map(|()| out.len()).map_err(|_| ErrorKind::InvalidData.into())
    }

    /// Opens the frame that was received, with so much in it, where it is.
    fn open_in_place(&mut self, len: usize) -> io::Result<()> {
        let (length, rest) = self.frame.split_at_mut(LEN_BYTES);
        let (key, nonce) = self.counted.next();
        let opened = key.open_in_place(nonce, Aad::from(&*length), &mut rest[..len + TAG_BYTES]);
        let opened = opened.map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        self.open = LEN_BYTES..LEN_BYTES + opened.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::super::proof::{NONCE_BYTES, RingKey, Secrets};
    use super::*;

    fn keys(secret: u8) -> FrameKeys {
        let key = RingKey { secret: [secret; 32], sealed: true };
        let secrets = Secrets::new(&key, &[0; NONCE_BYTES], &[1; NONCE_BYTES]);
        secrets.frame_keys().expect("it is sealed")
    }

    fn pair() -> (Socket, Socket) {
        let server = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let ours = TcpStream::connect(server.local_addr().expect("it is bound")).expect("it listens");
        (ours.into(), server.accept().expect("it was connected to").0.into())
    }

    /// Sends `values` in frames, each changed by `change`, to an end that reads so many bytes at a time as it has `room` for; what
    /// comes of it.
    fn travel(
        values: &[u8],
        mut change: impl FnMut(usize, &mut Vec<u8>),
        opener: FrameKeys,
        room: usize,
    ) -> io::Result<Vec<u8>> {
        let (mut ours, theirs) = pair();
        let mut sealer = Sealer::new(keys(1));
        let mut frames = Vec::new();
        let mut rest = values;
        while !rest.is_empty() {
            let taken = sealer.take(&[], rest);
            rest = &rest[taken..];
            frames.push(sealer.frame[sealer.unsent.clone()].to_vec());
            sealer.unsent = 0..0;
        }
        for (index, frame) in frames.iter_mut().enumerate() {
            change(index, frame);
        }
        let sending = std::thread::spawn(move || {
            // The other end hangs up at what does not open.
            _ = frames.iter().try_for_each(|frame| ours.write_all(frame));
        });
        let mut opener = Opener::new(opener);
        let mut received = Vec::new();
        let mut some = vec![0; room];
        let outcome = loop {
            match opener.read(&theirs, &mut some) {
                Ok(0) => break Ok(received),
                Ok(len) => received.extend(&some[..len]),
                Err(error) => break Err(error),
            }
        };
        drop(theirs);
        sending.join().expect("sending does not panic");
        outcome
    }

    /// Where there is room for a whole frame, it is opened there.
    #[test]
    fn values_arrive_as_they_were_and_frames_that_were_changed_do_not_open() {
        for room in [1000, FRAME_BYTES, 3 * FRAME_BYTES] {
            values_arrive_and_changed_frames_do_not_open(room);
        }
    }

    fn values_arrive_and_changed_frames_do_not_open(room: usize) {
        let values: Vec<u8> = (0..3 * FRAME_BYTES as u32 / 2).map(|index| (index * 7) as u8).collect();
        let received = travel(&values, |_, _| {}, keys(1), room).expect("nobody changed anything");
        assert!(received == values);
        let is_refused = |change: &mut dyn FnMut(usize, &mut Vec<u8>), opener| {
            let kind = travel(&values, change, opener, room).expect_err("it does not open").kind();
            assert_eq!(kind, ErrorKind::InvalidData);
        };
        is_refused(&mut |index, frame| frame[LEN_BYTES + 9] ^= index as u8, keys(1));
        is_refused(&mut |_, frame| *frame.last_mut().expect("a tag") ^= 1, keys(1));
        is_refused(&mut |_, frame| frame[3] = 1, keys(1));
        is_refused(&mut |_, frame| frame[..LEN_BYTES].fill(0), keys(1));
        is_refused(&mut |_, _| {}, keys(2));
        let mut first = Vec::new();
        let mut repeat = |index: usize, frame: &mut Vec<u8>| match index {
            0 => first = frame.clone(),
            _ => *frame = first.clone(),
        };
        is_refused(&mut repeat, keys(1));
    }

    #[test]
    fn keys_change_while_frames_go_on() {
        let (mut near, mut far) = (Counted::new(keys(1)), Counted::new(keys(1)));
        near.frames = FRAMES_PER_KEY - 1;
        far.frames = FRAMES_PER_KEY - 1;
        let mut sealed = Vec::new();
        for _frame in 0..3 {
            let mut bytes = vec![5; 40];
            let (key, nonce) = near.next();
            key.seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes).expect("it is short");
            sealed.push(bytes.clone());
            let (key, nonce) = far.next();
            assert_eq!(key.open_in_place(nonce, Aad::empty(), &mut bytes).expect("the same key"), [5; 40]);
        }
        assert!(sealed[0] != sealed[1] && sealed[1] != sealed[2]);
    }
}
