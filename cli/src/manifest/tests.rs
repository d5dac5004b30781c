//! A manifest as a whole, and what its mistakes look like. The mistakes of each table are in a file of their own.

mod assets;
mod auth;
mod crons;
mod fetch;
mod limits;
mod parties;
mod publish;
mod serve;

use super::*;
use crate::print::plain;
use expect_test::{Expect, expect};
use room_test_inputs::Inputs;
use std::collections::BTreeSet;

fn check(text: &str, expected: Expect) {
    let mistake = Manifest::parse(FILE, text).expect_err("it is wrong");
    // Expectations start at the left margin, and so does the text that they are compared with.
    let drawn: Vec<_> = plain(&mistake).lines().map(|line| format!("|{line}\n")).collect();
    expected.assert_eq(&drawn.concat());
}

#[test]
fn a_name_is_enough() {
    let manifest = Manifest::parse(FILE, "name = \"chat\"").unwrap();
    assert_eq!(manifest.name, "chat");
    assert_eq!(manifest.parties.len(), 1);
    assert_eq!(manifest.parties[0].name.as_str(), "main");
    assert_eq!(manifest.parties[0].path.get_ref(), std::path::Path::new("."));
    assert_eq!(manifest.limits, Limits::default());
}

#[test]
fn every_key_of_a_manifest_is_read() {
    let manifest = Manifest::parse(
        FILE,
        r#"
        name = "chat"
        [parties.main]
        path = "room"
        [parties.ChatRoom]
        hibernate = true
        ttl = "30d"
        auto_response = { request = "ping", response = "pong" }
        cors = ["https://chat.example.com"]
        [assets]
        dir = "web"
        single_page = true
        [assets.cache]
        "img/**" = "max-age=60"
        "*.png" = "no-store"
        [serve]
        origins = ["https://chat.example.com", "https://*.example.com"]
        prefix = "/api/rooms"
        [fetch]
        hosts = ["api.example.com", "127.0.0.1:8080"]
        [crons]
        prune = { schedule = "0 3 * * *", zone = "Europe/Berlin", party = "chat-room", room = "index" }
        each = { schedule = "@hourly", rooms = "all" }
        short = "*/5 * * * *"
        [vars]
        GREETING = "hello"
        [limits]
        turn_ms_max = 2_000
        "#,
    )
    .unwrap();
    let parties: Vec<_> = manifest
        .parties
        .iter()
        .map(|party| (party.name.as_str(), party.path.get_ref().to_str(), party.when_quiet))
        .collect();
    assert_eq!(
        parties,
        [("main", Some("room"), WhenQuiet::Stay), ("chat-room", Some("."), WhenQuiet::Hibernate)]
    );
    let answers: Vec<_> = manifest
        .parties
        .iter()
        .map(|party| party.auto_response.as_ref().map(|own| own.get_ref().clone()))
        .collect();
    let (request, response) = ("ping".to_owned(), "pong".to_owned());
    assert_eq!(answers, [None, Some(AutoResponse { request, response })]);
    let ttls: Vec<_> = manifest.parties.iter().map(|party| party.ttl).collect();
    assert_eq!(ttls, [None, Some("30d".parse().unwrap())]);
    let cors: Vec<_> = manifest
        .parties
        .iter()
        .map(|party| party.cors.as_ref().map(|own| own.get_ref().clone()))
        .collect();
    let listed = CorsSetting::Origins(vec!["https://chat.example.com".to_owned()]);
    assert_eq!(cors, [None, Some(listed)]);
    assert!(manifest.asset_settings.single_page);
    let prune = CronSetting {
        zone: "Europe/Berlin".to_owned(),
        party: "chat-room".to_owned(),
        room: Some("index".to_owned()),
        ..CronSetting::new("prune", "0 3 * * *")
    };
    let each = CronSetting { room: None, ..CronSetting::new("each", "@hourly") };
    assert_eq!(manifest.crons, [prune, each, CronSetting::new("short", "*/5 * * * *")]);
    let cache = manifest.asset_settings.cache.iter();
    let cache: Vec<_> = cache.map(|own| (own.files.as_str(), own.value.as_str())).collect();
    assert_eq!(cache, [("img/**", "max-age=60"), ("*.png", "no-store")]);
    assert_eq!(manifest.assets.unwrap().get_ref(), std::path::Path::new("web"));
    assert_eq!(manifest.origins, ["https://chat.example.com", "https://*.example.com"]);
    assert_eq!(manifest.prefix.as_ref().map(|own| own.get_ref().as_str()), Some("/api/rooms"));
    assert_eq!(manifest.fetch.hosts, ["api.example.com", "127.0.0.1:8080"]);
    assert_eq!(manifest.vars["GREETING"], "hello");
    assert_eq!(manifest.limits, Limits { turn_ms_max: 2_000, ..Limits::default() });
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_known_one() {
    check(
        "name = \"chat\"\n\n[asset]\ndir = \"web\"\n",
        expect![[r#"
            |error[R0004]: room.toml has no key `asset`
            |   ╭─[room.toml:3:2]
            | 2 │
            | 3 │ [asset]
            |   ·  ──┬──
            |   ·    ╰── unknown key
            | 4 │ dir = "web"
            |   ╰────
            |  help: did you mean `assets`?
            |for more about this, run `room explain R0004`
        "#]],
    );
}

#[test]
fn a_receiver_of_webhooks_is_read() {
    let section = "url = \"https://example.com/hooks\"\nsecret = \"WEBHOOK_SECRET\"\n";
    let with = |more: &str| {
        let text = format!("name = \"chat\"\n[webhooks]\n{section}{more}");
        Manifest::parse(FILE, &text).unwrap().webhooks.unwrap()
    };
    let texts = |list: &[&str]| Some(list.iter().map(|text| (*text).to_owned()).collect());
    let all = WebhookSettings {
        url: "https://example.com/hooks".to_owned(),
        secret: "WEBHOOK_SECRET".to_owned(),
        ..WebhookSettings::default()
    };
    assert_eq!(with(""), all);
    let some =
        WebhookSettings { events: texts(&["created"]), parties: texts(&["main"]), ..all.clone() };
    assert_eq!(with("events = [\"created\"]\nparties = [\"main\"]"), some);
    assert_eq!(Manifest::parse(FILE, "name = \"chat\"").unwrap().webhooks, None);
}

#[test]
fn webhooks_without_a_receiver_or_with_a_typo_are_shown_with_what_to_write() {
    let with = |section: &str| {
        let text = format!("name = \"chat\"\n[webhooks]\n{section}\n");
        plain(&Manifest::parse(FILE, &text).unwrap_err())
    };
    let (url, secret) = ("url = \"https://example.com/hooks\"", "secret = \"WEBHOOK_SECRET\"");
    for (section, parts) in [
        (secret.to_owned(), ["R0066", "has no `url`", "[webhooks]"]),
        (url.to_owned(), ["R0066", "has no `secret`", "WEBHOOK_SECRET"]),
        (format!("{url}\n{secret}\nevent = [\"created\"]"), ["R0004", "`event`", "`events`"]),
        (format!("{url}\n{secret}\nevents = \"created\""), ["R0005", "events", "a list"]),
        (
            format!("{url}\n{secret}\nevents = [\"conected\"]"),
            ["R0066", "\"conected\"", "created, connected"],
        ),
        (format!("{url}\n{secret}\nparties = [\"mian\"]"), ["R0066", "mian", "has main"]),
        (format!("url = \"example.com\"\n{secret}"), ["R0066", "\"example.com\"", "https://"]),
    ] {
        let said = with(&section);
        let flat = said.replace('\n', " ");
        for part in parts {
            assert!(flat.contains(part), "{part}: {said}");
        }
    }
}

#[test]
fn all_mistakes_are_named_together() {
    check(
        "port = 8080\n[parties.main]\npaht = \"x\"\nhibernate = \"yes\"\n[vars]\nSIZE = 3\n",
        expect![[r#"
            |error[R0004]: room.toml has no key `port`
            |   ╭─[room.toml:1:1]
            | 1 │ port = 8080
            |   · ──┬─
            |   ·   ╰── unknown key
            | 2 │ [parties.main]
            |   ╰────
            |  help: the port is a flag: `room dev --port 8080`
            |
            |error[R0004]: [parties.main] has no key `paht`
            |   ╭─[room.toml:3:1]
            | 2 │ [parties.main]
            | 3 │ paht = "x"
            |   · ──┬─
            |   ·   ╰── unknown key
            | 4 │ hibernate = "yes"
            |   ╰────
            |  help: did you mean `path`?
            |
            |error[R0005]: `parties.main.hibernate` must be true or false
            |   ╭─[room.toml:4:13]
            | 3 │ paht = "x"
            | 4 │ hibernate = "yes"
            |   ·             ──┬──
            |   ·               ╰── this is a text
            | 5 │ [vars]
            |   ╰────
            |
            |error[R0005]: `vars.SIZE` must be a text in quotes
            |   ╭─[room.toml:6:8]
            | 5 │ [vars]
            | 6 │ SIZE = 3
            |   ·        ┬
            |   ·        ╰── this is a whole number
            |   ╰────
            |  help: write it as "3"
            |
            |error[R0008]: the project has no name
            |   ╭─[room.toml:1:1]
            | 1 │ port = 8080
            |   · ▲
            |   · ╰── here
            | 2 │ [parties.main]
            |   ╰────
            |  help: put `name = "my-project"` at the top of the file
            |
            |error: room.toml has 5 mistakes
            |for more, run `room explain` with one of R0004, R0005, R0008
        "#]],
    );
}

#[test]
fn invalid_toml_is_shown_where_parsing_stopped() {
    check(
        "name = \"chat\n",
        expect![[r#"
            |error[R0003]: room.toml is not valid TOML: invalid basic string, expected `"`
            |   ╭─[room.toml:1:13]
            | 1 │ name = "chat
            |   ·             ▲
            |   ·             ╰── here
            |   ╰────
            |for more about this, run `room explain R0003`
        "#]],
    );
}

#[test]
fn a_bad_name_is_explained() {
    check(
        "name = \"My Chat\"\n",
        expect![[r#"
            |error[R0009]: a project's name cannot have 'M' in it
            |   ╭─[room.toml:1:8]
            | 1 │ name = "My Chat"
            |   ·        ────┬────
            |   ·            ╰── this name
            |   ╰────
            |  help: lower-case letters, digits, `-` and `_`, as in `name = "my-chat"`
            |for more about this, run `room explain R0009`
        "#]],
    );
}

#[test]
fn an_empty_manifest_lacks_a_name() {
    check(
        "",
        expect![[r#"
            |error[R0008]: the project has no name
            |   ╭─[room.toml:1:1]
            |   ╰────
            |  help: put `name = "my-project"` at the top of the file
            |for more about this, run `room explain R0008`
        "#]],
    );
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema = serde_json::to_value(schema()).unwrap();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let mut keys: Vec<_> = value["properties"].as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let sorted = |known: &[&str]| {
        let mut known: Vec<_> = known.iter().map(|key| (*key).to_owned()).collect();
        known.sort();
        known
    };
    assert_eq!(keys(&schema), sorted(read::keys::TOP));
    assert_eq!(keys(&schema["$defs"]["PartyKeys"]), sorted(read::keys::PARTY));
    assert_eq!(keys(&schema["$defs"]["AutoResponseKeys"]), sorted(read::keys::AUTO_RESPONSE));
    assert_eq!(keys(&schema["$defs"]["AssetsKeys"]), sorted(read::keys::ASSETS));
    assert_eq!(keys(&schema["$defs"]["ServeKeys"]), sorted(read::keys::SERVE));
    assert_eq!(keys(&schema["$defs"]["FetchKeys"]), sorted(read::keys::FETCH));
    assert_eq!(keys(&schema["$defs"]["CronKeys"]), sorted(read::keys::CRON));
    assert_eq!(keys(&schema["$defs"]["AuthKeys"]), sorted(read::auth::AUTH));
    let limits: Vec<_> = Limits::TABLE.iter().map(|row| row.name).collect();
    assert_eq!(keys(&schema["properties"]["limits"]), sorted(&limits));
}

#[test]
fn any_text_is_a_manifest_or_a_mistake() {
    let words = [
        "name",
        "parties",
        "assets",
        "vars",
        "limits",
        "serve",
        "origins",
        "fetch",
        "hosts",
        "path",
        "dir",
        "ttl",
        "cors",
        "cache",
        "single_page",
        "turn_ms_max",
        "crons",
        "schedule",
        "\"0 3 * * *\"",
        "=",
        "[",
        "]",
        ".",
        "\n",
        "\"x\"",
        "1",
        "true",
        "ä",
        "{",
        "}",
        ",",
    ];
    Inputs::of("room-toml", &words).each(|input| {
        let text = String::from_utf8_lossy(input);
        match Manifest::parse(FILE, &text) {
            Err(mistake) => assert!(!plain(&mistake).is_empty()),
            Ok(manifest) => {
                assert!(toml::from_str::<toml::Table>(&text).is_ok(), "it is not TOML");
                assert_eq!(name_problem(&manifest.name), None);
                assert_eq!(manifest.limits.problems(), [""; 0]);
                let names: BTreeSet<&str> =
                    manifest.parties.iter().map(|party| party.name.as_str()).collect();
                assert!(!names.is_empty() && names.len() == manifest.parties.len());
                let again = Manifest::parse(FILE, &format!("{text}\n# a comment\n")).unwrap();
                assert_eq!(again, manifest);
            }
        }
    });
}
