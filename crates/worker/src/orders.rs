//! What the session tells the training thread, and how it interrupts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use lsgan_collective::Aborter;
use lsgan_data::{Leases, Stopper};
use lsgan_spec::{Generation, RunSpec, VirtualRank};
use lsgan_train::{ControlWord, ControlWords};
use lsgan_wire::v1;

/// An order to the training thread.
pub enum Order {
    /// Form this generation and step in it, as the run's file says now.
    Form(Box<v1::Form>, Arc<Live>, Arc<RunSpec>),
    /// Do this with the held state.
    Task(v1::TaskKind),
}

/// The interruptible side of one generation, shared by the session and the training thread.
pub struct Live {
    /// Which.
    pub generation: Generation,
    /// This worker writes its snapshots.
    pub writes: bool,
    /// How far its virtual ranks may read.
    pub leases: Arc<Leases>,
    aborter: Aborter,
    wishes: AtomicU32,
    loader: Mutex<Option<Stopper>>,
}

impl Live {
    /// The generation of `form`, with the leases that came with it.
    pub fn new(form: &v1::Form) -> Result<Self, lsgan_collective::GroupError> {
        let leases = Arc::new(Leases::new());
        for lease in &form.leases {
            leases.grant(VirtualRank(lease.virtual_rank), lease.until);
        }
        Ok(Self {
            generation: Generation(form.generation),
            writes: form.writer == Some(form.rank),
            leases,
            aborter: Aborter::new()?,
            wishes: AtomicU32::new(0),
            loader: Mutex::new(None),
        })
    }

    /// Ends the generation at once: what waits for peers, for data or for a lease returns.
    pub fn abort(&self) {
        self.aborter.abort();
        if let Some(loader) = self.loader().as_ref() {
            loader.stop();
        }
    }

    /// How the collective is aborted.
    #[must_use]
    pub fn aborter(&self) -> &Aborter {
        &self.aborter
    }

    /// From now on an abort stops this loader too.
    pub fn watch(&self, loader: Stopper) {
        let mut slot = self.loader();
        if self.aborter.is_aborted() {
            loader.stop();
        }
        *slot = Some(loader);
    }

    /// Puts a wish into the header of all reductions from now on.
    pub fn wish(&self, word: ControlWord) {
        self.wishes.fetch_or(1 << word as u32, Ordering::Relaxed);
    }

    /// A wish has come true, and is not put into the reductions that follow.
    pub fn fulfilled(&self, word: ControlWord) {
        self.wishes.fetch_and(!(1 << word as u32), Ordering::Relaxed);
    }

    /// What this worker wishes.
    #[must_use]
    pub fn wishes(&self) -> ControlWords {
        let bits = self.wishes.load(Ordering::Relaxed);
        let set = ControlWord::ALL.into_iter().filter(|&word| bits & (1 << word as u32) != 0);
        set.fold(ControlWords::default(), ControlWords::with)
    }

    fn loader(&self) -> MutexGuard<'_, Option<Stopper>> {
        self.loader.lock().expect("nothing panics while the loader's slot is locked")
    }
}
