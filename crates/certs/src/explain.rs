//! What failed about TLS, and what to do: [`explain`].

use rustls::{AlertDescription, CertificateError, Error};

/// What a client is told when a connection to a coordinator failed by this error. None for what says enough by itself.
#[must_use]
pub fn explain(error: &Error) -> Option<String> {
    use CertificateError as Bad;
    let text = match error {
        Error::General(text) => text.clone(),
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "the coordinator's certificate has expired. Renew it there: `lsgan certs renew FILE`".to_owned()
        }
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "the coordinator's certificate is not valid yet. Check the clocks of both hosts".to_owned()
        }
        Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "the coordinator's certificate is of another authority than this process knows. Give both the same ca.crt \
             with --tls"
                .to_owned()
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "the coordinator's certificate names hosts, and the one in the address is none of them. Write one of them, or \
             issue a certificate with this one: `lsgan certs issue coordinator --name HOST`"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the coordinator refuses the certificate of this process: it has expired. Renew it: `lsgan certs renew FILE`"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::DecryptError) => {
            "the coordinator refuses the certificate of this process: it is of another authority than the coordinator \
             knows. Give both the same ca.crt with --tls"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the coordinator takes nobody without a certificate: give one with --tls. A join token is of use only while its run \
             has one (`lsgan token list`)"
                .to_owned()
        }
        Error::AlertReceived(alert) => {
            format!("the coordinator refuses the certificate of this process ({alert:?}). Give another one with --tls")
        }
        Error::InvalidMessage(_) => NO_TLS.to_owned(),
        _ => return None,
    };
    Some(text)
}

/// What a client is told that speaks TLS where none is spoken.
pub const NO_TLS: &str = "what listens there speaks no TLS. Write http:// in the address and leave --tls out, or start the \
                          coordinator with --tls";

/// What a client is told that speaks no TLS where TLS is spoken.
pub const WANTS_TLS: &str = "what listens there speaks TLS. Write https:// in the address and give a certificate with --tls; \
                             `lsgan certs init` makes some";
