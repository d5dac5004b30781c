//! How a project becomes components. Owns the plan: what each party is built from.
//!
//! Invariant: what several parties share is built once. It does not know how a package or a script is compiled; that is
//! `cargo` and `script`.

use crate::cargo::{Inputs, Package};
use crate::print;
use crate::project::Project;
use crate::script::test::TestChoice;
use crate::script::{self, PageScripts, RoomScript, ScriptForm};
use anyhow::Context as _;
use room_runtime::PartyName;
use room_runtime::id::ModuleHash;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The sources of a project, and the one of each party.
#[derive(Debug, Clone)]
pub(crate) struct BuildPlan {
    sources: Vec<PartySource>,
    parties: Vec<(PartyName, usize)>,
    /// The scripts of its pages, if it has some.
    page: Option<PageScripts>,
}

/// What a component is built from.
#[derive(Debug, Clone)]
enum PartySource {
    /// A cargo package.
    Package(Package),
    /// A script.
    Script(RoomScript),
}

/// One party's compiled code.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    /// The party it is for.
    pub(crate) party: PartyName,
    /// Its path on disk.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) bytes: Arc<[u8]>,
}

/// A build that could be started.
#[derive(Debug)]
pub(crate) struct Build {
    /// How it ended.
    pub(crate) outcome: BuildOutcome,
    /// Its inputs.
    pub(crate) inputs: Inputs,
    /// A hash of the bundles of its pages, if it made some.
    pub(crate) page: Option<ModuleHash>,
}

/// How a build ended.
#[derive(Debug)]
pub(crate) enum BuildOutcome {
    /// Every party has a component.
    Built(Vec<Component>),
    /// The compiler or the bundler refused: its errors as plain text, which is empty if cargo found an error before the compiler did.
    Refused(String),
}

/// How much cargo prints besides the compiler's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noise {
    /// The packages that it compiles, and its progress.
    Full,
    /// Nothing.
    Quiet,
}

impl Build {
    fn refused(errors: String, inputs: Inputs) -> Self {
        Self { outcome: BuildOutcome::Refused(errors), inputs, page: None }
    }
}

impl BuildPlan {
    /// Finds the packages and scripts of a project's parties. Compiles nothing.
    ///
    /// # Errors
    /// A mistake: cargo is missing or refuses, or a package makes no component.
    pub(crate) fn of(project: &Project) -> anyhow::Result<Self> {
        let page = PageScripts::of(project);
        let mut plan = Self { sources: Vec::new(), parties: Vec::new(), page };
        for party in &project.manifest.parties {
            let source = match &party.script {
                Some(script) => PartySource::Script(RoomScript::of(project, script)),
                None => {
                    let dir = project.root.join(party.path.get_ref());
                    let dir =
                        dir.canonicalize().with_context(|| format!("{} is gone", dir.display()))?;
                    if let Some(index) = plan.package_at(&dir) {
                        plan.parties.push((party.name.clone(), index));
                        continue;
                    }
                    PartySource::Package(Package::at(dir)?)
                }
            };
            plan.parties.push((party.name.clone(), plan.sources.len()));
            plan.sources.push(source);
        }
        Ok(plan)
    }

    fn package_at(&self, dir: &std::path::Path) -> Option<usize> {
        self.sources.iter().position(
            |source| matches!(source, PartySource::Package(package) if package.dir() == dir),
        )
    }

    /// Builds every party. Messages of compilers go to stderr as they are.
    ///
    /// # Errors
    /// A mistake: a tool is missing or cannot be installed. Otherwise a failure of ours.
    ///
    /// # Cancel safety
    /// Dropping it kills the build with all its compilers.
    pub(crate) async fn build(
        &self,
        profile: &str,
        noise: Noise,
        form: ScriptForm,
    ) -> anyhow::Result<Build> {
        let (mut made, mut inputs) = (Vec::new(), Inputs::default());
        for source in &self.sources {
            let built = match source {
                PartySource::Package(package) => {
                    let (built, read) = package.build(profile, noise).await?;
                    inputs.extend(read);
                    match built {
                        Ok(path) => {
                            let bytes = tokio::fs::read(&path).await.with_context(|| {
                                format!("cargo's output {} is gone", path.display())
                            })?;
                            Ok((path, bytes))
                        }
                        Err(errors) => Err(errors),
                    }
                }
                PartySource::Script(script) => {
                    let (built, read) = script.build(form).await?;
                    inputs.extend(read);
                    built
                }
            };
            match built {
                Ok((path, bytes)) => made.push((path, Arc::<[u8]>::from(bytes))),
                Err(errors) => return Ok(Build::refused(errors, inputs)),
            }
        }
        // Pages last: they may need what the rooms of this build have.
        let mut made_page = None;
        if let Some(page) = &self.page {
            let (built, read) = page.build(profile).await?;
            inputs.extend(read);
            match built {
                Ok(hash) => made_page = Some(hash),
                Err(errors) => return Ok(Build::refused(errors, inputs)),
            }
        }
        let components = self.parties.iter().map(|(party, index)| {
            let (path, bytes) = made[*index].clone();
            Component { party: party.clone(), path, bytes }
        });
        let outcome = BuildOutcome::Built(components.collect());
        Ok(Build { outcome, inputs, page: made_page })
    }

    /// Runs the packages' own tests, each with these arguments, and then those of the scripts. Returns true if all passed.
    ///
    /// # Errors
    /// A mistake: cargo or the bundler is missing, or no test of scripts is found.
    ///
    /// # Cancel safety
    /// Dropping it leaves the tests of packages running, and ends those of scripts.
    pub(crate) async fn test(
        &self,
        project: &Project,
        of_cargo: &[String],
        choice: &TestChoice,
    ) -> anyhow::Result<bool> {
        for source in &self.sources {
            if let PartySource::Package(package) = source
                && !package.test(of_cargo).await?
            {
                return Ok(false);
            }
        }
        let script = |(party, index): &(PartyName, usize)| match &self.sources[*index] {
            PartySource::Script(script) => Some((party.clone(), script.clone())),
            PartySource::Package(_) => None,
        };
        let scripts: Vec<_> = self.parties.iter().filter_map(script).collect();
        if scripts.is_empty() {
            return Ok(true);
        }
        let is_option = |arg: &&str| arg.starts_with("--") && *arg != "--";
        let options: Vec<_> = of_cargo.iter().map(String::as_str).filter(is_option).collect();
        if scripts.len() == self.parties.len() && !options.is_empty() {
            let text = format!("{} is for cargo, and no party is in Rust", options.join(" "));
            print::talk(print::styled(print::WARN, text));
        }
        script::test::run(project, &scripts, choice).await
    }

    /// Returns the inputs that are known before a build.
    pub(crate) fn inputs(&self) -> Inputs {
        let mut all = Inputs::default();
        for source in &self.sources {
            all.extend(match source {
                PartySource::Package(package) => package.inputs(),
                PartySource::Script(script) => script.inputs(),
            });
        }
        all.extend(self.page.as_ref().map(PageScripts::inputs).unwrap_or_default());
        all
    }

    /// Returns the folders that builds write to.
    pub(crate) fn outputs(&self) -> BTreeSet<PathBuf> {
        let sources = self.sources.iter().map(|source| match source {
            PartySource::Package(package) => package.output(),
            PartySource::Script(script) => script.output(),
        });
        sources.chain(self.page.as_ref().map(PageScripts::output)).collect()
    }
}
