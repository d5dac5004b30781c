//! Data folders that were damaged while no server ran: each file, damaged in each way, does no harm or is named.
//!
//! A further file gets a row in [`rows`]. A file without a row fails the test, but for those below [`ELSEWHERE`].

use crate::operated::Operated;
use room_runtime::Limits;
use room_runtime::server::BlobId;
use room_tests::{Dice, guest, seed, variant, within};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders whose files have tests of their own.
const ELSEWHERE: [&str; 2] = ["projects/chat/rooms/", "projects/game/rooms/"];

/// The damage of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Flipped,
    Cut,
    Emptied,
    Deleted,
    /// The other project's file of this name replaces it, or some other file.
    Swapped,
    /// A copy from before the last changes replaces it.
    Older,
}

const DAMAGES: [Damage; 6] = [
    Damage::Flipped,
    Damage::Cut,
    Damage::Emptied,
    Damage::Deleted,
    Damage::Swapped,
    Damage::Older,
];

/// The server's reaction.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything is served as it was.
    NoHarm,
    /// As before, but for the tokens: there is a new first one.
    NewTokens,
    /// The project `chat` is not served, and the reason contains this text. The other project is served.
    Named(String),
    /// The same, and a deployment of the current release serves it again.
    UntilDeployed(String),
    /// The server does not start, and the reason contains this text.
    NoStart(String),
}

/// A file of the folder, and the outcome of each damage to it.
struct Row {
    path: String,
    of: Box<dyn Fn(Damage) -> Outcome>,
}

impl Row {
    fn new(path: impl Into<String>, of: impl Fn(Damage) -> Outcome + 'static) -> Self {
        Self { path: path.into(), of: Box::new(of) }
    }

    fn harmless(path: impl Into<String>) -> Self {
        Self::new(path, |_| Outcome::NoHarm)
    }
}

/// A folder of two projects that was stopped in order, and a copy from before the last changes.
struct Base {
    dir: tempfile::TempDir,
    token: String,
    chat: Arc<[u8]>,
}

impl Base {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (data, older) = (dir.path().join("data"), dir.path().join("older"));
        let operated = Operated::start(&data).await;
        let puppet = guest("puppet");
        let [chat, game] = [variant(&puppet, 1), variant(&puppet, 2)];
        for version in ["1", "2"] {
            for (project, module) in [("chat", &chat), ("game", &game)] {
                let page = format!("{project} {version}");
                let release = operated.named_release(project, module, &page).await;
                operated.good("POST", &format!("projects/{project}/deploy"), release).await;
                let variable = json!({"value": format!("{project} var {version}")});
                operated.good("PUT", &format!("projects/{project}/env/VERSION"), variable).await;
            }
            let wish = json!({"name": version, "scope": "read"});
            operated.good("POST", "tokens", wish).await;
            if version == "1" {
                copy(&data, &older);
            }
        }
        let token = operated.token.clone();
        within("a server to stop", operated.server.drain()).await;
        Self { dir, token, chat }
    }

    fn rows(&self) -> Vec<Row> {
        let tokens = |damage| match damage {
            Damage::Deleted => Outcome::NewTokens,
            _ => Outcome::NoStart("tokens.json".to_owned()),
        };
        let versions = |damage| match damage {
            Damage::Deleted => Outcome::UntilDeployed("chat has no version".to_owned()),
            _ => Outcome::Named("versions.json".to_owned()),
        };
        let module = BlobId::of(&self.chat).to_string();
        let named = module.clone();
        let module = Row::new(format!("blobs/{module}"), move |damage| match damage {
            // The older copy is the same.
            Damage::Older => Outcome::NoHarm,
            _ => Outcome::UntilDeployed(named.clone()),
        });
        let mut rows = vec![
            Row::harmless("lock"),
            Row::harmless("audit.log"),
            Row::harmless("changes.json"),
            Row::harmless("compiled.json"),
            Row::new("tokens.json", tokens),
            Row::new("projects/chat/versions.json", versions),
            Row::new("projects/chat/env.json", |_| Outcome::Named("env.json".to_owned())),
            Row::harmless("projects/chat/changes.json"),
            Row::harmless("projects/chat/assets/2/index.html"),
            module,
        ];
        // The page is laid out, so its blob is not needed to serve it.
        rows.push(Row::harmless(format!("blobs/{}", BlobId::of(b"chat 2"))));
        // Machine code, which must not run if it was altered. Other files of its kind have other names.
        let compiled = files(&self.dir.path().join("data")).into_iter();
        let is_code =
            |path: &String| path.starts_with("compiled/modules/") && !path.ends_with(".stats");
        rows.extend(compiled.filter(is_code).map(Row::harmless));
        rows
    }

    /// Returns a copy of the folder, with one file damaged.
    fn damaged(&self, path: &str, damage: Damage, dice: &mut Dice) -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        copy(&self.dir.path().join("data"), data.path());
        let file = data.path().join(path);
        let good = fs::read(&file).unwrap();
        let other = match path.strip_prefix("projects/chat/") {
            Some(rest) => data.path().join("projects/game").join(rest),
            None => data.path().join("projects/game/versions.json"),
        };
        let older = self.dir.path().join("older").join(path);
        let bytes = match damage {
            Damage::Flipped => {
                let mut bytes = good.clone();
                match bytes.is_empty() {
                    true => bytes.push(1),
                    false => {
                        let at = dice.below(good.len());
                        bytes[at] ^= 1 << dice.below(8);
                    }
                }
                bytes
            }
            Damage::Cut => good[..good.len() / 2].to_vec(),
            Damage::Emptied => Vec::new(),
            Damage::Deleted => {
                fs::remove_file(&file).unwrap();
                return data;
            }
            Damage::Swapped => fs::read(other).unwrap(),
            Damage::Older => fs::read(older).unwrap_or(good),
        };
        fs::write(&file, bytes).unwrap();
        data
    }
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to)),
        }
    }
}

