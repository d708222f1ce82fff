//! Certificates for those without an authority of their own: [`Authority`].
//!
//! A directory has the authority (`ca.crt`, `ca.key`) and a folder for each role with what a process of it is given:
//! `ca.crt`, `tls.crt` and `tls.key`. Only `ca.key` makes more of them, and it needs to be on no machine of the run.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SubjectPublicKeyInfo,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use time::{Duration, OffsetDateTime};

use crate::facts::{Facts, Host};
use crate::files::{self, AUTHORITY, CERTIFICATE, KEY};
use crate::{Error, Role};

const AUTHORITY_KEY: &str = "ca.key";

/// How long an authority is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// Certificates begin so long ago, since clocks differ.
const CLOCKS_DIFFER: Duration = Duration::HOUR;

/// A host that a certificate is good for: an IP address or a DNS name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Host);

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(Host::Ip(ip)));
        }
        let is_label = |label: &str| {
            let plain =
                label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            plain && (1..=63).contains(&label.len())
        };
        let bare = text.strip_prefix("*.").unwrap_or(text);
        match bare.len() < 254 && bare.split('.').all(is_label) {
            true => Ok(Self(Host::Name(text.to_owned()))),
            false => Err(Error::NoName { name: text.to_owned() }),
        }
    }
}

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Hosts that it names; of a coordinator without any, every host is believed.
    pub names: Vec<Name>,
    /// For how long it is valid; one with less than none has expired.
    pub days: i64,
}

