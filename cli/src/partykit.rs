//! A PartyKit project's `partykit.json`, as far as it has a counterpart here. Owns the treatment of each key.
//!
//! Invariant: every key is taken, or named with the reason why it is not. A key that PartyKit does not know is a
//! mistake, with its place. It does not know the file system.

#[cfg(test)]
mod tests;

use crate::codes::Code;
use crate::manifest;
use crate::mistake::Mistake;
use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use room_runtime::{CronSetting, Limits, PartyName};
use serde::Serialize;
use std::ops::Range;

/// The counterpart of a PartyKit project.
#[derive(Debug, Default)]
pub(crate) struct Import {
    /// Its name, if it has one.
    pub(crate) name: Option<String>,
    /// Its parties, each with the path of its code.
    pub(crate) parties: Vec<(PartyName, String)>,
    /// The folder of its static files, relative to the file.
    pub(crate) assets: Option<String>,
    /// Its variables.
    pub(crate) vars: Vec<(String, String)>,
    /// Its crons, each with its schedule.
    pub(crate) crons: Vec<CronSetting>,
    /// The treatment of each key, in the file's order.
    pub(crate) rows: Vec<ConvertedKey>,
}

/// The treatment of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ConvertedKey {
    /// The key, with its parent keys.
    pub(crate) key: String,
    /// True if its counterpart was written.
    pub(crate) taken: bool,
    /// The counterpart, or why there is none.
    pub(crate) note: String,
}

/// The keys that are read, and must have a value of this kind.
const READ: &[(&str, &str)] = &[
    ("name", "a text"),
    ("main", "a text"),
    ("parties", "an object of texts"),
    ("serve", "a text, or an object with a `path`"),
    ("vars", "an object"),
    ("crons", "an object of texts"),
];

/// The keys without a counterpart, and why.
const LEFT: &[(&str, &str)] = &[
    ("$schema", "`room schema` prints the schema of room.toml"),
    ("port", "it is a flag: `room dev --port`"),
    ("persist", "data is kept in .room/state; `room dev --ephemeral` keeps none"),
    ("define", "constants are Rust: `const`, or `env!` for the environment of the build"),
    ("build", "cargo builds rooms; what a page needs is built by its own tools"),
    ("compatibilityDate", "a room keeps the contract that it was compiled with"),
    ("compatibilityFlags", "a room keeps the contract that it was compiled with"),
    ("minify", "`room build` makes the release of cargo's profile"),
    ("team", "there are no accounts"),
    ("preview", "there are no accounts, and so no previews"),
    ("domain", "the server is yours: the domain is your proxy's"),
    ("ai", "it is a service of Cloudflare"),
    ("vectorize", "it is a service of Cloudflare"),
    ("logpush", "rooms log to stderr; any collector takes it from there"),
    ("tailConsumers", "rooms log to stderr; any collector takes it from there"),
    ("analytics", "it is a service of Cloudflare; `/_room/metrics` counts"),
    ("bindings", "they are services of Cloudflare; rooms have their own storage"),
    ("placement", "rooms run where you run the server"),
    ("observability", "`/_room/metrics` and the log are always there"),
];

/// The keys of `serve` besides `path`, and why they have no counterpart.
const SERVE_LEFT: &[(&str, &str)] = &[
    ("build", "static files are served as they are; a page is built by its own tools"),
    ("browserTTL", "write a pattern under [assets.cache]: `\"**\" = \"public, max-age=3600\"`"),
    ("edgeTTL", "there is no edge"),
    ("singlePageApp", "write `single_page = true` under [assets]"),
    ("include", "all files of the folder are served, but hidden ones"),
    ("exclude", "all files of the folder are served, but hidden ones"),
];

