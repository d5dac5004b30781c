//! The keys of publishers in a manifest, and event streams of parties.

use super::*;
use room_runtime::{PublishKeySetting, ScopedPublishKey};

fn with(section: &str) -> Result<Manifest, Mistake> {
    Manifest::parse(FILE, &format!("name = \"chat\"\n{section}\n"))
}

#[test]
fn a_partys_event_streams_are_off_unless_it_has_them() {
    for (line, on) in [("", false), ("sse = true", true), ("sse = false", false)] {
        let manifest = with(&format!("[parties.main]\n{line}")).unwrap();
        assert_eq!(bool::from(manifest.parties[0].sse), on, "{line}");
    }
    let said = plain(&with("[parties.main]\nsse = \"yes\"").unwrap_err());
    assert!(said.contains("R0005") && said.contains("parties.main.sse"), "{said}");
    let said = plain(&with("sse = true").unwrap_err());
    assert!(said.contains("[parties.main]"), "{said}");
}

#[test]
fn keys_of_publishers_are_read_with_their_scopes() {
    let manifest = with(
        "[publish]\nkeys = [\"ALL\", { secret = \"SOME\", parties = [\"main\"], rooms = [\"a-*\"] }]",
    );
    let texts = |text: &str| Some(vec![text.to_owned()]);
    let scoped =
        ScopedPublishKey { secret: "SOME".to_owned(), parties: texts("main"), rooms: texts("a-*") };
    assert_eq!(
        manifest.unwrap().publish.unwrap().keys,
        [PublishKeySetting::Name("ALL".to_owned()), PublishKeySetting::Scoped(scoped)]
    );
    assert_eq!(with("").unwrap().publish, None);
}

#[test]
fn keys_of_publishers_that_cannot_be_used_are_shown_with_what_to_write() {
    for (lines, parts) in [
        ("", ["R0074", "has no `keys`", "PUBLISH_KEY"]),
        ("keys = []", ["R0074", "has no key", "[publish]"]),
        ("keys = \"KEY\"", ["R0005", "publish.keys", "a list"]),
        ("keys = [{ parties = [\"main\"] }]", ["R0074", "has no `secret`", "PUBLISH_KEY"]),
        ("keys = [{ secret = \"K\", room = [\"a\"] }]", ["R0004", "`room`", "`rooms`"]),
        ("keys = [{ secret = \"K\", rooms = [\"a*b\"] }]", ["R0074", "a*b", "last character"]),
        ("keys = [{ secret = \"K\", parties = [\"mian\"] }]", ["R0074", "mian", "has main"]),
        ("key = [\"K\"]", ["R0004", "`key`", "`keys`"]),
    ] {
        let said = plain(&with(&format!("[publish]\n{lines}")).unwrap_err());
        let flat = said.replace('\n', " ");
        for part in parts {
            assert!(flat.contains(part), "{part}: {said}");
        }
    }
}
