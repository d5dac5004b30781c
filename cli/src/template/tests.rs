use super::*;
use crate::manifest::Manifest;
use clap::ValueEnum as _;

fn name(text: &str) -> ProjectName {
    ProjectName::of(text, TemplateName::Blank).unwrap()
}

fn text(files: &[TemplateFile], path: &str) -> String {
    let file = files.iter().find(|file| file.path == Path::new(path));
    let file = file.unwrap_or_else(|| panic!("{path} is not there"));
    String::from_utf8(file.content.clone()).unwrap()
}

/// The templates in Rust.
fn in_rust() -> impl Iterator<Item = &'static TemplateName> {
    TemplateName::value_variants().iter().filter(|template| !is_script(**template))
}

#[test]
fn every_template_has_what_a_project_needs() {
    for template in in_rust() {
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
        assert!(ProjectName::of(bad, TemplateName::Blank).is_err(), "{bad:?}");
    }
    for good in ["a", "my-chat", "chat_2"] {
        assert!(ProjectName::of(good, TemplateName::Blank).is_ok(), "{good:?}");
    }
}

#[test]
fn a_script_may_have_a_name_that_means_something_in_rust() {
    for good in ["fn", "test", "match", "async", "1a", "my-chat"] {
        assert!(ProjectName::of(good, TemplateName::TypeScript).is_ok(), "{good:?}");
    }
    for bad in ["", "A", "a b", "a/b", "-a", "ä"] {
        assert!(ProjectName::of(bad, TemplateName::JavaScript).is_err(), "{bad:?}");
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

/// The templates that are scripts, each with the name of its room's file.
const SCRIPTS: [(TemplateName, &str); 3] = [
    (TemplateName::TypeScript, "src/server.ts"),
    (TemplateName::JavaScript, "src/server.js"),
    (TemplateName::React, "src/server.ts"),
];

#[test]
fn every_template_of_a_script_has_what_a_project_needs() {
    let all = TemplateName::value_variants().iter().filter(|template| is_script(**template));
    assert_eq!(all.count(), SCRIPTS.len());
    for (template, file) in SCRIPTS {
        let files = render(template, &name("my-thing"), &Sdk::Copy, Home::Alone);
        let manifest = Manifest::parse("room.toml", &text(&files, "room.toml")).unwrap();
        assert_eq!(manifest.name, "my-thing", "{template:?}");
        let script = manifest.parties[0].script.as_ref().unwrap();
        assert_eq!(script.file.get_ref(), Path::new(file));
        assert!(text(&files, file).contains("\"roomkit/server\""));
        let package: serde_json::Value =
            serde_json::from_str(&text(&files, "package.json")).unwrap();
        assert_eq!(package["name"], "my-thing");
        assert_eq!(package["devDependencies"]["roomkit"], "file:vendor/roomkit");
        assert!(package["devDependencies"]["esbuild"].is_string());
        let ignored = text(&files, ".gitignore");
        assert!(ignored.contains("/node_modules/") && ignored.contains("/.room/"), "{ignored}");
        assert!(text(&files, "README.md").contains(file));
        let client =
            if template == TemplateName::React { "/dist/main.js" } else { "/_room/client.js" };
        assert!(text(&files, "web/index.html").contains(client));
        assert!(!files.iter().any(|file| file.path.ends_with("Cargo.toml")), "{template:?}");
    }
    let has =
        |files: &[TemplateFile], path: &str| files.iter().any(|file| file.path == Path::new(path));
    for (template, is_checked) in
        [(TemplateName::TypeScript, true), (TemplateName::JavaScript, false)]
    {
        let files = render(template, &name("x"), &Sdk::Copy, Home::Alone);
        assert_eq!(has(&files, "tsconfig.json"), is_checked);
        assert_eq!(has(&files, "src/server.ts"), is_checked);
        assert_eq!(has(&files, "src/server.js"), !is_checked);
    }
}

#[test]
fn a_page_in_react_is_built_from_its_folder_and_its_bundle_is_ignored() {
    let files = render(TemplateName::React, &name("my-thing"), &Sdk::Copy, Home::Alone);
    let manifest = Manifest::parse("room.toml", &text(&files, "room.toml")).unwrap();
    let script = manifest.page_scripts[0].get_ref().to_str().unwrap().to_owned();
    assert!(text(&files, &script).contains("<StrictMode>"));
    assert!(text(&files, ".gitignore").contains("/web/dist/\n"));
    assert!(text(&files, "README.md").contains("`page/`: the page, in React"));
    assert!(!files.iter().any(|file| file.path.starts_with("web/dist")));
}

#[test]
fn a_script_carries_the_whole_package() {
    let files = render(TemplateName::TypeScript, &name("x"), &Sdk::Copy, Home::Alone);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/js");
    let names = ["", "client/"].into_iter().flat_map(|folder| {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(move |entry| format!("{folder}{}", entry.file_name().into_string().unwrap()))
    });
    // A project that exists needs no guide that leads to one, and has none of the tests that the comparison names.
    let is_carried = |name: &String| {
        !name.starts_with('.') && !name.starts_with("FROM_") && name != "COMPATIBILITY.md"
    };
    let mut there: Vec<String> = names.filter(is_carried).collect();
    there.sort();
    let carried = files.iter().filter_map(|file| file.path.strip_prefix(VENDORED_PACKAGE).ok());
    let mut carried: Vec<String> = carried.map(|path| path.display().to_string()).collect();
    carried.sort();
    assert_eq!(carried, there, "each file of sdk/js is named in template/script.rs");
}

#[test]
fn a_script_may_use_the_package_of_a_checkout() {
    for (template, _) in SCRIPTS {
        let sdk = Sdk::Folder("/some/sdk".to_owned());
        let files = render(template, &name("x"), &sdk, Home::Alone);
        let package = text(&files, "package.json");
        assert!(package.contains("\"roomkit\": \"file:/some/sdk/js\""), "{package}");
        assert!(!files.iter().any(|file| file.path.starts_with("vendor")));
    }
}
