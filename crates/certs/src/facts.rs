//! What is written in a certificate.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::Role;

/// What is written in a certificate, whoever signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) roles: BTreeSet<Role>,
    /// The hosts that it names; a certificate that names none is good for any.
    pub(crate) hosts: Vec<Host>,
    /// When it begins and ends to be valid, in seconds of Unix time.
    pub(crate) valid_s: (i64, i64),
    /// It may sign others.
    pub(crate) is_authority: bool,
    /// The public key, DER.
    pub(crate) public_key: Vec<u8>,
}

/// A host that a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Ip(IpAddr),
}

impl Facts {
    /// Reads a certificate, DER.
    ///
    /// # Errors
    /// In a few words, what is wrong.
    pub(crate) fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| format!("it is no certificate: {error}"))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| format!("its alternative names cannot be read: {error}"))?;
        let mut facts = Self {
            roles: BTreeSet::new(),
            hosts: Vec::new(),
            valid_s: (
                certificate.validity().not_before.timestamp(),
                certificate.validity().not_after.timestamp(),
            ),
            is_authority: certificate.is_ca(),
            public_key: certificate.public_key().raw.to_vec(),
        };
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => facts.roles.extend(Role::of_uri(uri)),
                GeneralName::DNSName(name) => facts.hosts.push(Host::Name((*name).to_owned())),
                GeneralName::IPAddress(bytes) => facts.hosts.extend(ip(bytes).map(Host::Ip)),
                _ => {}
            }
        }
        Ok(facts)
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()))
}
