//! A server that runs somewhere, as its operator asks it. Owns the way from a URL and a token to an answer.
//!
//! Invariant: an answer is JSON or an error with a way out; the token is in no message. It does not know
//! what is asked.

use crate::args::ProjectArgs;
use crate::args::remote::{DeployedArgs, RemoteArgs};
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print;
use crate::project::Project;
use crate::server::Server;
use anyhow::Context as _;
use serde_json::Value;
use std::net::{SocketAddr, ToSocketAddrs as _};

/// A server and how its answers are printed.
pub(crate) struct Remote {
    server: Server,
    json: bool,
}

impl Remote {
    /// The server that a command line means.
    ///
    /// # Errors
    /// A mistake: its URL or its token is none.
    pub(crate) fn of(args: &RemoteArgs) -> anyhow::Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if args.token.is_empty() || !args.token.chars().all(plain) {
            return Err(Mistake::new(Code::BadToken, "this is no token of a server")
                .help("`room serve` prints the first one; `room token create` makes more")
                .into());
        }
        let server = Server::at(address(&args.to)?, args.token.clone());
        Ok(Self { server, json: args.json })
    }

    /// Asks, and reads the answer. Paths begin behind `/_room/admin/`.
    ///
    /// # Errors
    /// A mistake if the server refused, or cannot be reached.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Value> {
        let mut answer = Vec::new();
        self.server.ask(method, &format!("/_room/admin/{path}"), body, &mut answer)?;
        serde_json::from_slice(&answer).context("the server's answer is no JSON")
    }

    /// Prints an answer: as it is, or in words.
    ///
    /// # Errors
    /// None but of JSON.
    pub(crate) fn print(
        &self,
        answer: &Value,
        words: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        match self.json {
            true => print::data(serde_json::to_string_pretty(answer)?),
            false => print::data(words(answer)),
        }
        Ok(())
    }
}

/// The path of a project on a server.
///
/// # Errors
/// A mistake: none is named, and there is none here.
pub(crate) fn project_path(args: &DeployedArgs) -> anyhow::Result<String> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => Project::find(&ProjectArgs { path: None, project: None })?.manifest.name,
    };
    Ok(format!("projects/{}", crate::operator::encoded(name.as_bytes())))
}

/// Where a URL leads.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let wrong = |why: &str| {
        Mistake::new(Code::BadUrl, format_args!("{url} is no address of a server: {why}")).help(
            "write it as http://127.0.0.1:1998; a server elsewhere is best reached through \
             `ssh -L 1998:localhost:1998 its-name`",
        )
    };
    if url.starts_with("https://") {
        return Err(wrong("the operator's listener speaks plain HTTP").into());
    }
    let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    if rest.is_empty() || rest.contains('/') {
        return Err(wrong("it has a host and a port, and no path").into());
    }
    let with_port = match rest.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => rest.to_owned(),
        _ => format!("{rest}:1998"),
    };
    let mut found = with_port.to_socket_addrs().map_err(|err| wrong(&err.to_string()))?;
    Ok(found.next().ok_or_else(|| wrong("it has no address"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_an_address_or_says_why_not() {
        for (url, leads) in [
            ("http://127.0.0.1:7/", "127.0.0.1:7"),
            ("127.0.0.1", "127.0.0.1:1998"),
            ("http://[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(address(url).unwrap().to_string(), leads);
        }
        for url in ["", "http://", "https://127.0.0.1:7", "http://127.0.0.1:7/x", "http://a b:7"] {
            assert!(address(url).unwrap_err().is::<Mistake>(), "{url}");
        }
    }
}
