//! `room deploy`, and the commands for deployed projects. Owns the uploads, and the report about them.
//!
//! Invariant: only files that the server lacks are uploaded, and nothing is served before all of it is there. It does
//! not know how a server serves it.

mod assets;

use super::{wait_for, yes};
use crate::args::remote::{
    DeleteArgs, DeployArgs, DeployedArgs, EnvArgs, EnvVerb, ListArgs, RollbackArgs, ScopeName,
    TokenArgs, TokenVerb,
};
use crate::building::{BuildOutcome, BuildPlan, Component, Noise};
use crate::codes::Code;
use crate::component::imports;
use crate::mistake::Mistake;
use crate::operator::encoded;
use crate::print::{self, BOLD, DIM, GOOD, WARN, counted, styled};
use crate::progress::{Progress, amount};
use crate::project::Project;
use crate::remote::{Remote, project_path};
use crate::script::ScriptForm;
use anyhow::Context as _;
use room_runtime::server::{BlobId, Release, ReleaseAsset, ReleaseParty};
use room_runtime::{Limits, WhenQuiet};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Bytes that may have to be uploaded, and where they are.
enum Content {
    Made(std::sync::Arc<[u8]>),
    File(PathBuf),
}

impl Content {
    fn len(&self) -> anyhow::Result<u64> {
        Ok(match self {
            Self::Made(bytes) => bytes.len() as u64,
            Self::File(path) => {
                let known = std::fs::metadata(path);
                known.with_context(|| format!("{} cannot be read", path.display()))?.len()
            }
        })
    }
}

