//! `room dev`. Owns where the server listens and what it is configured with.
//!
//! Invariant: a port that the user named is used or refused, never replaced. It does not know what
//! happens at a save; that is `dev`.

use super::wait_for;
use crate::args::DevArgs;
use crate::codes::Code;
use crate::dev::{Choices, Node, Session, Stop};
use crate::log;
use crate::mistake::Mistake;
use crate::print::{self, WARN, styled};
use crate::project::{EPHEMERAL, Project, STATE};
use room_runtime::{Audience, Config, Proxies, StartError, StorageConfig};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Where PartyKit's clients and examples look first.
const PORT: u16 = 1999;
/// How many ports after [`PORT`] are tried before it is the user's turn to choose.
const PORTS_TRIED: u16 = 100;

/// Serves until a signal or a key ends it.
pub(crate) fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    let (faults, _traces) = log::install(args.verbose, args.log.as_deref())?;
    let project = Project::find(&args.project)?;
    let choices = Choices { profile: args.profile.clone(), vars: args.vars.clone() };
    wait_for(async {
        let node = listen(args, &project).await?.announce()?;
        // Before the session changes the terminal, or an end in between would leave it so.
        let stop = Stop::listen()?;
        Session::new(project, node, choices, faults)?.run(stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Starts the runtime on the port that was asked for, or on the first free one.
async fn listen(args: &DevArgs, project: &Project) -> anyhow::Result<Node> {
    let first = args.port.unwrap_or(PORT);
    let last = if args.port.is_some() { first } else { first + PORTS_TRIED };
    for port in first..=last {
        // Asked before the store is opened, which an attempt in vain would have to undo.
        if !is_free(SocketAddr::new(args.host, port)) {
            continue;
        }
        let dir = project.own(if args.ephemeral { EPHEMERAL } else { STATE });
        match Node::start(config(args, project, port), dir).await {
            Ok(node) => {
                if port != first {
                    let port = node.runtime().addr().port();
                    let text = format!("port {first} is taken, using {port}");
                    print::talk(styled(WARN, text));
                }
                return Ok(node);
            }
            Err(StartError::Listen { source, .. }) if source.kind() == ErrorKind::AddrInUse => {}
            Err(err) => return Err(refused(err)),
        }
    }
    let message = match args.port {
        Some(port) => format!("port {port} is taken"),
        None => format!("the ports {first} to {last} are all taken"),
    };
    Err(Mistake::new(Code::PortTaken, message)
        .help("choose another one with --port, or 0 for any")
        .into())
}

fn is_free(addr: SocketAddr) -> bool {
    match std::net::TcpListener::bind(addr) {
        Ok(_) => true,
        // Anything else is said better by the runtime itself.
        Err(err) => err.kind() != ErrorKind::AddrInUse,
    }
}

fn config(args: &DevArgs, project: &Project, port: u16) -> Config {
    let storage = if args.ephemeral {
        StorageConfig::Memory
    } else {
        StorageConfig::Disk(project.own(STATE))
    };
    Config {
        listen: SocketAddr::new(args.host, port),
        storage,
        cache_dir: Some(project.own("cache")),
        tls: None,
        proxies: Proxies::default(),
        limits: project.manifest.limits.clone(),
        audience: Audience::Developer,
    }
}

/// Why the runtime did not start, to the one who can change it.
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
