//! `room serve`. Owns the messages to an operator when the server starts and stops.
//!
//! Invariant: the first token is printed to stdout and nowhere else. It does not know what is served.

use super::wait_for;
use crate::args::remote::ServeArgs;
use crate::cluster;
use crate::codes::Code;
use crate::dev::Stop;
use crate::files;
use crate::log;
use crate::mistake::Mistake;
use crate::print::{self, BOLD, WARN, styled};
use room_runtime::server::{KeepError, ServeError};
use room_runtime::{
    DatabaseError, Limits, MembershipError, Preamble, Proxies, Server, ServerConfig, Space, Tls,
};
use std::process::ExitCode;

/// The other files that a server has open: its data, its listeners, its threads' own.
const OTHER_FILES: u64 = 64;

/// Serves until a signal stops it.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let (_, _traces) = log::install(0, args.log.as_deref())?;
    let config = config(args)?;
    let scheme = |tls: &Option<Tls>| if tls.is_some() { "https" } else { "http" };
    let schemes = [scheme(&config.tls), scheme(&config.admin_tls)];
    let nodes = nodes(&config);
    let (files, connections_max) = (files::raise(), config.limits.connections_max);
    wait_for(async {
        let mut stop = Stop::listen()?;
        let server = Server::start(config).await.map_err(refused)?;
        welcome(&server, schemes).await;
        if let Some(nodes) = nodes {
            print::talk(nodes);
        }
        if let Some(files) = files {
            tell_files(files, connections_max);
        }
        stop.asked().await;
        print::talk("stopping: rooms finish their current work");
        server.drain().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn config(args: &ServeArgs) -> anyhow::Result<ServerConfig> {
    let defaults = Limits::default();
    let limits = Limits { drain_spread_ms: args.drain_seconds.saturating_mul(1_000), ..defaults };
    let problems = limits.problems();
    if !problems.is_empty() {
        return Err(Mistake::new(Code::BadLimits, problems.join("; ")).into());
    }
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let tls = tls.map(|(cert, key)| Tls { cert, key });
    let preamble = if args.proxy_protocol { Preamble::ProxyHeader } else { Preamble::Nothing };
    Ok(ServerConfig {
        data: args.data.clone(),
        listen: args.listen,
        admin: args.admin,
        admin_tls: tls.clone().filter(|_| args.admin_tls),
        tls,
        proxies: Proxies { trusted: args.trusted_proxy.clone(), preamble },
        space: space(args),
        cluster: cluster::config(&args.cluster, args.node.as_ref())?,
        limits,
    })
}

/// Returns the nodes that the command line names.
fn space(args: &ServeArgs) -> Space {
    let alone = Space::default();
    Space { node: args.node.clone().unwrap_or(alone.node), peers: args.peer.clone() }
}

/// Returns the line that names the nodes, if there may be more than one.
fn nodes(config: &ServerConfig) -> Option<String> {
    if let Some(cluster) = &config.cluster {
        let (own, address) = (cluster.node.name().as_str(), cluster.node.authority());
        return Some(format!("node       {own}, for the others of its cluster at {address}"));
    }
    let space = &config.space;
    let peers: Vec<&str> = space.peers.iter().map(|peer| peer.name().as_str()).collect();
    let own = space.node.as_str();
    (!peers.is_empty()).then(|| format!("node       {own}, beside {}", peers.join(", ")))
}

async fn welcome(server: &Server, [clients, operators]: [&str; 2]) {
    print::talk(format_args!("clients    {clients}://{}", server.addr()));
    print::talk(format_args!("operators  {operators}://{}", server.admin_addr()));
    print::talk(format_args!("dashboard  {operators}://{}/_room/", server.admin_addr()));
    let projects = server.projects();
    match projects.is_empty() {
        true => print::talk("nothing is deployed yet"),
        false => print::talk(format_args!("serving    {}", projects.join(", "))),
    }
    for (name, why) in server.broken() {
        print::talk(styled(WARN, format_args!("not served {name}: {why}")));
    }
    if let Some(token) = server.first_token() {
        print::talk("the first token, which is shown only this once:");
        print::data(styled(BOLD, &token.secret));
        print::talk(format_args!(
            "deploy with: ROOM_TOKEN=… room deploy --to {operators}://{}",
            server.admin_addr()
        ));
    }
}

/// Prints how many connections the system allows, and how to get more if that is fewer than the limits allow.
fn tell_files(files: u64, connections_max: u64) {
    let connections = files.saturating_sub(OTHER_FILES).min(connections_max);
    print::talk(format_args!("files      {files} at most, for {connections} connections"));
    if connections < connections_max {
        let needed = connections_max + OTHER_FILES;
        print::talk(styled(
            WARN,
            format_args!(
                "connections_max is {connections_max}: raise the limit to {needed} open files, as by \
                 LimitNOFILE={needed} in a unit of systemd's"
            ),
        ));
    }
}

/// Returns why the server did not start, worded for the operator.
fn refused(err: ServeError) -> anyhow::Error {
    let help = match &err {
        ServeError::Listen { .. } => "choose other addresses with --listen and --admin",
        ServeError::Proxies(_) => "name them: --trusted-proxy 10.0.0.0/8",
        ServeError::Space(_) => {
            "choose other --node and --peer, such as --node a --peer b=http://10.0.0.2:1999"
        }
        ServeError::Tls(_) => "check --tls-cert and --tls-key",
        ServeError::InUse(_) => "stop the other server, or name another folder with --data",
        ServeError::Tokens(_) => {
            "put a copy back, or move tokens.json away: the next start prints a new first token, the old \
             ones are worthless, and all projects stay as they are"
        }
        ServeError::File(_) => "check the folder's owner, and the space on its disk",
        ServeError::Engine(_) => {
            "check `ulimit -v` and vm.overcommit_memory: guests need address space, not memory; or lower \
             rooms_active_max"
        }
        ServeError::Keep(KeepError::OtherKey) => "copy the key file of a node that runs",
        ServeError::Keep(KeepError::File(_)) => {
            "check the folder's owner, and the space on its disk"
        }
        ServeError::Keep(_) => "check the database; nothing in it was changed",
        ServeError::Membership(MembershipError::NameTaken { .. }) => "choose another --node",
        ServeError::Membership(MembershipError::Database(error)) | ServeError::Database(error) => {
            with_database(error)
        }
        ServeError::Membership(_) => "CLUSTER.md of the runtime has the statements",
    };
    let code = match &err {
        ServeError::Keep(KeepError::OtherKey | KeepError::Record(_))
        | ServeError::Membership(_)
        | ServeError::Database(_) => Code::BadCluster,
        _ => Code::NoStart,
    };
    Mistake::new(code, format_args!("the server does not start: {err}")).help(help).into()
}

/// Returns what to do about a database that cannot be used.
fn with_database(error: &DatabaseError) -> &'static str {
    let code = match error {
        DatabaseError::Refused { code, .. } => code.as_str(),
        DatabaseError::NewerSchema { .. } => {
            return "start the version of `room` that the other nodes have";
        }
        DatabaseError::Unreachable(_) | DatabaseError::TimedOut(_) => {
            return "check the address in --cluster, and that the database runs and takes connections from here";
        }
    };
    match code {
        "28P01" | "28000" => {
            "check the user in --cluster, and its password in --cluster-password or ROOM_CLUSTER_PASSWORD"
        }
        "3D000" => "make the database: CREATE DATABASE room OWNER room",
        "42501" => {
            "the first node makes the schema room: let the database's user own the database, or run GRANT CREATE ON DATABASE"
        }
        "25006" => "this database only reads, like a standby: name the primary in --cluster",
        _ => "the database's log has more",
    }
}
