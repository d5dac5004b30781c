//! `room init`. Owns which files an imported project gets, and the report about them.
//!
//! Invariant: it overwrites no file, and writes nothing before it has understood all. To a `.gitignore` it adds lines.
//! It does not know what the keys of another tool mean; that is `import`.

mod scripts;
mod text;
mod traits;

use super::new::share_sdk;
use crate::args::InitArgs;
use crate::codes::Code;
use crate::import::{self, ConvertedKey, Import, ImportedAssets, ImportedParty};
use crate::manifest;
use crate::mistake::Mistake;
use crate::print::{self, BOLD, DIM, GOOD, WARN, styled};
use crate::project::{Project, shown};
use crate::template::{self, Home, Sdk, VENDORED};
use crate::workspace::{Workspace, relative};
use room_runtime::PartyName;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The longest file, in bytes; a longer one is refused, as it is something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What npm installs.
const NODE_MODULES: &str = "/node_modules/";
/// What git ignores of a project: each line, and the names by which a file may have it already.
const IGNORED: [(&str, &[&str]); 4] = [
    (NODE_MODULES, &["node_modules"]),
    ("/.room/", &[".room"]),
    ("/.env", &[".env", ".env*"]),
    ("/.env.local", &[".env.local", ".env*", ".env.*", "*.local", ".env*.local"]),
];

