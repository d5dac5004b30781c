//! The tests of a project's rooms in scripts: files `*.test.ts` and the like. Owns their run, from the files to the sum.
//!
//! Invariant: a room under test is bundled as it is for a server, and runs in the same engine; each file has an instance of
//! its own, and a test that breaks it does not end the others. It does not know what a test does: the engine runs them, as
//! `sdk/engine` has both the rooms and what drives them.

mod find;
mod instance;
mod report;

use super::bundle::{self, Bundle};
use super::npm::NpmTools;
use super::{RoomScript, npm, refused, types};
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print;
use crate::project::Project;
use anyhow::Context as _;
use instance::{TestEnd, TestEngine, TestInstance, TestSettings};
use report::{TestReport, shown_file};
use room_runtime::PartyName;
use room_runtime::id::ModuleHash;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The tests that are wanted, and how long each may run.
#[derive(Debug, Clone)]
pub(crate) struct TestChoice {
    /// Parts of names: a test runs if its own name or its file's contains one of them. An empty list runs all tests.
    pub(crate) names: Vec<String>,
    /// The longest that one runs.
    pub(crate) test_max: Duration,
}

impl TestChoice {
    fn has(&self, file: &str, name: &str) -> bool {
        let whole = format!("{file} > {name}");
        self.names.is_empty() || self.names.iter().any(|part| whole.contains(part))
    }
}

/// A file of tests, bundled, or the bundler's errors.
struct TestFile {
    /// Its path as people read it.
    shown: String,
    bundle: Result<Bundle, String>,
}

/// Runs the tests of a project whose parties have these scripts. Returns true if all passed.
///
/// # Errors
/// A mistake: no file has tests, no test is named so, or a tool is missing.
///
/// # Cancel safety
/// Dropping it ends the bundler, the check of types, and the test that runs.
pub(crate) async fn run(
    project: &Project,
    scripts: &[(PartyName, RoomScript)],
    choice: &TestChoice,
) -> anyhow::Result<bool> {
    let files = find::files(&project.root);
    if files.is_empty() {
        let message = format!("no tests were found in {}", project.root.display());
        return Err(Mistake::new(Code::NoTests, message).help(find::HELP).into());
    }
    let tools = npm::tools(&project.root).await?;
    let (settings, tests, typed, engine) = tokio::join!(
        settings(project, scripts, &tools, choice),
        bundled(project, &tools, files),
        types::check(&tools, &project.root, Path::new(types::CONFIG)),
        instance::engine(),
    );
    let (settings, tests, typed) = (settings?, tests?, typed?);
    let settings = match (settings, typed) {
        (Ok(settings), Ok(())) => settings,
        (settings, typed) => {
            let errors = settings.err().unwrap_or_default() + &typed.err().unwrap_or_default();
            refused(&errors);
            return Ok(false);
        }
    };
    let root = &project.root;
    let mut run =
        TestRun { engine: engine?, settings, root, choice, report: TestReport::default() };
    for file in tests {
        run.file(file).await?;
    }
    run.end()
}

/// A run of tests.
struct TestRun<'a> {
    engine: &'a TestEngine,
    settings: TestSettings,
    root: &'a Path,
    choice: &'a TestChoice,
    report: TestReport,
}

/// The source of a file of tests, and its table of positions.
type TestSource = (String, Vec<u8>);

