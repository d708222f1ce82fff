//! What the session tells the training thread, and how it interrupts it.

use std::sync::{Arc, Mutex, MutexGuard};

use lsgan_collective::Aborter;
use lsgan_control::{Form, Task};
use lsgan_data::{Leases, Stopper};
use lsgan_spec::RunSpec;

/// An order to the training thread.
pub enum Order {
    /// Form this generation and step in it, as the run's file says now.
    Form(Box<Form>, Arc<Live>, Arc<RunSpec>),
    /// Do this with the held state.
    Task(Task),
}

/// The interruptible side of one generation, shared by the session and the training thread.
pub struct Live {
    /// How far its virtual ranks may read.
    pub leases: Arc<Leases>,
    aborter: Aborter,
    loader: Mutex<Option<Stopper>>,
}

impl Live {
    /// The generation of `form`, with the leases that came with it.
    pub fn new(form: &Form) -> Result<Self, lsgan_collective::GroupError> {
        let leases = Arc::new(Leases::new());
        for (virtual_rank, until) in &form.leases {
            leases.grant(*virtual_rank, *until);
        }
        Ok(Self { leases, aborter: Aborter::new()?, loader: Mutex::new(None) })
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

    fn loader(&self) -> MutexGuard<'_, Option<Stopper>> {
        self.loader.lock().expect("nothing panics while the loader's slot is locked")
    }
}
