use super::left::BINDING_LEFT;
use super::*;
use crate::import::{ConvertedKey, Import, import};
use crate::print::plain;
use expect_test::{Expect, expect};

/// A project as PartyServer's own examples have it.
const USUAL: &str = r#"
{
  // The schema is for editors.
  "$schema": "node_modules/wrangler/config-schema.json",
  "name": "Party-Chat",
  "main": "src/server.ts",
  "compatibility_date": "2025-03-10",
  "assets": {
    "directory": "./public",
    "binding": "ASSETS",
    "not_found_handling": "single-page-application",
  },
  "durable_objects": {
    "bindings": [
      { "name": "Chat", "class_name": "Chat" },
      { "name": "GAME_ROOM", "class_name": "GameRoom" }, /* another one */
    ],
  },
  "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Chat", "GameRoom"] }],
  "vars": { "MODEL": "small", "LIMITS": { "rooms": 5 } },
  "triggers": { "crons": ["0 3 * * *", "61 * * * *"] },
  "kv_namespaces": [{ "binding": "CACHE", "id": "1" }, { "binding": "USERS", "id": "2" }],
  "ai": { "binding": "AI" },
}
"#;

fn row<'a>(import: &'a Import, key: &str) -> &'a ConvertedKey {
    import.rows.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("no row {key}"))
}

fn check(text: &str, expected: Expect) {
    let mistake = import("wrangler.jsonc", text).expect_err("it is wrong");
    let drawn: Vec<_> = plain(&mistake).lines().map(|line| format!("|{line}\n")).collect();
    expected.assert_eq(&drawn.concat());
}

/// The parties, each with its export.
fn parties(import: &Import) -> Vec<(&str, &str, &str)> {
    let parties = import.parties.iter();
    parties
        .map(|party| {
            let export = party.export.as_deref().unwrap_or_default();
            (party.name.as_str(), party.code.as_str(), export)
        })
        .collect()
}

#[test]
fn the_classes_that_are_bound_become_parties_by_the_names_of_their_bindings() {
    let import = import("wrangler.jsonc", USUAL).unwrap();
    assert_eq!(import.name.as_deref(), Some("party-chat"));
    let expected = [("chat", "src/server.ts", "Chat"), ("game-room", "src/server.ts", "GameRoom")];
    assert_eq!(parties(&import), expected);
    let assets =
        ImportedAssets { dir: "./public".to_owned(), is_single_page: true, scripts: Vec::new() };
    assert_eq!(import.assets, Some(assets));
    let vars = [("MODEL", "small"), ("LIMITS", r#"{"rooms":5}"#)];
    assert_eq!(import.vars, vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let [cron] = &import.crons[..] else { panic!("{:?}", import.crons) };
    let parts = (cron.name.as_str(), cron.schedule.as_str(), cron.party.as_str());
    assert_eq!(parts, ("cron-1", "0 3 * * *", "chat"));
    assert!(!row(&import, "triggers.crons.1").taken);
    assert!(row(&import, "assets.binding").note.starts_with("env.ASSETS is not there: "));
    let note = &row(&import, "kv_namespaces").note;
    assert!(note.starts_with("env.CACHE, env.USERS is not there: keep values"), "{note}");
    assert!(row(&import, "ai").note.contains("env.AI is not there"));
    assert!(import.rows.iter().all(|row| row.key != "env.GAME_ROOM"));
}

#[test]
fn wranglers_toml_is_read_as_its_json() {
    let toml = r#"
        name = "party-chat"
        main = "src/server.ts" # the worker
        [assets]
        directory = "./public"
        not_found_handling = "single-page-application"
        [[durable_objects.bindings]]
        name = "Chat"
        class_name = "Chat"
        [[migrations]]
        tag = "v1"
        new_classes = ["Chat"]
        [vars]
        MODEL = "small"
        PORT = 0x10
        [triggers]
        crons = ["0 3 * * *"]
        [[kv_namespaces]]
        binding = "CACHE"
        id = "1"
    "#;
    let import = import("wrangler.toml", toml).unwrap();
    assert_eq!(parties(&import), [("chat", "src/server.ts", "Chat")]);
    assert_eq!(import.vars[1], ("PORT".to_owned(), "16".to_owned()));
    assert_eq!(import.crons.len(), 1);
    assert!(row(&import, "kv_namespaces").note.starts_with("env.CACHE is not there"));
    let mistake = super::super::import("wrangler.toml", "name = party").unwrap_err();
    assert!(plain(&mistake).contains("wrangler.toml is not valid TOML"), "{}", plain(&mistake));
}

#[test]
fn every_key_of_wrangler_is_named_with_a_reason() {
    let rows = LEFT.iter().map(|(key, _)| format!("{key:?}: {{}},")).collect::<String>();
    let class = "{ \"name\": \"Chat\", \"class_name\": \"Chat\", \"environment\": \"dev\" }";
    let text = format!(
        "{{ {rows} \"main\": \"a.ts\", \"durable_objects\": {{ \"bindings\": [{class}] }}, \
         \"assets\": {{ \"directory\": \"web\", \"html_handling\": \"none\", \"run_worker_first\": true }} }}"
    );
    let import = import("wrangler.json", &text).unwrap();
    for (key, why) in LEFT {
        assert_eq!(row(&import, key).note, *why);
    }
    assert_eq!(row(&import, "durable_objects.Chat.environment").note, BINDING_LEFT[0].1);
    for key in ["assets.html_handling", "assets.run_worker_first"] {
        assert!(!row(&import, key).taken);
    }
    for (key, _) in LEFT {
        assert!(READ.iter().all(|(read, _)| read != key), "{key} is read");
    }
}

#[test]
fn an_unknown_key_of_wrangler_is_named_and_refuses_nothing() {
    let text = r#"{
        "main": "a.ts", "kv_namespace": [{ "binding": "KV" }], "from_the_future": 1,
        "durable_objects": { "bindings": [{ "name": "A", "class_name": "A", "odd": 1 }], "odd": 2 },
        "assets": { "dir": "web" }, "triggers": { "cron": [] }
    }"#;
    let import = import("wrangler.jsonc", text).unwrap();
    let note = &row(&import, "kv_namespace").note;
    assert!(note.contains("env.KV is not there") && note.contains("`kv_namespaces`"), "{note}");
    let others = [
        "from_the_future",
        "durable_objects.A.odd",
        "durable_objects.odd",
        "assets.dir",
        "triggers.cron",
    ];
    for key in others {
        let row = row(&import, key);
        assert!(!row.taken && row.note.contains("this key is unknown here"), "{row:?}");
    }
}

#[test]
fn a_class_of_another_worker_and_a_class_of_another_name_are_explained() {
    let text = r#"{ "main": "a.ts", "durable_objects": { "bindings": [
        { "name": "ROOMS", "class_name": "Chat" },
        { "name": "Far", "class_name": "Far", "script_name": "other" }
    ] } }"#;
    let import = import("wrangler.jsonc", text).unwrap();
    assert_eq!(parties(&import), [("rooms", "a.ts", "Chat")]);
    assert!(row(&import, "env.ROOMS").note.contains("getServerByName(\"rooms\", name)"));
    assert!(row(&import, "durable_objects.Far").note.contains("the worker \"other\""));
}

