//! How long a worker may be silent before it counts as dead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FailureTimeout {
    /// As long as the run's own silences ask for: see [`FailureTimeout::least`] and [`FailureTimeout::most`].
    #[default]
    Auto,
    /// Always so long, 200ms to 1h.
    Fixed(Duration),
}

impl FailureTimeout {
    /// What is waited for where all workers are heard in time.
    #[must_use]
    pub fn least(self) -> Duration {
        match self {
            Self::Auto => Duration::from_millis(1_500),
            Self::Fixed(timeout) => timeout,
        }
    }

    /// What is waited for at most, on machines that let living workers be silent for long.
    #[must_use]
    pub fn most(self) -> Duration {
        match self {
            Self::Auto => Duration::from_secs(15),
            Self::Fixed(timeout) => timeout,
        }
    }
}

impl TryFrom<String> for FailureTimeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            text => humantime::parse_duration(text).map(Self::Fixed).map_err(|error| error.to_string()),
        }
    }
}

impl From<FailureTimeout> for String {
    fn from(timeout: FailureTimeout) -> Self {
        match timeout {
            FailureTimeout::Auto => "auto".to_owned(),
            FailureTimeout::Fixed(timeout) => humantime::format_duration(timeout).to_string(),
        }
    }
}
