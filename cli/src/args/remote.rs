//! The words of the commands for servers: `serve`, `deploy` and those that manage deployed projects.
//!
//! Invariant: a token is never shown by a manual page. It does not know what the commands do.

use super::ProjectArgs;
use super::address::{clients, operators};
use super::cluster::ClusterArgs;
use clap::{Args as ClapArgs, Subcommand, ValueEnum, ValueHint};
use room_runtime::{Network, NodeId, PeerNode, node_name};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serve the projects that are deployed here
///
/// The production server. It starts with nothing, serves the projects that `room deploy` sends to it, and serves them
/// again after every restart. Clients connect to --listen. Operators, that is `room deploy` and the like, connect to
/// --admin, which only this machine reaches unless you say otherwise. On an empty data folder it prints the first
/// token, once. The dashboard is at the operators' address, at `/_room/`, and asks for a token. SIGTERM, Ctrl-C and,
/// unless it was started by `nohup`, SIGHUP stop it: rooms finish their work, and it closes sockets with 1012 at
/// random moments within --drain-seconds, so that not all clients come back at once. Further signals change nothing.
/// A new certificate needs no signal: the server checks its files every ten seconds.
///
/// Behind a proxy, name it by --trusted-proxy: only then rooms see the clients' addresses and the scheme and host
/// that they used, from X-Forwarded-For, -Proto and -Host (or Forwarded). These headers of any other sender reach no
/// room. With --proxy-protocol, trusted proxies start each connection with a PROXY header, before TLS. The server
/// closes a connection without one. It serves connections from elsewhere as without the option.
///
/// Several nodes serve the same projects together if each has a name by --node and knows the others by --peer. A room
/// lives on one of them, by the names of the project, its party and the room, and every node forwards requests and
/// WebSockets there. Give all nodes the same names, deploy to each of them, and name them to each other by
/// --trusted-proxy. The nodes are fixed: while one is away its rooms are away, and other names move rooms without
/// their data.
///
/// With --cluster any number of nodes serve the same projects over one PostgreSQL database, which has the projects and the
/// rooms' data. A deploy to any node reaches all. Nodes may come, go and crash: the others take over their rooms. Each node
/// has a name by --node, and an address for the others by --advertise. All have the same --cluster-key. CLUSTER.md of the
/// runtime is the guide.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room serve --data /srv/room\n  room serve --data /srv/room \
--listen 0.0.0.0:80 --drain-seconds 5\n  room serve --data /srv/room --trusted-proxy 10.0.0.0/8 \
--proxy-protocol\n  room serve --data /srv/room --node a --peer b=http://10.0.0.2:1999 --trusted-proxy 10.0.0.2\n  \
room serve --data /srv/room --cluster postgres://room@db.internal/room --node a --advertise 10.0.0.1:1999 --cluster-key /etc/room/cluster.key"
)]
pub(crate) struct ServeArgs {
    /// The folder for all data of the server; created if it does not exist
    #[arg(long, value_name = "DIR", env = "ROOM_DATA", value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    /// The clients' address; a host or a port may be left out
    #[arg(long, value_name = "ADDRESS", env = "ROOM_LISTEN", default_value = "0.0.0.0:1999", value_parser = clients)]
    pub(crate) listen: SocketAddr,
    /// The operators' address; a host or a port may be left out
    #[arg(long, value_name = "ADDRESS", env = "ROOM_ADMIN", default_value = "127.0.0.1:1998", value_parser = operators)]
    pub(crate) admin: SocketAddr,
    /// The certificate for clients, in PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let operators use TLS, too, with the same certificate
    #[arg(long, requires = "tls_cert")]
    pub(crate) admin_tls: bool,
    /// A proxy or a network of proxies, as 10.0.0.0/8, which may say who its clients are; may be repeated
    #[arg(long, value_name = "CIDR", env = "ROOM_TRUSTED_PROXY", value_delimiter = ',')]
    pub(crate) trusted_proxy: Vec<Network>,
    /// Trusted proxies start each connection with a header of the PROXY protocol, version 1 or 2
    #[arg(long, requires = "trusted_proxy")]
    pub(crate) proxy_protocol: bool,
    /// The name of this node among those that serve the same rooms
    #[arg(long, value_name = "NODE", env = "ROOM_NODE", value_parser = node_name)]
    pub(crate) node: Option<NodeId>,
    /// Another of these nodes and its clients' address, as b=http://10.0.0.2:1999; may be repeated
    #[arg(
        long,
        value_name = "NODE=URL",
        env = "ROOM_PEER",
        value_delimiter = ',',
        requires = "node"
    )]
    pub(crate) peer: Vec<PeerNode>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Over how many seconds sockets are closed when the server stops
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) drain_seconds: u64,
    /// Which log lines to show, as tracing's directives
    #[arg(long, value_name = "FILTER", env = "ROOM_LOG")]
    pub(crate) log: Option<String>,
}

