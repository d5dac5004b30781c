//! The mistakes of `[crons]`: each is shown at its place.

use super::*;

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
