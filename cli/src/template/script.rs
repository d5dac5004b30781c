//! The templates in TypeScript and JavaScript. Owns their files, and the package `roomkit` that a project carries.
//!
//! Invariant: the templates `typescript` and `react` are the examples `chat-ts` and `react-ts` of this repository
//! themselves, and a project needs no package of ours from a registry. It does not know how a script is built.

use super::{ProjectName, Sdk, TemplateFile, gather};
use crate::manifest;
use include_dir::{Dir, include_dir};
use std::path::Path;

/// The language of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// With types, which are checked.
    TypeScript,
    /// Without.
    JavaScript,
    /// With types, and a page in React.
    React,
}

/// Files of every script: what git ignores, a first README.
static COMMON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/script");
/// What a project in JavaScript has in place of the files in TypeScript.
static JAVASCRIPT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/javascript");

/// An example that is a template. Only what is named here, as its folder holds installed packages, too.
struct ScriptExample {
    /// Its name.
    name: &'static str,
    manifest: &'static str,
    package: &'static str,
    tsconfig: &'static str,
    folders: &'static [(&'static str, &'static Dir<'static>)],
}

static CHAT_TS: ScriptExample = ScriptExample {
    name: "chat-ts",
    manifest: include_str!("../../../rooms-examples/chat-ts/room.toml"),
    package: include_str!("../../../rooms-examples/chat-ts/package.json"),
    tsconfig: include_str!("../../../rooms-examples/chat-ts/tsconfig.json"),
    folders: &[("src", &EXAMPLE_SRC), ("web", &EXAMPLE_WEB)],
};
static REACT_TS: ScriptExample = ScriptExample {
    name: "react-ts",
    manifest: include_str!("../../../rooms-examples/react-ts/room.toml"),
    package: include_str!("../../../rooms-examples/react-ts/package.json"),
    tsconfig: include_str!("../../../rooms-examples/react-ts/tsconfig.json"),
    folders: &[("src", &REACT_SRC), ("page", &REACT_PAGE), ("web", &REACT_WEB)],
};

static REACT_SRC: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/react-ts/src");
static REACT_PAGE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/react-ts/page");
static REACT_WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/react-ts/web");
/// What `room dev` puts among its static files.
const REACT_DIST: &str = "web/dist";
static EXAMPLE_SRC: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/chat-ts/src");
static EXAMPLE_WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/chat-ts/web");
/// The file of their room.
const EXAMPLE_FILE: &str = "server.ts";
/// Where they have the package.
const EXAMPLE_ROOMKIT: &str = "../../sdk/js";
/// The line about the page in the README of a project, and the line in React's.
const PLAIN_PAGE: &str = "- `web/index.html`: the page, served as it is.\n";
const REACT_PAGE_LINE: &str = "- `page/`: the page, in React. `room dev` bundles it into `web/dist`, and reloads it at every save.\n- \
                               `web/`: what is served as it is.\n";

/// The path of the package in a project.
pub(crate) const VENDORED_PACKAGE: &str = "vendor/roomkit";

/// The files of the package.
const ROOMKIT: [(&str, &str); 26] = [
    ("package.json", include_str!("../../../sdk/js/package.json")),
    ("README.md", include_str!("../../../sdk/js/README.md")),
    ("CLIENT.md", include_str!("../../../sdk/js/CLIENT.md")),
    ("SERVER.md", include_str!("../../../sdk/js/SERVER.md")),
    ("TESTING.md", include_str!("../../../sdk/js/TESTING.md")),
    ("client.js", include_str!("../../../sdk/js/client.js")),
    ("client.d.ts", include_str!("../../../sdk/js/client.d.ts")),
    ("client/address.js", include_str!("../../../sdk/js/client/address.js")),
    ("client/frames.js", include_str!("../../../sdk/js/client/frames.js")),
    ("client/link.js", include_str!("../../../sdk/js/client/link.js")),
    ("client/page.js", include_str!("../../../sdk/js/client/page.js")),
    ("client/posting.js", include_str!("../../../sdk/js/client/posting.js")),
    ("client/presence.js", include_str!("../../../sdk/js/client/presence.js")),
    ("client/room.js", include_str!("../../../sdk/js/client/room.js")),
    ("client/session.js", include_str!("../../../sdk/js/client/session.js")),
    ("client/websocket.js", include_str!("../../../sdk/js/client/websocket.js")),
    ("react.js", include_str!("../../../sdk/js/react.js")),
    ("react.d.ts", include_str!("../../../sdk/js/react.d.ts")),
    ("backend.js", include_str!("../../../sdk/js/backend.js")),
    ("backend.d.ts", include_str!("../../../sdk/js/backend.d.ts")),
    ("server.js", include_str!("../../../sdk/js/server.js")),
    ("server.d.ts", include_str!("../../../sdk/js/server.d.ts")),
    ("test.js", include_str!("../../../sdk/js/test.js")),
    ("test.d.ts", include_str!("../../../sdk/js/test.d.ts")),
    ("globals.d.ts", include_str!("../../../sdk/js/globals.d.ts")),
    ("compat.d.ts", include_str!("../../../sdk/js/compat.d.ts")),
];

