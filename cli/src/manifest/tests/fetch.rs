//! The mistakes of `[fetch]`: each is shown at its place.

use super::*;

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
