//! `room dev`. Owns where the server listens and its configuration.
//!
//! Invariant: a port that the user named is used or refused, never replaced. It does not know what happens at a save;
//! that is `dev`.

use super::wait_for;
use crate::args::DevArgs;
use crate::args::address::Host;
use crate::codes::Code;
use crate::dev::{Choices, Node, Session, Stop, Watching};
use crate::log;
use crate::mistake::Mistake;
use crate::print::{self, WARN, styled};
use crate::project::{EPHEMERAL, Project, STATE};
use room_runtime::{Audience, Config, Proxies, StartError, StorageConfig};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;

/// The port that PartyKit's clients and examples use by default.
const PORT: u16 = 1999;
/// How many ports after [`PORT`] are tried before the user has to choose.
const PORTS_TRIED: u16 = 100;

/// Serves until a signal or a key ends it.
pub(crate) fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    let (faults, _traces) = log::install(args.verbose, args.log.as_deref())?;
    let project = Project::find(&args.project)?;
    let watching = if args.poll { Watching::Polling } else { Watching::Events };
    let choices = Choices { profile: args.profile.clone(), vars: args.vars.clone(), watching };
    wait_for(async {
        let node = listen(args, &project).await?.announce()?;
        // Before the session changes the terminal: a signal in between would leave it changed.
        let stop = Stop::listen()?;
        Session::new(project, node, choices, faults)?.run(stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Starts the runtime on the requested port, or on the first free one.
async fn listen(args: &DevArgs, project: &Project) -> anyhow::Result<Node> {
    let host = args.host.host.unwrap_or(Host::Localhost);
    let named = args.port.or(args.host.port);
    let ports = match named {
        // A port that is free at one address may be taken at the other.
        Some(0) => vec![0; usize::from(PORTS_TRIED)],
        Some(port) => vec![port],
        None => (PORT..=PORT + PORTS_TRIED).collect(),
    };
    let mut taken = None;
    for port in ports {
        let port = if port == 0 { any_port(host)? } else { port };
        // Checked before the store is opened, as a failed attempt would have to close it again.
        if let Some(busy) = host.at(port).into_iter().find(|addr| !is_free(*addr)) {
            taken.get_or_insert(busy);
            continue;
        }
        let dir = project.own(if args.ephemeral { EPHEMERAL } else { STATE });
        let mut addrs = host.at(port);
        let config = config(args, project, addrs.remove(0));
        match Node::start(config, addrs, dir).await {
            Ok(node) => {
                if let (Some(busy), None) = (taken, named) {
                    let text = format!("port {} is taken, using {port}", busy.port());
                    print::talk(styled(WARN, text));
                }
                return Ok(node);
            }
            Err(StartError::Listen { addr, source }) if source.kind() == ErrorKind::AddrInUse => {
                taken.get_or_insert(addr);
            }
            Err(err) => return Err(refused(err)),
        }
    }
    let message = match (named, taken) {
        (Some(port @ 1..), Some(busy)) => format!("port {port} is taken, at {}", busy.ip()),
        _ => format!("the ports {PORT} to {} are all taken", PORT + PORTS_TRIED),
    };
    Err(Mistake::new(Code::PortTaken, message)
        .help("choose another one with --port, or 0 for any")
        .into())
}

/// Returns a port that is free now.
fn any_port(host: Host) -> anyhow::Result<u16> {
    let addr = host.at(0).remove(0);
    let bound = std::net::TcpListener::bind(addr);
    let bound = bound.map_err(|source| refused(StartError::Listen { addr, source }))?;
    Ok(bound.local_addr()?.port())
}

fn is_free(addr: SocketAddr) -> bool {
    match std::net::TcpListener::bind(addr) {
        Ok(_) => true,
        // The runtime itself reports any other error better.
        Err(err) => err.kind() != ErrorKind::AddrInUse,
    }
}

fn config(args: &DevArgs, project: &Project, listen: SocketAddr) -> Config {
    let storage = if args.ephemeral {
        StorageConfig::Memory
    } else {
        StorageConfig::Disk(project.own(STATE))
    };
    Config {
        listen,
        storage,
        cache_dir: Some(project.own("cache")),
        tls: None,
        proxies: Proxies::default(),
        limits: project.manifest.limits.clone(),
        audience: Audience::Developer,
    }
}

/// Returns why the runtime did not start, worded for the user.
fn refused(err: StartError) -> anyhow::Error {
    let help = match &err {
        StartError::Listen { .. } => "choose another address with --host and --port",
        _ => {
            "if another `room dev` serves this project, stop it; `--ephemeral` needs no data folder"
        }
    };
    let text = print::causes(&anyhow::Error::new(err));
    Mistake::new(Code::NoStart, format_args!("the server does not start: {text}")).help(help).into()
}
