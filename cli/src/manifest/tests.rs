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
fn an_unknown_limit_is_shown_with_the_nearest_known_one() {
    check(
        "name = \"chat\"\n[limits]\nturn_max_ms = 5\n",
        expect![[r#"
            |error[R0004]: [limits] has no key `turn_max_ms`
            |   ╭─[room.toml:3:1]
            | 2 │ [limits]
            | 3 │ turn_max_ms = 5
            |   · ─────┬─────
            |   ·      ╰── unknown key
            |   ╰────
            |  help: did you mean `turn_ms_max`?
            |for more about this, run `room explain R0004`
        "#]],
    );
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
fn a_limit_that_contradicts_another_is_pointed_at() {
    check(
        "name = \"chat\"\n[limits]\nturn_ms_max = 5\n",
        expect![[r#"
            |error[R0007]: tick_ms must not exceed turn_ms_max
            |   ╭─[room.toml:3:1]
            | 2 │ [limits]
            | 3 │ turn_ms_max = 5
            |   · ─────┬─────
            |   ·      ╰── this limit
            |   ╰────
            |  help: `room limits` explains each limit
            |for more about this, run `room explain R0007`
        "#]],
    );
}

#[test]
fn an_auto_response_is_checked_like_everything_else() {
    check(
        "name = \"chat\"\n[parties.main]\nauto_response = { request = \"ping\", reply = \"pong\" }\n",
        expect![[r#"
            |error[R0004]: parties.main.auto_response has no key `reply`
            |   ╭─[room.toml:3:37]
            | 2 │ [parties.main]
            | 3 │ auto_response = { request = "ping", reply = "pong" }
            |   ·                                     ──┬──
            |   ·                                       ╰── unknown key
            |   ╰────
            |  help: the keys here are `request`, `response`
            |
            |error[R0012]: `parties.main.auto_response` has a `request` and a `response`
            |   ╭─[room.toml:3:17]
            | 2 │ [parties.main]
            | 3 │ auto_response = { request = "ping", reply = "pong" }
            |   ·                 ──────────────────┬─────────────────
            |   ·                                   ╰── one is missing
            |   ╰────
            |  help: write it as `auto_response = { request = "ping", response = "pong" }`
            |
            |error: room.toml has 2 mistakes
            |for more, run `room explain` with one of R0004, R0012
        "#]],
    );
    check(
        "name = \"chat\"\n[parties.main]\nauto_response = \"ping\"\n",
        expect![[r#"
            |error[R0005]: `parties.main.auto_response` must be a section
            |   ╭─[room.toml:3:17]
            | 2 │ [parties.main]
            | 3 │ auto_response = "ping"
            |   ·                 ───┬──
            |   ·                    ╰── this is a text
            |   ╰────
            |  help: write it as `[parties.main.auto_response]` on a line of its own
            |for more about this, run `room explain R0005`
        "#]],
    );
    check(
        "name = \"chat\"\n[parties.main.auto_response]\nrequest = \"\"\nresponse = \"pong\"\n",
        expect![[r#"
            |error[R0012]: the request of an auto_response is empty
            |   ╭─[room.toml:2:1]
            | 1 │ name = "chat"
            | 2 │ [parties.main.auto_response]
            |   · ──────────────┬─────────────
            |   ·               ╰── this answer
            | 3 │ request = ""
            |   ╰────
            |for more about this, run `room explain R0012`
        "#]],
    );
    check(
        "name = \"chat\"\n[parties.main]\nauto_response = { request = \"ping\", response = \"pong\" }\n\
         [limits]\nauto_response_bytes_max = 3\n",
        expect![[r#"
            |error[R0012]: the request of an auto_response has 4 bytes, auto_response_bytes_max allows 3
            |   ╭─[room.toml:3:17]
            | 2 │ [parties.main]
            | 3 │ auto_response = { request = "ping", response = "pong" }
            |   ·                 ───────────────────┬───────────────────
            |   ·                                    ╰── this answer
            | 4 │ [limits]
            |   ╰────
            |for more about this, run `room explain R0012`
        "#]],
    );
}

#[test]
fn an_invalid_origin_is_shown_at_its_place() {
    check(
        "name = \"chat\"\n[serve]\norigins = [\"https://a.example\", \"b.example\"]\n",
        expect![[r#"
            |error[R0051]: "b.example" is not an origin: it must start with a scheme, such as https://
            |  │ chat.example.com
            |   ╭─[room.toml:3:33]
            | 2 │ [serve]
            | 3 │ origins = ["https://a.example", "b.example"]
            |   ·                                 ─────┬─────
            |   ·                                      ╰── this origin
            |   ╰────
            |for more about this, run `room explain R0051`
        "#]],
    );
    check(
        "name = \"chat\"\n[serve]\norigins = \"https://a.example\"\n",
        expect![[r#"
        |error[R0005]: `serve.origins` must be a list
        |   ╭─[room.toml:3:11]
        | 2 │ [serve]
        | 3 │ origins = "https://a.example"
        |   ·           ─────────┬─────────
        |   ·                    ╰── this is a text
        |   ╰────
        |  help: write it as ["https://a.example"]
        |for more about this, run `room explain R0005`
    "#]],
    );
    check(
        "name = \"chat\"\nserve = \"web\"\n",
        expect![[r#"
        |error[R0005]: `serve` must be a section
        |   ╭─[room.toml:2:9]
        | 1 │ name = "chat"
        | 2 │ serve = "web"
        |   ·         ──┬──
        |   ·           ╰── this is a text
        |   ╰────
        |  help: static files are `[assets]` with `dir = "web"`
        |for more about this, run `room explain R0005`
    "#]],
    );
    check(
        "name = \"chat\"\n[serve]\norigins = [\"https://a\", \"https://b\"]\n[limits]\norigins_max = 1\n",
        expect![[r#"
            |error[R0051]: more origins than origins_max allows (1)
            |   ╭─[room.toml:3:25]
            | 2 │ [serve]
            | 3 │ origins = ["https://a", "https://b"]
            |   ·                         ─────┬─────
            |   ·                              ╰── the first that is too many
            | 4 │ [limits]
            |   ╰────
            |  help: remove some, or set `origins_max` in `[limits]`
            |for more about this, run `room explain R0051`
        "#]],
    );
}

#[test]
fn an_invalid_cors_is_shown_at_its_place() {
    check(
        "name = \"chat\"\n[parties.main]\ncors = [\"https://a.example\", \"*\", \"null\"]\n",
        expect![[r#"
            |error[R0051]: "*" cannot be listed in cors: write `cors = true` to let every page read
            |   ╭─[room.toml:3:30]
            | 2 │ [parties.main]
            | 3 │ cors = ["https://a.example", "*", "null"]
            |   ·                              ─┬─
            |   ·                               ╰── this origin
            |   ╰────
            |
            |error[R0051]: "null" cannot be listed in cors: every site can make a page with that origin
            |   ╭─[room.toml:3:35]
            | 2 │ [parties.main]
            | 3 │ cors = ["https://a.example", "*", "null"]
            |   ·                                   ───┬──
            |   ·                                      ╰── this origin
            |   ╰────
            |
            |error: room.toml has 2 mistakes
            |for more about this, run `room explain R0051`
        "#]],
    );
    check(
        "name = \"chat\"\n[parties.main]\ncors = \"https://a\"\n",
        expect![[r#"
        |error[R0005]: `parties.main.cors` must be true or a list of origins
        |   ╭─[room.toml:3:8]
        | 2 │ [parties.main]
        | 3 │ cors = "https://a"
        |   ·        ─────┬─────
        |   ·             ╰── this is a text
        |   ╰────
        |  help: write it as ["https://a"]
        |for more about this, run `room explain R0005`
    "#]],
    );
}

#[test]
fn a_misplaced_empty_or_long_cors_is_shown_at_its_place() {
    check(
        "name = \"chat\"\ncors = true\n[parties.main]\ncors = []\n",
        expect![[r#"
        |error[R0004]: room.toml has no key `cors`
        |   ╭─[room.toml:2:1]
        | 1 │ name = "chat"
        | 2 │ cors = true
        |   · ──┬─
        |   ·   ╰── unknown key
        | 3 │ [parties.main]
        |   ╰────
        |  help: it belongs to a party: `[parties.main]`
        |
        |error[R0051]: cors lists no origins
        |   ╭─[room.toml:4:8]
        | 3 │ [parties.main]
        | 4 │ cors = []
        |   ·        ─┬
        |   ·         ╰── this list
        |   ╰────
        |  help: write `cors = true` to let every page read, or remove the key
        |
        |error: room.toml has 2 mistakes
        |for more, run `room explain` with one of R0004, R0051
    "#]],
    );
    check(
        "name = \"chat\"\n[parties.main]\ncors = [\"https://a\", \"https://b\"]\n[limits]\norigins_max = 1\n",
        expect![[r#"
            |error[R0051]: more origins than origins_max allows (1)
            |   ╭─[room.toml:3:8]
            | 2 │ [parties.main]
            | 3 │ cors = ["https://a", "https://b"]
            |   ·        ─────────────┬────────────
            |   ·                     ╰── this list
            | 4 │ [limits]
            |   ╰────
            |  help: remove some, or set `origins_max` in `[limits]`
            |for more about this, run `room explain R0051`
        "#]],
    );
}

#[test]
fn an_invalid_prefix_is_shown_at_its_place() {
    check(
        "name = \"chat\"\n[serve]\nprefix = \"/_room/x\"\n",
        expect![[r#"
        |error[R0062]: "/_room/x" cannot be the path of rooms: /_room is the server's own; choose
        |  │ another, such as /rooms
        |   ╭─[room.toml:3:10]
        | 2 │ [serve]
        | 3 │ prefix = "/_room/x"
        |   ·          ─────┬────
        |   ·               ╰── this path
        |   ╰────
        |for more about this, run `room explain R0062`
    "#]],
    );
}

#[test]
fn an_invalid_cache_pattern_is_shown_at_its_place() {
    check(
        "name = \"chat\"\n[assets]\ndir = \"web\"\nsingle_page = 1\n[assets.cache]\n\"[\" = \"no-cache\"\n\"a\" = \"\"\n",
        expect![[r#"
            |error[R0005]: `assets.single_page` must be true or false
            |   ╭─[room.toml:4:15]
            | 3 │ dir = "web"
            | 4 │ single_page = 1
            |   ·               ┬
            |   ·               ╰── this is a whole number
            | 5 │ [assets.cache]
            |   ╰────
            |
            |error[R0061]: "[" is not a pattern of files: write it as "*.woff2" or "img/**"
            |   ╭─[room.toml:6:1]
            | 5 │ [assets.cache]
            | 6 │ "[" = "no-cache"
            |   · ─┬─
            |   ·  ╰── this pattern
            | 7 │ "a" = ""
            |   ╰────
            |
            |error[R0061]: the cache of "a" must be the value of a Cache-Control header, such as "public,
            |  │ max-age=3600"
            |   ╭─[room.toml:7:1]
            | 6 │ "[" = "no-cache"
            | 7 │ "a" = ""
            |   · ─┬─
            |   ·  ╰── this pattern
            |   ╰────
            |
            |error: room.toml has 3 mistakes
            |for more, run `room explain` with one of R0005, R0061
        "#]],
    );
}

#[test]
fn a_limit_is_a_positive_whole_number() {
    check(
        "name = \"chat\"\n[limits]\nturn_ms_max = -5\n",
        expect![[r#"
            |error[R0006]: `limits.turn_ms_max` must be a whole number of at least 1
            |   ╭─[room.toml:3:15]
            | 2 │ [limits]
            | 3 │ turn_ms_max = -5
            |   ·               ─┬
            |   ·                ╰── this is out of range
            |   ╰────
            |for more about this, run `room explain R0006`
        "#]],
    );
}

#[test]
fn a_limit_outside_its_section_gets_a_hint_to_move() {
    check(
        "name = \"chat\"\nturn_ms_max = 5\n",
        expect![[r#"
            |error[R0004]: room.toml has no key `turn_ms_max`
            |   ╭─[room.toml:2:1]
            | 1 │ name = "chat"
            | 2 │ turn_ms_max = 5
            |   · ─────┬─────
            |   ·      ╰── unknown key
            |   ╰────
            |  help: it belongs to `[limits]`
            |for more about this, run `room explain R0004`
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
fn an_invalid_host_to_fetch_from_is_shown_at_its_place() {
    check(
        "name = \"chat\"\n[fetch]\nhosts = [\"https://a.example/v1\"]\nproxy = \"x\"\n",
        expect![[r#"
            |error[R0004]: [fetch] has no key `proxy`
            |   ╭─[room.toml:4:1]
            | 3 │ hosts = ["https://a.example/v1"]
            | 4 │ proxy = "x"
            |   · ──┬──
            |   ·   ╰── unknown key
            |   ╰────
            |  help: the only key here is `hosts`
            |
            |error[R0063]: "https://a.example/v1" does not name a host to fetch from: write only the host and
            |  │ its port, without a path or a slash
            |   ╭─[room.toml:3:10]
            | 2 │ [fetch]
            | 3 │ hosts = ["https://a.example/v1"]
            |   ·          ───────────┬──────────
            |   ·                     ╰── this host
            | 4 │ proxy = "x"
            |   ╰────
            |
            |error: room.toml has 2 mistakes
            |for more, run `room explain` with one of R0004, R0063
        "#]],
    );
    check(
        "name = \"chat\"\n[fetch]\nhosts = [\"a.example\", \"b.example\"]\n[limits]\nfetch_hosts_max = 1\n",
        expect![[r#"
            |error[R0063]: more hosts than fetch_hosts_max allows (1)
            |   ╭─[room.toml:3:23]
            | 2 │ [fetch]
            | 3 │ hosts = ["a.example", "b.example"]
            |   ·                       ─────┬─────
            |   ·                            ╰── the first that is too many
            | 4 │ [limits]
            |   ╰────
            |  help: remove some, or set `fetch_hosts_max` in `[limits]`
            |for more about this, run `room explain R0063`
        "#]],
    );
}

#[test]
fn two_spellings_of_one_party_are_refused() {
    check(
        "name = \"chat\"\n[parties.ChatRoom]\n[parties.chat_room]\n",
        expect![[r#"
            |error[R0011]: the party chat-room is listed twice
            |   ╭─[room.toml:3:10]
            | 2 │ [parties.ChatRoom]
            | 3 │ [parties.chat_room]
            |   ·          ────┬────
            |   ·              ╰── the second one
            |   ╰────
            |  help: `ChatRoom`, `chat_room` and `chat-room` are one name; remove one of them
            |for more about this, run `room explain R0011`
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
    assert_eq!(keys(&schema), sorted(read::TOP));
    assert_eq!(keys(&schema["$defs"]["PartyKeys"]), sorted(read::PARTY));
    assert_eq!(keys(&schema["$defs"]["AutoResponseKeys"]), sorted(read::AUTO_RESPONSE));
    assert_eq!(keys(&schema["$defs"]["AssetsKeys"]), sorted(read::ASSETS));
    assert_eq!(keys(&schema["$defs"]["ServeKeys"]), sorted(read::SERVE));
    assert_eq!(keys(&schema["$defs"]["FetchKeys"]), sorted(read::FETCH));
    assert_eq!(keys(&schema["$defs"]["CronKeys"]), sorted(read::CRON));
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

#[test]
fn a_ttl_is_a_time_in_quotes() {
    check(
        "name = \"chat\"\n[parties.main]\nttl = \"30 days\"\n",
        expect![[r#"
        |error[R0053]: a ttl is a whole number with its unit: `90s`, `15m`, `12h`, `30d` or `8w`
        |   ╭─[room.toml:3:7]
        | 2 │ [parties.main]
        | 3 │ ttl = "30 days"
        |   ·       ────┬────
        |   ·           ╰── this time
        |   ╰────
        |  help: write it as `ttl = "30d"`, or remove it to keep rooms forever
        |for more about this, run `room explain R0053`
    "#]],
    );
    check(
        "name = \"chat\"\nttl = \"30d\"\n[parties.main]\nttl = 30\n",
        expect![[r#"
        |error[R0004]: room.toml has no key `ttl`
        |   ╭─[room.toml:2:1]
        | 1 │ name = "chat"
        | 2 │ ttl = "30d"
        |   · ─┬─
        |   ·  ╰── unknown key
        | 3 │ [parties.main]
        |   ╰────
        |  help: it belongs to a party: `[parties.main]`
        |
        |error[R0005]: `parties.main.ttl` must be a text in quotes
        |   ╭─[room.toml:4:7]
        | 3 │ [parties.main]
        | 4 │ ttl = 30
        |   ·       ─┬
        |   ·        ╰── this is a whole number
        |   ╰────
        |  help: write it as "30"
        |
        |error: room.toml has 2 mistakes
        |for more, run `room explain` with one of R0004, R0005
    "#]],
    );
}

#[test]
fn an_invalid_cron_is_shown_with_its_place_and_advice() {
    check(
        "name = \"chat\"\n[crons]\nprune = \"0 25 * * *\"\n",
        expect![[r#"
            |error[R0064]: the cron "prune": the hour "25" of the schedule "0 25 * * *" is invalid: write 0
            |  │ to 23, a list such as 1,5, a range such as 1-5, a step such as */5, or *
            |   ╭─[room.toml:3:9]
            | 2 │ [crons]
            | 3 │ prune = "0 25 * * *"
            |   ·         ──────┬─────
            |   ·               ╰── this cron
            |   ╰────
            |for more about this, run `room explain R0064`
        "#]],
    );
    check(
        "name = \"chat\"\n[crons.prune]\nschedule = \"0 3 * * *\"\nzone = \"Berlin\"\n",
        expect![[r#"
            |error[R0064]: the cron "prune": the time zone "Berlin" is unknown: did you mean "Europe/Berlin"?
            |   ╭─[room.toml:2:1]
            | 1 │ name = "chat"
            | 2 │ [crons.prune]
            |   · ──────┬──────
            |   ·       ╰── this cron
            | 3 │ schedule = "0 3 * * *"
            |   ╰────
            |for more about this, run `room explain R0064`
        "#]],
    );
    for (cron, message) in [
        (
            "{ schedule = \"0 3 * * *\", party = \"mian\" }",
            "names the party mian, and the project has main",
        ),
        ("{ zone = \"UTC\" }", "the cron \"prune\" has no schedule"),
        (
            "{ schedule = \"@daily\", rooms = \"some\" }",
            "`crons.prune.rooms` must be \"all\", not \"some\"",
        ),
        ("{ schedule = \"@daily\", rooms = \"all\", room = \"a\" }", "has both `room` and `rooms`"),
        ("{ schedule = \"@daily\", zones = \"UTC\" }", "did you mean `zone`?"),
        ("{ schedule = 3 }", "`crons.prune.schedule` must be a text in quotes"),
        ("3", "a schedule in quotes, or a section"),
    ] {
        let text = format!("name = \"chat\"\n[crons]\nprune = {cron}\n");
        let drawn = plain(&Manifest::parse(FILE, &text).unwrap_err());
        assert!(drawn.contains(message), "{cron}: {drawn}");
    }
    let many: String = (0..3).map(|number| format!("c{number} = \"@daily\"\n")).collect();
    let text = format!("name = \"chat\"\n[limits]\ncrons_max = 2\n[crons]\n{many}");
    let drawn = plain(&Manifest::parse(FILE, &text).unwrap_err());
    assert!(drawn.contains("there are 3 crons, crons_max allows 2"), "{drawn}");
}

#[test]
fn an_old_name_of_another_party_is_shown_with_its_place() {
    let text = "name = \"chat\"\n[parties.chat]\nwas = \"main\"\n";
    let manifest = Manifest::parse(FILE, text).unwrap();
    assert_eq!(manifest.parties[0].was.as_ref().unwrap().get_ref(), "main");
    check(
        &format!("{text}[parties.main]\n"),
        expect![[r#"
            |error[R0065]: the party chat was main, which is still a party of the project: remove that party,
            |  │ or `was`
            |   ╭─[room.toml:3:7]
            | 2 │ [parties.chat]
            | 3 │ was = "main"
            |   ·       ───┬──
            |   ·          ╰── this name
            | 4 │ [parties.main]
            |   ╰────
            |for more about this, run `room explain R0065`
        "#]],
    );
}

#[test]
fn request_bodies_come_whole_or_in_pieces() {
    let of = |value: &str| {
        let text = format!("name = \"chat\"\n[parties.main]\nrequest_bodies = {value}\n");
        Manifest::parse("room.toml", &text)
    };
    for (value, bodies) in
        [("\"whole\"", BodyDelivery::Whole), ("\"pieces\"", BodyDelivery::Pieces)]
    {
        assert_eq!(of(value).unwrap().parties[0].request_bodies, bodies);
    }
    for value in ["\"chunks\"", "true"] {
        let mistake = plain(&of(value).unwrap_err());
        assert!(mistake.contains("must be \"whole\" or \"pieces\""), "{mistake}");
    }
}
