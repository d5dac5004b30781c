//! A release to be served, as `room deploy` sends it. Owns its shape and its checks.
//!
//! Invariant: a [`Release`] that passed [`Release::problems`] names nothing outside of its project. If its blobs exist,
//! all that it names exists. It does not know how a server uses it.

use hashbrown::HashSet;
use room_core::config::{
    AssetSettings, AuthMode, AuthSettings, AutoResponse, CacheControl, Cors, CorsSetting, Cron,
    CronSetting, FetchHosts, FetchSettings, HistorySetting, Origins, PartyRename, PresenceSetting,
    PublishSettings, RetentionSettings, RoomsPrefix, SseAccess, WebhookSettings,
};
use room_core::event::BodyDelivery;
use room_core::id::{ModuleHash, PartyName};
use room_core::limits::Limits;
use room_core::limits::fixed::{ASSET_PATH_BYTES_MAX, ASSETS_MAX};
use room_core::ttl::Ttl;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The most problems that are reported at once.
const PROBLEMS_MAX: usize = 20;

/// The parties of a project with their modules, its static files and its settings. Modules and files are uploaded
/// before, and the release names them by their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The parties, at least one.
    pub parties: Vec<ReleaseParty>,
    /// The static files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<ReleaseAsset>,
    /// How they are answered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub asset_settings: AssetSettings,
    /// The environment that rooms see. Variables set by `room env set` take precedence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// The limits that are not at their defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, u64>,
    /// The hosts by which clients call the project; empty if it is the only project of its server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The origins whose pages may open WebSockets. An empty list lets every page in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// A path of rooms besides `/parties`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The servers that its rooms may fetch from.
    #[serde(default, skip_serializing_if = "FetchSettings::is_empty")]
    pub fetch: FetchSettings,
    /// What calls its rooms at planned times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crons: Vec<CronSetting>,
    /// The receiver of its webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<WebhookSettings>,
    /// Who may enter its rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthSettings>,
    /// The servers that may publish to its rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<PublishSettings>,
}

/// One party of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseParty {
    /// The name of the party.
    pub name: String,
    /// The name that it had before, under which its rooms may still be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The party's module.
    pub module: BlobId,
    /// Whether quiet rooms leave memory although sockets are open.
    #[serde(default)]
    pub hibernate: bool,
    /// A message that is answered without waking the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_response: Option<AutoResponse>,
    /// How long an unused room is kept, such as `30d`. Without a ttl it is kept forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// The pages of other sites that may read the responses: `true`, or a list of origins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsSetting>,
    /// How bodies of requests reach its rooms: `whole` or in `pieces`.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub request_bodies: BodyDelivery,
    /// How long a client of its rooms may be away, such as `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Ttl>,
    /// The messages that its rooms remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistorySetting>,
    /// How its rooms show who is there. Without it, they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceSetting>,
    /// What the party asks of its clients, unless that is left to the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthMode>,
    /// Whether clients may connect by server-sent events.
    #[serde(default, skip_serializing_if = "SseAccess::is_off")]
    pub sse: SseAccess,
}

/// Returns true for the delivery of a party that names none.
fn is_whole(bodies: &BodyDelivery) -> bool {
    *bodies == BodyDelivery::Whole
}

/// One static file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseAsset {
    /// The path under which it is served, relative, with `/` between its parts.
    pub path: String,
    /// Its content.
    pub blob: BlobId,
}

/// The name of a blob: the BLAKE3 hash of its bytes in 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// Returns the name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_hash(blake3::hash(bytes))
    }

    /// Returns the hash of a module with these bytes, which is the same one.
    pub(super) fn of_module(self) -> ModuleHash {
        ModuleHash::from_bytes(self.0)
    }

    pub(super) fn of_hash(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }

    /// Returns the bytes of the hash.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.0
    }

    pub(super) fn of_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

/// A text is not a [`BlobId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a blob hash: expected 64 hexadecimal digits")]
pub struct NoBlobId(String);

impl FromStr for BlobId {
    type Err = NoBlobId;

