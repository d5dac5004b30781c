//! Cargo, seen from here. Owns every call of it: what a package is, how it becomes a component.
//!
//! Invariant: a call that is dropped takes its compilers with it, so at most one build of a caller
//! runs. Cargo's own words reach the terminal unchanged. It does not know rooms, only packages.

mod config;
mod guest;
mod inputs;
mod lock;
mod process;
mod target;

pub(crate) use inputs::{Inputs, Times, disk_time};
pub(crate) use process::Group;
pub(crate) use target::forget as forget_toolchain;

use crate::building::Noise;
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print;
use anyhow::Context as _;
use cargo_metadata::diagnostic::{Diagnostic, DiagnosticLevel};
use cargo_metadata::{Artifact, CrateType, Message, MetadataCommand, PackageId};
use inputs::Reading;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// The target for which guests are compiled.
const TARGET: &str = "wasm32-wasip2";

/// The bytes of the compiler's errors that are kept; further errors are only printed.
const ERRORS_BYTES_MAX: usize = 64 * 1024;

/// One cargo package with the code of a party.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    id: PackageId,
    dir: PathBuf,
    /// The inputs of its build, as far as manifests name them.
    inputs: Inputs,
    /// The folder of its workspace.
    workspace: PathBuf,
    target_dir: PathBuf,
    /// The folder for its guests' builds.
    own: PathBuf,
}

impl Package {
    /// Asks cargo about the package in this folder. Reads `Cargo.toml` files only.
    ///
    /// # Errors
    /// A mistake: cargo is missing or refuses, or the package makes no component.
    pub(crate) fn at(dir: PathBuf) -> anyhow::Result<Self> {
        let metadata = metadata(&dir)?;
        let file = dir.join("Cargo.toml");
        let mut packages = metadata.packages.iter();
        let package = packages.find(|package| package.manifest_path == file).ok_or_else(|| {
            Mistake::new(
                Code::NotAPackage,
                format_args!("{} has no [package] section", file.display()),
            )
            .help("a party's `path` is the folder of a package, not of a workspace")
        })?;
        let makes_component =
            package.targets.iter().any(|target| target.crate_types.contains(&CrateType::CDyLib));
        if !makes_component {
            return Err(Mistake::new(
                Code::NoComponent,
                format_args!("the package {} does not build a component", package.name),
            )
            .help("add to its Cargo.toml:\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]")
            .into());
        }
        let target_dir: PathBuf = metadata.target_directory.clone().into();
        Ok(Self {
            id: package.id.clone(),
            inputs: known(&dir, package, &metadata),
            own: guest::own_dir(&target_dir, &file),
            dir,
            workspace: metadata.workspace_root.into(),
            target_dir,
        })
    }

