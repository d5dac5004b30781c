//! The place of a project on disk. Owns how it is found and that the paths in its `room.toml` exist.
//!
//! Invariant: the packages and the static files of a [`Project`] were there when it was read. It does not know what
//! is in them.

use crate::args::ProjectArgs;
use crate::codes::Code;
use crate::manifest::{self, Manifest};
use crate::mistake::Mistake;
use anyhow::Context as _;
use room_runtime::RoomsPrefix;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The folder of the rooms' data, in the project's folder of our own.
pub(crate) const STATE: &str = "state";

/// The folder in which a server whose data is in memory writes its address, beside [`STATE`].
pub(crate) const EPHEMERAL: &str = "ephemeral";

/// A manifest and the folder it describes.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    /// The folder with the `room.toml`, absolute.
    pub(crate) root: PathBuf,
    /// The content of that file.
    pub(crate) manifest: Manifest,
}

impl Project {
    /// Returns the project that the command line names: the named folder, or the nearest one upward.
    ///
    /// # Errors
    /// A mistake: no folder there has a `room.toml`, or the `room.toml` is invalid.
    pub(crate) fn find(args: &ProjectArgs) -> anyhow::Result<Self> {
        match Self::look(args)? {
            Some(project) => Ok(project),
            None => Err(Mistake::new(
                Code::NoProject,
                "there is no room.toml here, nor in any folder above",
            )
            .help("`room new my-project` makes a project; or name its folder")
            .into()),
        }
    }

    /// As [`Project::find`], but a missing project is fine if the command line names none.
    pub(crate) fn look(args: &ProjectArgs) -> anyhow::Result<Option<Self>> {
        if let Some(path) = args.path.as_ref().or(args.project.as_ref()) {
            return Self::at(path).map(Some);
        }
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        match here.ancestors().find(|dir| dir.join(manifest::FILE).is_file()) {
            Some(root) => Self::read(root).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the project in exactly this folder, or of exactly this `room.toml`.
    fn at(path: &Path) -> anyhow::Result<Self> {
        let root = match path.file_name() {
            Some(name) if name == manifest::FILE => path.parent().unwrap_or(path),
            _ => path,
        };
        // The parent of a bare file name is the empty path, which stands for the current folder.
        let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
        if !root.join(manifest::FILE).is_file() {
            let message = format!("there is no room.toml in {}", path.display());
            let help = "name the folder that has one; `room new` makes a project";
            return Err(Mistake::new(Code::NoProject, message).help(help).into());
        }
        let root = root.canonicalize().context("the project's folder cannot be read")?;
        Self::read(&root)
    }

    /// Reads the `room.toml` of this folder and checks that its paths exist.
    ///
    /// # Errors
    /// All mistakes of the file at once.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let file = root.join(manifest::FILE);
        let text = std::fs::read_to_string(&file).map_err(|err| {
            Mistake::new(Code::Unreadable, format_args!("{} cannot be read: {err}", file.display()))
        })?;
        let shown = shown(&file);
        let project = Self { root: root.to_owned(), manifest: Manifest::parse(&shown, &text)? };
        let mistakes = project.missing(&shown, &text);
        if mistakes.is_empty() {
            return Ok(project);
        }
        Err(Mistake::all(format_args!("{shown} has {} mistakes", mistakes.len()), mistakes).into())
    }

    /// Returns the paths that the file names and that do not exist.
    fn missing(&self, file: &str, text: &str) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for party in &self.manifest.parties {
            if let Some(script) = &party.script {
                mistakes.extend(self.missing_script(&script.file, file, text));
                continue;
            }
            let dir = self.root.join(party.path.get_ref());
            if !dir.join("Cargo.toml").is_file() {
                let message = format!(
                    "the party {} has no cargo package: there is no Cargo.toml in {}",
                    party.name,
                    party.path.get_ref().display()
                );
                let help = "set `path` to the folder of its package, relative to room.toml";
                let at = party.path.span();
                mistakes.push(
                    Mistake::new(Code::NoPackage, message)
                        .at(file, text, at, "this party")
                        .help(help),
                );
            }
        }
        if let Some(assets) = &self.manifest.assets
            && !self.root.join(assets.get_ref()).is_dir()
        {
            let message = format!("the folder {} does not exist", assets.get_ref().display());
            let help = "make the folder, or remove `[assets]`";
            let at = assets.span();
            mistakes.push(
                Mistake::new(Code::NoAssets, message).at(file, text, at, "this folder").help(help),
            );
        }
        for script in &self.manifest.page_scripts {
            mistakes.extend(self.missing_script(script, file, text));
        }
        mistakes.extend(self.hidden_by_prefix(file, text));
        mistakes.extend(self.public_sources(file, text));
        mistakes
    }

    fn missing_script(&self, script: &Spanned<PathBuf>, file: &str, text: &str) -> Option<Mistake> {
        let path = script.get_ref();
        if self.root.join(path).is_file() {
            return None;
        }
        let message = format!("the script {} does not exist", path.display());
        let mistake =
            Mistake::new(Code::BadScript, message).at(file, text, script.span(), "this file");
        Some(mistake.help("name its file relative to room.toml, such as `src/server.ts`"))
    }

    /// Returns the file or folder of the static files that is at the path of rooms, where no client could read it.
    fn hidden_by_prefix(&self, file: &str, text: &str) -> Option<Mistake> {
        let prefix = self.manifest.prefix.as_ref()?;
        let own = RoomsPrefix::parse(prefix.get_ref()).ok()?;
        let path = self.assets()?.join(own.as_str().trim_start_matches('/'));
        path.exists().then(|| {
            let message = format!("{} is at {own}, the path of rooms", shown(&path));
            let mistake = Mistake::new(Code::BadPrefix, message);
            let mistake = mistake.at(file, text, prefix.span(), "this path");
            mistake.help("move it, or choose another prefix: no client could read what is there")
        })
    }

    /// Returns the project's own files that the assets folder would make public by mistake.
    fn public_sources(&self, file: &str, text: &str) -> Option<Mistake> {
        let assets = self.manifest.assets.as_ref()?;
        let dir = self.assets()?.canonicalize().ok()?;
        let parties = self.manifest.parties.iter();
        let packages = parties.map(|party| match &party.script {
            Some(script) => self.root.join(script.file.get_ref()),
            None => self.root.join(party.path.get_ref()).join("Cargo.toml"),
        });
        let mut own = std::iter::once(self.root.join(manifest::FILE)).chain(packages);
        let found = own.find(|own| own.canonicalize().is_ok_and(|own| own.starts_with(&dir)))?;
        let message = format!(
            "the folder {} holds the project's own files: everything in it would be public, as {}",
            assets.get_ref().display(),
            shown(&found)
        );
        let help =
            "put the pages into a folder of their own, such as `web`, and write `dir = \"web\"`";
        let mistake = Mistake::new(Code::PublicSources, message);
        Some(mistake.at(file, text, assets.span(), "this folder").help(help))
    }

    /// Returns the folder of the static files, absolute.
    pub(crate) fn assets(&self) -> Option<PathBuf> {
        self.manifest.assets.as_ref().map(|dir| self.root.join(dir.get_ref()))
    }

    /// Returns the path of `room`'s own files: data, compiled code.
    pub(crate) fn own(&self, what: &str) -> PathBuf {
        self.root.join(".room").join(what)
    }
}

/// Returns a path in its shortest form: relative to the current folder if it lies in it.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
