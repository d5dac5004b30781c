//! The templates in TypeScript and JavaScript. Owns their files, and the package `roomkit` that a project carries.
//!
//! Invariant: the template `typescript` is the example `chat-ts` of this repository itself, and a project needs no package
//! of ours from a registry. It does not know how a script is built.

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
}

/// Files of every script: what git ignores, a first README.
static COMMON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/script");
/// What a project in JavaScript has in place of the files in TypeScript.
static JAVASCRIPT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/javascript");

/// The example that is the template. Only what is named here, as its folder holds installed packages, too.
static EXAMPLE_SRC: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/chat-ts/src");
static EXAMPLE_WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/chat-ts/web");
const EXAMPLE_MANIFEST: &str = include_str!("../../../rooms-examples/chat-ts/room.toml");
const EXAMPLE_PACKAGE: &str = include_str!("../../../rooms-examples/chat-ts/package.json");
const EXAMPLE_TSCONFIG: &str = include_str!("../../../rooms-examples/chat-ts/tsconfig.json");
/// Its name.
const EXAMPLE: &str = "chat-ts";
/// The file of its room.
const EXAMPLE_FILE: &str = "server.ts";
/// Where it has the package.
const EXAMPLE_ROOMKIT: &str = "../../sdk/js";

/// The path of the package in a project.
pub(crate) const VENDORED_PACKAGE: &str = "vendor/roomkit";

/// The files of the package.
const ROOMKIT: [(&str, &str); 9] = [
    ("package.json", include_str!("../../../sdk/js/package.json")),
    ("README.md", include_str!("../../../sdk/js/README.md")),
    ("SERVER.md", include_str!("../../../sdk/js/SERVER.md")),
    ("client.js", include_str!("../../../sdk/js/client.js")),
    ("client.d.ts", include_str!("../../../sdk/js/client.d.ts")),
    ("server.js", include_str!("../../../sdk/js/server.js")),
    ("server.d.ts", include_str!("../../../sdk/js/server.d.ts")),
    ("globals.d.ts", include_str!("../../../sdk/js/globals.d.ts")),
    ("compat.d.ts", include_str!("../../../sdk/js/compat.d.ts")),
];

/// Returns the files of a new project.
pub(super) fn render(language: Language, name: &ProjectName, sdk: &Sdk) -> Vec<TemplateFile> {
    let mut files = Vec::new();
    gather(&COMMON, Path::new(""), &mut files);
    gather(&EXAMPLE_WEB, Path::new("web"), &mut files);
    files.push(file(manifest::FILE, EXAMPLE_MANIFEST));
    match language {
        Language::TypeScript => {
            gather(&EXAMPLE_SRC, Path::new("src"), &mut files);
            files.push(file("package.json", EXAMPLE_PACKAGE));
            files.push(file("tsconfig.json", EXAMPLE_TSCONFIG));
        }
        Language::JavaScript => gather(&JAVASCRIPT, Path::new(""), &mut files),
    }
    let roomkit = match sdk {
        Sdk::Folder(folder) => format!("{folder}/js"),
        Sdk::Copy | Sdk::Inherited => VENDORED_PACKAGE.to_owned(),
    };
    for file in &mut files {
        fill(file, language, name, &roomkit);
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
fn fill(file: &mut TemplateFile, language: Language, name: &ProjectName, roomkit: &str) {
    let own = match language {
        Language::TypeScript => EXAMPLE_FILE,
        Language::JavaScript => "server.js",
    };
    let is_manifest = file.path == Path::new(manifest::FILE);
    file.edit(|text| {
        let text = text
            .replace("{{name}}", name.as_str())
            .replace("{{file}}", own)
            .replace("{{roomkit}}", roomkit)
            .replace(&format!("\"{EXAMPLE}\""), &format!("{:?}", name.as_str()))
            .replace(
                &format!("\"file:{EXAMPLE_ROOMKIT}\""),
                &format!("{:?}", format!("file:{roomkit}")),
            );
        if is_manifest { text.replace(EXAMPLE_FILE, own) } else { text }
    });
    file.rename();
}

fn file(path: impl AsRef<Path>, text: &str) -> TemplateFile {
    TemplateFile { path: path.as_ref().to_owned(), content: text.as_bytes().to_vec() }
}
