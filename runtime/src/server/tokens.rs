//! Who may ask the server for what. Owns the tokens, of which it keeps the hashes.
//!
//! Invariant: a token's secret is told once, when it is made, and stands in no file and no log; how long
//! a comparison takes says nothing of it. It does not know what is asked.

use super::file::{self, FileError};
use super::ledger::Ledger;
use crate::limits::fixed::TOKENS_MAX;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// The version of the file.
const FORMAT: u32 = 1;
/// The file of the tokens, and whose it is.
const FILE: &str = "tokens.json";
const OWNER: &str = "server";
/// What a secret begins with, so that scanners find one that was published.
const PREFIX: &str = "room_";

/// What a token is good for. Each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To look at everything but secrets.
    Read,
    /// To deploy, roll back and set variables, too.
    Deploy,
    /// Everything.
    Admin,
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its id, which is no secret.
    pub id: String,
    /// What it is for, in its owner's words.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// A token that was just made.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewToken {
    /// What is known of it.
    #[serde(flatten)]
    pub record: TokenRecord,
    /// The secret, which is never told again.
    pub secret: String,
}

#[derive(Default, Serialize, Deserialize)]
struct OnDisk {
    format: u32,
    tokens: Vec<Kept>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    record: TokenRecord,
    /// BLAKE3 of the secret, which has 244 random bits: nothing is to be gained by guessing.
    hash: String,
}

/// Why tokens stay as they are.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("there is no token {0}")]
    Unknown(String),
    #[error("there are {TOKENS_MAX} tokens already; revoke one first")]
    Full,
    #[error("a token's name has 1 to 100 characters and no control characters")]
    Name,
    #[error(transparent)]
    File(#[from] FileError),
}

/// The tokens of a server.
pub(super) struct Tokens {
    /// Held while they change.
    ledger: Mutex<Ledger>,
    kept: Mutex<Vec<Kept>>,
}

impl Tokens {
    /// Those of a data folder; none if the file is not there.
    ///
    /// # Errors
    /// [`FileError`]: the file is damaged, or a newer server has written it.
    pub(super) fn open(data: &Path) -> Result<Self, FileError> {
        let mut ledger = Ledger::open(data, OWNER);
        let on_disk: OnDisk =
            ledger.read_or_lost(FILE)?.unwrap_or(OnDisk { format: FORMAT, tokens: Vec::new() });
        file::check_format(&data.join(FILE), on_disk.format, FORMAT)?;
        Ok(Self { ledger: Mutex::new(ledger), kept: Mutex::new(on_disk.tokens) })
    }

    /// True if nobody could ask for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.kept().is_empty()
    }

    /// Makes one. Blocks until the disk has it.
    ///
    /// # Errors
    /// [`TokenError`]: there is no such token.
    pub(super) fn create(
        &self,
        name: &str,
        scope: Scope,
        now_ms: u64,
    ) -> Result<NewToken, TokenError> {
        if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(TokenError::Name);
        }
        let mut ledger = self.ledger();
        let mut tokens = self.kept().clone();
        if tokens.len() >= TOKENS_MAX {
            return Err(TokenError::Full);
        }
        let [id, one, two] = std::array::from_fn(|_| Uuid::new_v4().simple().to_string());
        let record = TokenRecord {
            id: id[..8].to_owned(),
            name: name.to_owned(),
            scope,
            created_ms: now_ms,
        };
        let secret = format!("{PREFIX}{one}{two}");
        let hash = blake3::hash(secret.as_bytes()).to_hex().to_string();
        tokens.push(Kept { record: record.clone(), hash });
        self.save(&mut ledger, tokens)?;
        Ok(NewToken { record, secret })
    }

    /// All, the oldest first.
    pub(super) fn list(&self) -> Vec<TokenRecord> {
        self.kept().iter().map(|kept| kept.record.clone()).collect()
    }

    /// Makes one worthless. Blocks until the disk has it.
    ///
    /// # Errors
    /// [`TokenError`]: it is good for what it was.
    pub(super) fn revoke(&self, id: &str) -> Result<TokenRecord, TokenError> {
        let mut ledger = self.ledger();
        let mut tokens = self.kept().clone();
        let at = tokens.iter().position(|kept| kept.record.id == id);
        let at = at.ok_or_else(|| TokenError::Unknown(id.to_owned()))?;
        let revoked = tokens.remove(at);
        self.save(&mut ledger, tokens)?;
        Ok(revoked.record)
    }

    /// The token with this secret. Hashes are compared, which blake3 does in constant time, and all of them.
    pub(super) fn check(&self, secret: &str) -> Option<TokenRecord> {
        let offered = blake3::hash(secret.as_bytes());
        let kept = self.kept();
        let mut found = None;
        for token in kept.iter() {
            if blake3::Hash::from_hex(&token.hash).is_ok_and(|hash| hash == offered) {
                found = Some(token.record.clone());
            }
        }
        found
    }

    fn save(&self, ledger: &mut Ledger, tokens: Vec<Kept>) -> Result<(), FileError> {
        let on_disk = OnDisk { format: FORMAT, tokens };
        ledger.write(FILE, &on_disk)?;
        *self.kept() = on_disk.tokens;
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // What a panicking holder left counts one change too many at most, which is no harm.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        // It is replaced in one move, so what a panicking holder left is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_until_it_is_revoked_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        assert!(tokens.is_empty());
        let made = tokens.create("laptop", Scope::Deploy, 7).unwrap();
        let other = tokens.create("ci", Scope::Read, 8).unwrap();
        let file = std::fs::read_to_string(dir.path().join("tokens.json")).unwrap();
        assert!(!file.contains(&made.secret) && !file.contains(&made.secret[PREFIX.len()..]));
        let tokens = Tokens::open(dir.path()).unwrap();
        assert_eq!(tokens.check(&made.secret), Some(made.record.clone()));
        for wrong in ["", "room_", &made.secret[1..], &format!("{} ", made.secret)] {
            assert_eq!(tokens.check(wrong), None, "{wrong}");
        }
        assert_eq!(tokens.list(), [made.record.clone(), other.record]);
        tokens.revoke(&made.record.id).unwrap();
        assert_eq!(tokens.check(&made.secret), None);
        assert!(matches!(tokens.revoke(&made.record.id), Err(TokenError::Unknown(_))));
        assert!(Scope::Read < Scope::Deploy && Scope::Deploy < Scope::Admin);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        Tokens::open(dir.path()).unwrap().create("a", Scope::Admin, 0).unwrap();
        let mode = dir.path().join("tokens.json").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn names_and_files_of_another_version_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        for name in ["", "a\nb", &"a".repeat(101)] {
            assert!(matches!(tokens.create(name, Scope::Read, 0), Err(TokenError::Name)));
        }
        std::fs::write(dir.path().join("tokens.json"), r#"{"format":2,"tokens":[]}"#).unwrap();
        let error = Tokens::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("tokens.json") && error.contains("version 2"), "{error}");
    }
}
