//! The scripts of a project's pages. Owns their bundles, among the static files.
//!
//! Invariant: a page's bundle is replaced only by one without errors. It does not know what the pages show.

use super::npm::{self, NpmTools};
use super::{bundle, refused, types};
use crate::cargo::Inputs;
use crate::project::Project;
use anyhow::Context as _;
use room_runtime::id::ModuleHash;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The folder of the bundles, among the static files. PartyKit has the same.
const DIST: &str = "dist";
/// The profile of cargo for development, which people debug.
const DEV: &str = "dev";

/// The scripts of the pages of a project.
#[derive(Debug, Clone)]
pub(crate) struct PageScripts {
    /// The project's folder.
    root: PathBuf,
    /// The files, absolute.
    files: Vec<PathBuf>,
    /// The folder of the bundles.
    dist: PathBuf,
    /// The folder for what is nobody else's.
    own: PathBuf,
}

impl PageScripts {
    /// Returns the scripts that the project names, if it names some. Reads nothing.
    pub(crate) fn of(project: &Project) -> Option<Self> {
        let names = &project.manifest.page_scripts;
        let assets = project.assets().filter(|_| !names.is_empty())?;
        let files = names.iter().map(|file| project.root.join(file.get_ref())).collect();
        let (root, own) = (project.root.clone(), project.own("pages"));
        Some(Self { root, files, dist: assets.join(DIST), own })
    }

    /// Bundles them, and checks the types of those with a `tsconfig.json` of their own. Returns a hash of the bundles.
    /// Errors go to stderr as they are.
    ///
    /// # Errors
    /// A mistake: the bundler is missing and cannot be installed.
    ///
    /// # Cancel safety
    /// Dropping it kills the bundler and the check of types.
    pub(crate) async fn build(
        &self,
        profile: &str,
    ) -> anyhow::Result<(Result<ModuleHash, String>, Inputs)> {
        let tools = npm::tools(&self.root).await?;
        std::fs::create_dir_all(&self.own)
            .with_context(|| format!("{} cannot be made", self.own.display()))?;
        let mut inputs = self.inputs();
        let mut errors = String::new();
        for config in self.configs() {
            if let Err(more) = types::check(&tools, &self.root, &config).await? {
                errors.push_str(&more);
            }
        }
        let meta = self.own.join("bundle.json");
        // With wrong types nothing is written, so the bundle goes where nobody reads it.
        let (out, list) = match errors.is_empty() {
            true => (&self.dist, &meta),
            false => (&self.own, &self.own.join("unused.json")),
        };
        // The list of the last bundles is missing before there are any.
        let before = bundle::outputs(&self.root, &meta).unwrap_or_default();
        let bundled = bundle::run(&tools, self.command(&tools, profile, out, list)).await?;
        match bundled {
            Ok(()) => inputs.files.extend(bundle::inputs(&self.root, list)?),
            Err(more) => errors.push_str(&more),
        }
        if errors.is_empty() {
            self.remove_old(before, &bundle::outputs(&self.root, &meta)?);
        }
        let built = match errors.is_empty() {
            true => Ok(self.hash(&meta)?),
            false => Err(refused(&errors)),
        };
        Ok((built, inputs))
    }

    /// Removes the bundles of scripts that the project does not name any more. Otherwise they would be served and
    /// deployed forever.
    fn remove_old(&self, before: BTreeSet<PathBuf>, now: &BTreeSet<PathBuf>) {
        for old in before.into_iter().filter(|old| !now.contains(old)) {
            if old.starts_with(&self.dist) {
                // Somebody may have removed it already.
                drop(std::fs::remove_file(old));
            }
        }
    }

    /// Returns a hash of the bundles in the bundler's list, which changes with each of them.
    fn hash(&self, meta: &Path) -> anyhow::Result<ModuleHash> {
        let mut all = Vec::new();
        for path in bundle::outputs(&self.root, meta)? {
            let bytes = std::fs::read(&path);
            all.extend(path.as_os_str().as_encoded_bytes());
            all.extend(bytes.with_context(|| format!("{} cannot be read", path.display()))?);
        }
        Ok(ModuleHash::of(&all))
    }

    fn command(&self, tools: &NpmTools, profile: &str, out: &Path, meta: &Path) -> Command {
        let mut command = Command::new(&tools.esbuild);
        command.args(&self.files).current_dir(&self.root);
        command.args(["--bundle", "--format=esm", "--platform=browser", "--target=es2022"]);
        command.args(["--jsx=automatic", "--charset=utf8", "--log-level=warning", "--color=true"]);
        let (mode, own): (&str, &[&str]) = match profile {
            // A map of its own would lie beside the bundle, and be deployed.
            DEV => ("development", &["--sourcemap=inline"]),
            _ => ("production", &["--minify", "--legal-comments=none"]),
        };
        command.arg(format!("--define:process.env.NODE_ENV={mode:?}")).args(own);
        // PartyKit's pages know the host by this name.
        command.arg("--define:PARTYKIT_HOST=location.host");
        command.arg(format!("--outdir={}", out.display()));
        command.arg(format!("--metafile={}", meta.display()));
        command
    }

    /// Returns the nearest `tsconfig.json` of each script, without the project's own, which is for rooms.
    fn configs(&self) -> BTreeSet<PathBuf> {
        let configs = self.files.iter().filter_map(|file| {
            let folders = file.ancestors().skip(1).take_while(|dir| *dir != self.root);
            folders.map(|dir| dir.join(types::CONFIG)).find(|config| config.is_file())
        });
        configs.collect()
    }

    /// Returns the inputs of its build that are known before.
    pub(crate) fn inputs(&self) -> Inputs {
        let mut inputs = Inputs::default();
        inputs.files.extend(["package.json", "package-lock.json"].map(|file| self.root.join(file)));
        inputs.files.extend(self.files.iter().cloned());
        let folders = self.files.iter().filter_map(|file| file.parent());
        let folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
        inputs.files.extend(folders.iter().map(|folder| folder.join(types::CONFIG)));
        inputs.sources.extend(folders.into_iter().filter(|folder| *folder != self.root));
        inputs
    }

    /// Returns the folder that its build writes to.
    pub(crate) fn output(&self) -> PathBuf {
        self.dist.clone()
    }
}
