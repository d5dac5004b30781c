//! Wrangler's file of a PartyServer project. Owns the treatment of each of its keys.
//!
//! Invariant: a key that is not known is named, and refuses nothing, as wrangler gets new ones. It does not know what
//! the code exports.

mod left;
#[cfg(test)]
mod tests;

use super::tree::{PlacedKey, PlacedValue};
use super::{ImportReader, ImportedAssets, meant, reason};
use crate::manifest;
use left::{ASSETS_LEFT, LEFT};
use room_runtime::{CronSetting, PartyName};
use std::ops::Range;

/// The keys that are read, and must have a value of this kind.
const READ: &[(&str, &str)] = &[
    ("name", "a text"),
    ("main", "a text"),
    ("durable_objects", "an object with `bindings`"),
    ("assets", "an object with a `directory`"),
    ("vars", "an object"),
    ("triggers", "an object with `crons`"),
];

/// The keys of `assets` that are read.
const ASSETS_READ: &[(&str, &str)] = &[("directory", "a text"), ("not_found_handling", "a text")];

/// Reads the keys of the file.
pub(super) fn document(reader: &mut ImportReader<'_>, keys: &[PlacedKey]) {
    let main = keys.iter().find(|key| key.name == "main");
    let code = main.and_then(|key| reader.text(key, "a text")).map(str::to_owned);
    for key in keys {
        let kind = reason(READ, &key.name).unwrap_or_default();
        match key.name.as_str() {
            "name" => name(reader, key, kind),
            "main" => {
                if let Some(code) = &code {
                    reader.taken("main", format!("script = {code:?} of each party"));
                }
            }
            "durable_objects" => {
                reader.within(key, kind, |reader, keys| rooms(reader, keys, code.as_deref()));
            }
            "assets" => reader.within(key, kind, assets),
            "vars" => reader.within(key, kind, ImportReader::vars),
            "triggers" => reader.within(key, kind, triggers),
            _ => left(reader, key, "", LEFT, READ),
        }
    }
    if main.is_none() {
        reader.complain("there is no `main`, which names the code of the rooms", 0..0, "here");
        reader.help_last("add it: `\"main\": \"src/server.ts\"`");
    } else if reader.import.parties.is_empty() && reader.mistakes.is_empty() {
        reader.complain("no Durable Object is bound, so there is no room", 0..0, "here");
        reader.help_last(
            "add the classes that are rooms: `\"durable_objects\": { \"bindings\": [{ \"name\": \"Chat\", \"class_name\": \"Chat\" }] }`",
        );
    }
    name_party_of_crons(reader);
}

fn name(reader: &mut ImportReader<'_>, key: &PlacedKey, kind: &str) {
    let Some(name) = reader.text(key, kind) else { return };
    let lower = name.to_lowercase();
    match manifest::name_problem(&lower) {
        Some(problem) => reader.complain(&problem, key.value.at.clone(), "this name"),
        None => {
            reader.taken("name", format!("name = {lower:?}"));
            reader.import.name = Some(lower);
        }
    }
}

/// Reads `durable_objects`.
fn rooms(reader: &mut ImportReader<'_>, keys: &[PlacedKey], code: Option<&str>) {
    for key in keys {
        if key.name != "bindings" {
            left(reader, key, "durable_objects.", &[], &[("bindings", "")]);
            continue;
        }
        let Some(bindings) = key.value.list() else {
            reader.wrong_kind(key, "a list");
            continue;
        };
        for binding in bindings {
            room(reader, binding, code.unwrap_or_default());
        }
    }
}

/// Reads the binding of one class. Clients find its rooms by the binding's name, as PartyServer routes by it.
fn room(reader: &mut ImportReader<'_>, binding: &PlacedValue, code: &str) {
    let text = |key: &str| binding.get(key).and_then(PlacedValue::text);
    let (Some(name), Some(class)) = (text("name"), text("class_name")) else {
        let message = "a binding has a `name` and a `class_name`, which are texts";
        reader.complain(message, binding.at.clone(), "one is missing");
        return;
    };
    let row = format!("durable_objects.{name}");
    if let Some(script) = text("script_name") {
        let note = format!(
            "its class is in the worker {script:?}, which is a project of its own: import that one, and reach it with fetch"
        );
        return reader.left(&row, note);
    }
    for key in binding.object().unwrap_or_default() {
        if !matches!(key.name.as_str(), "name" | "class_name") {
            left(reader, key, &format!("{row}."), left::BINDING_LEFT, &[]);
        }
    }
    let at: Range<usize> = binding.get("name").map_or(0..0, |value| value.at.clone());
    reader.party(name, &row, code, Some(class), &at);
    let renamed = reader.import.parties.last().filter(|party| party.key == row);
    let party = renamed.map(|party| party.name.to_string());
    let of_class = PartyName::parse(class).map(|name| name.to_string()).ok();
    if let Some(party) = party.filter(|party| Some(party) != of_class.as_ref()) {
        let note = format!(
            "env.{name} is not there, as the class is called {class}: write getServerByName({party:?}, name)"
        );
        reader.left(&format!("env.{name}"), note);
    }
}