/// Reads the text of a `partykit.json`, or of a `package.json` with a `partykit` in it; messages call it `file`.
///
/// # Errors
/// All mistakes of the text at once, each with its place; for a text that is not JSON, the first.
pub(crate) fn import(file: &str, text: &str) -> Result<Import, Mistake> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default());
    let parsed = parsed.map_err(|err| {
        let message = format!("{file} is not valid JSON: {}", err.kind());
        let at = err.range();
        Mistake::new(Code::NotJson, message).at(file, text, at.start..at.end, "here")
    })?;
    let mut reader = PartyKitReader { file, text, import: Import::default(), mistakes: Vec::new() };
    match parsed.value.as_ref().and_then(Value::as_object) {
        Some(object) if file.ends_with("package.json") => match object.get("partykit") {
            Some(own) => reader.within(own, "an object", PartyKitReader::document),
            None => reader.complain("there is no `partykit` in it", 0..0, "here"),
        },
        Some(object) => reader.document(object),
        None => reader.complain("it is not an object", 0..0, "here"),
    }
    if reader.mistakes.is_empty() {
        return Ok(reader.import);
    }
    let message = format!("{file} has {} mistakes", reader.mistakes.len());
    Err(Mistake::all(message, reader.mistakes))
}

/// Walks the object and gathers its content.
struct PartyKitReader<'a> {
    file: &'a str,
    text: &'a str,
    import: Import,
    mistakes: Vec<Mistake>,
}

