//! Where spans go, by the environment variables that OpenTelemetry's specification names: [`Settings`].
//!
//! Of a variable with a form for traces alone (`OTEL_EXPORTER_OTLP_TRACES_…`) that form goes first. Sources: "OpenTelemetry
//! Protocol Exporter" and "Environment Variable Specification" of the OpenTelemetry specification.

use std::fmt;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use percent_encoding::percent_decode_str;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tonic::metadata::{Ascii, AsciiMetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};

/// One row of metrics in so many steps is a span, where nobody says anything else.
const STEP_EVERY: u64 = 100;
/// How often a step is shown: a whole number of steps, 0 for never. Ours, there is none of this kind.
pub const STEP_EVERY_VARIABLE: &str = "LSGAN_TRACE_EVERY";

/// Where spans go, and how.
#[derive(Clone)]
pub struct Settings {
    collector: Endpoint,
    /// Makes connections with TLS; none for an address without it.
    tls: Option<HttpsConnector<HttpConnector>>,
    /// Sent with each call. They may be secret.
    pub(super) headers: MetadataMap,
    /// How long a call may take.
    pub(super) timeout: Duration,
    /// So many spans wait at most.
    pub(super) spans_max: usize,
    /// So many are sent at once at most,
    pub(super) batch_max: usize,
    /// and after this time whatever is there.
    pub(super) delay: Duration,
    /// One step in so many.
    pub(super) step_every: u64,
    /// What the spans are of, in the user's words.
    pub(super) attributes: Vec<(String, String)>,
}

impl Settings {
    /// What these variables say; none if they name no collector.
    ///
    /// # Errors
    /// A variable has no value that can be meant, in a sentence. Values of headers are in none.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let variables = Variables(&variable);
        let off = variables.is("OTEL_SDK_DISABLED", "true") || variables.is("OTEL_TRACES_EXPORTER", "none");
        let Some((name, address)) = variables.of_exporter("ENDPOINT").filter(|_| !off) else {
            return Ok(None);
        };
        if let Some((name, protocol)) = variables.of_exporter("PROTOCOL").filter(|(_, is)| is != "grpc") {
            return Err(format!(
                "{name} is `{protocol}`; accepted is grpc, for which collectors mostly have port 4317"
            ));
        }
        let wrong = || format!("{name} is no address; accepted is http://HOST:PORT or https://HOST:PORT");
        let collector = Endpoint::from_shared(address).map_err(|_| wrong())?;
        let tls = match collector.uri().scheme_str() {
            Some("http") => None,
            Some("https") => Some(tls(variables.of_exporter("CERTIFICATE"))?),
            _ => return Err(wrong()),
        };
        let headers = headers(variables.of_exporter("HEADERS"))?;
        let timeout = Duration::from_millis(number(variables.of_exporter("TIMEOUT"), 10_000)?);
        let delay = Duration::from_millis(number(variables.get("OTEL_BSP_SCHEDULE_DELAY"), 5_000)?);
        let spans_max = count(number(variables.get("OTEL_BSP_MAX_QUEUE_SIZE"), 2048)?);
        let batch_max = count(number(variables.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), 512)?).min(spans_max);
        let step_every = number(variables.get(STEP_EVERY_VARIABLE), STEP_EVERY)?;
        let mut attributes = pairs(variables.get("OTEL_RESOURCE_ATTRIBUTES"))?;
        let service = variables.get("OTEL_SERVICE_NAME").map(|(_, name)| ("service.name".to_owned(), name));
        attributes.extend(service);
        let collector = collector.connect_timeout(timeout);
        Ok(Some(Self {
            collector,
            tls,
            headers,
            timeout,
            spans_max,
            batch_max,
            delay,
            step_every,
            attributes,
        }))
    }

    /// The collector's address, without a password that may be in it.
    #[must_use]
    pub fn place(&self) -> String {
        let uri = self.collector.uri();
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default())
    }

    /// A connection to the collector, made when it is first used. Call it in the runtime.
    pub(super) fn channel(&self) -> Channel {
        match &self.tls {
            None => self.collector.connect_lazy(),
            Some(tls) => self.collector.connect_with_connector_lazy(tls.clone()),
        }
    }
}

/// Without headers, which may be secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// The environment, or what a test has in its place.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

/// A variable that is set: its name and its value.
type Set = (String, String);

