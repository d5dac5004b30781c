//! The mistakes of `[limits]`: each is shown at its place.

use super::*;

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
