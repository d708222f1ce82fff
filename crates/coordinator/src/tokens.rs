//! Join tokens of a run: made, listed and revoked by operators, shown by workers without a certificate: [`Tokens`].
//!
//! The journal has a hash of each token's secret, in the fact `join_tokens`. A token that has ended stays there, so that who
//! shows it is told what happened to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use lsgan_certs::{Identity, JoinToken};
use lsgan_journal::wall_ms;
use lsgan_wire::v1;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::held::Held;
use crate::operate::name;
use crate::shell::Shell;

/// The fact of the journal.
pub(crate) const FACT: &str = "join_tokens";
/// Tokens that are valid at a time: one for each group of hosts, not one for each host.
const VALID_MAX: usize = 100;
/// Tokens that have ended and are remembered.
const ENDED_MAX: usize = 100;

/// Told of a token once the journal has it.
pub type TokenWaiter = oneshot::Sender<Result<v1::TokenReply, String>>;

/// What an operator wants of the tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOrder {
    /// A new one, for so long.
    Create { by: String, ttl: Option<Duration> },
    /// No more of this one.
    Revoke { by: String, id: String },
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    id: String,
    secret_hash: String,
    by: String,
    made_ms: u64,
    expires_ms: Option<u64>,
    revoked_ms: Option<u64>,
}

impl Kept {
    fn is_valid(&self, now_ms: u64) -> bool {
        self.revoked_ms.is_none() && self.expires_ms.is_none_or(|end| now_ms < end)
    }

    fn info(&self) -> v1::TokenInfo {
        let Self { id, by, made_ms, expires_ms, revoked_ms, .. } = self.clone();
        v1::TokenInfo { id, by, made_ms, expires_ms, revoked_ms, valid: self.is_valid(wall_ms()) }
    }
}

/// The tokens of a run. The server asks who shows one, the shell changes them.
#[derive(Debug, Default)]
pub struct Tokens {
    /// The coordinator's; without TLS there are no tokens.
    identity: Option<Arc<Identity>>,
    all: RwLock<Vec<Kept>>,
    /// What the workers of the run were told of it, once they were let in.
    run: OnceLock<Vec<u8>>,
    /// There are some, so that clients without a certificate are listened to.
    some: Arc<AtomicBool>,
}

impl Tokens {
    #[must_use]
    pub fn new(identity: Option<Arc<Identity>>) -> Self {
        Self { identity, ..Self::default() }
    }

    /// Whether clients without a certificate are listened to, at any moment from now on.
    #[must_use]
    pub fn are_there(&self) -> Arc<AtomicBool> {
        self.some.clone()
    }

