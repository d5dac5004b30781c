//! A server for tests that kill it: `crash-node DATA MODULE CACHE ORIGIN [remembering]`. Owns nothing but its start.
//!
//! It opens the folder DATA, serves the guest in the file MODULE as party `main`, which may fetch from the server ORIGIN
//! and whose webhooks go there, and prints one line of JSON. With `remembering`, the party stores what it sends, for
//! clients that come back:
//! `{"addr": …, "problems": […]}`, or `{"error": …}` if it cannot. Invariant: it ends when its standard input does,
//! so that it never outlives the test that started it. It does not know that a test will kill it.

use room_runtime::{
    Audience, BodyDelivery, Config, FetchSettings, HistorySetting, Limits, PartyConfig, Project,
    Proxies, RetentionSettings, Runtime, SseAccess, StorageConfig, WebhookSettings, WhenQuiet,
};
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [data, module, cache, origin, rest @ ..] = &args[..] else {
        say(&json!({"error": "usage: crash-node DATA MODULE CACHE ORIGIN [remembering]"}));
        return ExitCode::FAILURE;
    };
    let origin = origin.display().to_string();
    let remembers = rest.iter().any(|word| word.as_os_str() == "remembering");
    match start(data.clone(), module.clone(), cache.clone(), (origin, remembers)).await {
        Ok((runtime, problems)) => {
            say(&json!({"addr": runtime.addr().to_string(), "problems": problems}));
            // The content does not matter, only that the input ends.
            let input = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(tokio::task::spawn_blocking(input).await);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&json!({"error": error.to_string()}));
            ExitCode::FAILURE
        }
    }
}

async fn start(
    data: PathBuf,
    module: PathBuf,
    cache: PathBuf,
    (origin, remembers): (String, bool),
) -> Result<(Runtime, Vec<String>), Box<dyn Error>> {
    // Reserving address space for few rooms makes the start fast. It happens thousands of times.
    let limits = Limits {
        rooms_active_max: 32,
        door_instances_max: 8,
        // Segments, checkpoints and snapshots come and go while the server lives.
        log_segment_bytes: 256 << 10,
        snapshot_log_bytes: 2 << 20,
        store_retry_ms: 20,
        // An answer whose turn fails comes again while the server lives.
        alarm_retry_ms_min: 20,
        // So does a webhook, as often as the receiver is away.
        webhook_retry_ms_max: 20,
        webhook_tries_max: u64::MAX,
        // Clients with one id replace their own connection whenever the server has not noticed its end.
        replacements_max: 1_000_000,
        ..Limits::default()
    };
    let runtime = Runtime::start(Config {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        storage: StorageConfig::Disk(data),
        cache_dir: Some(cache),
        tls: None,
        proxies: Proxies::default(),
        limits,
        audience: Audience::Developer,
    });
    let runtime = runtime.await?;
    let problems = runtime.verify_storage().await?.problems;
    let party = PartyConfig {
        name: "main".to_owned(),
        was: None,
        module: std::fs::read(module)?.into(),
        vars: vec![
            ("ORIGIN".to_owned(), origin.clone()),
            ("HOOK_SECRET".to_owned(), "0123456789abcdef".to_owned()),
        ],
        when_quiet: WhenQuiet::Stay,
        auto_response: None,
        ttl: None,
        cors: None,
        request_bodies: BodyDelivery::Whole,
        retention: if remembers { remembering()? } else { RetentionSettings::default() },
        presence: None,
        auth: None,
        sse: if remembers { SseAccess::On } else { SseAccess::Off },
    };
    let webhooks = (!remembers).then(|| WebhookSettings {
        url: format!("http://{origin}/webhooks"),
        events: Some(vec!["connected".to_owned()]),
        secret: "HOOK_SECRET".to_owned(),
        ..WebhookSettings::default()
    });
    let fetch = FetchSettings { hosts: vec![origin] };
    let project = Project { parties: vec![party], fetch, webhooks, ..Project::default() };
    runtime.deploy(project).await?;
    Ok((runtime, problems))
}

/// Returns the settings of a party that stores what it sends.
fn remembering() -> Result<RetentionSettings, Box<dyn Error>> {
    let history = HistorySetting { keep: Some(4_000), keep_for: None, durable: true };
    Ok(RetentionSettings { resume: Some("1m".parse()?), history: Some(history) })
}

fn say(line: &Value) {
    // If nobody reads the line, the parent process has ended.
    drop(writeln!(std::io::stdout(), "{line}"));
}
