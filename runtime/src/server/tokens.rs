//! Who may ask the server for what. Owns the tokens, and keeps only the hashes of their secrets.
//!
//! Invariant: a token's secret is shown once, when the token is created, and is never in a file or a log. The duration
//! of a comparison reveals nothing about it. It does not know what a request asks for.

use super::file::{self, FileError};
use super::ledger::Ledger;
use super::records::{self, KeepError, RecordHome};
use room_core::limits::fixed::TOKENS_MAX;
use room_core::lock::lock;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// The version of the file's format.
const FORMAT: u32 = 1;
/// The name of the file of tokens, and the owner of its ledger.
const FILE: &str = "tokens.json";
const OWNER: &str = "server";
/// The prefix of every secret, so that scanners find a published one.
const PREFIX: &str = "room_";

/// What a token permits. Each scope includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reading everything but secrets.
    Read,
    /// Deploying, rolling back and setting variables.
    Deploy,
    /// Everything.
    Admin,
}

/// The public facts of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The token's id, which is not secret.
    pub id: String,
    /// The token's purpose, in its owner's words.
    pub name: String,
    /// What the token permits.
    pub scope: Scope,
    /// When the token was created, in milliseconds since 1970.
    pub created_ms: u64,
}

/// A token that was just created.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewToken {
    /// Its public facts.
    #[serde(flatten)]
    pub record: TokenRecord,
    /// The secret, which is never shown again.
    pub secret: String,
}

#[derive(Default, Serialize, Deserialize)]
struct TokensOnDisk {
    format: u32,
    tokens: Vec<StoredToken>,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredToken {
    #[serde(flatten)]
    record: TokenRecord,
    /// BLAKE3 of the secret. A secret has 244 random bits, so guessing is hopeless.
    hash: String,
}

/// Why a change of tokens failed. The tokens are unchanged.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("there is no token {0}")]
    Unknown(String),
    #[error("there are {TOKENS_MAX} tokens already; revoke one first")]
    Full,
    #[error("a token's name has 1 to 100 characters and no control characters")]
    Name,
    #[error(transparent)]
    Keep(#[from] KeepError),
}

/// The tokens of a server.
pub(super) struct Tokens {
    home: TokenHome,
    kept: Mutex<Vec<StoredToken>>,
}

/// Where tokens are kept.
enum TokenHome {
    /// In the data folder. Locked during a change.
    Folder(Mutex<Ledger>),
    /// In the database of a cluster. A change of another node is known here with the next look at the database.
    Cluster(RecordHome),
}

impl Tokens {
    /// Reads the tokens of a data folder. Without a file there are no tokens.
    ///
    /// # Errors
    /// [`FileError`]: the file is damaged, or a newer server wrote it.
    pub(super) fn open(data: &Path) -> Result<Self, FileError> {
        let mut ledger = Ledger::open(data, OWNER);
        let on_disk: TokensOnDisk = ledger
            .read_or_lost(FILE)?
            .unwrap_or(TokensOnDisk { format: FORMAT, tokens: Vec::new() });
        file::check_format(&data.join(FILE), on_disk.format, FORMAT)?;
        let home = TokenHome::Folder(Mutex::new(ledger));
        Ok(Self { home, kept: Mutex::new(on_disk.tokens) })
    }

    /// Reads the tokens of a cluster.
    ///
    /// # Errors
    /// [`KeepError`].
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub(super) async fn of_cluster(home: &RecordHome) -> Result<Self, KeepError> {
        let kept = read_all(home).await?;
        Ok(Self { home: TokenHome::Cluster(home.clone()), kept: Mutex::new(kept) })
    }

    /// Reads the tokens again, if they are a cluster's.
    ///
    /// # Errors
    /// [`KeepError`]: the tokens are as at the last look.
    ///
    /// # Cancel safety
    /// As [`Tokens::of_cluster`].
    pub(super) async fn look(&self) -> Result<(), KeepError> {
        if let TokenHome::Cluster(home) = &self.home {
            let kept = read_all(home).await?;
            *self.kept() = kept;
        }
        Ok(())
    }

    /// Creates a token. Blocks until it is kept.
    ///
    /// # Errors
    /// [`TokenError`]: the token was not created.
    pub(super) fn create(
        &self,
        name: &str,
        scope: Scope,
        now_ms: u64,
    ) -> Result<NewToken, TokenError> {
        if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(TokenError::Name);
        }
        let new = made(name, scope, now_ms);
        match self.add(&new, TOKENS_MAX)? {
            true => Ok(new),
            false => Err(TokenError::Full),
        }
    }