/// Returns the files of a new project.
pub(super) fn render(language: Language, name: &ProjectName, sdk: &Sdk) -> Vec<TemplateFile> {
    let mut files = Vec::new();
    gather(&COMMON, Path::new(""), &mut files);
    let example = match language {
        Language::React => &REACT_TS,
        Language::TypeScript | Language::JavaScript => &CHAT_TS,
    };
    files.push(file(manifest::FILE, example.manifest));
    if language == Language::JavaScript {
        gather(&EXAMPLE_WEB, Path::new("web"), &mut files);
        gather(&JAVASCRIPT, Path::new(""), &mut files);
    } else {
        example.folders.iter().for_each(|(at, dir)| gather(dir, Path::new(at), &mut files));
        // Somebody may have run the example where it is.
        files.retain(|file| !file.path.starts_with(REACT_DIST));
        files.push(file("package.json", example.package));
        files.push(file("tsconfig.json", example.tsconfig));
    }
    let roomkit = match sdk {
        Sdk::Folder(folder) => format!("{folder}/js"),
        Sdk::Copy | Sdk::Inherited => VENDORED_PACKAGE.to_owned(),
    };
    for file in &mut files {
        fill(file, language, (example.name, name), &roomkit);
    }
    if !matches!(sdk, Sdk::Folder(_)) {
        files.extend(package());
    }
    files
}

/// Returns the files of the package in a project.
pub(super) fn package() -> Vec<TemplateFile> {
    let root = Path::new(VENDORED_PACKAGE);
    ROOMKIT.map(|(name, text)| file(root.join(name), text)).into()
}

/// Puts the project's facts into a file, in place of the example's.
fn fill(
    file: &mut TemplateFile,
    language: Language,
    (example, name): (&str, &ProjectName),
    roomkit: &str,
) {
    let own = match language {
        Language::TypeScript | Language::React => EXAMPLE_FILE,
        Language::JavaScript => "server.js",
    };
    let is_manifest = file.path == Path::new(manifest::FILE);
    file.edit(|text| {
        let text = text
            .replace("{{name}}", name.as_str())
            .replace("{{file}}", own)
            .replace("{{tests}}", &own.replace('.', ".test."))
            .replace("{{roomkit}}", roomkit)
            .replace(&format!("\"{example}\""), &format!("{:?}", name.as_str()))
            .replace(
                &format!("\"file:{EXAMPLE_ROOMKIT}\""),
                &format!("{:?}", format!("file:{roomkit}")),
            );
        if is_manifest { text.replace(EXAMPLE_FILE, own) } else { text }
    });
    if language == Language::React {
        file.edit(|text| text.replace(PLAIN_PAGE, REACT_PAGE_LINE));
        if file.path == Path::new("gitignore") {
            file.edit(|text| format!("{text}/{REACT_DIST}/\n"));
        }
    }
    file.rename();
}

fn file(path: impl AsRef<Path>, text: &str) -> TemplateFile {
    TemplateFile { path: path.as_ref().to_owned(), content: text.as_bytes().to_vec() }
}
