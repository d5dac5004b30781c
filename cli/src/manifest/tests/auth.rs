//! `[auth]` of a manifest, and `auth` of a party.

use super::*;

#[test]
fn the_section_about_clients_is_read_and_its_mistakes_are_shown() {
    let parsed = |text: &str| Manifest::parse(FILE, &format!("name = \"chat\"\n{text}"));
    let auth = |text: &str| parsed(&format!("[auth]\n{text}")).unwrap().auth.unwrap();
    assert_eq!(auth("secret = \"S\"\naudience = \"chat\"").audience, ["chat"]);
    assert_eq!(auth("audience = [\"a\", \"b\"]").audience, ["a", "b"]);
    assert_eq!((auth("").query.as_str(), auth("query = false").query.as_str()), ("token", ""));
    assert!(auth("").required && !auth("required = false").required);
    let party = "[auth]\n[parties.main]\npath = \".\"\nauth = \"optional\"\n";
    let mode = parsed(party).unwrap().parties[0].auth.as_ref().map(|mode| *mode.get_ref());
    assert_eq!(mode, Some(room_runtime::AuthMode::Optional));
    for (text, parts) in [
        ("[auth]\nalgorithms = [\"none\"]", ["R0071", "HS256, RS256"]),
        ("[auth]\njwks = \"auth.example.com\"", ["R0071", "a whole URL"]),
        ("[auth]\nquery = true", ["R0005", "name of a parameter"]),
        ("[auth]\nskew_s = -1", ["auth.skew_s", "at least 0"]),
        ("[auth]\nissuers = \"x\"", ["[auth] has no key", "`issuer`"]),
        ("[parties.main]\npath = \".\"\nauth = \"required\"", ["R0071", "no section [auth]"]),
        ("[auth]\n[parties.main]\npath = \".\"\nauth = true", ["auth", "\"required\""]),
    ] {
        let error = plain(&parsed(text).unwrap_err());
        assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
    }
}

#[test]
fn every_manifest_of_the_guide_about_identity_is_valid() {
    let guide = include_str!("../../../../sdk/IDENTITY.md");
    let manifests: Vec<&str> = guide.split("```toml\n").skip(1).collect();
    assert!(manifests.len() >= 4);
    for manifest in manifests {
        let text = manifest.split("```").next().unwrap();
        assert!(Manifest::parse(FILE, text).unwrap().auth.is_some(), "{text}");
    }
}