/// Returns the files of a folder, by their paths in it.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(dir.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(path),
                false => found.push(path.to_str().unwrap().to_owned()),
            }
        }
    }
    found
}

/// Checks that a project is served unchanged: its code, its variables and its pages.
async fn is_served(operated: &Operated, project: &str, what: &str) {
    let page = operated.asked(project, "/").await;
    assert_eq!(page, Some(format!("{project} 2").into_bytes()), "{what}");
    let report = operated.asked(project, "/parties/main/lobby").await.unwrap_or_default();
    let report: Value = serde_json::from_slice(&report).unwrap_or_default();
    assert_eq!(report["version"], format!("{project} var 2"), "{what}");
}

/// Starts a server on a folder and checks that the outcome is this.
async fn check(base: &Base, data: &Path, outcome: &Outcome, what: &str) {
    let limits = Limits { drain_spread_ms: 1, ..Limits::default() };
    let started = Operated::try_start(data, limits).await;
    if let Outcome::NoStart(why) = outcome {
        let error = started.err().unwrap_or_else(|| panic!("{what}: it starts")).to_string();
        assert!(error.contains(why), "{what}: {error}");
        return;
    }
    let operated = started.unwrap_or_else(|error| panic!("{what}: {error}"));
    let new = operated.server.first_token().is_some();
    assert_eq!(new, *outcome == Outcome::NewTokens, "{what}");
    let token = if new { operated.token.clone() } else { base.token.clone() };
    let operated = Operated { token, ..operated };
    is_served(&operated, "game", what).await;
    match outcome {
        Outcome::Named(why) | Outcome::UntilDeployed(why) => {
            assert_eq!(operated.server.projects(), ["game"], "{what}");
            let broken = operated.server.broken();
            assert_eq!(broken.len(), 1, "{what}: {broken:?}");
            assert!(broken[0].0 == "chat" && broken[0].1.contains(why), "{what}: {broken:?}");
            assert_eq!(operated.asked("chat", "/").await, None, "{what}");
            let said = operated.refused(500, "GET", "projects/chat/versions", &Value::Null).await;
            assert!(said.contains(why), "{what}: {said}");
            if matches!(outcome, Outcome::UntilDeployed(_)) {
                let release = operated.named_release("chat", &base.chat, "chat 2").await;
                operated.good("POST", "projects/chat/deploy", release).await;
                is_served(&operated, "chat", what).await;
            }
        }
        _ => {
            assert_eq!(operated.server.broken(), [], "{what}");
            is_served(&operated, "chat", what).await;
        }
    }
    within("a server to stop", operated.server.drain()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_of_the_data_folder_is_harmless_or_named() {
    let mut dice = Dice(seed());
    let base = Base::new().await;
    for row in base.rows() {
        for damage in DAMAGES {
            let data = base.damaged(&row.path, damage, &mut dice);
            let what = format!("{} {damage:?}", row.path);
            check(&base, data.path(), &(row.of)(damage), &what).await;
        }
    }
}

#[tokio::test]
async fn every_file_of_the_data_folder_is_tried_damaged() {
    let base = Base::new().await;
    let rows: BTreeMap<String, Row> =
        base.rows().into_iter().map(|row| (row.path.clone(), row)).collect();
    let found = files(&base.dir.path().join("data"));
    for path in &found {
        let elsewhere = ELSEWHERE.iter().any(|folder| path.starts_with(folder));
        // Files that are no longer served, and the other project's files, are like those that have rows.
        let alike =
            ["projects/game/", "blobs/", "compiled/"].iter().any(|folder| path.starts_with(folder));
        assert!(elsewhere || alike || rows.contains_key(path), "{path} has no row");
    }
    for path in rows.keys() {
        assert!(found.contains(path), "{path} is not there");
    }
}

#[tokio::test]
async fn an_operator_can_continue_after_lost_tokens_or_with_an_older_copy() {
    let base = Base::new().await;
    for (file, older) in [("tokens.json", ""), ("projects/chat/env.json", "projects/chat/")] {
        let data = base.damaged(file, Damage::Older, &mut Dice(0));
        let counts = data.path().join(format!("{older}changes.json"));
        fs::remove_file(counts).unwrap();
        let operated = Operated::start(data.path()).await;
        let operated = Operated { token: base.token.clone(), ..operated };
        assert_eq!(operated.server.projects(), ["chat", "game"]);
        let tokens = operated.good("GET", "tokens", Value::Null).await;
        let count = if file == "tokens.json" { 2 } else { 3 };
        assert_eq!(tokens.as_array().map(Vec::len), Some(count), "{file}");
        within("a server to stop", operated.server.drain()).await;
    }
}
