//! The loop of `room dev`: watcher, builder, reloader. Owns what happens at a save.
//!
//! Invariant: the last build without mistakes serves, whatever has been saved since, and a newer save ends the build
//! of an older one. It does not know how files are watched, packages compiled or rooms reloaded, which are its three
//! parts, nor how keys are read.

mod browser;
mod build;
pub(crate) mod faults;
mod keys;
mod node;
mod reload;
mod stop;
#[cfg(unix)]
mod terminal;
mod unrest;
mod watch;

pub(crate) use node::Node;
pub(crate) use stop::Stop;
pub(crate) use watch::{Notice as Watching, Scope, Watcher};

use crate::building::{BuildOutcome, BuildPlan, Noise};
use crate::cargo::{self, Inputs};
use crate::dotenv::{self, DotEnv};
use crate::manifest;
use crate::print::{self, BAD, BOLD, DIM, LINK, WARN, styled};
use crate::project::{Project, shown};
use browser::host;
use build::Builder;
use faults::Faults;
use keys::{Key, Reach, TerminalKeys};
use reload::{Deployment, Reloader, Served};
use room_runtime::id::ModuleHash;
use room_runtime::{Deployed, Notice};
use std::collections::BTreeMap;
use tokio::time::{Duration, Instant};
use unrest::{After, Meaning, Unrest};
use watch::Changes;

/// The text on pages for a build that failed before the compiler did.
const SEE_TERMINAL: &str = "Cargo's messages are in the terminal of `room dev`.";

/// The choices of the command line for this session.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    /// Cargo's profile.
    pub(crate) profile: String,
    /// Variables over those of `room.toml`.
    pub(crate) vars: Vec<(String, String)>,
    /// How saves are noticed.
    pub(crate) watching: Watching,
}

/// The work that is left after a key was pressed.
enum Pressed {
    /// Nothing.
    Done,
    /// The rooms' data must be deleted.
    Forget,
    /// The session is over.
    End,
}

/// One run of `room dev`.
pub(crate) struct Session {
    project: Project,
    dotenv: DotEnv,
    choices: Choices,
    watcher: Watcher,
    /// Watches the static files, which no build reads.
    pages: Watcher,
    builder: Builder,
    reloader: Reloader,
    keys: TerminalKeys,
    faults: Faults,
    /// True if the last build failed: pages show that, and no fault of the old code.
    bad_build: bool,
    /// True if the last key was the one to reset, and the next one decides.
    asked: bool,
    /// Cargo's facts about the project, until a save makes them outdated.
    plan: Option<BuildPlan>,
    /// The inputs of the last builds.
    read: Inputs,
    /// True if the compiler refused last, or could not be asked: then the list of its inputs is incomplete.
    unread: bool,
    unrest: Unrest,
    /// The bundles of the pages that are served.
    page: Option<ModuleHash>,
    /// When the save happened whose build runs. At first, when the session started.
    since: Instant,
}

