//! The parties of an imported project whose code is a script. Owns what such a project needs beside its `room.toml`.
//!
//! Invariant: the code is not changed. It does not know keys of another tool.

use super::traits::{self, CodeTraits};
use super::{ConvertedKey, left, put, taken};
use crate::codes::Code;
use crate::import::{Import, Tool};
use crate::mistake::Mistake;
use crate::project::shown;
use crate::template::{self, VENDORED_PACKAGE};
use crate::workspace::relative;
use room_runtime::PartyName;
use std::collections::BTreeMap;
use std::path::Path;

/// The endings of scripts.
const ENDINGS: [&str; 6] = ["ts", "tsx", "mts", "js", "jsx", "mjs"];
/// The bundler, as npm names its version.
const ESBUILD: &str = "^0.28.2";
/// Where wrangler keeps the secrets of this machine.
const WRANGLER_SECRETS: &str = ".dev.vars";

/// The code of a party.
#[derive(Debug)]
pub(super) struct ImportedScript {
    /// Its file, relative to the project.
    pub(super) file: String,
    /// The export that is the room.
    pub(super) export: Option<String>,
    /// What it says about how it runs.
    pub(super) traits: CodeTraits,
}

/// The parties whose code is a script.
pub(super) type Scripts = BTreeMap<PartyName, ImportedScript>;

/// Finds the parties whose code is a script that is there.
///
/// # Errors
/// A mistake: a project of wrangler has code that is not.
pub(super) fn find(import: &Import, dir: &Path, from: &Path) -> Result<Scripts, Mistake> {
    let mut scripts = BTreeMap::new();
    for party in &import.parties {
        let file = from.join(&party.code);
        let ending = file.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && file.is_file() {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let traits = traits::of(&text, party.export.as_deref());
            let (file, export) = (relative(dir, &file), party.export.clone());
            scripts.insert(party.name.clone(), ImportedScript { file, export, traits });
        } else if import.tool == Tool::Wrangler {
            let message = format!("`main` is not a script that is there: {}", shown(&file));
            return Err(Mistake::new(Code::NotImported, message)
                .help("name the source of the worker, such as \"main\": \"src/server.ts\""));
        }
    }
    Ok(scripts)
}

/// Corrects the rows of these parties, and adds those about what their code says.
pub(super) fn describe(rows: &mut Vec<ConvertedKey>, import: &Import, scripts: &Scripts) {
    let mut more = Vec::new();
    for party in &import.parties {
        let Some(script) = scripts.get(&party.name) else { continue };
        let (name, file) = (&party.name, &script.file);
        if let Some(row) = rows.iter_mut().find(|row| row.key == party.key) {
            let export = script.export.as_ref().map(|name| format!(" export = {name:?}"));
            let export = export.unwrap_or_default();
            row.note =
                format!("[parties.{name}] script = {file:?}{export}; the code runs as it is");
        }
        let key = format!("{name}: hibernate");
        match script.traits.hibernates {
            Some(true) => more.push(taken(&key, format!("[parties.{name}] hibernate = true"))),
            Some(false) => {}
            None => {
                let note = format!(
                    "write `hibernate = true` under [parties.{name}] if its class in {file} says so"
                );
                more.push(left(&key, note));
            }
        }
        if script.traits.reads_process && more.iter().all(|row| row.key != *file) {
            let note = "it reads process.env, which rooms do not have: the variables are in env of the room";
            more.push(left(file, note.to_owned()));
        }
    }
    rows.extend(more);
}

/// Writes what scripts need: the types of rooms, and a package.json for the bundler. Returns what is left to do.
pub(super) fn equip(dir: &Path, from: &Path) -> Result<Vec<ConvertedKey>, Mistake> {
    for file in template::vendored_package() {
        put(&dir.join(&file.path), &file.content)?;
    }
    let mut rows = Vec::new();
    let mut left = |key: &str, note: String| rows.push(left(key, note));
    let package = dir.join("package.json");
    let own = format!(
        "{{\n  \"private\": true,\n  \"type\": \"module\",\n  \"devDependencies\": {{\n    \"esbuild\": \"{ESBUILD}\",\n    \
         \"roomkit\": \"file:{VENDORED_PACKAGE}\"\n  }}\n}}\n"
    );
    if !put(&package, own.as_bytes())? {
        let text = std::fs::read_to_string(&package).unwrap_or_default();
        let wanted = [("esbuild", "esbuild"), ("roomkit", "./vendor/roomkit")];
        let missing = wanted.into_iter().filter(|(name, _)| !text.contains(&format!("\"{name}\"")));
        let missing: Vec<&str> = missing.map(|(_, package)| package).collect();
        if !missing.is_empty() {
            let install = format!("npm install --save-dev {}", missing.join(" "));
            left("package.json", format!("add the bundler and the types of rooms: {install}"));
        }
    }
    let types = std::fs::read_to_string(dir.join("tsconfig.json"));
    if types.is_ok_and(|text| !text.contains("roomkit/globals")) {
        let note = "for the globals of a room write \"types\": [\"roomkit/globals\"] in place of other platforms' types";
        left("tsconfig.json", note.to_owned());
    }
    if from.join(WRANGLER_SECRETS).is_file() {
        left(WRANGLER_SECRETS, "`room dev` reads .env: cp .dev.vars .env".to_owned());
    }
    left(
        "fetch",
        "rooms fetch from no server until [fetch] of room.toml lists its host".to_owned(),
    );
    Ok(rows)
}
