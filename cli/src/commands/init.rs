//! `room init`. Owns which files an imported project gets, and the report about them.
//!
//! Invariant: it overwrites no file, and writes nothing before it has understood all. It does not know what the keys
//! of another tool mean; that is `partykit`.

use super::new::share_sdk;
use crate::args::InitArgs;
use crate::codes::Code;
use crate::manifest;
use crate::mistake::Mistake;
use crate::partykit::{self, ConvertedKey, Import};
use crate::print::{self, BOLD, DIM, GOOD, WARN, styled};
use crate::project::{Project, shown};
use crate::template::{self, Home, Sdk, VENDORED};
use crate::workspace::{Workspace, relative};
use room_runtime::PartyName;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The longest file, in bytes; a longer one is refused, as it is something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What git ignores of a project.
const GITIGNORE: &str = "/.room/\n/.env\n/.env.local\n";

/// Reads the other tool's file, writes the project, and reports what it made of each key.
pub(crate) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let text = read(&args.from)?;
    let import = partykit::import(&shown(&args.from), &text)?;
    let from = folder_of(&args.from)?;
    let dir = args.path.clone().unwrap_or_else(|| from.clone());
    let manifest_file = dir.join(manifest::FILE);
    if manifest_file.exists() {
        return Err(Mistake::new(Code::Exists, format_args!("{} exists", shown(&manifest_file)))
            .help("import into another folder: `room init --from partykit.json DIR`")
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
    let mut rows = std::mem::take(&mut import.rows);
    let scripts = scripts_of(&import, dir, from);
    name_scripts(&mut rows, &scripts);
    if !scripts.is_empty() {
        rows.extend(bundler(dir)?);
    }
    let mut note = |key: &str, taken, note: String| {
        rows.push(ConvertedKey { key: key.to_owned(), taken, note });
    };
    if import.name.is_none() {
        let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase());
        let name = name.filter(|name| manifest::name_problem(name).is_none());
        let name = name.unwrap_or_else(|| "my-project".to_owned());
        note("name", true, format!("name = {name:?}; there was none"));
        import.name = Some(name);
    }
    if import.parties.is_empty() {
        let main = PartyName::parse("main")?;
        note("main", true, "[parties.main] path = \"rooms/main\"; there was none".to_owned());
        import.parties.push((main, String::new()));
    }
    if !import.crons.is_empty() && import.parties.iter().all(|(party, _)| party.as_str() != "main")
    {
        for cron in std::mem::take(&mut import.crons) {
            let text =
                "left out: crons call rooms of the party main, which the project does not have"
                    .to_owned();
            note(&format!("crons.{}", cron.name), false, text);
        }
    }
    let mut absent = None;
    if let Some(assets) = import.assets.take() {
        let folder = from.join(&assets);
        let path = relative(dir, &folder);
        if folder.is_dir() {
            import.assets = Some(path);
        } else {
            let text = format!("left out as a comment in room.toml: {path} is not there");
            note("serve", false, text);
            absent = Some(path);
        }
    }
    let packages = import.parties.iter().map(|(party, _)| party);
    for party in packages.filter(|party| !scripts.contains_key(*party)) {
        if !package(dir, party)? {
            note("rooms", false, format!("rooms/{party} was there, and is as it was"));
        }
    }
    if !put(&dir.join(".gitignore"), GITIGNORE.as_bytes())? {
        note(".gitignore", false, "it was there: add /.room/ to it".to_owned());
    }
    put(&dir.join(manifest::FILE), text_of(&import, &scripts, absent.as_deref())?.as_bytes())?;
    Ok(rows)
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

/// Corrects the rows of the parties whose code runs as it is.
fn name_scripts(rows: &mut [ConvertedKey], scripts: &BTreeMap<PartyName, String>) {
    for row in rows {
        let party = match row.key.as_str() {
            "main" => Some("main"),
            key => key.strip_prefix("parties."),
        };
        if let Some((party, script)) = scripts.iter().find(|(name, _)| party == Some(name.as_str()))
        {
            row.note = format!("[parties.{party}] script = {script:?}; the code runs as it is");
        }
    }
}

/// Returns the parties whose code is a script that is there, each with its path from the project.
fn scripts_of(import: &Import, dir: &Path, from: &Path) -> BTreeMap<PartyName, String> {
    let endings = ["ts", "tsx", "mts", "js", "jsx", "mjs"];
    let is_script = |file: &Path| {
        let ending = file.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| endings.contains(&ending)) && file.is_file()
    };
    let files = import.parties.iter().map(|(party, code)| (party.clone(), from.join(code)));
    files
        .filter(|(_, file)| is_script(file))
        .map(|(party, file)| (party, relative(dir, &file)))
        .collect()
}

/// Makes sure that the project has a package.json for the bundler; returns what is left to do.
fn bundler(dir: &Path) -> anyhow::Result<Option<ConvertedKey>> {
    let file = dir.join("package.json");
    let own = "{\n  \"private\": true,\n  \"type\": \"module\",\n  \"devDependencies\": {\n    \"esbuild\": \"^0.28.0\"\n  }\n}\n";
    if put(&file, own.as_bytes())? {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    Ok((!text.contains("\"esbuild\"")).then(|| ConvertedKey {
        key: "package.json".to_owned(),
        taken: false,
        note: "add the bundler to it: npm install --save-dev esbuild".to_owned(),
    }))
}

/// Returns the room.toml of an import.
fn text_of(
    import: &Import,
    scripts: &BTreeMap<PartyName, String>,
    absent: Option<&str>,
) -> anyhow::Result<String> {
    let mut all = toml::Table::new();
    all.insert("name".to_owned(), import.name.clone().unwrap_or_default().into());
    let mut parties = toml::Table::new();
    for (party, _) in &import.parties {
        let (key, code) = match scripts.get(party) {
            Some(script) => ("script", script.clone()),
            None => ("path", format!("rooms/{party}")),
        };
        let table = toml::Table::from_iter([(key.to_owned(), toml::Value::from(code))]);
        parties.insert(party.to_string(), table.into());
    }
    all.insert("parties".to_owned(), parties.into());
    if let Some(assets) = &import.assets {
        let dir = toml::Value::from(assets.clone());
        all.insert("assets".to_owned(), toml::Table::from_iter([("dir".into(), dir)]).into());
    }
    if !import.vars.is_empty() {
        let vars = import.vars.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        all.insert("vars".to_owned(), vars.collect::<toml::Table>().into());
    }
    if !import.crons.is_empty() {
        let crons = import.crons.iter();
        let crons = crons.map(|cron| (cron.name.clone(), cron.schedule.clone().into()));
        all.insert("crons".to_owned(), crons.collect::<toml::Table>().into());
    }
    let mut text = toml::to_string(&all)?;
    if let Some(absent) = absent {
        let dir = toml::Value::from(absent);
        text.push_str(&format!("\n# The folder was not there yet.\n# [assets]\n# dir = {dir}\n"));
    }
    Ok(text)
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
