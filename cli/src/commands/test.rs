//! `room test`. Owns which tests are run, and what a failed one means for the exit code.
//!
//! Invariant: of packages it runs what `cargo test` would, so that both agree. It does not know what is tested.

use super::wait_for;
use crate::args::{ProjectArgs, TestArgs};
use crate::building::BuildPlan;
use crate::dev::{Scope, Stop, Watcher, Watching};
use crate::manifest;
use crate::print::{self, DIM, styled};
use crate::project::Project;
use crate::script::test::{self, TestChoice};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What is run, each time.
struct WantedTests {
    /// For cargo.
    of_cargo: Vec<String>,
    choice: TestChoice,
}

/// Runs the tests; a failed one is the user's.
pub(crate) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let (path, names) = match args.names.split_first() {
        Some((first, rest)) if names_project(first) => (Some(PathBuf::from(first)), rest),
        _ => (None, &*args.names),
    };
    let project = Project::find(&ProjectArgs { path, project: args.project.clone() })?;
    let wanted = WantedTests::of(names, args);
    if args.watch {
        wait_for(watch(project, &wanted))?;
        return Ok(ExitCode::SUCCESS);
    }
    let passed = wait_for(wanted.run(&project))?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether a word is the place of a project, and not a part of a test's name.
fn names_project(word: &str) -> bool {
    let path = Path::new(word);
    path.join(manifest::FILE).is_file()
        || (path.file_name().is_some_and(|name| name == manifest::FILE) && path.is_file())
        // It is an error if this is not one.
        || (word.starts_with('.') && path.is_dir())
}

impl WantedTests {
    fn of(names: &[String], args: &TestArgs) -> Self {
        let rest = &args.rest;
        // What follows a second `--` is for the packages' own tests.
        let mut after =
            rest.iter().skip_while(|arg| *arg != "--").skip(1).cloned().collect::<Vec<_>>();
        let before = rest.iter().take_while(|arg| *arg != "--");
        let mut of_cargo: Vec<String> = before.clone().cloned().collect();
        // Later ones may be the values of options.
        let further = before.take_while(|arg| !arg.starts_with('-')).cloned();
        // Paths of files are parts of names, as a shell completes them.
        let bare = |name: String| name.strip_prefix("./").map_or(name.clone(), str::to_owned);
        let all = names.iter().cloned().chain(further).map(bare).collect();
        // Cargo takes one name, and the tests themselves take more.
        after.extend(names.iter().cloned());
        if !after.is_empty() {
            of_cargo.push("--".to_owned());
            of_cargo.extend(after);
        }
        let test_max = Duration::from_secs(args.timeout.into());
        Self { of_cargo, choice: TestChoice { names: all, test_max } }
    }

    async fn run(&self, project: &Project) -> anyhow::Result<bool> {
        BuildPlan::of(project)?.test(project, &self.of_cargo, &self.choice).await
    }
}

/// Runs the tests, and again at each save, until a signal comes.
async fn watch(mut project: Project, wanted: &WantedTests) -> anyhow::Result<()> {
    test::prepare(&project).await?;
    let mut stop = Stop::listen()?;
    let mut watcher = Watcher::new(Scope::whole(&project), Watching::Events);
    loop {
        let ran = tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            ran = wanted.run(&project) => ran,
        };
        if let Err(error) = ran {
            print::report(&error);
        }
        print::talk(styled(DIM, "waiting for a save; Ctrl-C ends it"));
        let changes = tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            changes = watcher.changed() => changes,
        };
        test::changed(&project.root, changes.files.iter().chain(&changes.perhaps));
        match Project::read(&project.root) {
            Ok(read) => {
                watcher.watch(Scope::whole(&read), None);
                project = read;
            }
            // The next save may correct it; until then the tests run as before.
            Err(error) => print::report(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser as _;

    /// What cargo gets, and the names for scripts.
    fn wanted(line: &[&str]) -> (Vec<String>, Vec<String>) {
        let args = Args::parse_from([&["room", "test"], line].concat());
        let Command::Test(args) = args.command else { panic!("it is a test") };
        let WantedTests { of_cargo, choice } = WantedTests::of(&args.names, &args);
        (of_cargo, choice.names)
    }

    #[test]
    fn names_reach_the_tests_of_packages_and_of_scripts() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (line, of_cargo, names) in [
            (&[][..], &[][..], &[][..]),
            (&["a"], &["--", "a"], &["a"]),
            (&["a", "b"], &["--", "a", "b"], &["a", "b"]),
            (&["--", "a"], &["a"], &["a"]),
            (&["./src/a.test.ts"], &["--", "./src/a.test.ts"], &["src/a.test.ts"]),
            (
                &["a", "--", "--release", "b", "--", "--nocapture"],
                &["--release", "b", "--", "--nocapture", "a"],
                &["a"],
            ),
        ] {
            assert_eq!(wanted(line), (texts(of_cargo), texts(names)), "{line:?}");
        }
    }

    #[test]
    fn a_folder_with_a_manifest_is_a_project_and_other_words_are_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("room.toml"), "").unwrap();
        assert!(names_project(&path("")) && names_project(&path("room.toml")));
        assert!(names_project("."));
        std::fs::create_dir(path("src")).unwrap();
        std::fs::write(path("src/a.test.ts"), "").unwrap();
        assert!(!names_project(&path("src")) && !names_project(&path("src/a.test.ts")));
        for name in ["history", "group > inner", "a/b", "src/server.test.ts"] {
            assert!(!names_project(name), "{name}");
        }
    }
}
