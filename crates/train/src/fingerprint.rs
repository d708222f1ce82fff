//! What workers compare to see that they hold the same state.

use crate::replica::Replica;

impl Replica {
    /// 32 bytes that are the same on all workers of a run that hold the same state, the number of applied reductions included,
    /// and others where a bit of it is another. On a GPU it is computed there; a hash on the host would stop it for longer
    /// than some steps take.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        match self.engine.fingerprint() {
            Some(numbers) => {
                let both = [numbers.to_le_bytes(), self.reduction().0.to_le_bytes()];
                *blake3::hash(both.as_flattened()).as_bytes()
            }
            None => *self.state_hash().as_bytes(),
        }
    }
}
