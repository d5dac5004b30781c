//! The static files that everybody may read. Owns that rule, for the code that serves a folder and the code
//! that uploads one.
//!
//! Invariant: a file outside of the folder, or hidden in it, is not public, whatever links lead there. It
//! does not know how a file is asked for.

use std::path::Path;

/// Returns whether a file or folder of this name is hidden (`.git`, `.env`); `.well-known` is not (RFC 8615).
pub fn is_hidden_name(name: &str) -> bool {
    name.starts_with('.') && name != ".well-known"
}

/// Returns whether everybody may read the file that was found. Both paths have their links resolved: the
/// folder's author may have linked to a private file by mistake.
pub fn is_public(folder: &Path, found: &Path) -> bool {
    found.strip_prefix(folder).is_ok_and(|below| {
        !below.components().any(|part| is_hidden_name(&part.as_os_str().to_string_lossy()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unhidden_files_inside_the_folder_are_public() {
        let public = |found: &str| is_public(Path::new("/web"), Path::new(found));
        for found in ["/web/index.html", "/web/a.b/c", "/web/.well-known/x", "/web"] {
            assert!(public(found), "{found}");
        }
        for found in ["/etc/passwd", "/web2/x", "/web/.env", "/web/a/.git/config"] {
            assert!(!public(found), "{found}");
        }
    }
}
