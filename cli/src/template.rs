//! The files that `room new` writes. Owns the embedded templates and how a name is put into them.
//!
//! Invariant: a rendered project builds and tests as it is. The templates `chat`, `counter`, `typescript` and `react` are the
//! examples of this repository themselves, so they cannot fall behind. It does not know where the files go.

mod script;
#[cfg(test)]
mod tests;

use crate::args::TemplateName;
use crate::codes::Code;
use crate::manifest;
use crate::mistake::Mistake;
use include_dir::{Dir, File, include_dir};
use room_runtime::PartyName;
use script::Language;
pub(crate) use script::VENDORED_PACKAGE;
use std::path::{Path, PathBuf};

/// Files of every template in Rust: the package, what git ignores, a first README.
static COMMON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/common");
static BLANK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/blank");

/// An example of the repository. Only the folders named here, as others hold outputs.
struct Example {
    name: &'static str,
    manifest: &'static str,
    src: Dir<'static>,
    tests: Dir<'static>,
    web: Dir<'static>,
}

static CHAT: Example = Example {
    name: "chat",
    manifest: include_str!("../../rooms-examples/chat/room.toml"),
    src: include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/chat/src"),
    tests: include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/chat/tests"),
    web: include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/chat/web"),
};
static COUNTER: Example = Example {
    name: "counter",
    manifest: include_str!("../../rooms-examples/counter/room.toml"),
    src: include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/counter/src"),
    tests: include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/counter/tests"),
    web: include_dir!("$CARGO_MANIFEST_DIR/../rooms-examples/counter/web"),
};

/// The manifest of the SDK that a project carries.
static SDK_MANIFEST: &str = include_str!("../../sdk/Cargo.toml");
static SDK_SRC: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sdk/src");
static SDK_WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sdk/wit");
/// Its path in the project.
pub(crate) const VENDORED: &str = "vendor/room-sdk";

/// A name that a project, a package and a crate can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectName(String);

/// The SDK that the project is built with.
#[derive(Debug, Clone)]
pub(crate) enum Sdk {
    /// A copy of ours, inside the project.
    Copy,
    /// The one in this folder.
    Folder(String),
    /// The one that the workspace names for its members.
    Inherited,
}

/// What a name consists of.
const NAME_HELP: &str = "lower-case letters, digits, `-` and `_`, as in `room new my-chat`";

/// The role of a new package for cargo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// A workspace of its own, with its own profiles.
    Alone,
    /// A member of the workspace around it, which has the profiles.
    Member,
}

/// A file to write.
#[derive(Debug, Clone)]
pub(crate) struct TemplateFile {
    /// Relative to the project's folder.
    pub(crate) path: PathBuf,
    /// Its content.
    pub(crate) content: Vec<u8>,
}

