//! The system's random source.

use std::io;

use ring::rand::{SecureRandom, SystemRandom};

/// Random bytes that nobody can guess.
///
/// # Errors
/// The system has none.
pub fn secret() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system's random source does not answer"))?;
    Ok(bytes)
}
