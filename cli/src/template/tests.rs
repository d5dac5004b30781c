use super::*;
use crate::manifest::Manifest;
use clap::ValueEnum as _;

fn name(text: &str) -> ProjectName {
    ProjectName::parse(text).unwrap()
}

fn text(files: &[TemplateFile], path: &str) -> String {
    let file = files.iter().find(|file| file.path == Path::new(path));
    let file = file.unwrap_or_else(|| panic!("{path} is not there"));
    String::from_utf8(file.content.clone()).unwrap()
}

#[test]
fn every_template_has_what_a_project_needs() {
    for template in TemplateName::value_variants() {
        let files = render(*template, &name("my-thing"), &Sdk::Copy, Home::Alone);
        let manifest = Manifest::parse("room.toml", &text(&files, "room.toml")).unwrap();
        assert_eq!(manifest.name, "my-thing", "{template:?}");
        let package = text(&files, "Cargo.toml");
        assert!(package.contains("name = \"my-thing\""), "{package}");
        assert!(package.contains("room-sdk = { path = \"vendor/room-sdk\" }"), "{package}");
        assert!(!text(&files, "src/lib.rs").is_empty());
        assert!(text(&files, ".gitignore").contains(".room"));
        assert!(text(&files, "vendor/room-sdk/Cargo.toml").contains("room-sdk"));
        assert!(text(&files, "vendor/room-sdk/wit/room.wit").contains("room:runtime"));
        assert!(!text(&files, "vendor/room-sdk/src/lib.rs").is_empty());
    }
}

#[test]
fn no_placeholder_of_the_template_remains() {
    for template in TemplateName::value_variants() {
        for file in
            render(*template, &name("my-thing"), &Sdk::Folder("/sdk".to_owned()), Home::Alone)
        {
            let path = file.path.display().to_string();
            assert!(!path.ends_with(".tmpl"), "{path}");
            let Ok(text) = String::from_utf8(file.content) else {
                continue;
            };
            for left in ["{{", "room-example", "room_example", "workspace = true"] {
                assert!(!text.contains(left), "{path} still has {left}");
            }
        }
    }
}

#[test]
fn a_checkout_of_the_sdk_is_not_copied() {
    let files =
        render(TemplateName::Blank, &name("x"), &Sdk::Folder("/some/sdk".to_owned()), Home::Alone);
    assert!(text(&files, "Cargo.toml").contains("room-sdk = { path = \"/some/sdk\" }"));
    assert!(!files.iter().any(|file| file.path.starts_with("vendor")));
}

#[test]
fn a_file_is_written_once() {
    for template in TemplateName::value_variants() {
        let mut paths: Vec<_> = render(*template, &name("x"), &Sdk::Copy, Home::Alone)
            .into_iter()
            .map(|file| file.path)
            .collect();
        let all = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), all, "{template:?}");
    }
}

#[test]
fn names_that_cannot_be_a_crate_are_refused() {
    for bad in ["", "A", "1a", "a b", "a/b", "-a", "fn", "test", "proc_macro", "room-sdk", "ä"] {
        assert!(ProjectName::parse(bad).is_err(), "{bad:?}");
    }
    for good in ["a", "my-chat", "chat_2"] {
        assert!(ProjectName::parse(good).is_ok(), "{good:?}");
    }
}

#[test]
fn a_member_of_a_workspace_has_no_workspace_and_no_profiles_of_its_own() {
    let alone =
        text(&render(TemplateName::Blank, &name("x"), &Sdk::Copy, Home::Alone), "Cargo.toml");
    assert!(alone.contains("\n[workspace]\n") && alone.contains("[profile.release]"), "{alone}");
    let files = render(TemplateName::Blank, &name("x"), &Sdk::Inherited, Home::Member);
    let member = text(&files, "Cargo.toml");
    assert!(!member.contains("[workspace]") && !member.contains("[profile"), "{member}");
    assert!(
        member.contains("[lib]") && member.contains("room-sdk = { workspace = true }"),
        "{member}"
    );
    assert!(!member.contains("{{"), "{member}");
}
