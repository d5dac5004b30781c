//! A PartyKit project's `partykit.json`. Owns the treatment of each of its keys.
//!
//! Invariant: a key that PartyKit does not know is a mistake, as PartyKit itself refuses it. It does not know where the
//! files are.

#[cfg(test)]
mod tests;

use super::tree::{KeyContent, PlacedKey, PlacedValue};
use super::{ImportReader, ImportedAssets, meant, reason};
use crate::manifest;
use room_runtime::CronSetting;

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
    ("define", "write the constants into the code, or under [vars], where room.env has them"),
    ("build", "the project's esbuild bundles scripts; run other commands from package.json"),
    ("compatibilityDate", "a room keeps the contract that it was built with"),
    ("compatibilityFlags", "a room keeps the contract that it was built with"),
    ("minify", "code is not sent to browsers; the server compiles it"),
    ("team", "there are no accounts"),
    ("preview", "there are no accounts, and so no previews"),
    ("domain", "the server is yours: the domain is your proxy's"),
    (
        "ai",
        "it is a service of Cloudflare; ask a model with fetch, and list its host under [fetch]",
    ),
    ("vectorize", "it is a service of Cloudflare"),
    ("logpush", "rooms log to stderr; any collector takes it from there"),
    ("tailConsumers", "rooms log to stderr; any collector takes it from there"),
    ("analytics", "it is a service of Cloudflare; `/_room/metrics` counts"),
    ("bindings", "they are services of Cloudflare; rooms have their own storage"),
    ("placement", "rooms run where you run the server"),
    ("observability", "`/_room/metrics` and the log are always there"),
];

/// The keys of `serve` that are read.
const SERVE_READ: &[(&str, &str)] = &[
    ("path", "a text"),
    ("build", "a text, or an object with an `entry`"),
    ("singlePageApp", "true or false"),
];

/// The keys of `serve.build` that are read.
const BUILD_READ: &[(&str, &str)] = &[("entry", "a text, or a list of texts")];

/// The other ones, and why they have no counterpart.
const BUILD_LEFT: &[(&str, &str)] = &[
    ("bundle", "everything is bundled"),
    ("splitting", "each script is one bundle"),
    ("external", "everything is bundled"),
    (
        "outdir",
        "the bundles are in the folder `dist` of the static files: correct the page if it looks elsewhere",
    ),
    ("minify", "`room deploy` minifies, and `room dev` does not"),
    ("alias", "write `paths` into tsconfig.json, which esbuild follows"),
    ("format", "bundles are modules: the page loads them with `type=\"module\"`"),
    ("live", "a page with `/_room/overlay.js` shows errors while it is edited"),
    ("sourcemap", "`room dev` puts maps into the bundles"),
    ("define", "write the constants into the code; PARTYKIT_HOST is there"),
    ("loader", "texts, JSON and styles can be imported; serve images as static files"),
];

/// The other ones, and why they have no counterpart.
const SERVE_LEFT: &[(&str, &str)] = &[
    ("browserTTL", "write a pattern under [assets.cache]: `\"**\" = \"public, max-age=3600\"`"),
    ("edgeTTL", "there is no edge"),
    ("include", "all files of the folder are served, but hidden ones"),
    ("exclude", "all files of the folder are served, but hidden ones"),
];

/// Reads the keys of a `package.json`, whose `partykit` has the configuration.
pub(super) fn package(reader: &mut ImportReader<'_>, keys: &[PlacedKey]) {
    match keys.iter().find(|key| key.name == "partykit") {
        Some(own) => reader.within(own, "an object", document),
        None => reader.complain("there is no `partykit` in it", 0..0, "here"),
    }
}

/// Reads the keys of a `partykit.json`.
pub(super) fn document(reader: &mut ImportReader<'_>, keys: &[PlacedKey]) {
    for key in keys {
        let kind = reason(READ, &key.name).unwrap_or_default();
        match key.name.as_str() {
            "name" => name(reader, key, kind),
            "main" => {
                if let Some(code) = reader.text(key, kind) {
                    reader.party("main", "main", code, None, &key.at);
                }
            }
            "parties" => reader.within(key, kind, parties),
            "serve" => serve(reader, key, kind),
            "vars" => reader.within(key, kind, ImportReader::vars),
            "crons" => reader.within(key, kind, crons),
            _ => left(reader, key, "", LEFT, READ),
        }
    }
}