impl PartyKitReader<'_> {
    fn document(&mut self, object: &Object<'_>) {
        for property in &object.properties {
            let key = property.name.as_str();
            match key {
                "name" => self.name(property),
                "main" => self.main(property),
                "parties" => self.within(property, wanted(key), Self::parties),
                "serve" => self.serve(property),
                "vars" => self.within(property, wanted(key), Self::vars),
                "crons" => self.within(property, wanted(key), Self::crons),
                _ => self.left(property, "", LEFT, READ),
            }
        }
    }

    fn name(&mut self, property: &ObjectProp<'_>) {
        let Some(name) = self.string(property, wanted("name")) else { return };
        match manifest::name_problem(&name) {
            Some(problem) => self.complain(&problem, span(&property.value), "this name"),
            None => {
                self.taken("name", format!("name = {name:?}"));
                self.import.name = Some(name);
            }
        }
    }

    fn main(&mut self, property: &ObjectProp<'_>) {
        if let Some(code) = self.string(property, wanted("main")) {
            self.party("main", "main", code, property);
        }
    }

    fn parties(&mut self, object: &Object<'_>) {
        for property in &object.properties {
            let name = property.name.as_str();
            if name == "main" {
                let message = "a party cannot be called `main`, as PartyKit has `main` at the top";
                self.complain(message, key_span(property), "this name");
            } else if let Some(code) = self.string(property, "a text") {
                self.party(&format!("parties.{name}"), name, code, property);
            }
        }
    }

    fn party(&mut self, key: &str, name: &str, code: String, property: &ObjectProp<'_>) {
        match PartyName::parse(name) {
            Err(err) => self.complain(&err.to_string(), key_span(property), "this name"),
            Ok(name) if self.import.parties.iter().any(|(other, _)| *other == name) => {
                let message = format!("the party {name} is listed twice");
                self.complain(&message, key_span(property), "the second one");
            }
            Ok(name) => {
                let note = format!(
                    "[parties.{name}] path = \"rooms/{name}\"; port {code} to its src/lib.rs"
                );
                self.taken(key, note);
                self.import.parties.push((name, code));
            }
        }
    }

    fn serve(&mut self, property: &ObjectProp<'_>) {
        let Value::Object(object) = &property.value else {
            if let Some(dir) = self.string(property, wanted("serve")) {
                self.assets("serve", dir);
            }
            return;
        };
        for property in &object.properties {
            if property.name.as_str() != "path" {
                self.left(property, "serve.", SERVE_LEFT, &[("path", "")]);
            } else if let Some(dir) = self.string(property, "a text") {
                self.assets("serve.path", dir);
            }
        }
    }

    fn assets(&mut self, key: &str, dir: String) {
        self.taken(key, format!("[assets] dir = {dir:?}"));
        self.import.assets = Some(dir);
    }

    fn vars(&mut self, object: &Object<'_>) {
        for property in &object.properties {
            let name = property.name.as_str();
            let key = format!("vars.{name}");
            if name.is_empty() || name.contains(['=', '\0']) {
                let message = "this cannot be a variable's name";
                self.complain(message, key_span(property), "this name");
                continue;
            }
            // Values may be secrets, and are not shown.
            let value = match &property.value {
                Value::StringLit(text) => {
                    self.taken(&key, format!("[vars] {name}"));
                    text.value.clone().into_owned()
                }
                other => {
                    self.taken(&key, format!("[vars] {name}, as text: variables are texts here"));
                    self.text.get(span(other)).unwrap_or_default().to_owned()
                }
            };
            self.import.vars.retain(|(other, _)| other != name);
            self.import.vars.push((name.to_owned(), value));
        }
    }

    fn crons(&mut self, object: &Object<'_>) {
        for property in &object.properties {
            let name = property.name.as_str();
            let Some(schedule) = self.string(property, "a text") else { continue };
            let (key, cron) = (format!("crons.{name}"), CronSetting::new(name, &schedule));
            match cron.check(&Limits::default()) {
                Ok(_) => {
                    let note = format!(
                        "[crons] {name} = {schedule:?}; on_cron of the room {name:?}, where the days 0 and 7 are Sunday"
                    );
                    self.taken(&key, note);
                    self.import.crons.push(cron);
                }
                Err(error) => {
                    let note = error.to_string();
                    self.import.rows.push(ConvertedKey { key, taken: false, note });
                }
            }
        }
    }

    /// Notes a key without a counterpart, or reports an unknown one.
    fn left(
        &mut self,
        property: &ObjectProp<'_>,
        above: &str,
        left: &[(&str, &str)],
        read: &[(&str, &str)],
    ) {
        let key = property.name.as_str();
        if let Some((_, why)) = left.iter().find(|(known, _)| *known == key) {
            let note = (*why).to_owned();
            self.import.rows.push(ConvertedKey {
                key: format!("{above}{key}"),
                taken: false,
                note,
            });
            return;
        }
        let known: Vec<_> = read.iter().chain(left).map(|(known, _)| *known).collect();
        let help = match manifest::nearest(key, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it, if PartyKit did not need it".to_owned(),
        };
        self.complain(&format!("PartyKit has no key `{above}{key}`"), key_span(property), "here");
        if let Some(last) = self.mistakes.pop() {
            self.mistakes.push(last.help(help));
        }
    }

    fn taken(&mut self, key: &str, note: String) {
        self.import.rows.push(ConvertedKey { key: key.to_owned(), taken: true, note });
    }

    fn string(&mut self, property: &ObjectProp<'_>, wanted: &str) -> Option<String> {
        let text = property.value.as_string_lit().map(|text| text.value.clone().into_owned());
        if text.is_none() {
            self.wrong_kind(property, wanted);
        }
        text
    }

    /// Enters the object that is the value of a key.
    fn within(
        &mut self,
        property: &ObjectProp<'_>,
        wanted: &str,
        read: impl FnOnce(&mut Self, &Object<'_>),
    ) {
        match property.value.as_object() {
            Some(object) => read(self, object),
            None => self.wrong_kind(property, wanted),
        }
    }

    fn wrong_kind(&mut self, property: &ObjectProp<'_>, wanted: &str) {
        let message = format!("`{}` must be {wanted}", property.name.as_str());
        self.complain(&message, span(&property.value), "this is something else");
    }

    fn complain(&mut self, message: &str, at: Range<usize>, label: &str) {
        let mistake = Mistake::new(Code::BadPartyKit, message);
        self.mistakes.push(mistake.at(self.file, self.text, at, label));
    }
}

fn wanted(key: &str) -> &'static str {
    READ.iter().find(|(known, _)| *known == key).map_or("something else", |(_, wanted)| wanted)
}

fn span(value: &Value<'_>) -> Range<usize> {
    value.start()..value.end()
}

fn key_span(property: &ObjectProp<'_>) -> Range<usize> {
    property.name.start()..property.name.end()
}