impl ProjectName {
    /// Returns the name in this text for a project in this template: valid for `room.toml`, and in Rust as a crate's
    /// name too.
    ///
    /// # Errors
    /// A mistake that says what is wrong with it.
    pub(crate) fn of(text: &str, template: TemplateName) -> Result<Self, Mistake> {
        if !is_script(template) {
            return Self::of_crate(text);
        }
        match manifest::name_problem(text) {
            Some(problem) => Err(Mistake::new(Code::BadProjectName, problem).help(NAME_HELP)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Returns the name in this text, valid for a crate.
    fn of_crate(text: &str) -> Result<Self, Mistake> {
        const TAKEN: &[&str] = &[
            "alloc",
            "as",
            "async",
            "await",
            "box",
            "break",
            "const",
            "continue",
            "core",
            "crate",
            "dyn",
            "else",
            "enum",
            "extern",
            "false",
            "fn",
            "for",
            "gen",
            "if",
            "impl",
            "in",
            "let",
            "loop",
            "macro",
            "match",
            "mod",
            "move",
            "mut",
            "proc-macro",
            "pub",
            "ref",
            "return",
            "room-sdk",
            "self",
            "static",
            "std",
            "struct",
            "super",
            "test",
            "trait",
            "true",
            "try",
            "type",
            "unsafe",
            "use",
            "where",
            "while",
            "yield",
        ];
        if let Some(problem) = manifest::name_problem(text) {
            return Err(Mistake::new(Code::BadProjectName, problem).help(NAME_HELP));
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(Mistake::new(
                Code::BadProjectName,
                "a package's name starts with a letter",
            )
            .help(NAME_HELP));
        }
        if TAKEN.contains(&text.replace('_', "-").as_str()) {
            let message = format!("`{text}` means something else in Rust already");
            return Err(Mistake::new(Code::BadProjectName, message)
                .help(format!("take another one, as `my-{text}`")));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name in Rust's spelling.
    fn snake(&self) -> String {
        self.0.replace('-', "_")
    }
}

/// Returns true if the project's code is a script, which cargo does not build.
pub(crate) fn is_script(template: TemplateName) -> bool {
    matches!(template, TemplateName::TypeScript | TemplateName::JavaScript | TemplateName::React)
}

/// Returns the files of a new project.
pub(crate) fn render(
    template: TemplateName,
    name: &ProjectName,
    sdk: &Sdk,
    home: Home,
) -> Vec<TemplateFile> {
    let mut files = Vec::new();
    gather(&COMMON, Path::new(""), &mut files);
    let own = match template {
        TemplateName::Chat => CHAT.render(name),
        TemplateName::Counter => COUNTER.render(name),
        TemplateName::Blank => {
            let mut own = Vec::new();
            gather(&BLANK, Path::new(""), &mut own);
            own
        }
        TemplateName::TypeScript => return script::render(Language::TypeScript, name, sdk),
        TemplateName::JavaScript => return script::render(Language::JavaScript, name, sdk),
        TemplateName::React => return script::render(Language::React, name, sdk),
    };
    // A template's own file replaces the common one.
    files.retain(|file| own.iter().all(|other| other.path != file.path));
    files.extend(own);
    for file in &mut files {
        file.fill(name, sdk, home);
    }
    if matches!(sdk, Sdk::Copy) {
        files.extend(vendored());
    }
    files
}

impl Example {
    /// Returns its files, with the example's own name replaced.
    fn render(&self, name: &ProjectName) -> Vec<TemplateFile> {
        let mut files = Vec::new();
        let project = self.manifest.replacen(
            &format!("name = {:?}", self.name),
            &format!("name = {:?}", name.as_str()),
            1,
        );
        files.push(TemplateFile { path: manifest::FILE.into(), content: project.into_bytes() });
        gather(&self.src, Path::new("src"), &mut files);
        gather(&self.tests, Path::new("tests"), &mut files);
        gather(&self.web, Path::new("web"), &mut files);
        let kebab = format!("room-example-{}", self.name);
        let snake = kebab.replace('-', "_");
        for file in &mut files {
            file.edit(|text| text.replace(&kebab, name.as_str()).replace(&snake, &name.snake()));
        }
        files
    }
}

impl TemplateFile {
    /// Puts the project's facts where the template has gaps, in the file's name too.
    fn fill(&mut self, name: &ProjectName, sdk: &Sdk, home: Home) {
        // Both TOML and Rust read this form of a text.
        let at = |folder: &str| format!("{{ path = {folder:?} }}");
        let sdk = match sdk {
            Sdk::Copy => at(VENDORED),
            Sdk::Folder(folder) => at(folder),
            Sdk::Inherited => "{ workspace = true }".to_owned(),
        };
        self.edit(|text| {
            for_home(text, home)
                .replace("{{name}}", name.as_str())
                .replace("{{crate}}", &name.snake())
                .replace("{{sdk}}", &sdk)
        });
        self.rename();
    }

    /// Gives it its name in the project.
    fn rename(&mut self) {
        let shown = self.path.to_string_lossy().into_owned();
        self.path = match shown.as_str() {
            "gitignore" => ".gitignore".into(),
            path => path.strip_suffix(".tmpl").unwrap_or(path).into(),
        };
    }

    /// Changes its text, if it is text.
    fn edit(&mut self, change: impl Fn(&str) -> String) {
        if let Ok(text) = std::str::from_utf8(&self.content) {
            self.content = change(text).into_bytes();
        }
    }
}

/// Leaves out the parts that a package has only if it stands alone.
fn for_home(text: &str, home: Home) -> String {
    let (begin, end) = ("{{alone}}\n", "{{/alone}}\n");
    let mut left = String::new();
    let mut parts = text.split(begin);
    left.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (alone, rest) = part.split_once(end).unwrap_or((part, ""));
        if home == Home::Alone {
            left.push_str(alone);
        }
        left.push_str(rest);
    }
    left
}

/// Returns the files of one party of a project: a blank room, built with this SDK.
pub(crate) fn party(party: &PartyName, sdk: &Sdk, home: Home) -> Vec<TemplateFile> {
    // Whatever the party's name, this is a valid crate name.
    let name = ProjectName(format!("party-{party}"));
    let mut files = render(TemplateName::Blank, &name, sdk, home);
    let of_project = ["room.toml", "README.md"].map(Path::new);
    files.retain(|file| !of_project.contains(&&*file.path) && !file.path.starts_with("web"));
    files
}

/// Returns the SDK's files, as a project carries them.
pub(crate) fn vendored() -> Vec<TemplateFile> {
    let root = Path::new(VENDORED);
    let content = SDK_MANIFEST.as_bytes().to_vec();
    let mut files = vec![TemplateFile { path: root.join("Cargo.toml"), content }];
    gather(&SDK_SRC, &root.join("src"), &mut files);
    gather(&SDK_WIT, &root.join("wit"), &mut files);
    files
}

/// Returns the files of the npm package with the types of rooms, as a project carries it.
pub(crate) fn vendored_package() -> Vec<TemplateFile> {
    script::package()
}

/// Adds all files of an embedded folder under `at`.
fn gather(dir: &Dir<'_>, at: &Path, files: &mut Vec<TemplateFile>) {
    let new = |file: &File<'_>| TemplateFile {
        path: at.join(file.path()),
        content: file.contents().to_vec(),
    };
    files.extend(dir.files().map(new));
    dir.dirs().for_each(|dir| gather(dir, at, files));
}
