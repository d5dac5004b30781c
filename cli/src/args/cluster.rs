//! The words of clusters: which one a server belongs to, and the commands that look after its nodes.
//!
//! Invariant: no manual page shows a password, a key or a database's URL from the environment. It does not know what the
//! commands do.

use super::remote::RemoteArgs;
use clap::{Args as ClapArgs, ValueHint};
use std::path::PathBuf;

/// The cluster that a server belongs to.
#[derive(Debug, ClapArgs)]
pub(crate) struct ClusterArgs {
    /// The cluster's database, as postgres://USER@HOST:PORT/DATABASE?sslmode=require; its password elsewhere, as other
    /// users of this machine see command lines
    #[arg(
        long,
        value_name = "DATABASE",
        env = "ROOM_CLUSTER",
        hide_env_values = true,
        requires_all = ["node", "advertise"],
        conflicts_with = "peer"
    )]
    pub(crate) cluster: Option<String>,
    /// The clients' address of this node for the other nodes of the cluster
    #[arg(long, value_name = "HOST:PORT", env = "ROOM_ADVERTISE", requires = "cluster")]
    pub(crate) advertise: Option<String>,
    /// The file with the cluster's key, 32 bytes in hexadecimal or base64 [default: ROOM_CLUSTER_KEY has the key]
    #[arg(long, value_name = "FILE", requires = "cluster", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_key: Option<PathBuf>,
    /// The file with the password for the cluster's database [default: ROOM_CLUSTER_PASSWORD has it]
    #[arg(long, value_name = "FILE", requires = "cluster", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_password: Option<PathBuf>,
}

/// List the nodes of a cluster
///
/// Shows each live node with its address, the version of its program, the shards that it has of 1,024, its rooms in memory,
/// its clients, and the time since its last heartbeat. Any node answers. A node that drains hands its rooms over.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Examples:\n  room nodes --to http://127.0.0.1:1998\n  \
room nodes --json | jq -r '.nodes[] | select(.draining) | .name'")]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Make a node of a cluster hand its rooms over
///
/// The node stops its rooms between two events, and other nodes take them over. Clients in these rooms are closed with
/// 1012, and come back. Afterwards the node goes on accepting clients and leads them to the other nodes, until it stops. It
/// gets rooms again when it starts again. A node that is stopped by SIGTERM does all this by itself.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = "Example:\n  room drain b --to http://127.0.0.1:1998")]
pub(crate) struct DrainArgs {
    /// The node's name, as `room nodes` shows it
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}