impl Variables<'_> {
    /// A variable that is set and not empty.
    fn get(&self, name: &str) -> Option<Set> {
        let value = (self.0)(name)?.trim().to_owned();
        (!value.is_empty()).then(|| (name.to_owned(), value))
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|(_, is)| is.eq_ignore_ascii_case(value))
    }

    fn of_exporter(&self, name: &str) -> Option<Set> {
        let prefixes = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];
        prefixes.into_iter().find_map(|prefix| self.get(&format!("{prefix}{name}")))
    }
}

fn number(set: Option<Set>, default: u64) -> Result<u64, String> {
    let Some((name, text)) = set else { return Ok(default) };
    text.parse().map_err(|_| format!("{name} is `{text}`; accepted is a whole number"))
}

/// At least one, and no more than fits into memory.
fn count(number: u64) -> usize {
    usize::try_from(number.clamp(1, 1 << 20)).unwrap_or(1)
}

/// `a=1,b=2`, whose values are as in URLs.
fn pairs(set: Option<Set>) -> Result<Vec<(String, String)>, String> {
    let Some((name, text)) = set else { return Ok(Vec::new()) };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        (!key.trim().is_empty()).then(|| (key.trim().to_owned(), value.into_owned()))
    };
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let pairs: Option<Vec<_>> = entries.map(pair).collect();
    pairs.ok_or_else(|| format!("{name} is no list; accepted is KEY=VALUE,KEY=VALUE with values as in URLs"))
}

fn headers(set: Option<Set>) -> Result<MetadataMap, String> {
    let name = set.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
    let mut headers = MetadataMap::new();
    for (key, value) in pairs(set)? {
        let key = AsciiMetadataKey::from_bytes(key.to_ascii_lowercase().as_bytes());
        let (Ok(key), Ok(mut value)) = (key, MetadataValue::<Ascii>::try_from(value)) else {
            return Err(format!("{name} has what can be in no header of gRPC; accepted is printable ASCII"));
        };
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// TLS with the authorities of this file, or with the system's.
fn tls(certificate: Option<Set>) -> Result<HttpsConnector<HttpConnector>, String> {
    let builder = HttpsConnectorBuilder::new();
    let builder = match certificate {
        None => builder
            .with_provider_and_native_roots(default_provider())
            .map_err(|error| format!("the system has no certificates of authorities: {error}"))?,
        Some((name, path)) => {
            let wrong = |why: &dyn fmt::Display| format!("{name}: {path} has no certificates in PEM: {why}");
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| wrong(&error))? {
                let added = roots.add(certificate.map_err(|error| wrong(&error))?);
                added.map_err(|error| wrong(&error))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"it has none at all"));
            }
            let config = ClientConfig::builder_with_provider(default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
            builder.with_tls_config(config.with_root_certificates(roots).with_no_client_auth())
        }
    };
    Ok(builder.https_only().enable_http2().build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::of(|name| set.iter().find(|(is, _)| *is == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_standard_variables_say_where_spans_go() {
        let settings = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:1"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://anna:secret@collector:4317/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "X-Api-Key=a%20b, authorization = Bearer%20c"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=lab%2C1,service.name=first"),
            ("OTEL_SERVICE_NAME", "second"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
            ("LSGAN_TRACE_EVERY", "0"),
        ]);
        let settings = settings.expect("all are right").expect("a collector is named");
        assert_eq!(settings.place(), "http://collector:4317");
        for (key, value) in [("x-api-key", "a b"), ("authorization", "Bearer c")] {
            assert_eq!(settings.headers.get(key).and_then(|is| is.to_str().ok()), Some(value));
        }
        let attributes: Vec<_> = settings.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            attributes,
            [("deployment.environment", "lab,1"), ("service.name", "first"), ("service.name", "second")]
        );
        assert_eq!((settings.spans_max, settings.batch_max, settings.step_every), (8, 8, 0));
        let shown = format!("{settings:?}");
        assert!(!shown.contains("secret") && !shown.contains("Bearer"), "{shown}");
    }

    #[test]
    fn without_a_collector_there_are_none_and_what_is_wrong_is_told_without_secrets() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        assert!(of(&[]).expect("nothing is wrong").is_none());
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert!(of(&[endpoint, off]).expect("nothing is wrong").is_none(), "{off:?}");
        }
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "key-bin=secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "key=secret%0Amore"),
        ] {
            let why = of(&[(name, value), endpoint]).expect_err(value);
            assert!(why.starts_with(name) && why.contains("accepted is") && !why.contains("secret"), "{why}");
        }
        let https = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317");
        let why = of(&[https, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/null")]).expect_err("no authority");
        assert!(why.contains("/dev/null has no certificates"), "{why}");
    }
}
