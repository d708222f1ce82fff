//! What an attacker says in HTTP/2, by hand.

pub use lsgan_outside::http2::PREFACE;
use lsgan_outside::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, frame, headers,
};

const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
const CANCEL: u32 = 8;

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

/// The `number`th call of a connection: watches the coordinator's health, with 15 KiB of headers if `long`.
pub fn watch_health(number: u32, long: bool) -> Vec<u8> {
    let stream = 2 * number + 1;
    let mut block = headers("/grpc.health.v1.Health/Watch");
    if long {
        // Literals without indexing: a name of one byte and a value of 126.
        let header = [&[0x00, 1, b'x', 0x7e][..], &[b'x'; 126]].concat();
        block.extend(header.repeat(120));
    }
    let call = frame(HEADERS, END_HEADERS, stream, &block);
    [call, frame(DATA, END_STREAM, stream, &[0; 5])].concat()
}

/// Begins the `number`th call, and takes it back.
pub fn ask_and_reset(number: u32) -> Vec<u8> {
    let stream = 2 * number + 1;
    let call = frame(HEADERS, END_HEADERS, stream, &headers("/lsgan.v1.Coordinator/Session"));
    [call, frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())].concat()
}