    /// Creates a first token if the server has none, and blocks until the token is stored. If several nodes of a cluster
    /// start at the same time, one of them creates it.
    ///
    /// # Errors
    /// [`KeepError`]: the token was not created.
    pub(super) fn create_first(
        &self,
        name: &str,
        now_ms: u64,
    ) -> Result<Option<NewToken>, KeepError> {
        let new = made(name, Scope::Admin, now_ms);
        Ok(self.add(&new, 1)?.then_some(new))
    }

    /// Adds a token, if there are fewer than `max`.
    fn add(&self, new: &NewToken, max: usize) -> Result<bool, KeepError> {
        let hash = blake3::hash(new.secret.as_bytes()).to_hex().to_string();
        let token = StoredToken { record: new.record.clone(), hash };
        let added = match &self.home {
            TokenHome::Folder(ledger) => {
                let mut ledger = lock(ledger);
                let mut tokens = self.kept().clone();
                let has_space = tokens.len() < max;
                if has_space {
                    tokens.push(token);
                    self.save(&mut ledger, tokens)?;
                }
                has_space
            }
            TokenHome::Cluster(home) => {
                let text = records::text("a token", &token)?;
                let records = home.records();
                let added = records.block_on(records.add_token((&token.record.id, &text), max))?;
                if added {
                    self.kept().push(token);
                }
                added
            }
        };
        Ok(added)
    }

    /// Returns all tokens, the oldest first.
    pub(super) fn list(&self) -> Vec<TokenRecord> {
        self.kept().iter().map(|kept| kept.record.clone()).collect()
    }

    /// Revokes a token. Blocks until the change is kept. Another node of a cluster accepts the token until its next look.
    ///
    /// # Errors
    /// [`TokenError`]: the token is still valid.
    pub(super) fn revoke(&self, id: &str) -> Result<TokenRecord, TokenError> {
        let unknown = || TokenError::Unknown(id.to_owned());
        let find = |tokens: &[StoredToken]| tokens.iter().position(|kept| kept.record.id == id);
        match &self.home {
            TokenHome::Folder(ledger) => {
                let mut ledger = lock(ledger);
                let mut tokens = self.kept().clone();
                let revoked = tokens.remove(find(&tokens).ok_or_else(unknown)?);
                self.save(&mut ledger, tokens)?;
                Ok(revoked.record)
            }
            TokenHome::Cluster(home) => {
                let records = home.records();
                // Another node may have created it since the last look.
                let mut tokens = records.block_on(read_all(home))?;
                let revoked = tokens.swap_remove(find(&tokens).ok_or_else(unknown)?);
                let removed =
                    records.block_on(records.remove_token(id)).map_err(KeepError::from)?;
                self.kept().retain(|kept| kept.record.id != id);
                removed.then_some(revoked.record).ok_or_else(unknown)
            }
        }
    }

    /// Returns the token with this secret. It compares the hash with those of all tokens, and blake3 does so in
    /// constant time.
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

    fn save(&self, ledger: &mut Ledger, tokens: Vec<StoredToken>) -> Result<(), KeepError> {
        let on_disk = TokensOnDisk { format: FORMAT, tokens };
        ledger.write(FILE, &on_disk)?;
        *self.kept() = on_disk.tokens;
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Vec<StoredToken>> {
        lock(&self.kept)
    }
}

/// Returns a new token, which is not kept yet.
fn made(name: &str, scope: Scope, now_ms: u64) -> NewToken {
    let [id, one, two] = std::array::from_fn(|_| Uuid::new_v4().simple().to_string());
    let id = id[..8].to_owned();
    let record = TokenRecord { id, name: name.to_owned(), scope, created_ms: now_ms };
    NewToken { record, secret: format!("{PREFIX}{one}{two}") }
}

/// Reads the tokens of a cluster.
async fn read_all(home: &RecordHome) -> Result<Vec<StoredToken>, KeepError> {
    let texts = home.records().tokens().await?;
    texts.iter().map(|text| records::read("a token", text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_until_it_is_revoked_even_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        assert!(tokens.list().is_empty());
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
    fn only_the_owner_reads_the_token_file() {
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
