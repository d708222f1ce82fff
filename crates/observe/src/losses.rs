//! What a coordinator had to drop so that nothing of its run waits, for `/metrics` of its page. No journal has these counts: they are
//! of the process that serves the page, and begin with it.

use std::fmt;
use std::sync::Arc;

/// What was dropped since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Alerts that the webhook's server has not taken; none where nothing is posted.
    pub alerts: Option<u64>,
    /// Spans that no collector has taken; none where nothing is exported.
    pub spans: Option<u64>,
    /// Lines that the coordinator's log file lacks.
    pub log_lines: u64,
    /// Lines of workers' logs that came too fast to be sent to the coordinator.
    pub worker_log_lines: u64,
}

/// Reads the counts.
#[derive(Clone)]
pub struct Counting(Arc<dyn Fn() -> Losses + Send + Sync>);

impl Counting {
    /// By `read`, which must not wait.
    #[must_use]
    pub fn new(read: impl Fn() -> Losses + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// As they are now.
    #[must_use]
    pub fn read(&self) -> Losses {
        (self.0)()
    }
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counting({:?})", self.read())
    }
}
