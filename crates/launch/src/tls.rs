//! How a process shows who it is, and when it may listen without that: [`TlsArgs`], [`JoinArgs`], [`ListenArgs`].

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgan_certs::{Credential, Files, Identity, JoinToken, Role};
use lsgan_console::Failure;

/// Who this process is; the same for all commands that reach a coordinator, or are one.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsArgs {
    /// Speak TLS, with the certificate, key and authority in this directory: `tls.crt`, `tls.key` and `ca.crt`, as
    /// cert-manager names them, or the folders that `lsgan certs init` makes. Three files as CA,CERT,KEY do too. They are read
    /// again when they change.
    #[arg(long, value_name = "DIR|CA,CERT,KEY", env = "LSGAN_TLS")]
    pub tls: Option<String>,
}

/// The environment variable with a join token.
const TOKEN: &str = "LSGAN_JOIN_TOKEN";
/// What is read of a file with a token, which has about a hundred bytes.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

/// Fewer characters have no secret of 128 bits.
const TOKEN_CHARS_MIN: usize = 32;

/// Who a worker is: by a certificate, or by a join token.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct JoinArgs {
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Take part without a certificate, by the join token in this file, which `lsgan token create` prints. Also as
    /// LSGAN_JOIN_TOKEN in the environment: the token itself.
    #[arg(long, value_name = "FILE")]
    pub join_token: Option<PathBuf>,
}

impl JoinArgs {
    /// How the process shows that it is a worker; none without certificate and token.
    ///
    /// # Errors
    /// Both are given, or what is given is not what it is to be; exit code 2.
    pub fn open(&self) -> Result<Option<Credential>, Failure> {
        let token = match &self.join_token {
            Some(path) => Some((path.display().to_string(), read_token(path)?)),
            None => {
                std::env::var(TOKEN).ok().filter(|text| !text.is_empty()).map(|text| (TOKEN.to_owned(), text))
            }
        };
        match (self.tls.open(&[Role::Worker])?, token) {
            (Some(_), Some((place, _))) => Err(Failure::bad_input(format!(
                "a certificate is given with --tls, and a join token with {place}: one of both is enough. Leave the other out"
            ))),
            (Some(identity), None) => Ok(Some(Credential::Certificate(identity))),
            (None, Some((place, text))) => {
                let token: Result<JoinToken, _> = text.parse();
                let token = token.map_err(|why| Failure::bad_input(format!("{place}: {why}")))?;
                Ok(Some(Credential::Token(Arc::new(token))))
            }
            (None, None) => Ok(None),
        }
    }

    /// The same for another process, which has this one's environment.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<String> {
        let file =
            self.join_token.iter().flat_map(|path| ["--join-token".to_owned(), path.display().to_string()]);
        self.tls.to_arguments().into_iter().chain(file).collect()
    }
}

fn read_token(path: &Path) -> Result<String, Failure> {
    if !path.exists() && path.to_str().is_some_and(is_like_a_token) {
        return Err(Failure::bad_input(format!(
            "--join-token takes the file that the join token is in, and was given what looks like the token itself, which is not \
             repeated here. Write it into a file that nobody else reads, or set {TOKEN}"
        )));
    }
    let mut text = String::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| Failure::bad_input(format!("--join-token {}: {error}", path.display())))?;
    Ok(text)
}

/// Whether a text may be a join token, or most of one: no message shows it.
fn is_like_a_token(text: &str) -> bool {
    text.len() >= TOKEN_CHARS_MIN && text.trim().chars().all(|c| c.is_ascii_hexdigit() || c == '.')
}

/// What a process that listens may do without TLS.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ListenArgs {
    /// Listen on an address that other hosts reach although nothing is encrypted and nobody proves who they are.
    #[arg(long, env = "LSGAN_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub insecure: bool,
}