/// Reads `assets`.
fn assets(reader: &mut ImportReader<'_>, keys: &[PlacedKey]) {
    for key in keys {
        let kind = reason(ASSETS_READ, &key.name).unwrap_or_default();
        match key.name.as_str() {
            "directory" => {
                if let Some(dir) = reader.text(key, kind) {
                    reader.assets("assets.directory", dir);
                }
            }
            "not_found_handling" => {
                let Some(kind) = reader.text(key, kind) else { continue };
                pages(reader, key, kind);
            }
            _ => left(reader, key, "assets.", ASSETS_LEFT, ASSETS_READ),
        }
    }
}

/// Takes what is sent for a page that does not exist.
fn pages(reader: &mut ImportReader<'_>, key: &PlacedKey, kind: &str) {
    let row = "assets.not_found_handling";
    match kind {
        "single-page-application" => {
            reader.taken(row, "[assets] single_page = true".to_owned());
            let assets: &mut ImportedAssets = reader.import.assets.get_or_insert_default();
            assets.is_single_page = true;
        }
        "404-page" => reader.taken(row, "404.html is sent if the folder has one".to_owned()),
        "none" => {
            reader
                .left(row, "404.html is sent if the folder has one; remove it for none".to_owned());
        }
        _ => {
            reader.complain(
                "`not_found_handling` must be \"single-page-application\", \"404-page\" or \"none\"",
                key.value.at.clone(),
                "this is something else",
            );
        }
    }
}

/// Reads `triggers`.
fn triggers(reader: &mut ImportReader<'_>, keys: &[PlacedKey]) {
    for key in keys {
        if key.name != "crons" {
            left(reader, key, "triggers.", &[], &[("crons", "")]);
            continue;
        }
        let Some(schedules) = key.value.list() else {
            reader.wrong_kind(key, "a list of texts");
            continue;
        };
        for (number, value) in schedules.iter().enumerate() {
            let Some(schedule) = value.text() else {
                reader.complain(
                    "a cron must be a text",
                    value.at.clone(),
                    "this is something else",
                );
                continue;
            };
            let name = format!("cron-{}", number + 1);
            let note = format!(
                "[crons.{name}] schedule = {schedule:?}; scheduled() is called in the room {name:?} of the first party"
            );
            reader.cron(
                &format!("triggers.crons.{number}"),
                CronSetting::new(&name, schedule),
                note,
            );
        }
    }
}

/// Lets the crons call rooms of the first party, as there is no party `main` in PartyServer's projects.
fn name_party_of_crons(reader: &mut ImportReader<'_>) {
    let import = &mut reader.import;
    let Some(first) = import.parties.first() else { return };
    for cron in &mut import.crons {
        cron.party = first.name.to_string();
    }
}

/// Notes a key without a counterpart, with the names that the code knows it by.
fn left(
    reader: &mut ImportReader<'_>,
    key: &PlacedKey,
    above: &str,
    left: &[(&str, &'static str)],
    read: &[(&str, &str)],
) {
    let row = format!("{above}{}", key.name);
    let mut bound = bindings(&key.value);
    bound.extend(key.value.text().filter(|_| key.name == "binding"));
    let names = match bound.is_empty() {
        true => String::new(),
        false => format!("env.{} is not there: ", bound.join(", env.")),
    };
    let note = match reason(left, &key.name) {
        Some(why) => format!("{names}{why}"),
        None => {
            let help = meant(&key.name, &[read, left]);
            let help = help.map_or_else(String::new, |help| format!("; {help}"));
            format!("{names}this key is unknown here{help}")
        }
    };
    reader.left(&row, note);
}

/// Returns the names by which code knows what a key binds.
fn bindings(value: &PlacedValue) -> Vec<&str> {
    if let Some(values) = value.list() {
        return values.iter().flat_map(bindings).collect();
    }
    let own = value.get("binding").and_then(PlacedValue::text);
    let of_producers = value.get("producers").map(bindings).unwrap_or_default();
    own.into_iter().chain(of_producers).collect()
}
