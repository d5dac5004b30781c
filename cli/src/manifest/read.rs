//! The way from the text of a `room.toml` to a manifest. Owns the messages about its mistakes.
//!
//! Invariant: every key is either understood or reported, and one mistake does not hide the next. It does not know
//! the file system.

mod assets;
pub(super) mod auth;
mod cors;
mod crons;
mod fetch;
pub(super) mod keys;
mod presence;
mod publish;
mod retention;
mod webhooks;

use super::{Manifest, Party, PartyScript, name_problem};
use crate::codes::Code;
use crate::mistake::Mistake;
use assets::AssetSection;
use keys::{
    ASSETS, AUTO_RESPONSE, CRON, FETCH, FOREIGN, HISTORY, PARTY, PRESENCE, PUBLISH, SERVE, TOP,
    WEBHOOKS,
};
use room_runtime::config::PartyRename;
use room_runtime::server::is_host;
use room_runtime::{
    AutoResponse, BodyDelivery, Limits, Origin, PartyName, Ttl, TtlError, WhenQuiet,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The keys of a party that name its code.
#[derive(Default)]
struct CodeKeys {
    path: Option<std::ops::Range<usize>>,
    script: Option<Spanned<PathBuf>>,
    export: Option<Spanned<String>>,
}

/// The content of `[serve]`, as far as it can be read.
#[derive(Default)]
struct Serve {
    hosts: Vec<String>,
    origins: Vec<Spanned<String>>,
    prefix: Option<Spanned<String>>,
}

type Key<'a> = Spanned<DeString<'a>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// Reads the text, and returns all its mistakes as one.
pub(super) fn manifest(file: &str, text: &str) -> Result<Manifest, Mistake> {
    let table = DeTable::parse(text).map_err(|err| not_toml(file, text, &err))?;
    let mut reader = ManifestReader { file, text, mistakes: Vec::new() };
    let manifest = reader.document(table.get_ref());
    match (manifest, reader.mistakes) {
        (Some(manifest), mistakes) if mistakes.is_empty() => Ok(manifest),
        (_, mistakes) => {
            Err(Mistake::all(format_args!("{file} has {} mistakes", mistakes.len()), mistakes))
        }
    }
}

fn not_toml(file: &str, text: &str, err: &toml::de::Error) -> Mistake {
    let message = err.message().trim().replace('\n', "; ");
    let mistake = Mistake::new(Code::NotToml, format_args!("{file} is not valid TOML: {message}"));
    match err.span() {
        Some(span) => mistake.at(file, text, span, "here"),
        None => mistake,
    }
}

/// Walks the document and gathers mistakes.
struct ManifestReader<'a> {
    file: &'a str,
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl ManifestReader<'_> {
    fn document(&mut self, table: &DeTable<'_>) -> Option<Manifest> {
        let mut name = None;
        let mut parties = Vec::new();
        let mut assets = AssetSection::default();
        let mut serve = Serve::default();
        let mut fetched = Vec::new();
        let mut crons = Vec::new();
        let (mut webhooks, mut auth, mut publish) = (None, None, None);
        let mut vars = BTreeMap::new();
        let mut limits = Limits::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = Some(self.name(value)),
                "parties" => parties = self.parties(value),
                "assets" => assets = self.assets(value),
                "serve" => serve = self.serve(value),
                "fetch" => fetched = self.fetch(value),
                "crons" => crons = self.crons(value),
                "webhooks" => webhooks = self.webhooks(value),
                "auth" => auth = self.auth(value),
                "publish" => publish = self.publish(value),
                "vars" => vars = self.vars(value),
                "limits" => limits = self.limits(value),
                _ => self.unknown(key, "room.toml", TOP),
            }
        }
        self.auto_responses(&parties, &limits);
        self.old_names(&parties);
        self.cors_counts(&parties, &limits);
        self.retentions(&parties, &limits);
        self.presences(&parties, &limits);
        let origins = self.origins(std::mem::take(&mut serve.origins), &limits);
        let fetch = self.fetch_hosts(fetched, &limits);
        if parties.is_empty() {
            parties.push(Party::default_at(0..0));
        }
        let crons = self.checked_crons(crons, &parties, &limits);
        let webhooks = self.checked_webhooks(webhooks, &parties);
        let auth = self.checked_auth(auth, &parties);
        let publish = self.checked_publish(publish, &parties);
        let Some(name) = name else {
            self.complain(Code::NoName, "the project has no name", 0..0, "here")
                .help_last("put `name = \"my-project\"` at the top of the file");
            return None;
        };
        let AssetSection { dir: assets, page_scripts, settings: asset_settings } = assets;
        let (name, Serve { hosts, prefix, .. }) = (name?, serve);
        Some(Manifest {
            name,
            parties,
            assets,
            page_scripts,
            asset_settings,
            hosts,
            origins,
            prefix,
            fetch,
            crons,
            webhooks,
            auth,
            publish,
            vars,
            limits,
        })
    }

    fn name(&mut self, value: &Value<'_>) -> Option<String> {
        let name = self.string("name", value)?;
        if let Some(problem) = name_problem(&name) {
            self.complain(Code::BadProjectName, &problem, value.span(), "this name")
                .help_last("lower-case letters, digits, `-` and `_`, as in `name = \"my-chat\"`");
        }
        Some(name)
    }

    fn parties(&mut self, value: &Value<'_>) -> Vec<Party> {
        let mut parties: Vec<Party> = Vec::new();
        let Some(table) = self.table("parties", value) else {
            return parties;
        };
        for (key, value) in table {
            let name = match PartyName::parse(key.get_ref()) {
                Ok(name) => name,
                Err(err) => {
                    self.complain(Code::BadPartyName, &err.to_string(), key.span(), "this name")
                        .help_last(
                            "1 to 64 letters, digits, `-` and `_`, as in `[parties.chat-room]`",
                        );
                    continue;
                }
            };
            if parties.iter().any(|party| party.name == name) {
                let message = format!("the party {name} is listed twice");
                self.complain(Code::PartyTwice, &message, key.span(), "the second one").help_last(
                    "`ChatRoom`, `chat_room` and `chat-room` are one name; remove one of them",
                );
                continue;
            }
            parties.extend(self.party(name, key, value));
        }
        parties
    }

    fn party(&mut self, name: PartyName, key: &Key<'_>, value: &Value<'_>) -> Option<Party> {
        let place = format!("parties.{}", key.get_ref());
        let mut party = Party { name, ..Party::default_at(key.span()) };
        let mut code = CodeKeys::default();
        for (key, value) in self.table(&place, value)? {
            match key.get_ref().as_ref() {
                "path" => {
                    let path = self.string(&format!("{place}.path"), value)?;
                    party.path = Spanned::new(value.span(), PathBuf::from(path));
                    code.path = Some(key.span());
                }
                "script" => {
                    let file = self.string(&format!("{place}.script"), value)?;
                    code.script = Some(Spanned::new(value.span(), PathBuf::from(file)));
                }
                "export" => {
                    let export = self.string(&format!("{place}.export"), value)?;
                    code.export = Some(Spanned::new(value.span(), export));
                }
                "was" => {
                    let was = self.string(&format!("{place}.was"), value)?;
                    party.was = Some(Spanned::new(value.span(), was));
                }
                "hibernate" => match value.get_ref().as_bool() {
                    Some(true) => party.when_quiet = WhenQuiet::Hibernate,
                    Some(false) => party.when_quiet = WhenQuiet::Stay,
                    None => self.wrong_type(&format!("{place}.hibernate"), "true or false", value),
                },
                "auto_response" => {
                    let place = format!("{place}.auto_response");
                    party.auto_response = self.auto_response(&place, value);
                }
                "ttl" => party.ttl = self.ttl(&format!("{place}.ttl"), value),
                "cors" => party.cors = self.cors(&format!("{place}.cors"), value),
                "auth" => party.auth = self.auth_mode(&format!("{place}.auth"), value),
                "request_bodies" => match value.get_ref().as_str() {
                    Some("whole") => party.request_bodies = BodyDelivery::Whole,
                    Some("pieces") => party.request_bodies = BodyDelivery::Pieces,
                    _ => {
                        let place = format!("{place}.request_bodies");
                        self.wrong_type(&place, "\"whole\" or \"pieces\"", value);
                    }
                },
                "resume" => {
                    party.retention.resume = self.kept_time(&format!("{place}.resume"), value);
                    party.resume_at = value.span();
                }
                "history" => {
                    party.retention.history = self.history(&format!("{place}.history"), value);
                    party.history_at = value.span();
                }
                "presence" => {
                    party.presence = self.presence(&format!("{place}.presence"), value);
                }
                "sse" => match value.get_ref().as_bool() {
                    Some(on) => party.sse = on.into(),
                    None => self.wrong_type(&format!("{place}.sse"), "true or false", value),
                },
                _ => self.unknown(key, &format!("[{place}]"), PARTY),
            }
        }
        party.script = self.script(code);
        Some(party)
    }

    /// The script of a party, whose code is a script or a package.
    fn script(&mut self, code: CodeKeys) -> Option<PartyScript> {
        let CodeKeys { path, script, export } = code;
        let Some(file) = script else {
            if let Some(export) = export {
                let message = "`export` names an export of a script, and the party has no `script`";
                self.complain(Code::BadScript, message, export.span(), "this name")
                    .help_last("add `script = \"src/server.ts\"`, or remove `export`");
            }
            return None;
        };
        if let Some(path) = path {
            let message = "a party has a `script` or a package at `path`, not both";
            self.complain(Code::BadScript, message, path, "this one")
                .help_last("remove `path` if the code is the script");
        }
        let export = export.map_or_else(|| "default".to_owned(), Spanned::into_inner);
        Some(PartyScript { file, export })
    }

    fn ttl(&mut self, place: &str, value: &Value<'_>) -> Option<Ttl> {
        match self.string(place, value)?.parse() {
            Ok(ttl) => Some(ttl),
            Err(error) => {
                let error: TtlError = error;
                self.complain(Code::BadTtl, &error.to_string(), value.span(), "this time")
                    .help_last("write it as `ttl = \"30d\"`, or remove it to keep rooms forever");
                None
            }
        }
    }

    fn auto_response(&mut self, place: &str, value: &Value<'_>) -> Option<Spanned<AutoResponse>> {
        let (mut request, mut response) = (None, None);
        for (key, value) in self.table(place, value)? {
            match key.get_ref().as_ref() {
                "request" => request = Some(self.string(&format!("{place}.request"), value)),
                "response" => response = Some(self.string(&format!("{place}.response"), value)),
                _ => self.unknown(key, place, AUTO_RESPONSE),
            }
        }
        let (Some(request), Some(response)) = (request, response) else {
            let message = format!("`{place}` has a `request` and a `response`");
            self.complain(Code::BadAutoResponse, &message, value.span(), "one is missing")
                .help_last(
                    "write it as `auto_response = { request = \"ping\", response = \"pong\" }`",
                );
            return None;
        };
        Some(Spanned::new(value.span(), AutoResponse { request: request?, response: response? }))
    }

    /// Reports answers that the limits do not allow, when all keys are read.
    fn auto_responses(&mut self, parties: &[Party], limits: &Limits) {
        for answer in parties.iter().filter_map(|party| party.auto_response.as_ref()) {
            if let Some(problem) = answer.get_ref().problem(limits) {
                self.complain(Code::BadAutoResponse, &problem, answer.span(), "this answer");
            }
        }
    }

    /// Reports invalid old names, when all parties are read.
    fn old_names(&mut self, parties: &[Party]) {
        let named = parties.iter().map(|party| {
            (party.name.clone(), party.was.as_ref().map(|own| own.get_ref().as_str()))
        });
        let Err(error) = PartyRename::parse_all(named) else { return };
        let own = parties.iter().find(|party| party.name == error.party);
        let span = own.and_then(|party| party.was.as_ref()).map_or(0..0, Spanned::span);
        self.complain(Code::BadOldName, &error.to_string(), span, "this name");
    }

    fn serve(&mut self, value: &Value<'_>) -> Serve {
        let mut serve = Serve::default();
        // The meaning that other tools give to a text here.
        if value.get_ref().is_str() {
            self.complain(
                Code::WrongType,
                "`serve` must be a section",
                value.span(),
                "this is a text",
            )
            .help_last("static files are `[assets]` with `dir = \"web\"`");
            return serve;
        }
        let Some(table) = self.table("serve", value) else {
            return serve;
        };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "origins" => serve.origins = self.strings("serve.origins", value),
                "hosts" => serve.hosts = self.hosts(value),
                "prefix" => serve.prefix = self.prefix(value),
                _ => self.unknown(key, "[serve]", SERVE),
            }
        }
        serve
    }

    /// Returns the host names by which clients call the project.
    fn hosts(&mut self, value: &Value<'_>) -> Vec<String> {
        let hosts = self.strings("serve.hosts", value);
        for host in hosts.iter().filter(|host| !is_host(host.get_ref())) {
            let message = format!("`{}` is not a host name", host.get_ref());
            self.complain(Code::BadHost, &message, host.span(), "this host")
                .help_last("lower-case names without a port: `chat.example.com`, `*.example.com`");
        }
        hosts.into_iter().map(Spanned::into_inner).collect()
    }

    /// Returns a list of texts.
    fn strings(&mut self, place: &str, value: &Value<'_>) -> Vec<Spanned<String>> {
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_type(place, "a list", value);
            return Vec::new();
        };
        let text = |value| Some(Spanned::new(Value::span(value), self.string(place, value)?));
        list.iter().filter_map(text).collect()
    }

    /// Reports invalid origins, and too many of them, when all keys are read.
    fn origins(&mut self, origins: Vec<Spanned<String>>, limits: &Limits) -> Vec<String> {
        for (count, origin) in origins.iter().enumerate() {
            if let Err(error) = Origin::parse(origin.get_ref()) {
                self.complain(Code::BadOrigin, &error.to_string(), origin.span(), "this origin");
            }
            if count as u64 == limits.origins_max {
                let message = format!("more origins than origins_max allows ({count})");
                self.complain(
                    Code::BadOrigin,
                    &message,
                    origin.span(),
                    "the first that is too many",
                )
                .help_last("remove some, or set `origins_max` in `[limits]`");
            }
        }
        origins.into_iter().map(Spanned::into_inner).collect()
    }

    fn vars(&mut self, value: &Value<'_>) -> BTreeMap<String, String> {
        let mut vars = BTreeMap::new();
        let Some(table) = self.table("vars", value) else {
            return vars;
        };
        for (key, value) in table {
            let name = key.get_ref().to_string();
            if name.is_empty() || name.contains(['=', '\0']) {
                self.complain(
                    Code::BadVariable,
                    "this cannot be a variable's name",
                    key.span(),
                    "this name",
                )
                .help_last("a name is not empty and has no `=` in it");
            }
            if let Some(value) = self.string(&format!("vars.{name}"), value) {
                vars.insert(name, value);
            }
        }
        vars
    }

    fn limits(&mut self, value: &Value<'_>) -> Limits {
        let mut values: serde_json::Map<_, _> = Limits::default()
            .values()
            .into_iter()
            .map(|(name, n)| (name.into(), n.into()))
            .collect();
        let Some(table) = self.table("limits", value) else {
            return Limits::default();
        };
        let names: Vec<_> = Limits::TABLE.iter().map(|row| row.name).collect();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let Some(row) = Limits::TABLE.iter().find(|row| row.name == name) else {
                self.unknown(key, "[limits]", &names);
                continue;
            };
            if let Some(number) = self.count(&format!("limits.{name}"), value, row.min()) {
                values.insert(name.to_owned(), number.into());
            }
        }
        let limits: Limits = serde_json::from_value(values.into()).unwrap_or_default();
        for problem in limits.problems() {
            let span = blamed(table, &problem).unwrap_or_else(|| value.span());
            self.complain(Code::BadLimits, &problem, span, "this limit")
                .help_last("`room limits` explains each limit");
        }
        limits
    }

    /// Returns a whole number of at least `min`.
    fn count(&mut self, place: &str, value: &Value<'_>, min: u64) -> Option<u64> {
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
            .filter(|n| *n >= min);
        if number.is_none() {
            let label = match value.get_ref() {
                DeValue::Integer(_) => "this is out of range".to_owned(),
                other => format!("this is {}", kind(other)),
            };
            let message = format!("`{place}` must be a whole number of at least {min}");
            self.complain(Code::WrongNumber, &message, value.span(), &label);
        }
        number
    }

    fn string(&mut self, place: &str, value: &Value<'_>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(place, "a text in quotes", value);
        }
        text
    }

    fn table<'v, 't>(&mut self, place: &str, value: &'v Value<'t>) -> Option<&'v DeTable<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(place, "a section", value);
        }
        table
    }

    fn wrong_type(&mut self, place: &str, wanted: &str, value: &Value<'_>) {
        let message = format!("`{place}` must be {wanted}");
        let label = format!("this is {}", kind(value.get_ref()));
        self.complain(Code::WrongType, &message, value.span(), &label);
        if wanted.contains("quotes") && !matches!(value.get_ref(), DeValue::Table(_)) {
            let text = self.text.get(value.span()).unwrap_or_default();
            self.help_last(&format!("write it as \"{text}\""));
        } else if wanted == "a list" {
            let text = self.text.get(value.span()).unwrap_or_default();
            self.help_last(&format!("write it as [{text}]"));
        } else if wanted == "a section" {
            self.help_last(&format!("write it as `[{place}]` on a line of its own"));
        }
    }

    fn unknown(&mut self, key: &Key<'_>, place: &str, known: &[&str]) {
        let name = key.get_ref().as_ref();
        let message = format!("{place} has no key `{name}`");
        self.complain(Code::UnknownKey, &message, key.span(), "unknown key")
            .help_last(&advice(name, place, known));
    }

    fn complain(
        &mut self,
        code: Code,
        message: &str,
        span: Range<usize>,
        label: &str,
    ) -> &mut Self {
        self.mistakes.push(Mistake::new(code, message).at(self.file, self.text, span, label));
        self
    }

    /// Adds advice to the last reported mistake.
    fn help_last(&mut self, help: &str) {
        if let Some(last) = self.mistakes.pop() {
            self.mistakes.push(last.help(help));
        }
    }
}