    fn from_str(text: &str) -> Result<Self, NoBlobId> {
        blake3::Hash::from_hex(text).map(Self::of_hash).map_err(|_| NoBlobId(text.to_owned()))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for BlobId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Release {
    /// Returns what is wrong with the release, one sentence each; empty if it can be served.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen = HashSet::new();
        for party in &self.parties {
            match PartyName::parse(&party.name) {
                Err(error) => problems.push(error.to_string()),
                Ok(name) if !seen.insert(name.clone()) => {
                    problems.push(format!("the party {name} is listed twice"));
                }
                Ok(_) => {}
            }
        }
        if self.parties.is_empty() {
            problems.push("the project has no party".to_owned());
        }
        let named = self
            .parties
            .iter()
            .filter_map(|party| Some((PartyName::parse(&party.name).ok()?, party.was.as_deref())));
        problems.extend(PartyRename::parse_all(named).err().map(|error| error.to_string()));
        match self.limits() {
            Ok(limits) => self.problems_within(&limits, &mut problems),
            Err(problem) => problems.push(problem),
        }
        problems
            .extend(CacheControl::parse(&self.asset_settings).err().map(|error| error.to_string()));
        if self.assets.len() > ASSETS_MAX {
            problems.push(format!("{} files, at most {ASSETS_MAX}", self.assets.len()));
        }
        match self.prefix.as_deref().map(RoomsPrefix::parse) {
            Some(Err(error)) => problems.push(error.to_string()),
            Some(Ok(prefix)) => problems.extend(self.clash(&prefix)),
            None => {}
        }
        let mut paths = HashSet::new();
        problems.extend(self.assets.iter().filter_map(|asset| {
            let path = &asset.path;
            let problem = path_problem(path).or((!paths.insert(path)).then_some("is listed twice"));
            problem.map(|problem| format!("the file {path:?} {problem}"))
        }));
        problems.extend(self.vars.keys().filter_map(|name| {
            let problem = var_problem(name)?;
            Some(format!("the variable {name:?} {problem}"))
        }));
        let bad_hosts = self.hosts.iter().filter(|host| !is_host(host));
        problems.extend(bad_hosts.map(|host| format!("`{host}` is not a host name")));
        problems.truncate(PROBLEMS_MAX);
        problems
    }

    /// Appends what is wrong with the sections whose values the limits bound.
    fn problems_within(&self, limits: &Limits, problems: &mut Vec<String>) {
        problems.extend(limits.problems());
        let origins = Origins::parse(&self.origins, limits);
        problems.extend(origins.err().map(|error| error.to_string()));
        let fetched = FetchHosts::parse(&self.fetch.hosts, limits);
        problems.extend(fetched.err().map(|error| error.to_string()));
        problems.extend(self.parties.iter().filter_map(|party| {
            let error = Cors::parse(party.cors.as_ref(), limits).err()?;
            Some(format!("party {}: {error}", party.name))
        }));
        problems.extend(self.parties.iter().filter_map(|party| {
            let ReleaseParty { resume, history, .. } = party;
            let settings = RetentionSettings { resume: *resume, history: *history };
            let error = settings.parse(limits).err()?;
            Some(format!("party {}: {error}", party.name))
        }));
        problems.extend(self.parties.iter().filter_map(|party| {
            let error = party.presence?.parse(limits).err()?;
            Some(format!("party {}: {error}", party.name))
        }));
        let names = self.parties.iter().map(|party| PartyName::parse(&party.name));
        let names: Vec<PartyName> = names.filter_map(Result::ok).collect();
        let crons = Cron::parse_all(&self.crons, &names, limits);
        problems.extend(crons.err().map(|error| error.to_string()));
        let receiver = self.webhooks.as_ref().map(|settings| settings.check(&names));
        let wrong = receiver.and_then(Result::err);
        problems.extend(wrong.map(|error| error.to_string()));
        let section = self.auth.as_ref();
        let wrong = section.and_then(|section| section.check().err());
        problems.extend(wrong.map(|error| error.to_string()));
        let modes = self.parties.iter().map(|party| (party.name.as_str(), party.auth));
        let wrong = AuthSettings::check_modes(section, modes).err();
        problems.extend(wrong.map(|error| error.to_string()));
        let publish = self.publish.as_ref().and_then(|keys| keys.check(&names).err());
        problems.extend(publish.map(|error| error.to_string()));
    }

    /// Returns what is wrong if a static file is at the path of rooms, where no client could read it.
    fn clash(&self, prefix: &RoomsPrefix) -> Option<String> {
        let file = self.assets.iter().find(|asset| prefix.covers(&asset.path))?;
        Some(format!(
            "the file {:?} is below {prefix}, the path of rooms: move it, or choose another prefix",
            file.path
        ))
    }

    /// Returns the limits, with defaults for those that the release does not set.
    ///
    /// # Errors
    /// A sentence that names an unknown limit.
    pub fn limits(&self) -> Result<Limits, String> {
        let values = self.limits.iter().map(|(name, value)| (name.clone(), (*value).into()));
        let values = serde_json::Value::Object(values.collect());
        serde_json::from_value(values).map_err(|error| format!("limits: {error}"))
    }

    /// Returns every blob that must have been uploaded, each once.
    pub fn blobs(&self) -> HashSet<BlobId> {
        let modules = self.parties.iter().map(|party| party.module);
        modules.chain(self.assets.iter().map(|asset| asset.blob)).collect()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Returns what is wrong with the path of a static file, as a predicate that follows the path.
fn path_problem(path: &str) -> Option<&'static str> {
    if path.len() > ASSET_PATH_BYTES_MAX {
        return Some("has too long a path");
    }
    if path.contains(|c: char| c == '\\' || c.is_control()) {
        return Some("has a character in its path that no path may have");
    }
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    (!path.split('/').all(is_plain)).then_some("leads out of the folder, or nowhere")
}

/// Returns what is wrong with the name of a variable, as a predicate that follows the name.
pub(super) fn var_problem(name: &str) -> Option<&'static str> {
    match () {
        () if name.is_empty() => Some("has no name"),
        () if name.len() > 256 => Some("has too long a name"),
        () if name.contains(|c: char| c == '=' || c.is_control()) => {
            Some("has a character in its name that no variable may have")
        }
        () => None,
    }
}

/// Returns true for `chat.example.com` and `*.example.com`, in lower case, without a port.
pub fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_label = |label: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(plain)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        let module = BlobId::of(b"module");
        let main = ReleaseParty {
            name: "main".into(),
            was: None,
            module,
            hibernate: false,
            auto_response: None,
            ttl: None,
            cors: None,
            request_bodies: BodyDelivery::Whole,
            resume: None,
            history: None,
            presence: None,
            auth: None,
            sse: Default::default(),
        };
        Release { parties: vec![main], ..Release::default() }
    }

    fn with_asset(path: &str) -> Release {
        let asset = ReleaseAsset { path: path.to_owned(), blob: BlobId::of(b"") };
        Release { assets: vec![asset], ..release() }
    }

    #[test]
    fn a_path_that_leads_out_is_refused_however_it_is_spelled() {
        for path in ["index.html", "a/b.js", ".well-known/x", "...", "a b"] {
            assert_eq!(with_asset(path).problems(), Vec::<String>::new(), "{path}");
        }
        let long = "a".repeat(ASSET_PATH_BYTES_MAX + 1);
        for path in ["", "/etc/passwd", "..", "a/../../b", "a//b", "a/", "a\\..\\b", "a\0", &long] {
            assert_eq!(with_asset(path).problems().len(), 1, "{path}");
        }
        let twice = Release {
            assets: [with_asset("a").assets, with_asset("a").assets].concat(),
            ..release()
        };
        assert_eq!(twice.problems(), ["the file \"a\" is listed twice"]);
    }

    #[test]
    fn a_prefix_that_hides_a_file_is_refused() {
        let with = |path: &str, prefix: &str| {
            Release { prefix: Some(prefix.to_owned()), ..with_asset(path) }.problems()
        };
        assert_eq!(with("rooms.html", "/rooms"), Vec::<String>::new());
        for (path, prefix) in [("rooms/a.js", "/rooms"), ("a", "a"), ("x", "/_room")] {
            assert_eq!(with(path, prefix).len(), 1, "{path} {prefix}");
        }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut wrong = release();
        wrong.parties.push(wrong.parties[0].clone());
        wrong.parties.push(ReleaseParty { name: "a b".into(), ..wrong.parties[0].clone() });
        wrong.limits.insert("turn_ms".into(), 1);
        wrong.vars.insert("A=B".into(), String::new());
        wrong.hosts = vec!["*.example.com".into(), "Example.com".into(), "a:80".into()];
        let problems = wrong.problems().join("\n");
        for part in ["main is listed twice", "party", "turn_ms", "A=B", "`Example.com`", "`a:80`"] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
        assert_eq!(Release::default().problems(), ["the project has no party"]);
    }

    #[test]
    fn an_old_name_of_another_party_is_a_problem() {
        let mut renamed = release();
        renamed.parties.push(ReleaseParty {
            name: "chat".to_owned(),
            was: Some("lobby".to_owned()),
            ..renamed.parties[0].clone()
        });
        assert_eq!(renamed.problems(), Vec::<String>::new());
        renamed.parties[1].was = Some("main".to_owned());
        let problems = renamed.problems();
        assert!(problems.len() == 1 && problems[0].contains("still a party"), "{problems:?}");
    }

    #[test]
    fn an_invalid_cron_is_a_problem() {
        let good = CronSetting::new("prune", "0 3 * * *");
        let wrong = CronSetting::new("prune", "0 25 * * *");
        let stray = CronSetting { party: "mian".to_owned(), ..good.clone() };
        for (cron, part) in [(&wrong, "the hour \"25\""), (&stray, "mian")] {
            let problems = Release { crons: vec![cron.clone()], ..release() }.problems();
            assert!(problems.len() == 1 && problems[0].contains(part), "{problems:?}");
        }
        let with = Release { crons: vec![good], ..release() };
        assert_eq!(with.problems(), Vec::<String>::new());
        let text = serde_json::to_string(&with).unwrap();
        assert_eq!(serde_json::from_str::<Release>(&text).unwrap(), with);
    }

    #[test]
    fn a_release_is_read_back_and_a_newer_version_is_refused() {
        let text = serde_json::to_string(&with_asset("a")).unwrap();
        assert_eq!(serde_json::from_str::<Release>(&text).unwrap(), with_asset("a"));
        let newer = text.replacen('{', "{\"colour\":1,", 1);
        let error = serde_json::from_str::<Release>(&newer).unwrap_err().to_string();
        assert!(error.contains("colour"), "{error}");
        assert!("0123".parse::<BlobId>().is_err());
    }
}