    /// Those that the journal has, and the token of the run, which its workers are told.
    pub(crate) fn restore(&self, fact: Option<&str>, run: &[u8]) {
        self.run.get_or_init(|| run.to_vec());
        let Some(json) = fact else { return };
        match serde_json::from_str(json) {
            Ok(all) => self.set(all),
            Err(error) => {
                tracing::warn!("the join tokens in the journal cannot be read, and none is valid: {error}")
            }
        }
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<v1::TokenInfo> {
        self.kept().iter().map(Kept::info).collect()
    }

    /// Whether this text is a valid token of the run. One that has expired lets in whoever shows the run's own token too, which
    /// workers are told when they are let in: they come back after a restart of the coordinator.
    ///
    /// # Errors
    /// What to tell who shows it.
    pub fn check(&self, text: &str, run: Option<&[u8]>) -> Result<(), String> {
        let token: JoinToken = text.parse()?;
        let id = token.id();
        let kept =
            self.kept().into_iter().find(|kept| kept.id == id && kept.secret_hash == token.secret_hash());
        match kept {
            None => Err(format!(
                "the join token {id} is none of this run's. `lsgan token list` shows them, and `lsgan token create` makes one"
            )),
            Some(Kept { revoked_ms: Some(_), .. }) => {
                Err(format!("the join token {id} was revoked. `lsgan token create` makes another one"))
            }
            Some(kept) if !kept.is_valid(wall_ms()) && !self.knows_run(run) => {
                Err(format!("the join token {id} has expired. `lsgan token create` makes another one"))
            }
            Some(_) => Ok(()),
        }
    }

    fn knows_run(&self, shown: Option<&[u8]>) -> bool {
        // Hashes, since they are compared in constant time.
        let (ours, shown) = (self.run.get(), shown.map(blake3::hash));
        ours.zip(shown).is_some_and(|(ours, shown)| blake3::hash(ours) == shown)
    }

    /// Does what an operator wants. Returns the answer, once the journal has what [`Self::fact`] says.
    fn obey(&self, order: TokenOrder) -> Result<v1::TokenReply, String> {
        match order {
            TokenOrder::Create { by, ttl } => self.create(by, ttl),
            TokenOrder::Revoke { id, .. } => self.revoke(&id),
        }
    }

    fn create(&self, by: String, ttl: Option<Duration>) -> Result<v1::TokenReply, String> {
        let Some(identity) = &self.identity else {
            return Err("this coordinator has no TLS, and asks nobody who he is: a join token is of no use. Start it with \
                        --tls"
                .to_owned());
        };
        let authority = identity.authority().ok_or(
            "the coordinator's certificate is of an authority that is not in its ca.crt, and a join token could not say whom \
             to believe. Add the authority to ca.crt",
        )?;
        let (mut all, now_ms) = (self.kept(), wall_ms());
        if all.iter().filter(|kept| kept.is_valid(now_ms)).count() >= VALID_MAX {
            return Err(format!(
                "the run has {VALID_MAX} join tokens, which is the most. Revoke one: `lsgan token revoke ID`"
            ));
        }
        let token = JoinToken::new(&authority)?;
        let lasts_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let kept = Kept {
            id: token.id(),
            secret_hash: token.secret_hash(),
            by,
            made_ms: now_ms,
            expires_ms: lasts_ms.map(|lasts_ms| now_ms.saturating_add(lasts_ms)),
            revoked_ms: None,
        };
        let info = Some(kept.info());
        all.push(kept);
        self.set(all);
        Ok(v1::TokenReply { info, token: token.reveal() })
    }

    fn revoke(&self, id: &str) -> Result<v1::TokenReply, String> {
        let mut all = self.kept();
        let known: Vec<_> = all.iter().map(|kept| kept.id.clone()).collect();
        let kept = all.iter_mut().find(|kept| kept.id == id).ok_or_else(|| match &known[..] {
            [] => "the run has no join tokens".to_owned(),
            known => format!("the run has no join token of that ID. It has {}", known.join(", ")),
        })?;
        kept.revoked_ms.get_or_insert(wall_ms());
        let info = Some(kept.info());
        self.set(all);
        Ok(v1::TokenReply { info, token: String::new() })
    }

    /// What the journal keeps.
    fn fact(&self) -> String {
        serde_json::to_string(&self.kept()).expect("tokens are texts and numbers")
    }

    fn kept(&self) -> Vec<Kept> {
        self.all.read().expect("nothing panics while it is changed").clone()
    }

    fn set(&self, mut all: Vec<Kept>) {
        let now_ms = wall_ms();
        let ended = all.iter().filter(|kept| !kept.is_valid(now_ms)).count();
        let mut forget = ended.saturating_sub(ENDED_MAX);
        all.retain(|kept| {
            let goes = forget > 0 && !kept.is_valid(now_ms);
            forget -= usize::from(goes);
            !goes
        });
        self.some.store(!all.is_empty(), Ordering::Relaxed);
        *self.all.write().expect("nothing panics while it is changed") = all;
    }
}

impl TokenOrder {
    /// Another token, for so long; 0 ms: until it is revoked.
    #[must_use]
    pub fn create(by: &str, ttl_ms: u64) -> Self {
        Self::Create { by: name(by), ttl: (ttl_ms > 0).then(|| Duration::from_millis(ttl_ms)) }
    }

    /// No more of a token.
    #[must_use]
    pub fn revoke(by: &str, id: String) -> Self {
        Self::Revoke { by: name(by), id }
    }

