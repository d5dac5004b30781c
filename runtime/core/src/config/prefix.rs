//! The project's own path of its rooms. Owns which paths are valid.
//!
//! Invariant: a prefix is a plain path that a browser sends as it is written, and it is not the server's own. Pure: it
//! does not know rooms.

use std::fmt;
use std::sync::Arc;

/// A path of rooms besides `/parties`, such as `/api/rooms`: a room is at `/api/rooms/:party/:room`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomsPrefix(Arc<str>);

/// Why a text is not a [`RoomsPrefix`], as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PrefixError(String);

/// The longest prefix in bytes.
const PREFIX_BYTES_MAX: usize = 128;
/// The path of the server's own routes.
const RESERVED: &str = "_room";

impl RoomsPrefix {
    /// The variable by which rooms know the prefix.
    pub const VARIABLE: &str = "ROOM_PREFIX";

    /// Parses a prefix, with or without a slash at its ends.
    ///
    /// # Errors
    /// [`PrefixError`].
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(PREFIX_BYTES_MAX).collect();
            Err(PrefixError(format!("{shown:?} cannot be the path of rooms: {why}")))
        };
        let own = text.strip_prefix('/').unwrap_or(text);
        let own = own.strip_suffix('/').unwrap_or(own);
        if own.is_empty() || own.len() > PREFIX_BYTES_MAX {
            return wrong("it must have 1 to 128 characters, as in /rooms");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        let is_part =
            |part: &str| !part.is_empty() && !matches!(part, "." | "..") && part.chars().all(plain);
        if !own.split('/').all(is_part) {
            return wrong(
                "its parts are letters, digits and -_.~ between slashes, as in /api/rooms",
            );
        }
        let first = own.split('/').next().unwrap_or(own);
        if first == RESERVED {
            return wrong("/_room is the server's own; choose another, such as /rooms");
        }
        if matches!(own, "parties" | "party") {
            return wrong(
                "rooms are there without it; remove it, or choose another, such as /rooms",
            );
        }
        if matches!(first, "parties" | "party") {
            return wrong("it would be the path of a room; choose another, such as /rooms");
        }
        Ok(Self(format!("/{own}").into()))
    }

    /// Returns it with a slash at its start alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what follows the prefix and a slash in a path.
    pub fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.0)?.strip_prefix('/')
    }

    /// Returns true if a static file of this path, relative to its folder, would be at the path of a room.
    pub fn covers(&self, file: &str) -> bool {
        let own = &self.0[1..];
        file.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for RoomsPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path_that_the_server_does_not_use() {
        for (text, wanted) in [("rooms", "/rooms"), ("/api/rooms/", "/api/rooms"), ("/_x", "/_x")] {
            assert_eq!(RoomsPrefix::parse(text).unwrap().as_str(), wanted);
        }
        let long = "a".repeat(129);
        for (text, why) in [
            ("", "1 to 128"),
            ("/", "1 to 128"),
            (&long, "1 to 128"),
            ("//a", "between slashes"),
            ("/a//b", "between slashes"),
            ("/a/../b", "between slashes"),
            ("/a b", "between slashes"),
            ("/a%20b", "between slashes"),
            ("/{x}", "between slashes"),
            ("/_room", "server's own"),
            ("/_room/x", "server's own"),
            ("/parties", "without it"),
            ("/party/x", "path of a room"),
        ] {
            let error = RoomsPrefix::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let prefix = RoomsPrefix::parse("/api/rooms").unwrap();
        assert_eq!(prefix.below("/api/rooms/main/x"), Some("main/x"));
        for path in ["/api/rooms", "/api/roomsmain/x", "/rooms/main/x"] {
            assert_eq!(prefix.below(path), None, "{path}");
        }
        assert!(prefix.covers("api/rooms/a.html") && prefix.covers("api/rooms"));
        assert!(!prefix.covers("api/rooms.html") && !prefix.covers("api"));
    }
}
