//! Calls that begin a message and do not end it, in HTTP/2 by hand: no library sends half a message.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsgan_outside::http2::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    frame, headers,
};

/// What a peer may send before it is told more, and the largest frame.
const WINDOW_BYTES: i64 = 65_535;
const FRAME_BYTES_MAX: i64 = 16 << 10;
/// How long the connection is listened to before `stop` is looked at.
const LISTEN: Duration = Duration::from_millis(100);

/// What came of the calls of a connection.
#[derive(Debug, Default)]
pub struct Taken {
    /// The bytes that all calls took.
    pub bytes: i64,
    /// Calls that the server ended, or did not take.
    pub ended: usize,
}

struct Call {
    window: i64,
    sent_bytes: i64,
}

/// Opens so many calls of `path` at `address` (`IP:PORT`) on one connection. Each announces a message of `len_bytes` and sends
/// of it what it may, up to the last byte but one. Ends with the connection, or when told to `stop`.
///
/// # Errors
/// The connection cannot be made.
pub fn send(address: &str, path: &str, calls: u32, len_bytes: u32, stop: &AtomicBool) -> io::Result<Taken> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(LISTEN))?;
    socket.set_write_timeout(Some(LISTEN))?;
    socket.write_all(PREFACE)?;
    socket.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    let mut open = BTreeMap::new();
    for number in 0..calls {
        let stream = 2 * number + 1;
        socket.write_all(&frame(HEADERS, END_HEADERS, stream, &headers(path)))?;
        open.insert(stream, Call { window: WINDOW_BYTES, sent_bytes: 0 });
    }
    let mut connection =
        Connection { socket, open, window: WINDOW_BYTES, call_window: WINDOW_BYTES, taken: Taken::default() };
    while !stop.load(Ordering::Relaxed) && !connection.open.is_empty() {
        if connection.send_more(len_bytes).and_then(|()| connection.hear()).is_err() {
            break; // the server has had enough
        }
    }
    Ok(connection.taken)
}

struct Connection {
    socket: TcpStream,
    open: BTreeMap<u32, Call>,
    window: i64,
    /// That of a new call, as the server says.
    call_window: i64,
    taken: Taken,
}

impl Connection {
    fn send_more(&mut self, len_bytes: u32) -> io::Result<()> {
        let whole = i64::from(len_bytes) + 5;
        for (stream, call) in &mut self.open {
            let most = FRAME_BYTES_MAX.min(self.window).min(call.window).min(whole - 1 - call.sent_bytes);
            if most <= 0 || call.sent_bytes == 0 && most < 5 {
                continue;
            }
            let mut data = vec![0; most as usize];
            if call.sent_bytes == 0 {
                data[1..5].copy_from_slice(&len_bytes.to_be_bytes());
            }
            self.socket.write_all(&frame(DATA, 0, *stream, &data))?;
            call.sent_bytes += most;
            call.window -= most;
            self.window -= most;
            self.taken.bytes += most;
        }
        Ok(())
    }

    /// Handles a frame of the server's, if one comes.
    fn hear(&mut self) -> io::Result<()> {
        let mut head = [0; 9];
        match self.socket.read(&mut head[..1]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => self.socket.read_exact(&mut head[1..])?,
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let [l2, l1, l0, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l2, l1, l0]) as usize];
        self.socket.read_exact(&mut payload)?;
        self.handle(kind, flags, u32::from_be_bytes(stream), &payload)
    }

    fn handle(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let number =
            |bytes: &[u8]| i64::from(u32::from_be_bytes(bytes.try_into().expect("it has four bytes")));
        match kind {
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6).filter(|setting| setting[..2] == [0, 4]) {
                    let more = number(&setting[2..]) - self.call_window;
                    self.call_window += more;
                    self.open.values_mut().for_each(|call| call.window += more);
                }
                self.socket.write_all(&frame(SETTINGS, ACK, 0, &[]))
            }
            PING if flags & ACK == 0 => self.socket.write_all(&frame(PING, ACK, 0, payload)),
            WINDOW_UPDATE if stream == 0 => {
                self.window += number(payload);
                Ok(())
            }
            WINDOW_UPDATE => {
                self.open.entry(stream).and_modify(|call| call.window += number(payload));
                Ok(())
            }
            GOAWAY => Err(ErrorKind::ConnectionAborted.into()),
            RST_STREAM | HEADERS | DATA if kind == RST_STREAM || flags & END_STREAM != 0 => {
                self.taken.ended += usize::from(self.open.remove(&stream).is_some());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
