//! The mistakes of `[serve]`: each is shown at its place.

use super::*;

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