/// Reads the other tool's file, writes the project, and reports what it made of each key.
pub(crate) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let text = read(&args.from)?;
    let import = import::import(&shown(&args.from), &text)?;
    let from = folder_of(&args.from)?;
    let dir = args.path.clone().unwrap_or_else(|| from.clone());
    let manifest_file = dir.join(manifest::FILE);
    if manifest_file.exists() {
        return Err(Mistake::new(Code::Exists, format_args!("{} exists", shown(&manifest_file)))
            .help("import into another folder: `room init --from FILE DIR`")
            .into());
    }
    std::fs::create_dir_all(&dir).map_err(|err| unwritable(&dir, &err))?;
    let dir = dir.canonicalize().map_err(|err| unwritable(&dir, &err))?;
    let rows = write(&dir, &from, import)?;
    // Every other command reads what was written, so this does, too.
    Project::read(&dir)?;
    if args.json {
        print::data(serde_json::to_string_pretty(&rows)?);
    } else {
        rows.iter().for_each(|row| print::data(line(row)));
    }
    print::talk(format_args!("\n{} {}", styled(GOOD, "✓ made"), shown(&dir.join(manifest::FILE))));
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<String, Mistake> {
    let refused = |why: &dyn std::fmt::Display| {
        Mistake::new(Code::Unreadable, format_args!("{} cannot be read: {why}", shown(file)))
    };
    let opened = std::fs::File::open(file).map_err(|err| refused(&err))?;
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|err| refused(&err))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(refused(&format_args!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Returns the folder that paths in the file are relative to, absolute.
fn folder_of(file: &Path) -> anyhow::Result<PathBuf> {
    let absolute = file.canonicalize()?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Writes the project and returns the rows to report.
fn write(dir: &Path, from: &Path, mut import: Import) -> anyhow::Result<Vec<ConvertedKey>> {
    let scripts = scripts::find(&import, dir, from)?;
    let mut rows = std::mem::take(&mut import.rows);
    scripts::describe(&mut rows, &import, &scripts);
    if !scripts.is_empty() {
        rows.extend(scripts::equip(dir, from)?);
    }
    complete(&mut import, dir, &mut rows)?;
    let absent = place_assets(&mut import, dir, from, &mut rows);
    let packages = import.parties.iter().map(|party| &party.name);
    for party in packages.filter(|party| !scripts.contains_key(*party)) {
        if !package(dir, party)? {
            rows.push(left("rooms", format!("rooms/{party} was there, and is as it was")));
        }
    }
    let built = import.assets.as_ref().filter(|assets| !assets.scripts.is_empty());
    let built = built.map(|assets| format!("/{}/dist/", assets.dir.trim_matches(['.', '/'])));
    rows.extend(ignore(dir, !scripts.is_empty(), built.as_deref())?);
    let text = text::of(&import, &scripts, absent.as_ref())?;
    put(&dir.join(manifest::FILE), text.as_bytes())?;
    Ok(rows)
}

/// Adds what the project does not say: its name, a party. Drops crons of parties that it does not have.
fn complete(import: &mut Import, dir: &Path, rows: &mut Vec<ConvertedKey>) -> anyhow::Result<()> {
    if import.name.is_none() {
        let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase());
        let name = name.filter(|name| manifest::name_problem(name).is_none());
        let name = name.unwrap_or_else(|| "my-project".to_owned());
        rows.push(taken("name", format!("name = {name:?}; there was none")));
        import.name = Some(name);
    }
    if import.parties.is_empty() {
        let name = PartyName::parse("main")?;
        rows.push(taken("main", "[parties.main] path = \"rooms/main\"; there was none".to_owned()));
        let (key, code) = ("main".to_owned(), String::new());
        import.parties.push(ImportedParty { name, key, code, export: None });
    }
    let has = |party: &str| import.parties.iter().any(|own| own.name.as_str() == party);
    let (kept, dropped) = std::mem::take(&mut import.crons)
        .into_iter()
        .partition::<Vec<_>, _>(|cron| has(&cron.party));
    import.crons = kept;
    rows.extend(dropped.iter().map(|cron| {
        let note = format!(
            "left out: crons call rooms of the party {}, which the project does not have",
            cron.party
        );
        left(&format!("crons.{}", cron.name), note)
    }));
    Ok(())
}

/// Names the folder of the static files relative to the project. Returns it if it is not there.
fn place_assets(
    import: &mut Import,
    dir: &Path,
    from: &Path,
    rows: &mut Vec<ConvertedKey>,
) -> Option<ImportedAssets> {
    let mut assets = import.assets.take()?;
    let folder = from.join(&assets.dir);
    assets.dir = relative(dir, &folder);
    assets.scripts.retain(|script| {
        let is_there = from.join(script).is_file();
        if !is_there {
            rows.push(left("serve.build", format!("left out: {script} is not there")));
        }
        is_there
    });
    for script in &mut assets.scripts {
        *script = relative(dir, &from.join(&*script));
    }
    if folder.is_dir() {
        import.assets = Some(assets);
        return None;
    }
    let note = format!("left out as a comment in room.toml: {} is not there", assets.dir);
    rows.push(left("assets", note));
    Some(assets)
}

/// Makes git ignore what belongs to this machine, and the folder that is built. Returns what it did to a file that was
/// there.
fn ignore(
    dir: &Path,
    has_scripts: bool,
    built: Option<&str>,
) -> Result<Option<ConvertedKey>, Mistake> {
    let file = dir.join(".gitignore");
    let wanted = IGNORED.iter().filter(|(line, _)| has_scripts || *line != NODE_MODULES);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let has = |names: &[&str]| {
        let bare = |line: &str| line.trim().trim_matches('/').to_owned();
        text.lines().any(|line| names.contains(&bare(line).as_str()))
    };
    let missing = wanted.filter(|(_, names)| !has(names)).map(|(line, _)| *line);
    let built = built.filter(|line| !has(&[line.trim_matches('/'), "dist"]));
    let missing: Vec<&str> = missing.chain(built).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let was_there = !put(&file, b"")?;
    let begin = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written = OpenOptions::new()
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(format!("{begin}{}\n", missing.join("\n")).as_bytes()));
    written.map_err(|err| unwritable(&file, &err))?;
    Ok(was_there.then(|| taken(".gitignore", format!("added {}", missing.join(", ")))))
}

/// Writes the package of a party. Returns false if there is one.
fn package(dir: &Path, party: &PartyName) -> anyhow::Result<bool> {
    let own = dir.join("rooms").join(party.as_str());
    if own.join("Cargo.toml").exists() {
        return Ok(false);
    }
    let (sdk, home) = match Workspace::of(&own) {
        Some(workspace) => (share_sdk(&own, &workspace)?, Home::Member),
        None => {
            for file in template::vendored() {
                put(&dir.join(&file.path), &file.content)?;
            }
            (Sdk::Folder(relative(&own, &dir.join(VENDORED))), Home::Alone)
        }
    };
    for file in template::party(party, &sdk, home) {
        put(&own.join(&file.path), &file.content)?;
    }
    Ok(true)
}

fn taken(key: &str, note: String) -> ConvertedKey {
    ConvertedKey { key: key.to_owned(), taken: true, note }
}

fn left(key: &str, note: String) -> ConvertedKey {
    ConvertedKey { key: key.to_owned(), taken: false, note }
}

/// Writes a file if it does not exist. Returns true if it did not.
fn put(path: &Path, content: &[u8]) -> Result<bool, Mistake> {
    let written = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(content)
    };
    match written() {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(err) => Err(unwritable(path, &err)),
    }
}

fn unwritable(path: &Path, err: &std::io::Error) -> Mistake {
    Mistake::new(Code::NotWritable, format_args!("{} cannot be written: {err}", shown(path)))
}

fn line(row: &ConvertedKey) -> String {
    let ConvertedKey { key, taken, note } = row;
    let mark = if *taken { styled(GOOD, "taken") } else { styled(WARN, "left ") };
    format!("{mark}  {}  {}", styled(BOLD, format_args!("{key:<20}")), styled(DIM, note))
}
