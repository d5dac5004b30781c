//! The mistakes of `[assets]`: each is shown at its place.

use super::*;

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
fn scripts_of_pages_are_one_file_or_a_list() {
    let scripts = |build: &str| {
        let text = format!("name = \"x\"\n[assets]\ndir = \"web\"\nbuild = {build}\n");
        let manifest = Manifest::parse(FILE, &text).unwrap();
        let files = manifest.page_scripts.iter();
        files.map(|file| file.get_ref().display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(scripts("\"page/main.tsx\""), ["page/main.tsx"]);
    assert_eq!(scripts("[\"a.ts\", \"b.ts\"]"), ["a.ts", "b.ts"]);
    assert!(scripts("[]").is_empty());
    let wrong = Manifest::parse(FILE, "name = \"x\"\n[assets]\ndir = \"web\"\nbuild = [1, true]\n");
    let said = plain(&wrong.unwrap_err());
    let help = "`assets.build` must be the name of a file, or a list of names";
    assert_eq!(said.matches(help).count(), 2, "{said}");
    let foreign = Manifest::parse(FILE, "name = \"x\"\nbuild = \"npm run build\"\n").unwrap_err();
    assert!(plain(&foreign).contains("belong to `[assets]`"), "{}", plain(&foreign));
}
