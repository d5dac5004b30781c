//! The cluster of a server, as its operator names it. Owns where its key and its password are read.
//!
//! Invariant: neither the key nor the password is in a message. It does not know how a server joins a cluster.

use crate::args::cluster::ClusterArgs;
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print::{self, WARN, styled};
use room_runtime::server::{ClusterConfig, VaultKey};
use room_runtime::{DatabaseSettings, NodeId, PeerNode};
use std::net::IpAddr;
use std::path::Path;

/// The variables that have what is not on the command line.
const URL: &str = "ROOM_CLUSTER";
const KEY: &str = "ROOM_CLUSTER_KEY";
const PASSWORD: &str = "ROOM_CLUSTER_PASSWORD";

/// Returns the cluster that a command line names, if it names one.
///
/// # Errors
/// A mistake: a part is missing or invalid.
pub(crate) fn config(
    args: &ClusterArgs,
    node: Option<&NodeId>,
) -> anyhow::Result<Option<ClusterConfig>> {
    let Some((url, (node, advertise))) =
        args.cluster.as_ref().zip(node.zip(args.advertise.as_ref()))
    else {
        return Ok(None);
    };
    let node = peer(node, advertise)?;
    let password = secret(args.cluster_password.as_deref(), PASSWORD)?;
    let database =
        DatabaseSettings::parse(url, password.as_deref().map(str::trim_end)).map_err(|error| {
            mistake(
                error,
                "its password is in --cluster-password FILE, or in ROOM_CLUSTER_PASSWORD",
            )
        })?;
    if shows_password(url) {
        let text = "the password in --cluster is visible to all users of this machine: put it into a file for \
                    --cluster-password, or the URL into ROOM_CLUSTER";
        print::talk(styled(WARN, text));
    }
    let key = secret(args.cluster_key.as_deref(), KEY)?.ok_or_else(|| {
        mistake(
            "the cluster's key is missing, with which variables are sealed in the database",
            "make one with `openssl rand -hex 32 > cluster.key`, copy it to every node, and name it by --cluster-key",
        )
    })?;
    let key =
        VaultKey::parse(&key).map_err(|error| mistake(error, "--cluster-key names its file"))?;
    Ok(Some(ClusterConfig { database, node, key }))
}

/// Returns this node with the address at which the others reach it.
fn peer(node: &NodeId, advertise: &str) -> anyhow::Result<PeerNode> {
    let help = "write --advertise as HOST:PORT: the host and the clients' port at which the other nodes reach this one, as \
                in 10.0.0.1:1999";
    let peer: PeerNode = format!("{}=http://{advertise}", node.as_str())
        .parse()
        .map_err(|_| mistake(format_args!("{advertise:?} is not an address of a node"), help))?;
    let (host, _) = peer.address();
    match host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => {
            let message = format_args!(
                "{advertise} is every address of a machine, and no other node reaches this one by it"
            );
            Err(mistake(message, help))
        }
        _ => Ok(peer),
    }
}

/// Returns a secret from a file or else from a variable.
fn secret(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<String>> {
    let Some(file) = file else {
        let value = std::env::var_os(variable).filter(|value| !value.is_empty());
        let text = value.map(|value| value.into_string()).transpose();
        return text.map_err(|_| mistake(format_args!("{variable} is not text"), "set it again"));
    };
    let text = std::fs::read_to_string(file);
    text.map(Some).map_err(|error| {
        Mistake::new(Code::Unreadable, format_args!("{} cannot be read: {error}", file.display()))
            .help("name a file that this user may read")
            .into()
    })
}

/// Returns true if a URL on the command line has a password.
fn shows_password(url: &str) -> bool {
    let user = url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    let has_password = user.is_some_and(|(user, _)| user.contains(':'));
    has_password && std::env::var_os(URL).is_none_or(|value| value != url)
}

fn mistake(message: impl std::fmt::Display, help: impl std::fmt::Display) -> anyhow::Error {
    Mistake::new(Code::BadCluster, message).help(help).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_reached_by_an_address_of_its_own() {
        let node = room_runtime::node_name("a").unwrap();
        let reached = peer(&node, "10.0.0.1:1999").unwrap();
        assert_eq!((reached.name(), reached.address()), (&node, ("10.0.0.1", 1999)));
        for bad in ["", ":1999", "10.0.0.1:x", "http://10.0.0.1", "0.0.0.0:1999", "[::]:1999"] {
            assert!(peer(&node, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_on_the_command_line_is_noticed() {
        assert!(shows_password("postgres://ada:s3cret@db.example/rooms"));
        for fine in ["postgres://ada@db.example:5432/rooms", "postgres://db.example/a@b:c", "x"] {
            assert!(!shows_password(fine), "{fine}");
        }
    }
}
