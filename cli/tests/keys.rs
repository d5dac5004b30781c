//! The keys of `room dev`, pressed at a terminal.
#![cfg(unix)]

#[path = "common/count.rs"]
mod count;
#[path = "common/dev.rs"]
mod dev;
#[path = "common/project.rs"]
mod project;
#[path = "common/pty.rs"]
mod pty;
#[path = "common/terminal.rs"]
mod terminal;

use count::COUNT;
use dev::{BUILD_MAX, Dev, STEP_MAX, room};
use project::Project;
use rustix::process::Signal;
use rustix::termios::LocalModes;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use terminal::Terminal;

const LOBBY: &str = "/party/lobby";

/// A project, with a browser in `bin` that only records the address it should show.
fn project(name: &str) -> Project {
    let project = Project::copy("tests/conformance/guest", name);
    project.write("src/lib.rs", COUNT);
    project.write("room.toml", "name = \"count\"\n");
    let shown = project.root().join("shown");
    rustix::fs::mkfifoat(rustix::fs::CWD, &shown, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .expect("a pipe can be made");
    project.write("bin/xdg-open", &format!("#!/bin/sh\nprintf %s \"$1\" > {shown:?}\n"));
    let browser = project.root().join("bin/xdg-open");
    std::fs::set_permissions(browser, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    project
}

/// Waits for what the browser shows.
fn shown(project: &Path) -> String {
    let (pipe, (send, came)) = (project.join("shown"), std::sync::mpsc::channel());
    std::thread::spawn(move || drop(send.send(std::fs::read_to_string(pipe))));
    came.recv_timeout(STEP_MAX).expect("a browser is opened").expect("it says what it shows")
}

fn start(terminal: &Terminal, project: &Project, args: &[&str]) -> (Dev, u16) {
    let mut dev = terminal.dev(project.root(), args, &project.root().join("bin"));
    let port = dev.ready();
    dev.line("o open · d dashboard · r rebuild · c clear · x reset · q quit · h help", STEP_MAX);
    (dev, port)
}

fn gives_single_keys(terminal: &Terminal) -> bool {
    !terminal.mode().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
}

#[test]
fn each_key_does_what_the_help_line_says() {
    let (project, terminal) = (project("keys-all"), Terminal::open());
    let found = terminal.mode();
    let (mut dev, port) = start(&terminal, &project, &[]);
    assert!(gives_single_keys(&terminal));

    for help in ["h", "?"] {
        terminal.press(help);
        dev.line("show these lines", STEP_MAX);
    }
    terminal.press("o");
    dev.line("opening", STEP_MAX);
    assert_eq!(shown(project.root()), format!("http://localhost:{port}/"));
    terminal.press("d");
    let line = dev.line("opening", STEP_MAX);
    let opened = shown(project.root());
    let (page, code) = opened.split_once("#link=").expect("the code is in the fragment");
    assert_eq!(page, format!("http://localhost:{port}/_room/"));
    assert!(line.ends_with(page), "{line}");
    let control = std::fs::read_to_string(project.root().join(".room/state/control.json"));
    // It is good once, and is not the token.
    assert!(!code.is_empty() && !control.expect("commands find it").contains(code));
    terminal.press("r");
    dev.line("the built code is the same", BUILD_MAX);
    terminal.press("c");
    dev.line("\u{1b}[2J", STEP_MAX);

    assert_eq!(dev.http("POST", LOBBY).1, "1");
    terminal.press("x");
    dev.line("delete everything that rooms have stored here?", STEP_MAX);
    terminal.press("n");
    dev.line("everything is kept", STEP_MAX);
    assert_eq!(dev.http("POST", LOBBY).1, "2");
    terminal.press("x");
    dev.line("delete everything that rooms have stored here?", STEP_MAX);
    terminal.press("y");
    dev.line("everything that rooms stored was deleted", STEP_MAX);
    assert_eq!(dev.http("POST", LOBBY).1, "1");
    // Commands find the server that was started again.
    let mut backup = room(project.root(), &["backup", "after.room"]);
    assert!(backup.stdout(Stdio::null()).status().expect("it was built").success());

    terminal.press("q");
    dev.line("stopping", STEP_MAX);
    assert_eq!(dev.ended().0, Some(0));
    assert_eq!(format!("{:?}", terminal.mode()), format!("{found:?}"));
}

#[test]
fn other_machines_get_an_address_and_a_qr_code_if_they_can_connect() {
    let (project, terminal) = (project("keys-lan"), Terminal::open());
    let args = ["--ephemeral", "--host", "0.0.0.0"];
    let mut dev = terminal.dev(project.root(), &args, &project.root().join("bin"));
    let port = dev.ready();
    let text = dev.line("  ", STEP_MAX);
    // A machine without a network has no such line, and no key.
    if text.contains("Network") {
        let url = text.trim_end().rsplit(' ').next().expect("there is an address").to_owned();
        assert!(url.ends_with(&format!(":{port}/")), "{text}");
        dev.line("u url", STEP_MAX);
        terminal.press("u");
        dev.line("█", STEP_MAX);
        dev.line(&url, STEP_MAX);
    }
    dev.signal(Signal::INT);
    assert_eq!(dev.ended().0, Some(0));
}

#[test]
fn the_terminal_is_restored_however_the_command_ends() {
    let project = project("keys-ends");
    let new = || {
        let terminal = Terminal::open();
        let found = format!("{:?}", terminal.mode());
        (terminal, found)
    };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let (terminal, found) = new();
        let (dev, _) = start(&terminal, &project, &["--ephemeral"]);
        assert!(gives_single_keys(&terminal));
        dev.signal(signal);
        assert_eq!(dev.ended().0, Some(0), "{signal:?}");
        assert_eq!(format!("{:?}", terminal.mode()), found, "{signal:?}");
    }
    // One that ends with an error, as somebody made its data a file that cannot be removed with it.
    let (terminal, found) = new();
    let (mut dev, _) = start(&terminal, &project, &[]);
    terminal.press("x");
    dev.line("delete everything that rooms have stored here?", STEP_MAX);
    std::fs::remove_dir_all(project.root().join(".room/state")).expect("it is ours");
    project.write(".room/state", "no folder");
    terminal.press("y");
    dev.line("cannot be removed", STEP_MAX);
    assert_eq!(dev.ended().0, Some(2));
    assert_eq!(format!("{:?}", terminal.mode()), found);
}

#[test]
fn keys_are_off_without_a_terminal() {
    let project = project("keys-none");
    let dev = Dev::start(project.root(), &["--ephemeral"]);
    assert_eq!(dev.http("POST", LOBBY).1, "1");
    let (code, lines) = dev.stop();
    assert_eq!(code, Some(0));
    assert!(!lines.iter().any(|line| line.contains("q quit")), "{lines:?}");
}