/// An authority in a directory.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority in a directory, and a certificate for each role. `names` are the coordinator's.
    ///
    /// # Errors
    /// There is one already; or the system does not write the files.
    pub fn init(dir: &Path, wanted: &Wanted) -> Result<Self, Error> {
        let instead = "Name another directory; `lsgan certs issue` and `renew` work with this one";
        for name in [AUTHORITY, AUTHORITY_KEY].into_iter().chain(Role::ALL.map(Role::word)) {
            let path = dir.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(Error::Exists { path, instead });
            }
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // Two authorities of one name would be confused by whoever looks for the signer of a certificate.
        params.distinguished_name = name(&format!("lsgan authority {}", short_hash(&key)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = valid_for(AUTHORITY_DAYS);
        let certificate = params.self_signed(&key)?.pem();
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        write_new(&dir.join(AUTHORITY_KEY), &key.serialize_pem(), SECRET)?;
        write_new(&dir.join(AUTHORITY), &certificate, PUBLIC)?;
        let authority = Self { dir: dir.to_owned(), certificate, issuer: Issuer::new(params, key) };
        for role in Role::ALL {
            let names = if role == Role::Coordinator { wanted.names.clone() } else { Vec::new() };
            authority.issue(role, &Wanted { names, ..wanted.clone() }, None)?;
        }
        Ok(authority)
    }

    /// The authority that a directory has.
    ///
    /// # Errors
    /// It has none.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let text = |name| {
            let path = dir.join(name);
            let bytes = files::read(&path)?;
            String::from_utf8(bytes).map_err(|_| Error::invalid(&path, "it is no text; PEM is read"))
        };
        let (certificate, key) = (text(AUTHORITY)?, text(AUTHORITY_KEY)?);
        let key = KeyPair::from_pem(&key).map_err(|_| {
            Error::invalid(&dir.join(AUTHORITY_KEY), "it has no private key that is read, in PEM")
        })?;
        let facts = Facts::of(&files::certificates(&dir.join(AUTHORITY))?[0]);
        let facts = facts.map_err(|why| Error::invalid(&dir.join(AUTHORITY), why))?;
        if !facts.is_authority {
            return Err(Error::invalid(
                &dir.join(AUTHORITY),
                "it is no authority's certificate: it may not sign others",
            ));
        }
        if facts.public_key != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(Error::invalid(&dir.join(AUTHORITY_KEY), "it is not the key of ca.crt beside it"));
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)?;
        Ok(Self { dir: dir.to_owned(), certificate, issuer })
    }

    /// Makes a key and a certificate of a role, in the folder `out`, or in that of the role. Returns the folder.
    ///
    /// # Errors
    /// There is one already; or the system does not write the files.
    pub fn issue(&self, role: Role, wanted: &Wanted, out: Option<&Path>) -> Result<PathBuf, Error> {
        let folder = out.map_or_else(|| self.dir.join(role.word()), Path::to_owned);
        for name in [AUTHORITY, CERTIFICATE, KEY] {
            let path = folder.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(Error::Exists {
                    path,
                    instead: "Name another folder with --out; `lsgan certs renew` gives a certificate more time",
                });
            }
        }
        let key = KeyPair::generate()?;
        let names = wanted.names.iter().map(|Name(host)| host.clone()).collect();
        let params = leaf(&[role], names, wanted.days)?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        write_new(&folder.join(KEY), &key.serialize_pem(), SECRET)?;
        write_new(&folder.join(CERTIFICATE), &certificate, PUBLIC)?;
        write_new(&folder.join(AUTHORITY), &self.certificate, PUBLIC)?;
        Ok(folder)
    }

    /// Gives a certificate of this authority, which may have expired, so many days more, or as many as it had. Its key, its
    /// roles and its names stay, and the file is exchanged as a whole, so that a process which reads it meanwhile is right.
    ///
    /// # Errors
    /// It is of another authority, or the system does not write the file.
    pub fn renew(&self, path: &Path, days: Option<i64>) -> Result<i64, Error> {
        let old = files::certificates(path)?.remove(0);
        let facts = Facts::of(&old).map_err(|why| Error::invalid(path, why))?;
        if facts.is_authority {
            let why = "it is an authority's, which is not renewed: make a new one with `lsgan certs init`, and have ca.crt \
                       hold both while certificates are exchanged";
            return Err(Error::invalid(path, why));
        }
        let (begin_s, end_s) = facts.valid_s;
        // Whoever can put a file there must not get a role by it.
        let roots = Arc::new(files::authorities(&self.dir.join(AUTHORITY))?);
        let at = UnixTime::since_unix_epoch(StdDuration::from_secs(u64::try_from(end_s).unwrap_or(0)));
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider())).build();
        let is_ours = clients.is_ok_and(|clients| clients.verify_client_cert(&old, &[], at).is_ok());
        if !is_ours {
            return Err(Error::OtherAuthority { path: path.to_owned(), ca: self.dir.clone() });
        }
        let had_days = ((end_s - begin_s) / Duration::DAY.whole_seconds()).max(1);
        let days = days.unwrap_or(had_days);
        let roles: Vec<_> = facts.roles.into_iter().collect();
        let key = SubjectPublicKeyInfo::from_der(&facts.public_key)?;
        let renewed = leaf(&roles, facts.hosts, days)?.signed_by(&key, &self.issuer)?.pem();
        exchange(path, &renewed)?;
        Ok(days)
    }
}

