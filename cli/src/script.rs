//! The script of a party, in TypeScript or JavaScript, seen from here. Owns how it becomes a component.
//!
//! Invariant: a script with an error of types or of its bundle makes no component, and its text names file and line. It
//! does not know rooms.

mod bundle;
#[cfg(room_engine = "checkout")]
mod compile;
mod engine;
mod freeze;
mod npm;
mod page;
mod positions;
mod types;

use crate::cargo::{Inputs, disk_time};
use crate::manifest::PartyScript;
use crate::print;
use crate::project::Project;
use anyhow::Context as _;
use bundle::Bundle;
pub(crate) use page::PageScripts;
use room_runtime::id::ModuleHash;
use std::path::{Path, PathBuf};

/// The script of one party.
#[derive(Debug, Clone)]
pub(crate) struct RoomScript {
    /// The project's folder.
    root: PathBuf,
    /// The script's file, absolute.
    file: PathBuf,
    /// The export that is the room.
    export: String,
    /// The folder for what is built.
    own: PathBuf,
}

/// A component and its place on disk, or the errors of a script.
type Built = Result<(PathBuf, Vec<u8>), String>;

impl RoomScript {
    /// Returns the script of a party. Reads nothing.
    pub(crate) fn of(project: &Project, script: &PartyScript) -> Self {
        let file = project.root.join(script.file.get_ref());
        let hash =
            ModuleHash::of(format!("{}\n{}", file.display(), script.export).as_bytes()).to_string();
        let own = project.own("scripts").join(hash);
        Self { root: project.root.clone(), file, export: script.export.clone(), own }
    }

    /// Bundles it, checks its types, and freezes it into a component. Errors go to stderr as they are.
    ///
    /// # Errors
    /// A mistake: the bundler is missing and cannot be installed, or this program has no engine.
    ///
    /// # Cancel safety
    /// Dropping it kills the bundler and the check of types.
    pub(crate) async fn build(&self) -> anyhow::Result<(Built, Inputs)> {
        let tools = npm::tools(&self.root).await?;
        std::fs::create_dir_all(&self.own)
            .with_context(|| format!("{} cannot be made", self.own.display()))?;
        let read = disk_time();
        let (bundled, typed) = tokio::join!(
            bundle::make(&tools, &self.root, &self.file, &self.own),
            types::check(&tools, &self.root, Path::new(types::CONFIG)),
        );
        let (bundled, typed) = (bundled?, typed?);
        let mut inputs = self.inputs();
        inputs.times.scripts = Some(read);
        let Bundle { source, positions, files } = match (bundled, typed) {
            (Ok(bundle), Ok(())) => bundle,
            (Err(errors), Ok(())) | (Ok(_), Err(errors)) => {
                return Ok((Err(refused(&errors)), inputs));
            }
            (Err(mut errors), Err(more)) => {
                errors.push_str(&more);
                return Ok((Err(refused(&errors)), inputs));
            }
        };
        inputs.files.extend(files);
        let frozen = freeze::freeze(source, self.export.clone(), positions).await?;
        let bytes = match frozen {
            Ok(bytes) => bytes,
            Err(error) => return Ok((Err(refused(&format!("error: {error}\n"))), inputs)),
        };
        let path = self.own.join("room.wasm");
        std::fs::write(&path, &bytes)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok((Ok((path, bytes)), inputs))
    }

    /// Runs the project's own tests: its `npm test`. Returns true if it passed.
    ///
    /// # Errors
    /// A mistake: npm cannot be run.
    pub(crate) async fn test(&self, rest: &[String]) -> anyhow::Result<bool> {
        npm::test(&self.root, rest).await
    }

    /// Returns the inputs of its build that are known before.
    pub(crate) fn inputs(&self) -> Inputs {
        let mut inputs = Inputs::default();
        let own =
            ["package.json", "package-lock.json", "tsconfig.json"].map(|file| self.root.join(file));
        inputs.files.extend(own);
        inputs.files.insert(self.file.clone());
        if let Some(dir) = self.file.parent().filter(|dir| *dir != self.root) {
            inputs.sources.insert(dir.to_owned());
        }
        inputs
    }

    /// Returns the folder that its build writes to.
    pub(crate) fn output(&self) -> PathBuf {
        self.own.clone()
    }
}

/// Prints errors, and returns them as plain text.
fn refused(errors: &str) -> String {
    print::talk(errors.trim_end());
    anstream::adapter::strip_str(errors).to_string()
}

/// Returns the nearest folder above, itself included, for which `fits` holds.
fn nearest(dir: &Path, fits: impl Fn(&Path) -> bool) -> Option<&Path> {
    dir.ancestors().find(|dir| fits(dir))
}
