//! The guides for people who move here, followed from their first line to their last.
//!
//! A block after "`NAME`:" is that file. A block of `diff` changes the file that was named last. A block of `sh` is
//! typed, and one of `text` is in what the commands before it printed.

use super::dev::{BUILD_MAX, Dev};
use super::project::{Place, target_dir};
use super::served::Served;
use super::socket::Socket;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command that serves while the next blocks are read.
const DEV: &str = "room dev";
const SERVE: &str = "room serve ";

/// A block of a page.
struct Block<'a> {
    kind: &'a str,
    text: &'a str,
    /// The last file that was named before it.
    file: &'a str,
    /// True if it is that file.
    is_file: bool,
}

/// The blocks of a page.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut file) = (page, "");
    while let Some((before, after)) = rest.split_once("\n```") {
        let (kind, after) = after.split_once('\n').expect("a block has lines");
        let (text, next) = after.split_once("```\n").expect("a block ends");
        let named = before.split('`').skip(1).step_by(2).filter(|name| {
            let ends = [".ts", ".json", ".jsonc", ".html", ".toml"];
            !name.contains(' ') && ends.iter().any(|end| name.ends_with(end))
        });
        file = named.last().unwrap_or(file);
        let is_file = before.trim_end().ends_with("`:") && !matches!(kind, "diff" | "sh" | "text");
        found.push(Block { kind, text, file, is_file });
        rest = next;
    }
    found
}

/// A person who follows a page.
struct Reader {
    place: Place,
    root: PathBuf,
    /// The room that the page's clients connect to.
    room: &'static str,
    printed: String,
    exports: String,
    dev: Option<(Dev, Socket)>,
    served: Option<Served>,
    reloads: usize,
    commands: usize,
}

impl Reader {
    fn new(room: &'static str) -> Self {
        let place = Place::take();
        let root = place.path().join("project");
        std::fs::create_dir(&root).expect("it is ours");
        let (printed, exports) = (String::new(), String::new());
        let (dev, served, reloads, commands) = (None, None, 0, 0);
        Self { place, root, room, printed, exports, dev, served, reloads, commands }
    }

    fn follow(&mut self, page: &str) {
        for Block { kind, text, file, is_file } in blocks(page) {
            match kind {
                _ if is_file => self.write(file, text),
                "diff" => self.change(file, text),
                "sh" if text.trim() == DEV => self.start_dev(),
                "sh" if text.starts_with(SERVE) => self.start_server(),
                "sh" => self.type_in(text),
                "text" => {
                    for line in text.lines() {
                        let printed = &self.printed;
                        assert!(printed.contains(line), "`{line}` is not in:\n{printed}");
                    }
                }
                _ => panic!("nobody knows what to do with this block of {kind}:\n{text}"),
            }
        }
    }

    /// Saves a file in one step.
    fn write(&self, file: &str, text: &str) {
        let path = self.root.join(file);
        let aside = self.place.path().join("a-file-being-written");
        std::fs::create_dir_all(path.parent().expect("it is in the project"))
            .and_then(|()| std::fs::write(&aside, text))
            .and_then(|()| std::fs::rename(&aside, &path))
            .expect("the folder is ours");
    }

    /// Replaces the lines with a minus by those with a plus.
    fn change(&mut self, file: &str, diff: &str) {
        let of = |sign: char| {
            let lines = diff.lines().filter_map(|line| line.strip_prefix(sign));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        let (old, new) = (of('-'), of('+'));
        let text = std::fs::read_to_string(self.root.join(file)).expect("the page has the file");
        assert_eq!(text.matches(&old).count(), 1, "{file} does not have this once:\n{old}");
        self.write(file, &text.replacen(&old, &new, 1));
        if let Some((dev, socket)) = &mut self.dev {
            let line = dev.line("reloaded in", BUILD_MAX);
            assert!(line.contains("1 socket kept"), "{line}");
            let mut other = Socket::open(dev.port(), self.room);
            other.until("good evening, visitor 2 of lobby");
            other.send("hi");
            socket.until("good evening: hi");
            self.reloads += 1;
        }
    }

    fn start_dev(&mut self) {
        let dev = Dev::start(&self.root, &["--ephemeral"]);
        let mut socket = Socket::open(dev.port(), self.room);
        socket.until("hello, visitor 1 of lobby");
        let (status, page) = dev.http("GET", "/");
        let script = page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next());
        assert_eq!(status, 200);
        let (status, code) = dev.http("GET", script.expect("the page has a script"));
        assert!(status == 200 && code.contains("lobby"), "{status} {code}");
        self.dev = Some((dev, socket));
    }

    fn start_server(&mut self) {
        let (dev, _socket) = self.dev.take().expect("the page served it before");
        assert_eq!(dev.stop().0, Some(0));
        let mut served = Served::start(self.place.path());
        served.first_token();
        self.served = Some(served);
    }

    fn type_in(&mut self, lines: &str) {
        let mut typed = format!("{}{lines}", self.exports);
        let exports = lines.lines().filter(|line| line.starts_with("export "));
        self.exports.extend(exports.map(|line| format!("{line}\n")));
        if let Some(served) = &self.served {
            let address = format!("http://{}", served.operators.trim_start_matches("http://"));
            typed = typed.replace("http://127.0.0.1:1998", &address);
            typed = typed.replace("room_…", &served.token);
        }
        let bin = Path::new(env!("CARGO_BIN_EXE_room")).parent().expect("it lies in a folder");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [bin.to_owned()].into_iter().chain(std::env::split_paths(&path));
        let mut shell = Command::new("sh");
        for name in ["ROOM_PROJECT", "ROOM_DATA", "ROOM_TO", "ROOM_TOKEN", "ROOM_SDK"] {
            shell.env_remove(name);
        }
        let output = shell
            .args(["-eu", "-c", &format!("{{\n{typed}}} 2>&1")])
            .current_dir(&self.root)
            .env("PATH", std::env::join_paths(folders).expect("a folder's name has no colon"))
            .env("CARGO_TARGET_DIR", target_dir())
            .env("NO_COLOR", "1")
            .output()
            .expect("there is a shell");
        self.printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{lines}\n{}", self.printed);
        self.commands += 1;
    }

    /// A client of what is deployed at the end, which is the version before the last.
    fn finish(self) {
        let served = self.served.expect("the page has a server");
        let port = served.clients.rsplit(':').next().and_then(|port| port.parse().ok());
        let mut socket = Socket::open(port.expect("it has a port"), self.room);
        socket.until("good evening, visitor 1 of lobby");
        let listed = served.good(&self.root, &["list"]);
        assert!(listed.lines().any(|line| line.starts_with("→    1")), "{listed}");
        let said = served.refused(&self.root, &["delete", "party-chat"]);
        assert!(said.contains("add --yes"), "{said}");
        assert_eq!((self.reloads, served.stop()), (1, Some(0)));
        assert!(self.commands >= 4, "only {} blocks were typed", self.commands);
    }
}

#[test]
fn the_guide_for_partykit_leads_to_a_deployed_project() {
    let mut reader = Reader::new("/party/lobby");
    reader.follow(include_str!("../../../sdk/js/FROM_PARTYKIT.md"));
    reader.finish();
}

#[test]
fn the_guide_for_partyserver_leads_to_a_deployed_project() {
    let mut reader = Reader::new("/parties/chat/lobby");
    reader.follow(include_str!("../../../sdk/js/FROM_PARTYSERVER.md"));
    reader.finish();
}
