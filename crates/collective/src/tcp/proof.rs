//! How two members show each other that they know the key of their generation, and what they encrypt with after that.
//!
//! The dialer's hello has a nonce, and the listener's challenge another one. Both go into the keys of the connection, so that
//! nothing that was said on one is of use on another. The listener proves first: nobody is shown anything by whom he dialled
//! by mistake.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::hello::HELLO_BYTES;
use crate::GroupError;

pub(super) const NONCE_BYTES: usize = 32;
pub(super) const PROOF_BYTES: usize = 32;

/// What the members of a generation know, and nobody else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RingKey {
    pub secret: [u8; 32],
    /// Whether values are encrypted; if not, members only prove that they know the secret. The same for all members.
    pub sealed: bool,
}

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingKey(..)")
    }
}

/// A number that is used once.
pub(super) fn nonce() -> Result<[u8; NONCE_BYTES], GroupError> {
    let mut nonce = [0; NONCE_BYTES];
    let filled = SystemRandom::new().fill(&mut nonce);
    let no_random = |_| GroupError::system("draw random bytes", &std::io::Error::other("none"));
    filled.map(|()| nonce).map_err(no_random)
}

/// Who proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Dialer,
    Listener,
}

/// A connection whose both ends have chosen their nonces.
pub(super) struct Secrets {
    of_connection: Prk,
    proofs: hmac::Key,
    sealed: bool,
}

impl Secrets {
    /// `dialers` and `listeners` are nonces.
    pub(super) fn new(key: &RingKey, dialers: &[u8; NONCE_BYTES], listeners: &[u8; NONCE_BYTES]) -> Self {
        let salt = [&dialers[..], &listeners[..]].concat();
        let of_connection = Salt::new(HKDF_SHA256, &salt).extract(&key.secret);
        let proofs = of_connection
            .expand(&[&b"lsgan ring: proofs"[..]], HMAC_SHA256)
            .expect("as long as a hash")
            .into();
        Self { of_connection, proofs, sealed: key.sealed }
    }

    /// What only an end that knows the key can say of this hello.
    pub(super) fn prove(&self, end: End, hello: &[u8; HELLO_BYTES]) -> [u8; PROOF_BYTES] {
        let tag = hmac::sign(&self.proofs, &self.statement(end, hello));
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Whether an end has proved that it knows the key; in constant time.
    pub(super) fn is_proof(&self, end: End, hello: &[u8; HELLO_BYTES], proof: &[u8; PROOF_BYTES]) -> bool {
        hmac::verify(&self.proofs, &self.statement(end, hello), proof).is_ok()
    }

    fn statement(&self, end: End, hello: &[u8; HELLO_BYTES]) -> Vec<u8> {
        let end = match end {
            End::Dialer => b'd',
            End::Listener => b'l',
        };
        [&[end, self.sealed.into()][..], hello].concat()
    }

    /// What values are encrypted with on their way from the dialer to the listener, if they are.
    pub(super) fn frame_keys(self) -> Option<FrameKeys> {
        self.sealed.then_some(FrameKeys { of_connection: self.of_connection })
    }
}

/// The keys of frames: one after another, since a key of AES-GCM loses strength with what it has encrypted.
pub(crate) struct FrameKeys {
    of_connection: Prk,
}

impl FrameKeys {
    /// The key with this number.
    pub(super) fn key(&self, number: u64) -> LessSafeKey {
        let number = number.to_le_bytes();
        let info: [&[u8]; 2] = [b"lsgan ring: from the dialer to the listener", &number];
        let key = self
            .of_connection
            .expand(&info, &AES_128_GCM)
            .expect("a key is shorter than what can be derived");
        LessSafeKey::new(UnboundKey::from(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_one_for_its_end_its_hello_its_nonces_and_its_key_alone() {
        let key = RingKey { secret: [1; 32], sealed: true };
        let (dialers, listeners, hello) = ([2; NONCE_BYTES], [3; NONCE_BYTES], [4; HELLO_BYTES]);
        let secrets = Secrets::new(&key, &dialers, &listeners);
        let proof = secrets.prove(End::Dialer, &hello);
        assert!(secrets.is_proof(End::Dialer, &hello, &proof));
        assert!(!secrets.is_proof(End::Listener, &hello, &proof));
        assert!(!secrets.is_proof(End::Dialer, &[5; HELLO_BYTES], &proof));
        let others = [
            Secrets::new(&key, &listeners, &dialers),
            Secrets::new(&RingKey { secret: [2; 32], ..key }, &dialers, &listeners),
            Secrets::new(&RingKey { sealed: false, ..key }, &dialers, &listeners),
        ];
        assert!(others.iter().all(|other| !other.is_proof(End::Dialer, &hello, &proof)));
        assert!(nonce().expect("the system has random bytes") != nonce().expect("and more"));
    }
}