/// Returns the advice about an unknown key: the nearest known one, the section it belongs to, or all there are.
fn advice(name: &str, place: &str, known: &[&str]) -> String {
    if place == "room.toml" {
        if let Some((_, advice)) = FOREIGN.iter().find(|(key, _)| *key == name) {
            return (*advice).to_owned();
        }
        if Limits::TABLE.iter().any(|row| row.name == name) {
            return "it belongs to `[limits]`".to_owned();
        }
    }
    if let Some(near) = nearest(name, known) {
        return format!("did you mean `{near}`?");
    }
    match known {
        [only] => format!("the only key here is `{only}`"),
        few if few.len() <= 12 => format!("the keys here are `{}`", few.join("`, `")),
        _ => "`room limits` lists every limit".to_owned(),
    }
}

/// Returns the known key that looks most like `name`, if one looks like it at all.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const ALIKE: f64 = 0.8;
    let scored = known.iter().map(|key| (strsim::jaro_winkler(name, key), *key));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= ALIKE).map(|(_, key)| key)
}

/// Returns the place of the key that a sentence about limits names, if the file has that key in `[limits]`.
fn blamed(table: &DeTable<'_>, sentence: &str) -> Option<Range<usize>> {
    let words: Vec<_> = sentence.split(|c: char| c != '_' && !c.is_alphanumeric()).collect();
    let mut keys = table.keys().filter(|key| words.contains(&key.get_ref().as_ref()));
    keys.next().map(Spanned::span)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
