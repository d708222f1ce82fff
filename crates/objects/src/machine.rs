//! Credentials that the pod, the task or the machine has: `object_store` fetches them from a service of the cloud.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::{CredentialProvider, Result};

use crate::{Scheme, StoreFailure};

/// Credentials from the cloud's metadata service. Where there are none, the error says where else they were looked for.
pub(crate) struct MachineKeys<C> {
    pub(crate) service: Arc<dyn CredentialProvider<Credential = C>>,
    pub(crate) scheme: Scheme,
    /// Where credentials were looked for before.
    pub(crate) looked: String,
}

impl<C> fmt::Debug for MachineKeys<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineKeys").field("looked", &self.looked).finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for MachineKeys<C> {
    type Credential = C;

    async fn get_credential(&self) -> Result<Arc<C>> {
        self.service.get_credential().await.map_err(|error| {
            let why = StoreFailure::of(&error, self.scheme).message;
            unauthenticated(format!("there are no credentials: {} ({why})", self.looked).into())
        })
    }
}

pub(crate) fn unauthenticated(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Unauthenticated { path: String::new(), source }
}
