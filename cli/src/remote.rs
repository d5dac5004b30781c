//! A server that runs somewhere, as its operator asks it. Owns the way from a URL and a token to an answer.
//!
//! Invariant: an answer is JSON or an error with a way out; the token is in no message. It does not know what is
//! asked.

use crate::args::ProjectArgs;
use crate::args::remote::{DeployedArgs, RemoteArgs};
use crate::codes::Code;
use crate::link::Address;
use crate::mistake::Mistake;
use crate::print;
use crate::project::Project;
use crate::server::Server;
use anyhow::Context as _;
use room_runtime::server::BlobId;
use serde_json::Value;
use std::path::Path;

/// A server and how its answers are printed.
pub(crate) struct Remote {
    server: Server,
    json: bool,
}

impl Remote {
    /// Returns the server that a command line names.
    ///
    /// # Errors
    /// A mistake: its URL or its token is invalid.
    pub(crate) fn of(args: &RemoteArgs) -> anyhow::Result<Self> {
        let server = server(&args.to, &args.token, args.ca_file.as_deref())?;
        Ok(Self { server, json: args.json })
    }

    /// Sends a request, and reads the answer. Paths are relative to `/_room/admin/`.
    ///
    /// # Errors
    /// A mistake if the server refused, or cannot be reached.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Value> {
        let mut answer = Vec::new();
        self.server.ask(method, path, body, &mut answer)?;
        serde_json::from_slice(&answer).context("the server's answer is not JSON")
    }

    /// Sends a blob, and reports how many more of its bytes are on their way.
    ///
    /// # Errors
    /// As [`Remote::ask`].
    pub(crate) fn upload(
        &self,
        id: &BlobId,
        bytes: &[u8],
        told: &mut dyn FnMut(usize),
    ) -> anyhow::Result<()> {
        let path = format!("blobs/{id}");
        self.server.send(("PUT", &path), bytes, told, &mut std::io::sink())?;
        Ok(())
    }

    /// Returns true if the caller is a program.
    pub(crate) fn prints_json(&self) -> bool {
        self.json
    }

    /// Prints an answer: as it is, or in words.
    ///
    /// # Errors
    /// Only those of JSON.
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

/// Returns the server at a URL.
///
/// # Errors
/// A mistake: its URL, its token or the file of its authorities is invalid.
pub(crate) fn server(url: &str, token: &str, ca_file: Option<&Path>) -> anyhow::Result<Server> {
    let token = token_of(token).map_err(|message| {
        let help = "--token or ROOM_TOKEN gives it; `room serve` prints the first one, and `room token \
                    create` makes more";
        Mistake::new(Code::BadToken, message).help(help)
    })?;
    Ok(Server::at(Address::of(url, ca_file)?, token.to_owned()))
}

/// Returns the token in a text from a file or shell, without the white space around it.
fn token_of(text: &str) -> Result<&str, String> {
    let token = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match token.char_indices().find(|(_, c)| !plain(*c)) {
        None if token.is_empty() => Err("the server needs a token, and none is given".to_owned()),
        None => Ok(token),
        Some((at, c)) if c.is_whitespace() => {
            Err(format!("the token has white space in it, after {at} characters"))
        }
        Some((at, _)) => Err(format!(
            "the token has a character in it that no token has, after {at} characters: only letters, digits, \
             `_` and `-` are allowed"
        )),
    }
}

/// Returns the path of a project on a server.
///
/// # Errors
/// A mistake: the command line names no project, and this folder is in no project.
pub(crate) fn project_path(args: &DeployedArgs) -> anyhow::Result<String> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => Project::find(&ProjectArgs { path: None, project: None })?.manifest.name,
    };
    Ok(format!("projects/{}", crate::operator::encoded(name.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::token_of;

    #[test]
    fn white_space_around_a_token_is_removed_and_inside_it_is_an_error() {
        for text in ["room_a-1", "room_a-1\n", " room_a-1\r\n", "\troom_a-1"] {
            assert_eq!(token_of(text), Ok("room_a-1"));
        }
        let refused = |text| token_of(text).unwrap_err();
        assert!(
            refused("room_a b").contains("white space in it, after 6"),
            "{}",
            refused("room_a b")
        );
        assert!(refused("room_a\nroom_b").contains("white space"));
        assert!(refused("room_ä").contains("a character in it that no token has, after 5"));
        assert!(refused(" \n").contains("none is given"));
    }
}
