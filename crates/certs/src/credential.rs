//! How a process shows who it is: [`Credential`].

use std::sync::Arc;

use rustls::ClientConfig;

use crate::{Identity, JoinToken};

/// How a process shows a coordinator who it is, and knows the coordinator.
#[derive(Clone, Debug)]
pub enum Credential {
    /// By a certificate; the role is in it.
    Certificate(Arc<Identity>),
    /// As a worker, by a token.
    Token(Arc<JoinToken>),
}

impl Credential {
    /// For the next connection that is made.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        match self {
            Self::Certificate(identity) => identity.client(),
            Self::Token(token) => token.client(),
        }
    }

    /// What is to be shown with each call.
    #[must_use]
    pub fn token(&self) -> Option<&JoinToken> {
        match self {
            Self::Certificate(_) => None,
            Self::Token(token) => Some(token),
        }
    }
}
