//! `room.toml`: the definition of a project. Owns its keys, their defaults and what is valid.
//!
//! Invariant: a [`Manifest`] has at least one party, no two parties of one name, valid names and limits that agree
//! with each other; every key of the text was understood. It does not know the file system: `project` checks whether
//! a folder exists.

mod read;
mod schema;
#[cfg(test)]
mod tests;

pub(crate) use read::nearest;
pub(crate) use schema::schema;

use crate::mistake::Mistake;
use room_runtime::{
    AssetSettings, AuthMode, AuthSettings, AutoResponse, BodyDelivery, CorsSetting, CronSetting,
    FetchSettings, Limits, PartyName, PresenceSetting, PublishSettings, RetentionSettings,
    SseAccess, Ttl, WebhookSettings, WhenQuiet,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;

/// The file's name.
pub(crate) const FILE: &str = "room.toml";
/// The longest project name, in bytes: it becomes a label of a host name.
const NAME_BYTES_MAX: usize = 63;

/// A project: its parties, static files, variables and limits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    /// The project's name.
    pub(crate) name: String,
    /// Its parties, in the order of the file, at least one.
    pub(crate) parties: Vec<Party>,
    /// The folder of its static files, relative to the file.
    pub(crate) assets: Option<Spanned<PathBuf>>,
    /// The scripts of its pages, relative to the file, which are bundled into the folder.
    pub(crate) page_scripts: Vec<Spanned<PathBuf>>,
    /// How they are answered.
    pub(crate) asset_settings: AssetSettings,
    /// The names by which clients call the project on a server; empty if it is the only one there.
    pub(crate) hosts: Vec<String>,
    /// The origins whose pages may open WebSockets; empty lets every page in.
    pub(crate) origins: Vec<String>,
    /// A path of rooms besides `/parties`.
    pub(crate) prefix: Option<Spanned<String>>,
    /// The servers that its rooms may fetch from.
    pub(crate) fetch: FetchSettings,
    /// What calls its rooms at planned times.
    pub(crate) crons: Vec<CronSetting>,
    /// The receiver of its webhooks.
    pub(crate) webhooks: Option<WebhookSettings>,
    /// Who may enter its rooms.
    pub(crate) auth: Option<AuthSettings>,
    /// The servers that may publish to its rooms.
    pub(crate) publish: Option<PublishSettings>,
    /// The environment its rooms see.
    pub(crate) vars: BTreeMap<String, String>,
    /// Every bound, with the project's own values.
    pub(crate) limits: Limits,
}

/// One kind of room, and the package with its code.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Party {
    /// Its name in URLs.
    pub(crate) name: PartyName,
    /// The name that it had before.
    pub(crate) was: Option<Spanned<String>>,
    /// The folder of its cargo package, relative to the file.
    pub(crate) path: Spanned<PathBuf>,
    /// Its code, if that is a script and no package.
    pub(crate) script: Option<PartyScript>,
    /// What its rooms do when they are quiet.
    pub(crate) when_quiet: WhenQuiet,
    /// A text that is answered without the room.
    pub(crate) auto_response: Option<Spanned<AutoResponse>>,
    /// How long an unused room is kept; forever, if `None`.
    pub(crate) ttl: Option<Ttl>,
    /// The pages of other sites that may read its rooms' responses.
    pub(crate) cors: Option<Spanned<CorsSetting>>,
    /// How bodies of requests reach its rooms.
    pub(crate) request_bodies: BodyDelivery,
    /// How long its rooms remember what they sent.
    pub(crate) retention: RetentionSettings,
    /// The place of `resume`.
    pub(crate) resume_at: Range<usize>,
    /// The place of `history`.
    pub(crate) history_at: Range<usize>,
    /// How its rooms show who is there.
    pub(crate) presence: Option<Spanned<PresenceSetting>>,
    /// What it asks of its clients; the project says it, if `None`.
    pub(crate) auth: Option<Spanned<AuthMode>>,
    /// Whether clients may connect by server-sent events, and, with `resume`, by long polling.
    pub(crate) sse: SseAccess,
}

/// The script of a party.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartyScript {
    /// Its file, relative to `room.toml`.
    pub(crate) file: Spanned<PathBuf>,
    /// The export that is the room.
    pub(crate) export: String,
}

impl Manifest {
    /// Reads the text of a `room.toml`; messages call it `file`.
    ///
    /// # Errors
    /// All mistakes of the text at once, each with its line; for a text that is not TOML, the first.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Mistake> {
        read::manifest(file, text)
    }
}

impl Party {
    /// Returns the party of a project that names none: `main`, whose package is the project's folder.
    fn default_at(span: Range<usize>) -> Self {
        Self {
            name: PartyName::parse("main").expect("main is a valid name"),
            was: None,
            path: Spanned::new(span, PathBuf::from(".")),
            script: None,
            when_quiet: WhenQuiet::Stay,
            auto_response: None,
            ttl: None,
            cors: None,
            request_bodies: BodyDelivery::Whole,
            retention: RetentionSettings::default(),
            resume_at: 0..0,
            history_at: 0..0,
            presence: None,
            auth: None,
            sse: SseAccess::Off,
        }
    }
}

/// Returns why a text is not a valid project name; `None` if it is.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() {
        Some("a project's name cannot be empty".to_owned())
    } else if name.len() > NAME_BYTES_MAX {
        Some(format!("a project's name has at most {NAME_BYTES_MAX} characters"))
    } else if let Some(found) = name.chars().find(|c| !allowed(*c)) {
        Some(format!("a project's name cannot have {found:?} in it"))
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("a project's name starts with a letter or a digit".to_owned())
    } else {
        None
    }
}