/// A running server.
#[derive(Debug, ClapArgs)]
pub(crate) struct RemoteArgs {
    /// The server's address for operators, as `https://rooms.example.com` or `http://127.0.0.1:1998`
    #[arg(long, value_name = "URL", env = "ROOM_TO")]
    pub(crate) to: String,
    /// The token to show it
    #[arg(long, value_name = "TOKEN", env = "ROOM_TOKEN", hide_env_values = true)]
    pub(crate) token: String,
    /// Trust the certificate authorities in this file, in PEM, in place of this machine's
    #[arg(long, value_name = "FILE", env = "ROOM_CA_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A server elsewhere, asked in place of the one that runs here.
#[derive(Debug, ClapArgs)]
pub(crate) struct ElsewhereArgs {
    /// Ask the server with this operators' address, as `https://rooms.example.com`
    #[arg(long, value_name = "URL", env = "ROOM_TO")]
    pub(crate) to: Option<String>,
    /// The token to show it: of scope read to look, of scope admin to change or copy everything
    #[arg(long, value_name = "TOKEN", env = "ROOM_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Which of its projects [default: that of the project here]
    #[arg(long = "name", id = "project_name", value_name = "PROJECT")]
    pub(crate) name: Option<String>,
    /// Trust the certificate authorities in this file, in PEM, in place of this machine's
    #[arg(long, value_name = "FILE", env = "ROOM_CA_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
}

/// A project on a running server.
#[derive(Debug, ClapArgs)]
pub(crate) struct DeployedArgs {
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    /// The project's name [default: that of the project here]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Build the project and serve it on a server
///
/// Builds for release, uploads the files that the server lacks, and puts all parties and files in place at once.
/// Running rooms take the new code over between two events. Their sockets, states and storage stay. Code that does
/// not compile, load or start anywhere never becomes current: the previous version keeps serving, everywhere.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room deploy --to http://127.0.0.1:1998\n  \
ssh -L 1998:localhost:1998 my-server  # and then the same\n  room deploy --dry-run")]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Build with this cargo profile
    #[arg(long, value_name = "NAME", default_value = "release")]
    pub(crate) profile: String,
}

/// List the versions of a project on a server
///
/// Shows every version that `room rollback` can restore, who deployed it and when, and which one is served.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room list\n  room list --name chat --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) deployed: DeployedArgs,
}

/// Go back to another version
///
/// Serves a previously deployed version at once: the server has it, compiled. Sockets stay.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room rollback\n  room rollback 7")]
pub(crate) struct RollbackArgs {
    /// The version's number [default: the one before the current one]
    #[arg(value_name = "VERSION")]
    pub(crate) version: Option<u64>,
    #[command(flatten)]
    pub(crate) deployed: DeployedArgs,
}

/// Set the rooms' environment on a server
///
/// Variables that are set on the server override `[vars]` of room.toml. After a change the rooms restart with it, and
/// sockets stay. Secrets are never shown again.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room env set GREETING hello\n  room env list\n  room env remove GREETING"
)]
pub(crate) struct EnvArgs {
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: EnvVerb,
}

/// What a command does with variables.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvVerb {
    /// Show the variables; secrets without their values
    List(DeployedArgs),
    /// Set one
    #[command(after_long_help = "Examples:\n  room env set GREETING hello\n  \
pass show api-key | room env set API_KEY - --secret")]
    Set {
        /// Its name
        #[arg(value_name = "NAME")]
        variable: String,
        /// Its value; `-` reads it from stdin
        #[arg(value_name = "VALUE")]
        value: String,
        /// Never show it again
        #[arg(long)]
        secret: bool,
        #[command(flatten)]
        deployed: DeployedArgs,
    },
    /// Remove one
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        variable: String,
        #[command(flatten)]
        deployed: DeployedArgs,
    },
}

/// Manage the tokens of a server
///
/// A token's secret is printed when it is made, and never again: the server keeps its hash.
#[derive(Debug, ClapArgs)]
#[command(
    after_long_help = "Examples:\n  room token create laptop --scope deploy\n  room token list\n  \
room token revoke 1a2b3c4d"
)]
pub(crate) struct TokenArgs {
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: TokenVerb,
}

/// What a command does with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make one
    #[command(after_long_help = "Examples:\n  room token create laptop --scope deploy\n  \
room token create prometheus")]
    Create {
        /// Its purpose
        #[arg(value_name = "NAME")]
        name: String,
        /// Its scope
        #[arg(long, value_enum, default_value_t = ScopeName::Read)]
        scope: ScopeName,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show them
    List(RemoteArgs),
    /// Revoke one
    Revoke {
        /// Its id, from `room token list`
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// The scope of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeName {
    /// Look at everything but secrets
    Read,
    /// Deploy, roll back and set variables, too
    Deploy,
    /// Everything
    Admin,
}

/// Delete a project from a server, with all that its rooms store
///
/// Its sockets are closed, and its versions, files, variables and data are removed. There is no way back but a
/// backup.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room delete chat --yes")]
pub(crate) struct DeleteArgs {
    /// The project's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}
