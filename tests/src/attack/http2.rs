//! Frames of HTTP/2 by hand: those of RFC 9113, with the headers of RFC 7541 without compression.

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
const CANCEL: u32 = 8;

/// How a client begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The settings of a client that takes nothing of what it asks for.
pub fn settings_without_room() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE[..], &0_u32.to_be_bytes()].concat())
}

pub fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"attacker")
}

/// The `number`th call of a connection: asks for the run's status.
pub fn ask_status(number: u32) -> Vec<u8> {
    let stream = 2 * number + 1;
    let empty_message = [0; 5];
    let call = frame(HEADERS, END_HEADERS, stream, &headers("/lsgan.v1.Coordinator/Status"));
    [call, frame(DATA, END_STREAM, stream, &empty_message)].concat()
}

/// Begins the `number`th call, and takes it back.
pub fn ask_and_reset(number: u32) -> Vec<u8> {
    let stream = 2 * number + 1;
    let call = frame(HEADERS, END_HEADERS, stream, &headers("/lsgan.v1.Coordinator/Session"));
    [call, frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Of a gRPC call: `:method POST`, `:scheme http`, the path, the content's type, `te`.
fn headers(path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat();
    let parts = [
        vec![0x83, 0x86, 0x04],
        text(path),
        vec![0x01],
        text("localhost"),
        vec![0x0f, 0x10],
        text("application/grpc"),
        vec![0x00],
        text("te"),
        text("trailers"),
    ];
    parts.concat()
}
