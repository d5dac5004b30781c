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
mod sandbox;
pub(crate) mod test;
mod types;

use crate::cargo::{Inputs, disk_time};
use crate::manifest::{Manifest, PartyScript};
use crate::print;
use crate::project::Project;
use anyhow::Context as _;
use bundle::Bundle;
use freeze::BundledScript;
pub(crate) use freeze::ScriptForm;
use npm::NpmTools;
pub(crate) use page::PageScripts;
use room_runtime::id::ModuleHash;
use serde_json::{Value, json};
use std::collections::BTreeSet;
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
    /// What the module begins with: the project's parties and the schedules of its crons, which the host does not tell a
    /// room.
    prelude: String,
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
        let (root, export) = (project.root.clone(), script.export.clone());
        let prelude = prelude(&project.manifest, script);
        Self { root, file, export, own, prelude }
    }

    /// Bundles it, checks its types, and makes a component of it. Errors go to stderr as they are.
    ///
    /// # Errors
    /// A mistake: the bundler is missing and cannot be installed, or this program has no engine.
    ///
    /// # Cancel safety
    /// Dropping it kills the bundler and the check of types.
    pub(crate) async fn build(&self, form: ScriptForm) -> anyhow::Result<(Built, Inputs)> {
        let tools = npm::tools(&self.root).await?;
        std::fs::create_dir_all(&self.own)
            .with_context(|| format!("{} cannot be made", self.own.display()))?;
        let read = disk_time();
        let config = Path::new(types::CONFIG);
        let (made, typed) =
            tokio::join!(self.component(&tools, form), types::check(&tools, &self.root, config));
        let mut inputs = self.inputs();
        inputs.times.scripts = Some(read);
        let (made, files) = made?;
        inputs.files.extend(files);
        let bytes = match (made, typed?) {
            (Ok(bytes), Ok(())) => bytes,
            (Err(errors), Ok(())) | (Ok(_), Err(errors)) => {
                return Ok((Err(refused(&errors)), inputs));
            }
            (Err(mut errors), Err(more)) => {
                errors.push_str(&more);
                return Ok((Err(refused(&errors)), inputs));
            }
        };
        let path = self.own.join("room.wasm");
        std::fs::write(&path, &bytes)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok((Ok((path, bytes)), inputs))
    }

    /// Bundles it and makes a component of it, or returns its errors; and the files that the bundler read.
    async fn component(
        &self,
        tools: &NpmTools,
        form: ScriptForm,
    ) -> anyhow::Result<(Result<Vec<u8>, String>, BTreeSet<PathBuf>)> {
        let bundled = bundle::make(tools, &self.root, &self.file, &self.own).await?;
        let Bundle { source, positions, files } = match bundled {
            Ok(bundle) => bundle,
            Err(errors) => return Ok((Err(errors), BTreeSet::new())),
        };
        let source = self.with_prelude(&source);
        let script = BundledScript { source, export: self.export.clone(), positions };
        let made = freeze::make(script, form).await?;
        Ok((made.map_err(|error| format!("error: {error}\n")), files))
    }

    /// Puts what the module begins with before its first line, so that the lines keep their numbers.
    fn with_prelude(&self, source: &str) -> String {
        format!("{}{source}", self.prelude)
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

/// Returns the statements from which the library of rooms learns of the parties, with the exports of this script that
/// they are, and of the schedules.
fn prelude(manifest: &Manifest, own: &PartyScript) -> String {
    let parties = manifest.parties.iter().map(|party| {
        let here =
            party.script.as_ref().filter(|script| script.file.get_ref() == own.file.get_ref());
        json!([party.name.as_str(), here.map(|script| &script.export)])
    });
    let mut text = told("room.parties", &parties.collect());
    if !manifest.crons.is_empty() {
        let crons = manifest.crons.iter();
        let schedules = crons.map(|cron| (cron.name.clone(), cron.schedule.clone().into()));
        text.push_str(&told("room.crons", &Value::Object(schedules.collect())));
    }
    text
}

fn told(name: &str, value: &Value) -> String {
    format!("globalThis[Symbol.for(\"{name}\")]={value};")
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