fn name(reader: &mut ImportReader<'_>, key: &PlacedKey, kind: &str) {
    let Some(name) = reader.text(key, kind) else { return };
    match manifest::name_problem(name) {
        Some(problem) => reader.complain(&problem, key.value.at.clone(), "this name"),
        None => {
            reader.taken("name", format!("name = {name:?}"));
            reader.import.name = Some(name.to_owned());
        }
    }
}

fn parties(reader: &mut ImportReader<'_>, keys: &[PlacedKey]) {
    for key in keys {
        if key.name == "main" {
            let message = "a party cannot be called `main`, as PartyKit has `main` at the top";
            reader.complain(message, key.at.clone(), "this name");
        } else if let Some(code) = reader.text(key, "a text") {
            reader.party(&key.name, &format!("parties.{}", key.name), code, None, &key.at);
        }
    }
}

fn serve(reader: &mut ImportReader<'_>, key: &PlacedKey, kind: &str) {
    let Some(keys) = key.value.object() else {
        if let Some(dir) = reader.text(key, kind) {
            reader.assets("serve", dir);
        }
        return;
    };
    for key in keys {
        let kind = reason(SERVE_READ, &key.name).unwrap_or_default();
        match (key.name.as_str(), &key.value.content) {
            ("path", _) => {
                if let Some(dir) = reader.text(key, kind) {
                    reader.assets("serve.path", dir);
                }
            }
            ("build", KeyContent::Object(keys)) => build(reader, keys),
            ("build", _) => {
                if let Some(script) = reader.text(key, kind) {
                    page_script(reader, "serve.build", script);
                }
            }
            ("singlePageApp", KeyContent::Flag(flag)) => {
                reader.taken("serve.singlePageApp", format!("[assets] single_page = {flag}"));
                let assets: &mut ImportedAssets = reader.import.assets.get_or_insert_default();
                assets.is_single_page = *flag;
            }
            ("singlePageApp", _) => reader.wrong_kind(key, kind),
            _ => left(reader, key, "serve.", SERVE_LEFT, SERVE_READ),
        }
    }
}

/// Reads `serve.build`.
fn build(reader: &mut ImportReader<'_>, keys: &[PlacedKey]) {
    for key in keys {
        if key.name != "entry" {
            left(reader, key, "serve.build.", BUILD_LEFT, BUILD_READ);
            continue;
        }
        let entries = key.value.list().unwrap_or(std::slice::from_ref(&key.value));
        match entries.iter().map(PlacedValue::text).collect::<Option<Vec<_>>>() {
            Some(scripts) => {
                scripts.iter().for_each(|script| page_script(reader, "serve.build.entry", script));
            }
            None => reader.wrong_kind(key, reason(BUILD_READ, "entry").unwrap_or_default()),
        }
    }
}

/// Takes the script of a page.
fn page_script(reader: &mut ImportReader<'_>, row: &str, script: &str) {
    let note = format!("[assets] build = {script:?}, which becomes a module in its folder `dist`");
    reader.taken(row, note);
    reader.import.assets.get_or_insert_default().scripts.push(script.to_owned());
}

fn crons(reader: &mut ImportReader<'_>, keys: &[PlacedKey]) {
    for key in keys {
        let Some(schedule) = reader.text(key, "a text") else { continue };
        let name = &key.name;
        let note = format!("[crons] {name} = {schedule:?}; onCron of the room {name:?}");
        reader.cron(&format!("crons.{name}"), CronSetting::new(name, schedule), note);
    }
}

/// Notes a key without a counterpart, or reports an unknown one.
fn left(
    reader: &mut ImportReader<'_>,
    key: &PlacedKey,
    above: &str,
    left: &[(&str, &'static str)],
    read: &[(&str, &str)],
) {
    let row = format!("{above}{}", key.name);
    if let Some(why) = reason(left, &key.name) {
        return reader.left(&row, why.to_owned());
    }
    reader.complain(&format!("PartyKit has no key `{row}`"), key.at.clone(), "here");
    let help = meant(&key.name, &[read, left]);
    reader.help_last(help.as_deref().unwrap_or("remove it, if PartyKit did not need it"));
}
