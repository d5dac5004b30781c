//! The mistakes of `[parties]`: each is shown at its place.

use super::*;
use room_runtime::{HistorySetting, PresenceSetting, PresentBy};

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

#[test]
fn history_says_what_is_kept_and_whether_it_is_stored() {
    let of = |value: &str| {
        let text = format!("name = \"chat\"\n[parties.main]\nhistory = {value}\n");
        Manifest::parse("room.toml", &text)
    };
    for (value, durable) in [
        ("{ keep = 5 }", false),
        ("{ keep = 5, durable = false }", false),
        ("{ for = \"1h\", durable = true }", true),
    ] {
        let history = of(value).unwrap().parties[0].retention.history.unwrap();
        assert_eq!(history.durable, durable, "{value}");
    }
    let mistake = plain(&of("{ keep = 5, durable = \"yes\" }").unwrap_err());
    assert!(mistake.contains("`parties.main.history.durable` must be true or false"), "{mistake}");
    let mistake = plain(&of("{ durable = true }").unwrap_err());
    assert!(mistake.contains("history needs `keep`, `for` or both"), "{mistake}");
}

#[test]
fn a_mistake_of_resume_or_of_history_is_shown_at_its_own_place() {
    for (resume, history, place) in
        [("9w", 5, "room.toml:3:10"), ("2m", 1_000_000, "room.toml:4:11")]
    {
        let text = format!(
            "name = \"chat\"\n[parties.main]\nresume = \"{resume}\"\nhistory = {{ keep = {history} }}\n"
        );
        let mistake = plain(&Manifest::parse("room.toml", &text).unwrap_err());
        assert!(mistake.contains(place), "{mistake}");
    }
}

#[test]
fn the_settings_of_the_guide_to_staying_connected_are_read() {
    let guide = include_str!("../../../../sdk/STAYING_CONNECTED.md");
    let block = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let manifest = Manifest::parse("room.toml", block).unwrap();
    let day = "24h".parse().unwrap();
    let history = HistorySetting { keep: Some(100), keep_for: Some(day), durable: true };
    let resume = Some("2m".parse().unwrap());
    let expected = RetentionSettings { resume, history: Some(history) };
    assert_eq!(manifest.parties[0].retention, expected);
}

#[test]
fn presence_is_a_switch_or_a_table_and_its_mistakes_are_shown_at_their_places() {
    let of = |value: &str| {
        let text = format!("name = \"chat\"\n[parties.main]\npresence = {value}\n");
        let manifest = Manifest::parse("room.toml", &text).map_err(|mistake| plain(&mistake))?;
        Ok::<_, String>(manifest.parties[0].presence.as_ref().map(|own| *own.get_ref()))
    };
    assert_eq!(of("true"), Ok(Some(PresenceSetting::default())));
    assert_eq!(of("false"), Ok(None));
    let setting = of("{ grace = \"90s\", every = \"50ms\", by = \"room\" }").unwrap().unwrap();
    let times = (setting.grace.unwrap().to_string(), setting.every.unwrap().to_string());
    assert_eq!((times, setting.by), (("90s".to_owned(), "50ms".to_owned()), PresentBy::Room));
    for (value, mistake) in [
        ("\"yes\"", "must be true, or a table"),
        ("{ by = \"all\" }", "`parties.main.presence.by` must be \"client\" or \"room\""),
        ("{ grace = \"5\" }", "`parties.main.presence.grace` is a whole number with its unit"),
        ("{ every = \"1ms\" }", "presence_every_ms_min"),
        ("{ grace = \"1h\" }", "is a whole number with its unit"),
        ("{ grace = \"60m\" }", "presence_grace_ms_max allows 300000 ms"),
        ("{ users = 5 }", "parties.main.presence has no key `users`"),
    ] {
        let shown = of(value).unwrap_err();
        assert!(shown.contains(mistake) && shown.contains("room.toml:3:"), "{value}: {shown}");
    }
}

#[test]
fn the_settings_of_the_guide_to_presence_are_read() {
    let guide = include_str!("../../../../sdk/PRESENCE.md");
    let block = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let manifest = Manifest::parse("room.toml", block).unwrap();
    let (grace, every) = (Some("5s".parse().unwrap()), Some("30ms".parse().unwrap()));
    let expected = PresenceSetting { grace, every, by: PresentBy::Client };
    assert_eq!(manifest.parties[0].presence.as_ref().map(|own| *own.get_ref()), Some(expected));
}