fn leaf(roles: &[Role], hosts: Vec<Host>, days: i64) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    let words: Vec<_> = roles.iter().map(|role| role.word()).collect();
    params.distinguished_name = name(&format!("lsgan {}", words.join(" ")));
    for role in roles {
        params.subject_alt_names.push(SanType::URI(role.uri().try_into()?));
    }
    for host in hosts {
        params.subject_alt_names.push(match host {
            Host::Name(name) => SanType::DnsName(name.try_into()?),
            Host::Ip(ip) => SanType::IpAddress(ip),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // What a certificate is for is said by its roles alone.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = valid_for(days);
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn short_hash(key: &KeyPair) -> String {
    // The end of a public key is as good as random.
    let public = key.public_key_raw();
    public[public.len().saturating_sub(4)..].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn valid_for(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    let end = now + Duration::days(days);
    (now.min(end) - CLOCKS_DIFFER, end)
}

const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(Error::io(path))
}

/// Exchanges a file as a whole.
fn exchange(path: &Path, text: &str) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || {
        // One that is left from a process that was killed is written over.
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(PUBLIC).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(Error::io(&beside))?;
    fs::rename(&beside, path).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{Files, Identity, roles_of};

    fn wanted() -> Wanted {
        Wanted { names: Vec::new(), days: 90 }
    }

    #[test]
    fn each_role_gets_a_certificate_that_opens_and_a_key_that_nobody_else_reads() {
        let dir = tempfile::tempdir().expect("a directory");
        let named = Wanted {
            names: vec!["node-1".parse().expect("a name"), "10.0.0.1".parse().expect("an address")],
            days: 90,
        };
        Authority::init(dir.path(), &named).expect("an empty directory");
        for role in Role::ALL {
            let files = Files::of(dir.path().to_str().expect("UTF-8"), &[role]).expect("it has a folder");
            let certificate = files::certificates(&files.certificate).expect("it was written");
            assert_eq!(roles_of(&certificate[0]).into_iter().collect::<Vec<_>>(), [role]);
            let facts = Facts::of(&certificate[0]).expect("it is one");
            assert_eq!(facts.hosts.len(), if role == Role::Coordinator { 2 } else { 0 });
            let mode = fs::metadata(&files.key).expect("it was written").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            Identity::open(files).expect("it is whole");
        }
        let again = Authority::init(dir.path(), &wanted()).expect_err("it is there");
        assert!(matches!(again, Error::Exists { .. }), "{again}");
        let again = Authority::open(dir.path()).expect("it is there").issue(Role::Viewer, &wanted(), None);
        assert!(matches!(again, Err(Error::Exists { .. })));
    }

    #[test]
    fn a_certificate_is_renewed_with_its_key_and_its_roles_by_its_own_authority_alone() {
        let [ours, others] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let authority = Authority::init(ours.path(), &wanted()).expect("an empty directory");
        let other = Authority::init(others.path(), &wanted()).expect("an empty directory");
        let path = ours.path().join("worker/tls.crt");
        let facts = |path: &Path| Facts::of(&files::certificates(path).expect("PEM")[0]).expect("it is one");
        let before = facts(&path);
        assert_eq!(authority.renew(&path, Some(200)).expect("it is ours"), 200);
        let after = facts(&path);
        assert_eq!((after.roles, after.public_key), (before.roles, before.public_key));
        assert!(after.valid_s.1 > before.valid_s.1);
        Identity::open(Files::in_folder(&ours.path().join("worker"))).expect("its key is the same");
        let refused = other.renew(&path, None).expect_err("it is not theirs");
        assert!(matches!(refused, Error::OtherAuthority { .. }), "{refused}");
        assert!(matches!(authority.renew(&ours.path().join("ca.crt"), None), Err(Error::Invalid { .. })));
    }

    #[test]
    fn what_is_wrong_with_files_is_said_with_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::init(dir.path(), &wanted()).expect("an empty directory");
        let past = Wanted { days: -1, ..wanted() };
        let folder =
            authority.issue(Role::Worker, &past, Some(&dir.path().join("past"))).expect("a new folder");
        let expired = Identity::open(Files::in_folder(&folder)).expect_err("it ended yesterday");
        assert!(expired.to_string().ends_with("or by its authority"), "{expired}");
        let mut mixed = Files::in_folder(&dir.path().join("worker"));
        mixed.key = dir.path().join("viewer/tls.key");
        let mixed = Identity::open(mixed).expect_err("the key is another's").to_string();
        assert!(mixed.contains("worker/tls.crt"), "{mixed}");
        let mut swapped = Files::in_folder(&dir.path().join("worker"));
        std::mem::swap(&mut swapped.certificate, &mut swapped.key);
        let swapped = Identity::open(swapped).expect_err("a key is no certificate").to_string();
        assert!(swapped.contains("tls.key: it has no certificate"), "{swapped}");
        for wrong in ["", "a b", "-?", "http://host", "host:1"] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_changed_certificate_is_read_again_and_a_wrong_one_is_not_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::init(dir.path(), &wanted()).expect("an empty directory");
        let identity = Identity::open(Files::in_folder(&dir.path().join("worker"))).expect("it is whole");
        let first = identity.client();
        assert!(Arc::ptr_eq(&first, &identity.client()));
        authority.renew(&dir.path().join("worker/tls.crt"), Some(300)).expect("it is ours");
        let second = identity.client();
        assert!(!Arc::ptr_eq(&first, &second));
        fs::write(dir.path().join("worker/tls.crt"), "half").expect("it can be written");
        assert!(Arc::ptr_eq(&second, &identity.client()));
    }
}
