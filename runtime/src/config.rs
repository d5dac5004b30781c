//! The operator's and the project's choices. Owns their shape and their checks.
//!
//! Invariant: a [`Config`] that passed [`Config::check`] can be run; all its mistakes are reported
//! together. It is read by `runtime.rs` alone, which hands each part its piece. It binds and opens
//! nothing, and does not know where the choices came from.

mod origin;
mod proxies;

pub(crate) use origin::Origins;
pub use origin::{Origin, OriginError};
pub use proxies::{Network, NetworkError, Preamble, Proxies};

use crate::limits::Limits;
use crate::ttl::Ttl;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What a node needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the front door listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the rooms' data lies.
    pub storage: StorageConfig,
    /// The folder for compiled code; without one every start compiles again.
    pub cache_dir: Option<PathBuf>,
    /// The files of its certificate; without them it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// What stands before it.
    pub proxies: Proxies,
    /// Every bound.
    pub limits: Limits,
    /// Who reads the error texts.
    pub audience: Audience,
}

/// The files of a certificate, in PEM. They are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and behind it those that vouch for it.
    pub cert: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
}

/// Where the rooms' data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageConfig {
    /// In this folder, on disk.
    Disk(PathBuf),
    /// In memory; gone when the node stops.
    Memory,
}

/// Who reads the error texts that a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The room's author: responses carry the guest's own error and backtrace.
    Developer,
    /// Anybody: responses carry a short plain text and the id under which the log has the rest.
    Public,
}

/// What is served: the parties of one project with its static files.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Its parties, at least one.
    pub parties: Vec<PartyConfig>,
    /// The folder of its static files.
    pub assets: Option<PathBuf>,
    /// The origins whose pages may open WebSockets to its rooms, as [`Origin::parse`] reads them. None
    /// given lets every page in; the server's own pages always are.
    pub origins: Vec<String>,
}

/// One party of a project.
#[derive(Clone, Debug)]
pub struct PartyConfig {
    /// The name, in any spelling of [`crate::PartyName::parse`].
    pub name: String,
    /// The module: a WebAssembly component of the world `room:runtime/module`.
    pub module: Arc<[u8]>,
    /// The environment its rooms see.
    pub vars: Vec<(String, String)>,
    /// What a quiet room with open sockets does.
    pub when_quiet: WhenQuiet,
    /// A text that is answered without the room, as a sign of life.
    pub auto_response: Option<AutoResponse>,
    /// How long a room is kept that nobody uses; for ever, if none.
    pub ttl: Option<Ttl>,
}

/// A text message of a client that is answered with another one, and that the room never hears of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoResponse {
    /// The whole text of the message that is answered.
    pub request: String,
    /// The whole text of the answer.
    pub response: String,
}

impl AutoResponse {
    /// What is wrong with it, as a sentence; none if it can be used.
    pub fn problem(&self, limits: &Limits) -> Option<String> {
        let max = limits.auto_response_bytes_max;
        if self.request.is_empty() {
            return Some("the request of an auto_response is empty".to_owned());
        }
        let texts = [("request", &self.request), ("response", &self.response)];
        texts.into_iter().find(|(_, text)| text.len() as u64 > max).map(|(name, text)| {
            format!(
                "the {name} of an auto_response has {} bytes, auto_response_bytes_max allows {max}",
                text.len()
            )
        })
    }
}

/// What a room does that has open sockets and nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenQuiet {
    /// It stays in memory.
    #[default]
    Stay,
    /// Its instance is dropped after [`Limits::hibernate_ms`]; the sockets stay.
    Hibernate,
}

/// The mistakes of a configuration, all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Checks everything that can be wrong before anything is opened.
    ///
    /// # Errors
    /// [`ConfigError`] with a sentence for each mistake.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = self.limits.problems();
        if let StorageConfig::Disk(dir) = &self.storage
            && dir.exists()
            && !dir.is_dir()
        {
            problems.push(format!("the data folder {} is a file", dir.display()));
        }
        problems.extend(self.proxies.problem());
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }
}