/// Builds the project and serves it on a server.
pub(crate) fn deploy(args: &DeployArgs) -> anyhow::Result<ExitCode> {
    let project = Project::find(&args.project)?;
    let remote = Remote::of(&args.remote)?;
    // Asked before the build: an invalid token or address is reported at once.
    remote.ask("GET", "server", &[])?;
    let plan = BuildPlan::of(&project)?;
    let components =
        match wait_for(plan.build(&args.profile, Noise::Full, ScriptForm::Frozen))?.outcome {
            BuildOutcome::Built(components) => components,
            BuildOutcome::Refused(_) => return Ok(ExitCode::from(1)),
        };
    for component in &components {
        let (party, size) = (&component.party, component.bytes.len().div_ceil(1024));
        let imports = imports(&component.bytes)?.len();
        print::talk(styled(
            DIM,
            format_args!("{party}  {size} KiB, {}", counted(imports, "import")),
        ));
    }
    let (release, contents) = release(&project, &components)?;
    let (path, body) =
        (format!("projects/{}", project.manifest.name), serde_json::to_vec(&release)?);
    let planned = remote.ask("POST", &format!("{path}/plan"), &body)?;
    if args.dry_run {
        remote.print(&planned, plan_in_words)?;
        return Ok(ExitCode::SUCCESS);
    }
    upload(&remote, &planned, &contents)?;
    let done = remote.ask("POST", &format!("{path}/deploy"), &body)?;
    remote.print(&done, |done| served(&project.manifest.name, done))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the release, and the path of each of its parts.
fn release(
    project: &Project,
    made: &[Component],
) -> anyhow::Result<(Release, BTreeMap<BlobId, Content>)> {
    let (manifest, mut contents) = (&project.manifest, BTreeMap::new());
    let mut release = Release {
        vars: manifest.vars.clone(),
        hosts: manifest.hosts.clone(),
        origins: manifest.origins.clone(),
        fetch: manifest.fetch.clone(),
        asset_settings: manifest.asset_settings.clone(),
        crons: manifest.crons.clone(),
        webhooks: manifest.webhooks.clone(),
        auth: manifest.auth.clone(),
        publish: manifest.publish.clone(),
        prefix: manifest.prefix.as_ref().map(|own| own.get_ref().clone()),
        ..Release::default()
    };
    for party in &manifest.parties {
        let component = made.iter().find(|component| component.party == party.name);
        let bytes = &component.context("a party was not built")?.bytes;
        let module = BlobId::of(bytes);
        contents.insert(module, Content::Made(bytes.clone()));
        release.parties.push(ReleaseParty {
            name: party.name.to_string(),
            was: party.was.as_ref().map(|own| own.get_ref().clone()),
            module,
            hibernate: party.when_quiet == WhenQuiet::Hibernate,
            auto_response: party.auto_response.as_ref().map(|own| own.get_ref().clone()),
            ttl: party.ttl,
            cors: party.cors.as_ref().map(|own| own.get_ref().clone()),
            request_bodies: party.request_bodies,
            resume: party.retention.resume,
            history: party.retention.history,
            presence: party.presence.as_ref().map(|own| *own.get_ref()),
            auth: party.auth.as_ref().map(|own| *own.get_ref()),
            sse: party.sse,
        });
    }
    let defaults = Limits::default();
    let set = manifest.limits.values().into_iter();
    let set = set.filter(|(name, value)| defaults.value_of(name) != Some(*value));
    release.limits = set.map(|(name, value)| (name.to_owned(), value)).collect();
    if let Some(dir) = project.assets() {
        let found = assets::find(&dir)?;
        for left in &found.left_out {
            print::talk(styled(WARN, format_args!("left out {left}")));
        }
        for (name, path) in found.files {
            let blob = BlobId::of(&read(&path)?);
            release.assets.push(ReleaseAsset { path: name, blob });
            contents.insert(blob, Content::File(path));
        }
    }
    Ok((release, contents))
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Uploads the files that the server lacks.
fn upload(
    remote: &Remote,
    planned: &Value,
    contents: &BTreeMap<BlobId, Content>,
) -> anyhow::Result<()> {
    let missing: Vec<BlobId> = planned["missing"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str()?.parse().ok())
        .collect();
    let wanted = |id| contents.get(id).context("the server wants what was not announced");
    let mut total = 0;
    for id in &missing {
        total += wanted(id)?.len()?;
    }
    let mut progress = match remote.prints_json() {
        true => Progress::unseen(),
        false => Progress::of("uploading", total),
    };
    for id in &missing {
        let bytes = match wanted(id)? {
            Content::Made(bytes) => bytes.to_vec(),
            Content::File(path) => read(path)?,
        };
        remote.upload(id, &bytes, &mut |count| progress.more(count))?;
    }
    drop(progress);
    if !missing.is_empty() {
        let done = format!("uploaded {}, {}", counted(missing.len(), "file"), amount(total));
        print::talk(styled(DIM, done));
    }
    Ok(())
}

fn plan_in_words(plan: &Value) -> String {
    let current = plan["current"].as_u64();
    let mut lines = vec![match current {
        Some(version) => format!("version {version} is served; this would change:"),
        None => "nothing is served yet; this would be served:".to_owned(),
    }];
    let changes = plan["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(changes.iter().filter_map(|line| Some(format!("  {}", line.as_str()?))));
    if changes.is_empty() {
        lines.push("  nothing".to_owned());
    }
    lines.push(format!("to upload: {}", plan["missing"].as_array().map_or(0, Vec::len)));
    lines.join("\n")
}

/// Returns the effect of a change of the served version.
fn served(name: &str, done: &Value) -> String {
    let mark = styled(GOOD, "✓");
    let version = &done["version"];
    let (rooms, sockets) =
        (counted(&done["rooms"], "room"), counted(&done["connections"], "socket"));
    let mut text = format!(
        "{mark} {} is at version {version} · {rooms} reloaded, {sockets} kept",
        styled(BOLD, name)
    );
    if done["limits_wait_for_restart"] == json!(true) {
        text.push_str("\n  the changed [limits] apply when the server starts again");
    }
    text
}

/// Lists the versions of a project.
pub(crate) fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::of(&args.deployed.remote)?;
    let path = project_path(&args.deployed)?;
    let versions = remote.ask("GET", &format!("{path}/versions"), &[])?;
    remote.print(&versions, |versions| {
        let line = |version: &Value| {
            let mark = if version["current"] == json!(true) { "→" } else { " " };
            let at = version["created_ms"].as_u64().map(crate::print::time).unwrap_or_default();
            let by = version["by"].as_str().unwrap_or_default();
            format!("{mark} {:>4}  {at}  {by}", version["number"].as_u64().unwrap_or_default())
        };
        let lines: Vec<_> = versions.as_array().into_iter().flatten().map(line).collect();
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Serves another version again.
pub(crate) fn roll_back(args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::of(&args.deployed.remote)?;
    let path = project_path(&args.deployed)?;
    let query = args.version.map(|version| format!("?version={version}")).unwrap_or_default();
    let done = remote.ask("POST", &format!("{path}/rollback{query}"), &[])?;
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    remote.print(&done, |done| served(&name, done))?;
    Ok(ExitCode::SUCCESS)
}

/// Sets, removes and lists variables.
pub(crate) fn env(args: &EnvArgs) -> anyhow::Result<ExitCode> {
    let at = |deployed: &DeployedArgs, variable: &str| -> anyhow::Result<(Remote, String)> {
        let path = format!("{}/env/{}", project_path(deployed)?, encoded(variable.as_bytes()));
        Ok((Remote::of(&deployed.remote)?, path))
    };
    match &args.verb {
        EnvVerb::List(deployed) => {
            let remote = Remote::of(&deployed.remote)?;
            let variables = remote.ask("GET", &format!("{}/env", project_path(deployed)?), &[])?;
            remote.print(&variables, |variables| {
                let line = |variable: &Value| {
                    let name = variable["name"].as_str().unwrap_or_default();
                    let value = variable["value"].as_str().unwrap_or("(secret)");
                    format!("{name}={value}")
                };
                let lines: Vec<_> = variables.as_array().into_iter().flatten().map(line).collect();
                lines.join("\n")
            })?;
        }
        EnvVerb::Set { variable, value, secret, deployed } => {
            let (remote, path) = at(deployed, variable)?;
            let value = if value == "-" { stdin()? } else { value.clone() };
            let body = serde_json::to_vec(&json!({ "value": value, "secret": secret }))?;
            let done = remote.ask("PUT", &path, &body)?;
            remote.print(&done, |done| {
                format!("{variable} is set; {} reloaded", counted(&done["rooms"], "room"))
            })?;
        }
        EnvVerb::Remove { variable, deployed } => {
            let (remote, path) = at(deployed, variable)?;
            let done = remote.ask("DELETE", &path, &[])?;
            remote.print(&done, |done| {
                format!("{variable} is removed; {} reloaded", counted(&done["rooms"], "room"))
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a value from stdin, without the end of its last line.
fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|err| {
        Mistake::new(Code::Unreadable, format_args!("stdin cannot be read: {err}"))
    })?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}

/// Makes, lists and revokes tokens.
pub(crate) fn token(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        TokenVerb::Create { name, scope, remote } => {
            let remote = Remote::of(remote)?;
            let scope = match scope {
                ScopeName::Read => "read",
                ScopeName::Deploy => "deploy",
                ScopeName::Admin => "admin",
            };
            let body = serde_json::to_vec(&json!({ "name": name, "scope": scope }))?;
            let made = remote.ask("POST", "tokens", &body)?;
            print::talk(format_args!("the token {}, which is shown only this once:", made["id"]));
            remote.print(&made, |made| made["secret"].as_str().unwrap_or_default().to_owned())?;
        }
        TokenVerb::List(remote) => {
            let remote = Remote::of(remote)?;
            let tokens = remote.ask("GET", "tokens", &[])?;
            remote.print(&tokens, |tokens| {
                let line = |token: &Value| {
                    let text = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
                    let at =
                        token["created_ms"].as_u64().map(crate::print::time).unwrap_or_default();
                    format!("{}  {:<6}  {at}  {}", text("id"), text("scope"), text("name"))
                };
                let lines: Vec<_> = tokens.as_array().into_iter().flatten().map(line).collect();
                lines.join("\n")
            })?;
        }
        TokenVerb::Revoke { id, remote } => {
            let remote = Remote::of(remote)?;
            let gone = remote.ask("DELETE", &format!("tokens/{}", encoded(id.as_bytes())), &[])?;
            remote.print(&gone, |gone| format!("revoked {}", gone["name"]))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Deletes a project.
pub(crate) fn delete(args: &DeleteArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::of(&args.remote)?;
    let what = format!("the project {} and everything that its rooms store", args.name);
    if !args.yes && !yes(&what)? {
        return Err(Mistake::new(Code::NotConfirmed, "nothing was deleted").into());
    }
    let gone = remote.ask("DELETE", &format!("projects/{}", encoded(args.name.as_bytes())), &[])?;
    remote.print(&gone, |_| format!("deleted {}", args.name))?;
    Ok(ExitCode::SUCCESS)
}