#[test]
fn mistakes_in_wranglers_file_are_shown_with_their_places() {
    check(
        "{\n  \"main\": 5,\n  \"vars\": [],\n  \"durable_objects\": { \"bindings\": [{ \"name\": \"A\" }] },\n  \"assets\": { \"not_found_handling\": \"x\" }\n}",
        expect![[r#"
            |error[R0044]: `main` must be a text
            |   ╭─[wrangler.jsonc:2:11]
            | 1 │ {
            | 2 │   "main": 5,
            |   ·           ┬
            |   ·           ╰── this is something else
            | 3 │   "vars": [],
            |   ╰────
            |
            |error[R0044]: `vars` must be an object
            |   ╭─[wrangler.jsonc:3:11]
            | 2 │   "main": 5,
            | 3 │   "vars": [],
            |   ·           ─┬
            |   ·            ╰── this is something else
            | 4 │   "durable_objects": { "bindings": [{ "name": "A" }] },
            |   ╰────
            |
            |error[R0044]: a binding has a `name` and a `class_name`, which are texts
            |   ╭─[wrangler.jsonc:4:37]
            | 3 │   "vars": [],
            | 4 │   "durable_objects": { "bindings": [{ "name": "A" }] },
            |   ·                                     ───────┬───────
            |   ·                                            ╰── one is missing
            | 5 │   "assets": { "not_found_handling": "x" }
            |   ╰────
            |
            |error[R0044]: `not_found_handling` must be "single-page-application", "404-page" or "none"
            |   ╭─[wrangler.jsonc:5:37]
            | 4 │   "durable_objects": { "bindings": [{ "name": "A" }] },
            | 5 │   "assets": { "not_found_handling": "x" }
            |   ·                                     ─┬─
            |   ·                                      ╰── this is something else
            | 6 │ }
            |   ╰────
            |
            |error: wrangler.jsonc has 4 mistakes
            |for more about this, run `room explain R0044`
        "#]],
    );
}

#[test]
fn something_that_is_missing_in_wranglers_file_is_named() {
    check(
        "{ \"name\": \"chat\" }",
        expect![[r#"
        |error[R0044]: there is no `main`, which names the code of the rooms
        |   ╭─[wrangler.jsonc:1:1]
        | 1 │ { "name": "chat" }
        |   · ▲
        |   · ╰── here
        |   ╰────
        |  help: add it: `"main": "src/server.ts"`
        |for more about this, run `room explain R0044`
    "#]],
    );
    check(
        "{ \"name\": \"chat\", \"main\": \"a.ts\" }",
        expect![[r#"
        |error[R0044]: no Durable Object is bound, so there is no room
        |   ╭─[wrangler.jsonc:1:1]
        | 1 │ { "name": "chat", "main": "a.ts" }
        |   · ▲
        |   · ╰── here
        |   ╰────
        |  help: add the classes that are rooms: `"durable_objects": { "bindings": [{ "name": "Chat",
        |        "class_name": "Chat" }] }`
        |for more about this, run `room explain R0044`
    "#]],
    );
    check(
        "{ \"main\": \"a.ts\", \"durable_objects\": { \"bindings\": [{ \"name\": \"A\", \"class_name\": \"A\" }, { \"name\": \"a\", \"class_name\": \"B\" }] } }",
        expect![[r#"
            |error[R0044]: the party a is listed twice
            |   ╭─[wrangler.jsonc:1:99]
            | 1 │ { "main": "a.ts", "durable_objects": { "bindings": [{ "name": "A", "class_name": "A" }, { "name": "a", "class_name": "B" }] } }
            |   ·                                                                                                   ─┬─
            |   ·                                                                                                    ╰── the second one
            |   ╰────
            |for more about this, run `room explain R0044`
        "#]],
    );
    check(
        "{ \"main\": ",
        expect![[r#"
        |error[R0043]: wrangler.jsonc is not valid JSON: Expected value after colon in object property
        |   ╭─[wrangler.jsonc:1:11]
        | 1 │ { "main":
        |   ╰────
        |for more about this, run `room explain R0043`
    "#]],
    );
}