    /// What a person is to know.
    fn sentence(&self, id: &str) -> String {
        match self {
            Self::Create { by, ttl: None } => {
                format!("{by} made the join token {id}, which is valid until it is revoked")
            }
            Self::Create { by, ttl: Some(ttl) } => {
                format!("{by} made the join token {id}, which is valid for {} s", ttl.as_secs())
            }
            Self::Revoke { by, .. } => {
                format!(
                    "{by} revoked the join token {id}; workers that joined with it stay until they have to connect again"
                )
            }
        }
    }
}

impl Shell {
    /// An operator wants something of the join tokens. Nobody has a token that the journal does not know.
    pub(crate) fn token_ordered(&mut self, order: TokenOrder, answer: TokenWaiter) {
        match self.tokens.obey(order.clone()) {
            Err(why) => {
                // The operator may have gone.
                let _ = answer.send(Err(why));
            }
            Ok(reply) => {
                let id = reply.info.as_ref().map_or("", |info| &info.id);
                self.notice(false, order.sentence(id));
                let fact = self.tokens.fact();
                self.depends_on = self.journal.write(move |journal| journal.set_fact(FACT, &fact));
                self.hold(Held::Token(answer, reply));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lsgan_certs::authority::{Authority, Wanted};
    use lsgan_certs::{Files, Role};

    use super::*;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let dir = tempfile::tempdir().expect("a directory");
        Authority::init(dir.path(), &Wanted { names: Vec::new(), days: 1 }).expect("an empty directory");
        let files = Files::in_folder(&dir.path().join(Role::Coordinator.word()));
        let tokens = Tokens::new(Some(Identity::open(files).expect("it was made")));
        (dir, tokens)
    }

    fn made(tokens: &Tokens, ttl_ms: u64) -> (String, String) {
        let reply = tokens.obey(TokenOrder::create("anna", ttl_ms)).expect("there is room");
        (reply.info.expect("it is told of").id, reply.token)
    }

    #[test]
    fn a_token_is_valid_until_it_is_revoked_and_the_journal_cannot_tell_it() {
        let (_dir, tokens) = tokens();
        assert!(!tokens.are_there().load(Ordering::Relaxed));
        let (id, text) = made(&tokens, 0);
        assert!(tokens.are_there().load(Ordering::Relaxed));
        let secret = text.split('.').nth(1).expect("it has a secret");
        assert!(!tokens.fact().contains(secret), "{}", tokens.fact());
        assert_eq!(tokens.check(&text, None), Ok(()));
        let again = Tokens::default();
        again.restore(Some(&tokens.fact()), b"run");
        assert_eq!(again.check(&text, None), Ok(()), "a coordinator that is started again takes it");
        tokens.obey(TokenOrder::revoke("anna", id)).expect("it is there");
        tokens.restore(None, b"run");
        for run in [None, Some(&b"run"[..])] {
            assert!(tokens.check(&text, run).is_err_and(|why| why.contains("was revoked")));
        }
        assert!(tokens.are_there().load(Ordering::Relaxed), "who shows it is told so");
    }

    #[test]
    fn a_token_that_is_wrong_or_has_expired_is_refused_with_its_id_alone() {
        let (_dir, tokens) = tokens();
        let (id, text) = made(&tokens, 0);
        let secret = text.split('.').nth(1).expect("it has a secret");
        let other = text.replace(secret, &"0".repeat(secret.len()));
        let why = tokens.check(&other, None).expect_err("another secret");
        assert!(why.contains(&id) && why.contains("none of this run's"), "{why}");
        assert!(tokens.check("x", None).is_err_and(|why| why.contains("it is no join token")));
        let (_, soon) = made(&tokens, 1);
        let begun = wall_ms();
        while wall_ms() < begun + 2 {
            std::hint::spin_loop();
        }
        let expired =
            |run: Option<&[u8]>| tokens.check(&soon, run).is_err_and(|why| why.contains("has expired"));
        assert!(expired(None) && expired(Some(b"run")), "no worker was told of a run yet");
        tokens.restore(None, b"run");
        assert!(expired(None) && expired(Some(b"another")));
        assert_eq!(tokens.check(&soon, Some(b"run")), Ok(()), "a worker of the run comes back");
        let unknown = tokens.obey(TokenOrder::revoke("anna", "x".to_owned())).expect_err("there is none");
        assert!(unknown.contains(&id), "{unknown}");
    }

    #[test]
    fn without_tls_there_are_no_tokens_and_their_number_is_bounded() {
        let plain = Tokens::new(None).obey(TokenOrder::create("anna", 0)).expect_err("nobody is asked");
        assert!(plain.contains("--tls"), "{plain}");
        let (_dir, tokens) = tokens();
        let (first, _) = made(&tokens, 0);
        (1..VALID_MAX).for_each(|_| drop(made(&tokens, 0)));
        assert!(tokens.obey(TokenOrder::create("anna", 0)).is_err_and(|why| why.contains("Revoke one")));
        tokens.obey(TokenOrder::revoke("anna", first)).expect("it is there");
        made(&tokens, 0);
        for _ in 0..2 * ENDED_MAX {
            let last = tokens.list().pop().expect("there are some").id;
            tokens.obey(TokenOrder::revoke("anna", last)).expect("it is there");
            made(&tokens, 0);
        }
        assert!(tokens.list().len() <= VALID_MAX + ENDED_MAX);
    }
}