    /// Compiles it. Returns the component, or the compiler's errors if it refused, and the inputs. Cargo's and the
    /// compiler's messages go to stderr as they are.
    ///
    /// # Errors
    /// A mistake: the target cannot be installed, or the package makes no component. Otherwise a failure of ours.
    ///
    /// # Cancel safety
    /// Dropping it kills the build with all its compilers.
    pub(crate) async fn build(
        &self,
        profile: &str,
        noise: Noise,
    ) -> anyhow::Result<(Result<PathBuf, String>, Inputs)> {
        target::ensure(&self.dir).await?;
        lock::wait(&self.locks(profile)).await;
        let mut command = guest::build(&self.dir, &self.workspace, &self.own, profile);
        command.args(["--package", &self.id.repr]);
        command.arg("--message-format=json-diagnostic-rendered-ansi");
        if noise == Noise::Quiet {
            command.arg("--quiet");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut cargo = Group::spawn(command).map_err(no_cargo)?;
        let stdout = cargo.stdout().context("cargo has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut component = None;
        let mut errors = String::new();
        let mut reading = Reading::of(&self.workspace);
        while let Some(line) = lines.next_line().await.context("cargo's messages end early")? {
            match Message::parse_stream(line.as_bytes()).next() {
                Some(Ok(Message::CompilerArtifact(made))) => {
                    let (manifest, source) = (&made.manifest_path, &made.target.src_path);
                    reading.made(&made.package_id.repr, manifest.as_ref(), source.as_ref());
                    component = self.component_of(made).or(component);
                }
                Some(Ok(Message::BuildScriptExecuted(ran))) => {
                    reading.ran(&ran.package_id.repr, ran.out_dir.as_ref());
                }
                Some(Ok(Message::CompilerMessage(said))) => {
                    reading.tried(&said.package_id.repr, said.target.src_path.as_ref());
                    reading.missed(&said.message);
                    say(&said.message, noise, &mut errors);
                }
                _ => {}
            }
        }
        let done = cargo.wait().await?.success();
        let component = component.filter(|_| done);
        let inputs = reading.end(component.as_deref(), &self.lists(profile)).without(&self.own);
        if !done {
            return Ok((Err(errors), inputs));
        }
        let component = component.with_context(|| format!("cargo made no {TARGET} component"))?;
        Ok((Ok(component), inputs))
    }

    /// Runs the package's own tests with these arguments. Returns true if all passed.
    ///
    /// # Cancel safety
    /// Dropping it leaves the tests running.
    pub(crate) async fn test(&self, rest: &[String]) -> anyhow::Result<bool> {
        let mut command = guest::cargo(&self.dir, &self.own);
        command.args(["test", "--package", &self.id.repr]);
        // The guests' target cannot run tests.
        if config::build_target(&self.dir).is_some_and(|target| target.starts_with("wasm")) {
            command.args(["--target", "host-tuple"]);
        }
        command.args(rest);
        Ok(command.status().await.map_err(no_cargo)?.success())
    }

    /// Returns the folder of its `Cargo.toml`.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the inputs of its build that are known before.
    pub(crate) fn inputs(&self) -> Inputs {
        self.inputs.clone()
    }

    /// Returns the folder cargo writes to.
    pub(crate) fn output(&self) -> PathBuf {
        self.target_dir.clone()
    }

    /// Returns the files that cargo locks for a build.
    fn locks(&self, profile: &str) -> [PathBuf; 2] {
        let profile = guest::profile_dir(profile);
        [self.own.join(TARGET).join(profile), self.own.join(profile)]
            .map(|dir| dir.join(".cargo-lock"))
    }

    /// Returns the folders in which compilers leave lists of what they read.
    fn lists(&self, profile: &str) -> [PathBuf; 2] {
        let profile = guest::profile_dir(profile);
        [self.own.join(TARGET).join(profile), self.own.join(profile)].map(|dir| dir.join("deps"))
    }

    /// Returns the component among cargo's outputs, if there is one and it is this package's.
    fn component_of(&self, made: Artifact) -> Option<PathBuf> {
        if made.package_id != self.id {
            return None;
        }
        let mut files = made.filenames.into_iter();
        files.find(|file| file.extension() == Some("wasm")).map(Into::into)
    }
}

/// Prints a message of the compiler, and keeps it if it is an error and there is space.
fn say(said: &Diagnostic, noise: Noise, errors: &mut String) {
    let Some(rendered) = &said.rendered else { return };
    if noise == Noise::Full {
        print::clear_line();
    }
    print::talk(format_args!("{}\n", rendered.trim_end()));
    let plain = anstream::adapter::strip_str(rendered).to_string();
    if matches!(said.level, DiagnosticLevel::Error | DiagnosticLevel::Ice)
        && errors.len() + plain.len() <= ERRORS_BYTES_MAX
    {
        errors.push_str(&plain);
    }
}

/// Returns the inputs of a package's build that its manifest and those around it name.
fn known(
    dir: &Path,
    package: &cargo_metadata::Package,
    metadata: &cargo_metadata::Metadata,
) -> Inputs {
    let mut inputs = Inputs::default();
    inputs.add_package(dir);
    let root = metadata.workspace_root.as_std_path();
    inputs.files.extend(["Cargo.toml", "Cargo.lock"].map(|file| root.join(file)));
    // Cargo reads the manifests of all members, whichever it builds.
    inputs.files.extend(metadata.packages.iter().map(|member| (&member.manifest_path).into()));
    inputs.files.extend(config::files(dir));
    inputs.files.extend(config::toolchain_files(dir));
    let mut seen = BTreeSet::from([dir.to_owned()]);
    gather_local(package, &mut seen);
    for patch in config::patches(&root.join("Cargo.toml")) {
        gather_at(&patch, &mut seen);
    }
    seen.iter().for_each(|dir| inputs.add_package(dir));
    inputs
}

/// Adds the folders of the packages this one depends on by path, and of those they depend on.
fn gather_local(package: &cargo_metadata::Package, seen: &mut BTreeSet<PathBuf>) {
    let paths = package.dependencies.iter().filter_map(|dependency| dependency.path.as_ref());
    paths.for_each(|path| gather_at(path.as_std_path(), seen));
}

/// Adds a package's folder, and those of the packages it depends on by path.
///
/// A package that cargo cannot read is left out: the build will report it better.
fn gather_at(dir: &Path, seen: &mut BTreeSet<PathBuf>) {
    let Ok(dir) = dir.canonicalize() else { return };
    if !seen.insert(dir.clone()) {
        return;
    }
    let Ok(metadata) = metadata(&dir) else { return };
    let file = dir.join("Cargo.toml");
    if let Some(found) = metadata.packages.iter().find(|found| found.manifest_path == file) {
        gather_local(found, seen);
    }
}

fn metadata(dir: &Path) -> anyhow::Result<cargo_metadata::Metadata> {
    let mut command = MetadataCommand::new();
    command.current_dir(dir).manifest_path(dir.join("Cargo.toml")).no_deps();
    command.exec().map_err(|err| match err {
        cargo_metadata::Error::CargoMetadata { stderr } => {
            let words = stderr.trim().trim_start_matches("error: ");
            Mistake::new(
                Code::CargoRefuses,
                format_args!("cargo cannot read {}: {words}", dir.display()),
            )
            .into()
        }
        cargo_metadata::Error::Io(err) => no_cargo(err),
        other => anyhow::Error::new(other).context("cargo's description of the package is odd"),
    })
}

fn no_cargo(err: std::io::Error) -> anyhow::Error {
    Mistake::new(Code::NoRust, format_args!("cargo cannot be run: {err}"))
        .help("rooms are compiled with Rust: install it from https://rustup.rs")
        .into()
}
