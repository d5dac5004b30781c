//! The file of another tool, as far as it has a counterpart here. Owns what an import consists of, and the walk
//! through such a file.
//!
//! Invariant: every key is taken, or named with the reason why it is not. A value of the wrong kind is a mistake, with
//! its place. It does not know the file system.

mod partykit;
#[cfg(test)]
mod tests;
mod tree;
mod wrangler;

use crate::codes::Code;
use crate::manifest;
use crate::mistake::Mistake;
use room_runtime::{CronSetting, Limits, PartyName};
use serde::Serialize;
use std::ops::Range;
use std::path::Path;
use tree::{PlacedKey, PlacedValue};

/// The tool whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// PartyKit, with a `partykit.json`.
    PartyKit,
    /// Wrangler, with a `wrangler.jsonc`: the tool of PartyServer's projects.
    Wrangler,
}

/// The counterpart of a project.
#[derive(Debug)]
pub(crate) struct Import {
    /// The tool that it was written for.
    pub(crate) tool: Tool,
    /// Its name, if it has one.
    pub(crate) name: Option<String>,
    /// Its parties.
    pub(crate) parties: Vec<ImportedParty>,
    /// Its static files.
    pub(crate) assets: Option<ImportedAssets>,
    /// Its variables.
    pub(crate) vars: Vec<(String, String)>,
    /// Its crons, each with its schedule.
    pub(crate) crons: Vec<CronSetting>,
    /// The treatment of each key, in the file's order.
    pub(crate) rows: Vec<ConvertedKey>,
}

/// A party of the project.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportedParty {
    /// Its name.
    pub(crate) name: PartyName,
    /// The key of its row.
    pub(crate) key: String,
    /// The path of its code, relative to the file.
    pub(crate) code: String,
    /// The export that is the room, if it has a name.
    pub(crate) export: Option<String>,
}

/// The static files of the project.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportedAssets {
    /// Their folder, relative to the file.
    pub(crate) dir: String,
    /// True if a page that does not exist is answered with `index.html`.
    pub(crate) is_single_page: bool,
    /// The scripts of its pages, relative to the file.
    pub(crate) scripts: Vec<String>,
}

/// The treatment of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ConvertedKey {
    /// The key, with its parent keys.
    pub(crate) key: String,
    /// True if its counterpart was written.
    pub(crate) taken: bool,
    /// The counterpart, or the reason why a room has nothing like it.
    pub(crate) note: String,
}

/// Reads the text of another tool's file, whose name says which tool it is; messages call it `file`.
///
/// # Errors
/// All mistakes of the text at once, each with its place; for a text that is not JSON or TOML, the first.
pub(crate) fn import(file: &str, text: &str) -> Result<Import, Mistake> {
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
    let is_toml = Path::new(name).extension().is_some_and(|ending| ending == "toml");
    let tool = match name.starts_with("wrangler") || is_toml {
        true => Tool::Wrangler,
        false => Tool::PartyKit,
    };
    let value = if is_toml { Some(tree::of_toml(file, text)?) } else { tree::of_json(file, text)? };
    let import = Import {
        tool,
        name: None,
        parties: Vec::new(),
        assets: None,
        vars: Vec::new(),
        crons: Vec::new(),
        rows: Vec::new(),
    };
    let mut reader = ImportReader { file, text, import, mistakes: Vec::new() };
    match value.as_ref().and_then(PlacedValue::object) {
        None => reader.complain("it is not an object", 0..0, "here"),
        Some(keys) if tool == Tool::Wrangler => wrangler::document(&mut reader, keys),
        Some(keys) if name == "package.json" => partykit::package(&mut reader, keys),
        Some(keys) => partykit::document(&mut reader, keys),
    }
    if reader.mistakes.is_empty() {
        return Ok(reader.import);
    }
    let message = format!("{file} has {} mistakes", reader.mistakes.len());
    Err(Mistake::all(message, reader.mistakes))
}

/// Walks the file and gathers its content.
struct ImportReader<'a> {
    file: &'a str,
    text: &'a str,
    import: Import,
    mistakes: Vec<Mistake>,
}

