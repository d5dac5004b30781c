use super::*;

#[test]
fn the_name_of_a_file_says_which_tool_it_is_of() {
    let rooms =
        r#"{"durable_objects": {"bindings": [{"name": "A", "class_name": "A"}]}, "main": "a.ts"}"#;
    for name in ["wrangler.json", "wrangler.jsonc", "../chat/wrangler.jsonc", "wrangler.dev.json"] {
        assert_eq!(import(name, rooms).unwrap().tool, Tool::Wrangler, "{name}");
    }
    let toml = "main = \"a.ts\"\n[[durable_objects.bindings]]\nname = \"A\"\nclass_name = \"A\"\n";
    assert_eq!(import("wrangler.toml", toml).unwrap().tool, Tool::Wrangler);
    for name in ["partykit.json", "party/partykit.json", "partykit.jsonc"] {
        assert_eq!(import(name, r#"{"name": "chat"}"#).unwrap().tool, Tool::PartyKit, "{name}");
    }
    let package = import("some/package.json", r#"{"partykit": {"name": "chat"}}"#).unwrap();
    assert_eq!(package.name.as_deref(), Some("chat"));
}

#[test]
fn a_file_that_is_not_an_object_is_refused() {
    for (name, text) in [("partykit.json", "[]"), ("wrangler.jsonc", "1"), ("wrangler.json", "")] {
        let mistake = import(name, text).unwrap_err();
        assert_eq!(mistake.to_string(), "it is not an object", "{name}");
    }
}

#[test]
fn values_of_both_formats_are_the_same_json() {
    let json = tree::of_json("a", r#"{"a": [1, -2.5, true, null, "x\"", {"b": {}}], /* c */ }"#);
    let json = json.unwrap().unwrap().json();
    assert_eq!(json, r#"{"a":[1,-2.5,true,null,"x\"",{"b":{}}]}"#);
    let toml = "a = [0x10, 1_000, -2.5, true, 2024-01-01, 'x\"']\n[b.c]\nd = 'e'\n";
    let toml = tree::of_toml("a", toml).unwrap().json();
    assert_eq!(toml, r#"{"a":[16,1000,-2.5,true,"2024-01-01","x\""],"b":{"c":{"d":"e"}}}"#);
}