impl Session {
    /// Returns a session that serves nothing yet.
    ///
    /// # Errors
    /// A mistake in `.env`; or the terminal cannot be read.
    pub(crate) fn new(
        project: Project,
        node: Node,
        choices: Choices,
        faults: Faults,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            dotenv: DotEnv::read(&project.root)?,
            watcher: Watcher::new(Scope::of(&project, None, &Inputs::default()), choices.watching),
            pages: Watcher::new(Scope::pages(&project), choices.watching),
            project,
            choices,
            builder: Builder::default(),
            reloader: Reloader::new(node),
            keys: TerminalKeys::listen()?,
            faults,
            bad_build: false,
            asked: false,
            plan: None,
            read: Inputs::default(),
            unread: true,
            unrest: Unrest::default(),
            page: None,
            since: Instant::now(),
        })
    }

    /// Builds, serves, and does so again at every save, until a signal or a key ends it. Then drains.
    ///
    /// # Errors
    /// The server does not come back after a reset. Mistakes in the project are printed, and the session waits for
    /// the next save.
    pub(crate) async fn run(mut self, mut stop: Stop) -> anyhow::Result<()> {
        self.start_build(Noise::Full);
        loop {
            tokio::select! {
                // A save has priority over the build that it made outdated.
                biased;
                () = stop.asked() => break,
                key = self.keys.next() => match self.pressed(key) {
                    Pressed::Done => {}
                    Pressed::Forget => {
                        self.reloader = self.reloader.forget().await?;
                        let mark = styled(print::GOOD, "✓");
                        print::talk(format_args!("{mark} everything that rooms stored was deleted"));
                    }
                    Pressed::End => break,
                },
                fault = self.faults.next() => self.failed(fault),
                changes = self.watcher.changed() => self.saved(&changes),
                changes = self.pages.changed() => self.replace_pages(&changes),
                built = self.builder.finished() => {
                    let built = self.built(built);
                    // A signal ends the session even in the middle of a reload.
                    tokio::select! {
                        () = stop.asked() => break,
                        () = built => {}
                    }
                }
            }
        }
        self.builder.cancel();
        print::talk(styled(DIM, "\nstopping"));
        self.reloader.stop().await;
        Ok(())
    }

    /// Does the key's work, as far as it can be done at once.
    fn pressed(&mut self, key: Key) -> Pressed {
        if std::mem::take(&mut self.asked) {
            if key == Key::Yes {
                return Pressed::Forget;
            }
            print::talk("everything is kept");
            return Pressed::Done;
        }
        match key {
            Key::Open => browser::open(self.reloader.addr()),
            Key::Dashboard => {
                browser::open_dashboard(self.reloader.addr(), &self.reloader.sign_in_code());
            }
            Key::Code => self.show_code(),
            Key::Rebuild => {
                self.since = Instant::now();
                self.plan = None;
                self.start_build(Noise::Quiet);
            }
            Key::Clear => {
                print::clear();
                print::talk(keys::line(self.reach()));
            }
            Key::Reset => {
                self.asked = true;
                let text = "delete everything that rooms have stored here? y is yes";
                print::talk(styled(WARN, text));
            }
            Key::Quit => return Pressed::End,
            Key::Help => print::talk(keys::help(self.reach())),
            Key::Yes | Key::Other => {}
        }
        Pressed::Done
    }

    /// Returns true if changes call for a build now.
    fn is_due(&mut self, changes: &Changes) -> bool {
        if self.builder.is_running() {
            return self.unrest.changed(&changes.files, &changes.perhaps) == Meaning::Restart;
        }
        let mut files = changes.files.clone();
        if self.unread {
            files.extend(changes.perhaps.iter().cloned());
        }
        self.unrest.is_worth_a_build(&files)
    }

    /// Reads again what a save may have changed, and starts a build.
    fn saved(&mut self, changes: &Changes) {
        if !self.is_due(changes) {
            return;
        }
        self.since = changes.since;
        if ["Cargo.toml", "config.toml", "config"].iter().any(|file| changes.touch(file)) {
            self.plan = None;
        }
        if ["rust-toolchain", "rust-toolchain.toml"].iter().any(|file| changes.touch(file)) {
            cargo::forget_toolchain();
        }
        if changes.touch(manifest::FILE) {
            match Project::read(&self.project.root) {
                Ok(project) => self.take_over(project),
                Err(err) => return self.refuse(&err),
            }
        }
        if dotenv::FILES.iter().any(|file| changes.touch(file)) {
            match DotEnv::read(&self.project.root) {
                Ok(dotenv) => self.dotenv = dotenv,
                Err(mistake) => return self.refuse(&mistake.into()),
            }
        }
        self.start_build(Noise::Quiet);
    }

    /// Makes open pages load again, because static files were saved.
    fn replace_pages(&self, changes: &Changes) {
        if self.reloader.is_serving() {
            self.reloader.reload_pages();
            say_pages_are_new(changes.since);
        }
    }

    /// Replaces the project by what its `room.toml` says now.
    fn take_over(&mut self, project: Project) {
        self.pages.watch(Scope::pages(&project), None);
        if project.manifest.limits != self.project.manifest.limits {
            let text = "[limits] changed: they apply when `room dev` is started again";
            print::talk(styled(WARN, text));
        }
        self.project = project;
        self.plan = None;
    }

    /// Asks cargo what to build, watches all of it, and builds it.
    fn start_build(&mut self, noise: Noise) {
        let plan = match self.plan.take().map_or_else(|| BuildPlan::of(&self.project), Ok) {
            Ok(plan) => plan,
            Err(err) => return self.refuse(&err),
        };
        self.watcher.watch(Scope::of(&self.project, Some(&plan), &self.read), None);
        self.plan = Some(plan.clone());
        self.unrest.started();
        self.builder.start(plan, self.choices.profile.clone(), noise);
    }

    /// Watches the inputs of a build, deploys its components, and builds again if it missed a save.
    async fn built(&mut self, built: build::Built) {
        let after = self.learn(&built);
        self.serve(built).await;
        for file in &after.written {
            let text = format!("the build writes {} itself: that starts no build", shown(file));
            print::talk(styled(WARN, text));
        }
        for file in &after.restless {
            let text = format!(
                "{} changes during every build: alone it starts no build until another file is saved",
                shown(file)
            );
            print::talk(styled(WARN, text));
        }
        if after.again {
            self.since = Instant::now();
            self.start_build(Noise::Quiet);
        }
    }

    /// Takes in the inputs of a build, and the changes since it started.
    fn learn(&mut self, built: &build::Built) -> After {
        let Ok(build) = &built.outcome else {
            self.unread = true;
            return self.unrest.ended(true, cargo::Times::default());
        };
        self.unread = matches!(build.outcome, BuildOutcome::Refused(_));
        if !self.unread {
            self.read = Inputs::default();
        }
        self.read.extend(build.inputs.clone());
        let times = build.inputs.times;
        let scope = Scope::of(&self.project, self.plan.as_ref(), &self.read);
        self.watcher.watch(scope, Some(times.scripts.unwrap_or(built.started)));
        self.unrest.ended(self.unread, times)
    }

    /// Deploys the components of a build. If the build failed, prints why.
    async fn serve(&mut self, built: build::Built) {
        let (components, page) = match built.outcome.map(|build| (build.outcome, build.page)) {
            Ok((BuildOutcome::Built(components), page)) => (components, page),
            Ok((BuildOutcome::Refused(errors), _)) => {
                let errors = if errors.is_empty() { SEE_TERMINAL.to_owned() } else { errors };
                return self.keep("it does not compile", errors);
            }
            Err(err) => return self.refuse(&err),
        };
        let deployment = Deployment::of(&self.project, &components, self.vars());
        let served = self.reloader.serve(deployment).await;
        if served.is_ok() {
            self.bad_build = false;
            self.reloader.show(None);
        }
        let is_new_page = std::mem::replace(&mut self.page, page) != page && page.is_some();
        if is_new_page && !matches!(served, Ok(Served::First)) {
            self.reloader.reload_pages();
            say_pages_are_new(self.since);
        }
        match served {
            Ok(Served::First) => self.welcome(),
            Ok(Served::Reloaded(deployed)) => self.reloaded(&deployed, built.took),
            Ok(Served::Same) if is_new_page => {}
            Ok(Served::Same) => print::talk(styled(DIM, "· the built code is the same")),
            Err(err) => {
                print::talk(format_args!("{BAD}error{BAD:#}: {}", print::causes(&err)));
                self.keep("it does not load", print::causes(&err));
            }
        }
    }

    /// Returns the rooms' environment, the strongest source last.
    fn vars(&self) -> BTreeMap<String, String> {
        let mut vars = self.project.manifest.vars.clone();
        vars.extend(self.dotenv.vars().clone());
        vars.extend(self.choices.vars.iter().cloned());
        vars
    }

    /// Returns which machines reach the server.
    fn reach(&self) -> Reach {
        browser::lan(self.reloader.addr()).map_or(Reach::Here, |_| Reach::Lan)
    }

    /// Shows the address for other machines, if they reach the server.
    fn show_code(&self) {
        if let Some(lan) = browser::lan(self.reloader.addr()) {
            let url = format!("http://{lan}/");
            if let Some(code) = browser::code(&url) {
                code.lines().for_each(|line| print::talk(styled(print::LIGHT, line)));
            }
            print::talk(styled(LINK, url));
        }
    }

    /// Prints a mistake and continues with the current project.
    fn refuse(&mut self, err: &anyhow::Error) {
        self.builder.cancel();
        self.unread = true;
        print::report(err);
        self.keep("the project has a mistake", print::plain_report(err));
    }

    /// Shows a fault of the code that serves on its pages; the log has it already.
    fn failed(&mut self, fault: String) {
        if !self.bad_build {
            self.reloader.show(Some(Notice { title: "a room failed".to_owned(), text: fault }));
        }
    }

    /// Reports that there is nothing new to serve, here and on the pages.
    fn keep(&mut self, why: &str, text: String) {
        self.bad_build = true;
        self.reloader.show(Some(Notice { title: why.to_owned(), text }));
        let mark = styled(BAD, "✗");
        let now = if self.reloader.is_serving() {
            "the last good code keeps serving"
        } else {
            "nothing is served yet; waiting for a save"
        };
        print::talk(format_args!("{mark} {why}: {now}"));
    }

    fn welcome(&self) {
        let seconds = self.since.elapsed().as_secs_f64();
        let addr = self.reloader.addr();
        let name = styled(BOLD, &self.project.manifest.name);
        let version = styled(DIM, format_args!("room {}", env!("CARGO_PKG_VERSION")));
        print::talk(format_args!("\n  {version}  {name} is ready in {seconds:.1} s\n"));
        let web = format!("http://{}/", host(addr));
        print::talk(format_args!("  {:<10} {}", "Local", styled(LINK, web)));
        if let Some(lan) = browser::lan(addr) {
            let web = format!("http://{lan}/");
            print::talk(format_args!("  {:<10} {}", "Network", styled(LINK, web)));
        } else if addr.ip().is_unspecified() {
            let text = "  other machines get in, but this one has no network now";
            print::talk(styled(DIM, text));
        }
        for party in &self.project.manifest.parties {
            let url = format!("ws://{}/parties/{}/<room>", host(addr), party.name);
            print::talk(format_args!("  {:<10} {}", "WebSocket", styled(LINK, url)));
        }
        let page = browser::dashboard_link(addr, &self.reloader.sign_in_code());
        print::talk(format_args!("  {:<10} {}", "Dashboard", styled(LINK, page)));
        if !self.dotenv.files().is_empty() {
            let files = self.dotenv.files().join(", ");
            print::talk(format_args!("  {:<10} {files}", "Variables"));
        }
        let how = match self.watcher.notice() {
            Watching::Events => "",
            Watching::Polling => " by looking at the files again and again",
        };
        print::talk(styled(DIM, format_args!("\n  saves are picked up{how}; Ctrl-C stops")));
        if self.keys.are_there() {
            print::talk(format_args!("  {}", keys::line(self.reach())));
        }
        print::talk("");
    }

    fn reloaded(&self, deployed: &Deployed, build: Duration) {
        let [all, build, compile] =
            [self.since.elapsed(), build, deployed.compiled].map(|took| took.as_secs_f64());
        let mark = styled(print::GOOD, "✓");
        let kept = format!(
            "{}, {} kept",
            print::counted(deployed.rooms, "room"),
            print::counted(deployed.connections, "socket")
        );
        print::talk(format_args!(
            "{mark} reloaded in {all:.2} s · build {build:.2} s · compile {compile:.2} s · {kept}"
        ));
    }
}

/// Reports that open pages load again, and how long that took since the save.
fn say_pages_are_new(since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    let mark = styled(print::GOOD, "✓");
    print::talk(format_args!("{mark} the page is replaced in {seconds:.2} s"));
}
