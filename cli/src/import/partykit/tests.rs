use super::*;
use crate::import::import;
use crate::print::plain;
use expect_test::{Expect, expect};

fn check(text: &str, expected: Expect) {
    let mistake = import("partykit.json", text).expect_err("it is wrong");
    let drawn: Vec<_> = plain(&mistake).lines().map(|line| format!("|{line}\n")).collect();
    expected.assert_eq(&drawn.concat());
}

#[test]
fn every_key_is_converted_or_named_with_a_reason() {
    let all = LEFT.iter().map(|(key, _)| format!("{key:?}: 1,"));
    let text = format!(
        r#"{{ // A comment, and a comma at the end.
        "name": "chat", "main": "src/server.ts",
        "parties": {{ "Lobby": "src/lobby.ts" }},
        "serve": {{
            "path": "public", "singlePageApp": true,
            "build": {{ "entry": ["a.ts", "b.tsx"], "outdir": "public/js" }},
        }},
        "vars": {{ "A": "secret", "B": 7, "C": {{"d": true}} }},
        "crons": {{ "daily": "0 0 * * *", "typo": "61 * * * *" }},
        {}
        }}"#,
        all.collect::<String>()
    );
    let import = import("partykit.json", &text).unwrap();
    assert_eq!(import.name.as_deref(), Some("chat"));
    let parties: Vec<_> = import.parties.iter().map(|party| party.name.as_str()).collect();
    assert_eq!(parties, ["main", "lobby"]);
    let scripts = ["a.ts", "b.tsx"].map(str::to_owned).to_vec();
    let assets = ImportedAssets { dir: "public".to_owned(), is_single_page: true, scripts };
    assert_eq!(import.assets, Some(assets));
    let vars: Vec<_> = import.vars.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(vars, ["secret", "7", r#"{"d":true}"#]);
    let left = import.rows.iter().filter(|row| !row.taken).count();
    assert_eq!(left, LEFT.len() + 2);
    assert_eq!(import.rows.len() - left, 11);
    assert_eq!(import.crons, [CronSetting::new("daily", "0 0 * * *")]);
    assert!(!format!("{:?}", import.rows).contains("secret"));
}

#[test]
fn a_package_json_has_the_configuration_under_a_key() {
    let import_of = |text| import("package.json", text);
    let import = import_of(r#"{"name": "other", "partykit": {"name": "chat"}}"#).unwrap();
    assert_eq!(import.name.as_deref(), Some("chat"));
    assert!(import_of(r#"{"name": "other"}"#).is_err());
    assert!(import_of(r#"{"partykit": 1}"#).is_err());
}

#[test]
fn all_mistakes_are_shown_with_their_places() {
    check(
        "{\n  \"mian\": \"a.ts\",\n  \"parties\": {\"main\": \"b.ts\"},\n  \"vars\": 1\n}",
        expect![[r#"
            |error[R0044]: PartyKit has no key `mian`
            |   ╭─[partykit.json:2:3]
            | 1 │ {
            | 2 │   "mian": "a.ts",
            |   ·   ───┬──
            |   ·      ╰── here
            | 3 │   "parties": {"main": "b.ts"},
            |   ╰────
            |  help: did you mean `main`?
            |
            |error[R0044]: a party cannot be called `main`, as PartyKit has `main` at the top
            |   ╭─[partykit.json:3:15]
            | 2 │   "mian": "a.ts",
            | 3 │   "parties": {"main": "b.ts"},
            |   ·               ───┬──
            |   ·                  ╰── this name
            | 4 │   "vars": 1
            |   ╰────
            |
            |error[R0044]: `vars` must be an object
            |   ╭─[partykit.json:4:11]
            | 3 │   "parties": {"main": "b.ts"},
            | 4 │   "vars": 1
            |   ·           ┬
            |   ·           ╰── this is something else
            | 5 │ }
            |   ╰────
            |
            |error: partykit.json has 3 mistakes
            |for more about this, run `room explain R0044`
        "#]],
    );
    check(
        "{\"name\": ",
        expect![[r#"
        |error[R0043]: partykit.json is not valid JSON: Expected value after colon in object property
        |   ╭─[partykit.json:1:10]
        | 1 │ {"name":
        |   ╰────
        |for more about this, run `room explain R0043`
    "#]],
    );
    check(
        "[]",
        expect![[r#"
            |error[R0044]: it is not an object
            |   ╭─[partykit.json:1:1]
            | 1 │ []
            |   · ▲
            |   · ╰── here
            |   ╰────
            |for more about this, run `room explain R0044`
        "#]],
    );
}
