//! The parties of an imported project whose code is a script. Owns what such a project needs beside its `room.toml`.
//!
//! Invariant: the code is not changed. It does not know keys of another tool.

use super::{ConvertedKey, put};
use crate::codes::Code;
use crate::import::{Import, ImportedParty, Tool};
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
    /// True if its rooms leave memory while sockets are open.
    pub(super) hibernates: bool,
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
            let hibernates = says_hibernate(&file) && is_alone(party, import);
            let export = party.export.clone();
            let file = relative(dir, &file);
            scripts.insert(party.name.clone(), ImportedScript { file, export, hibernates });
        } else if import.tool == Tool::Wrangler {
            let message = format!("`main` is not a script that is there: {}", shown(&file));
            return Err(Mistake::new(Code::NotImported, message)
                .help("name the source of the worker, such as \"main\": \"src/server.ts\""));
        }
    }
    Ok(scripts)
}

/// Returns true if no other party has its code in the same file.
fn is_alone(party: &ImportedParty, import: &Import) -> bool {
    import.parties.iter().filter(|other| other.code == party.code).count() == 1
}

/// Returns true if a file has the option by which PartyKit's and PartyServer's rooms hibernate.
fn says_hibernate(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let bare: String = text.split_whitespace().collect();
    bare.contains("hibernate:true")
}

/// Corrects the rows of these parties, and adds those about what their code says.
pub(super) fn describe(
    rows: &mut Vec<ConvertedKey>,
    import: &Import,
    scripts: &Scripts,
    from: &Path,
) {
    let mut more = Vec::new();
    for party in &import.parties {
        let Some(script) = scripts.get(&party.name) else { continue };
        if let Some(row) = rows.iter_mut().find(|row| row.key == party.key) {
            let export = script.export.as_ref().map(|name| format!(" export = {name:?}"));
            row.note = format!(
                "[parties.{}] script = {:?}{}; the code runs as it is",
                party.name,
                script.file,
                export.unwrap_or_default()
            );
        }
        let (says, file) = (says_hibernate(&from.join(&party.code)), &script.file);
        let note = match (script.hibernates, says) {
            (true, _) => format!("[parties.{}] hibernate = true", party.name),
            (false, true) => format!(
                "a class of {file} says so: write `hibernate = true` under [parties.{}] if it is this one",
                party.name
            ),
            (false, false) => continue,
        };
        let key = format!("{}: options.hibernate", party.name);
        more.push(ConvertedKey { key, taken: script.hibernates, note });
    }
    rows.extend(more);
}

/// Writes what scripts need: the types of rooms, and a package.json for the bundler. Returns what is left to do.
pub(super) fn equip(dir: &Path, from: &Path) -> Result<Vec<ConvertedKey>, Mistake> {
    for file in template::vendored_package() {
        put(&dir.join(&file.path), &file.content)?;
    }
    let mut rows = Vec::new();
    let mut left = |key: &str, note: String| {
        rows.push(ConvertedKey { key: key.to_owned(), taken: false, note });
    };
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