impl TlsArgs {
    /// The identity of a process that is one of `roles`, the first of which there is a folder; none without `--tls`.
    ///
    /// # Errors
    /// Files that are missing or wrong, or a certificate that has expired, with exit code 2.
    pub fn open(&self, roles: &[Role]) -> Result<Option<Arc<Identity>>, Failure> {
        let Some(text) = self.given() else { return Ok(None) };
        let open = || Identity::open(Files::of(text, roles)?);
        open().map(Some).map_err(|error: lsgan_certs::Error| Failure::bad_input(format!("--tls: {error}")))
    }

    /// The same for another process.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<String> {
        self.given().into_iter().flat_map(|tls| ["--tls", tls].map(str::to_owned)).collect()
    }

    /// Whether the process has a certificate.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.given().is_some()
    }

    /// An empty variable of the environment says nothing.
    fn given(&self) -> Option<&str> {
        self.tls.as_deref().filter(|text| !text.is_empty())
    }
}

impl ListenArgs {
    /// Whether a process may listen there: on loopback, with TLS, or if the user says so, which is then logged. `flag` is the
    /// option that names the address, and `what` listens.
    ///
    /// # Errors
    /// It may not: exit code 2, with what to do.
    pub fn check(&self, address: SocketAddr, tls: bool, (what, flag): (&str, &str)) -> Result<(), Failure> {
        if tls || address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        if self.insecure {
            tracing::warn!(
                %address,
                "{what} listens without TLS: nothing is encrypted, and whoever reaches it may take part (--insecure)"
            );
            return Ok(());
        }
        Err(Failure::bad_input(format!(
            "{what} would listen on {address}, which other hosts reach, without TLS: nothing would be encrypted, and whoever \
             reaches it could take part. Make certificates with `lsgan certs init DIR` and give them to all processes with \
             --tls DIR; or listen on this host alone ({flag} 127.0.0.1:PORT); or say --insecure in a network where every host \
             may train."
        )))
    }

    /// The same for what never speaks TLS, as the page of a run.
    ///
    /// # Errors
    /// It may not listen there: exit code 2, with what to do.
    pub fn check_plain(&self, address: SocketAddr, flag: &str) -> Result<(), Failure> {
        if address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        if self.insecure {
            tracing::warn!(%address, "the page has no TLS: whoever reaches it reads the runs that it shows (--insecure)");
            return Ok(());
        }
        Err(Failure::bad_input(format!(
            "the page would be served on {address}, which other hosts reach: it has no TLS and asks nobody who he is, so that \
             whoever reaches it could read samples, curves and the run's file. Serve it to this host alone ({flag} \
             127.0.0.1:PORT) and come through a tunnel (ssh -L, kubectl port-forward); or say --insecure in a network where \
             everybody may read it."
        )))
    }

    /// The same for another process.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<String> {
        self.insecure.then(|| "--insecure".to_owned()).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People give it in its file's place, and the command line is in the shell's history already: the log is not to have it too.
    #[test]
    fn a_join_token_in_the_place_of_its_file_is_not_repeated() {
        let token = JoinToken::new(&vec![1, 2, 3].into()).expect("the system has random bytes").reveal();
        for given in [&token[..], &token[..60], &format!(" {token}")] {
            let refused = read_token(Path::new(given)).expect_err("it is no file").text;
            assert!(refused.contains("the token itself") && !refused.contains(given.trim()), "{refused}");
        }
        let refused = read_token(Path::new("no/such/file")).expect_err("it is no file").text;
        assert!(refused.starts_with("--join-token no/such/file: "), "{refused}");
    }

    #[test]
    fn only_loopback_needs_neither_tls_nor_a_word_of_the_user() {
        let check = |address: &str, tls, insecure| {
            let address = address.parse().expect("an address");
            ListenArgs { insecure }.check(address, tls, ("the coordinator", "--listen"))
        };
        for loopback in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            check(loopback, false, false).expect(loopback);
        }
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fd00::1]:1"] {
            let refused = check(open, false, false).expect_err(open);
            assert_eq!(refused.code, Failure::BAD_INPUT);
            assert!(refused.text.contains("lsgan certs init"), "{}", refused.text);
            check(open, true, false).expect(open);
            check(open, false, true).expect(open);
        }
    }
}