impl ImportReader<'_> {
    /// Adds a party, unless its name is invalid or taken.
    fn party(
        &mut self,
        party: &str,
        row: &str,
        code: &str,
        export: Option<&str>,
        at: &Range<usize>,
    ) {
        match PartyName::parse(party) {
            Err(err) => self.complain(&err.to_string(), at.clone(), "this name"),
            Ok(name) if self.import.parties.iter().any(|other| other.name == name) => {
                let message = format!("the party {name} is listed twice");
                self.complain(&message, at.clone(), "the second one");
            }
            Ok(name) => {
                let note = format!(
                    "[parties.{name}] path = \"rooms/{name}\"; port {code} to its src/lib.rs"
                );
                self.taken(row, note);
                let (key, code) = (row.to_owned(), code.to_owned());
                let export = export.map(str::to_owned);
                self.import.parties.push(ImportedParty { name, key, code, export });
            }
        }
    }

    /// Takes the folder of static files.
    fn assets(&mut self, row: &str, dir: &str) {
        self.taken(row, format!("[assets] dir = {dir:?}"));
        self.import.assets.get_or_insert_default().dir = dir.to_owned();
    }

    /// Takes the variables.
    fn vars(&mut self, keys: &[PlacedKey]) {
        for PlacedKey { name, at, value } in keys {
            let row = format!("vars.{name}");
            if name.is_empty() || name.contains(['=', '\0']) {
                self.complain("this cannot be a variable's name", at.clone(), "this name");
                continue;
            }
            // Values may be secrets, and are not shown.
            let value = match value.text() {
                Some(text) => {
                    self.taken(&row, format!("[vars] {name}"));
                    text.to_owned()
                }
                None => {
                    self.taken(&row, format!("[vars] {name}, as text: variables are texts here"));
                    value.json()
                }
            };
            self.import.vars.retain(|(other, _)| other != name);
            self.import.vars.push((name.clone(), value));
        }
    }

    /// Takes a cron, if its schedule is one here, too.
    fn cron(&mut self, row: &str, cron: CronSetting, note: String) {
        match cron.check(&Limits::default()) {
            Ok(_) => {
                self.taken(row, format!("{note}; the days 0 and 7 are Sunday"));
                self.import.crons.push(cron);
            }
            Err(error) => self.left(row, error.to_string()),
        }
    }

    fn taken(&mut self, row: &str, note: String) {
        self.import.rows.push(ConvertedKey { key: row.to_owned(), taken: true, note });
    }

    fn left(&mut self, row: &str, note: String) {
        self.import.rows.push(ConvertedKey { key: row.to_owned(), taken: false, note });
    }

    /// Returns the text of a key. Reports a value that is not a text.
    fn text<'v>(&mut self, key: &'v PlacedKey, wanted: &str) -> Option<&'v str> {
        let text = key.value.text();
        if text.is_none() {
            self.wrong_kind(key, wanted);
        }
        text
    }

    /// Enters the object that is the value of a key.
    fn within(
        &mut self,
        key: &PlacedKey,
        wanted: &str,
        read: impl FnOnce(&mut Self, &[PlacedKey]),
    ) {
        match key.value.object() {
            Some(keys) => read(self, keys),
            None => self.wrong_kind(key, wanted),
        }
    }

    fn wrong_kind(&mut self, key: &PlacedKey, wanted: &str) {
        let message = format!("`{}` must be {wanted}", key.name);
        self.complain(&message, key.value.at.clone(), "this is something else");
    }

    fn complain(&mut self, message: &str, at: Range<usize>, label: &str) {
        let mistake = Mistake::new(Code::NotImported, message);
        self.mistakes.push(mistake.at(self.file, self.text, at, label));
    }

    /// Adds what to do about the last mistake.
    fn help_last(&mut self, help: &str) {
        if let Some(last) = self.mistakes.pop() {
            self.mistakes.push(last.help(help));
        }
    }
}

/// Returns why a key of a table has no counterpart, if the table has it.
fn reason(table: &[(&str, &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == key).map(|(_, why)| *why)
}

/// Returns the key that a text may have been meant for.
fn meant(key: &str, tables: &[&[(&str, &str)]]) -> Option<String> {
    let known: Vec<_> = tables.concat().iter().map(|(known, _)| *known).collect();
    manifest::nearest(key, &known).map(|near| format!("did you mean `{near}`?"))
}
