//! Which static files everybody may read. Owns that rule, for who serves a folder and for who sends one off.
//!
//! Invariant: what lies outside of the folder, or is hidden in it, is not public, whatever links lead there. It
//! does not know how a file is asked for.

use std::path::Path;

/// Whether a file or folder of this name is hidden (`.git`, `.env`); `.well-known` is not (RFC 8615).
pub fn is_hidden_name(name: &str) -> bool {
    name.starts_with('.') && name != ".well-known"
}

/// Whether what was found may be read by everybody. Both paths are without links: a link is its author's, but
/// so is what it shows by mistake.
pub fn is_public(folder: &Path, found: &Path) -> bool {
    found.strip_prefix(folder).is_ok_and(|below| {
        !below.components().any(|part| is_hidden_name(&part.as_os_str().to_string_lossy()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_folder_and_is_not_hidden_is_public() {
        let public = |found: &str| is_public(Path::new("/web"), Path::new(found));
        for found in ["/web/index.html", "/web/a.b/c", "/web/.well-known/x", "/web"] {
            assert!(public(found), "{found}");
        }
        for found in ["/etc/passwd", "/web2/x", "/web/.env", "/web/a/.git/config"] {
            assert!(!public(found), "{found}");
        }
    }
}