impl TestRun<'_> {
    /// Runs the tests of one file.
    async fn file(&mut self, TestFile { shown, bundle }: TestFile) -> anyhow::Result<()> {
        let Bundle { source, positions, .. } = match bundle {
            Ok(bundle) => bundle,
            Err(errors) => {
                self.report.file(&shown);
                self.report.no_file(&errors);
                return Ok(());
            }
        };
        let code = (source, positions.encode());
        let (instance, names) = match self.load(&code).await? {
            Ok(loaded) => loaded,
            Err(why) => {
                self.report.file(&shown);
                self.report.no_file(&report::with_excerpt(self.root, &why));
                return Ok(());
            }
        };
        let choice = self.choice;
        let wanted: Vec<_> =
            (0..).zip(names).filter(|(_, name)| choice.has(&shown, name)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        self.report.file(&shown);
        let mut instance = Some(instance);
        for (index, name) in wanted {
            let mut running = match instance.take() {
                Some(instance) => instance,
                // The test before broke it. That it can be loaded was seen.
                None => match self.load(&code).await? {
                    Ok((instance, _)) => instance,
                    Err(why) => {
                        self.report.no_file(&why);
                        return Ok(());
                    }
                },
            };
            if self.test(&mut running, index, &name).await {
                instance = Some(running);
            }
        }
        Ok(())
    }

    /// Runs a test. Returns whether the instance can go on.
    async fn test(&mut self, instance: &mut TestInstance, index: u32, name: &str) -> bool {
        let since = tokio::time::Instant::now();
        let ended = instance.test(index).await;
        let took = since.elapsed();
        let goes_on = !matches!(ended, TestEnd::Broken(_));
        match ended {
            TestEnd::Passed => self.report.pass(name, took),
            TestEnd::Failed(why) | TestEnd::Broken(why) => {
                self.report.fail(name, took, &report::with_excerpt(self.root, &why));
            }
        }
        goes_on
    }

    async fn load(
        &self,
        code: &TestSource,
    ) -> anyhow::Result<Result<(TestInstance, Vec<String>), String>> {
        TestInstance::load(self.engine, &self.settings, code).await
    }

    /// Prints the sum. Returns whether all passed.
    fn end(self) -> anyhow::Result<bool> {
        if !self.report.is_empty() {
            self.report.sum();
            return Ok(self.report.passed());
        }
        let names = &self.choice.names;
        let mistake = if names.is_empty() {
            let help = "import { test } from \"roomkit/test\", and call test(\"name\", () => { … }) in them";
            Mistake::new(Code::NoTests, "the files of tests declare no test").help(help)
        } else {
            let message = format!("no test has {} in its name", report::quoted(names));
            let help = "leave the name out to run all tests; `room test` prints their names";
            Mistake::new(Code::NoTests, message).help(help)
        };
        Err(mistake.into())
    }
}

/// Bundles the scripts of the parties, as for a server.
async fn settings(
    project: &Project,
    scripts: &[(PartyName, RoomScript)],
    tools: &NpmTools,
    choice: &TestChoice,
) -> anyhow::Result<Result<TestSettings, String>> {
    let mut bundles = Vec::new();
    for (party, script) in scripts {
        let own = own(project, &script.file)?;
        match bundle::make(tools, &script.root, &script.file, &own).await? {
            Ok(Bundle { source, positions, .. }) => {
                bundles.push((
                    party.to_string(),
                    script.with_prelude(&source),
                    script.export.clone(),
                    positions.encode(),
                ));
            }
            Err(errors) => return Ok(Err(errors)),
        }
    }
    let limits = &project.manifest.limits;
    let narrow = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
    Ok(Ok(TestSettings {
        scripts: bundles,
        vars: project.manifest.vars.clone().into_iter().collect(),
        test_max: choice.test_max,
        turn_ms: narrow(limits.turn_ms_max),
        heap_bytes: narrow(limits.memory_bytes_max),
    }))
}

/// Bundles files of tests.
async fn bundled(
    project: &Project,
    tools: &NpmTools,
    files: Vec<PathBuf>,
) -> anyhow::Result<Vec<TestFile>> {
    let mut tests = Vec::new();
    for file in files {
        let own = own(project, &file)?;
        let bundle = bundle::make_tests(tools, &project.root, &file, &own).await?;
        tests.push(TestFile { shown: shown_file(&project.root, &file), bundle });
    }
    Ok(tests)
}

/// The folder for a bundle of tests. `room dev` may have its own at the same time.
fn own(project: &Project, file: &Path) -> anyhow::Result<PathBuf> {
    let hash = ModuleHash::of(file.display().to_string().as_bytes()).to_string();
    let own = project.own("scripts").join("tests").join(hash);
    std::fs::create_dir_all(&own).with_context(|| format!("{} cannot be made", own.display()))?;
    Ok(own)
}

/// Installs the project's packages if they are missing, so that a watch does not see their files come.
///
/// # Errors
/// A mistake: npm is missing, or fails.
pub(crate) async fn prepare(project: &Project) -> anyhow::Result<()> {
    if project.manifest.parties.iter().any(|party| party.script.is_some()) {
        npm::tools(&project.root).await?;
    }
    Ok(())
}

/// Says which files changed.
pub(crate) fn changed<'a>(root: &Path, files: impl Iterator<Item = &'a PathBuf>) {
    let files: Vec<_> = files.map(|file| shown_file(root, file)).collect();
    print::talk(print::styled(print::DIM, format_args!("\nchanged: {}", files.join(", "))));
}
