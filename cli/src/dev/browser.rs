//! The pages that a person looks at. Owns their addresses and how a browser is opened.
//!
//! Invariant: an address that is shown or opened is one that works from where it is shown. It does not know
//! what is on a page.

use crate::print::{self, LINK, WARN, styled};
use std::net::SocketAddr;

/// How a browser on this machine calls the address.
pub(super) fn host(addr: SocketAddr) -> String {
    if addr.ip().is_loopback() || addr.ip().is_unspecified() {
        format!("localhost:{}", addr.port())
    } else {
        addr.to_string()
    }
}

/// Opens a path of the server in the browser of whoever sits here.
pub(super) fn open(addr: SocketAddr, path: &str) {
    let url = format!("http://{}{path}", host(addr));
    match open::that_detached(&url) {
        Ok(()) => print::talk(format_args!("opening {}", styled(LINK, url))),
        Err(_) => {
            let text = "there is no browser to open here; the address is";
            print::talk(format_args!("{} {}", styled(WARN, text), styled(LINK, url)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_here_is_sent_where_it_gets_in() {
        assert_eq!(host(SocketAddr::from(([127, 0, 0, 1], 1))), "localhost:1");
        assert_eq!(host(SocketAddr::from(([0, 0, 0, 0], 1))), "localhost:1");
        assert_eq!(host(SocketAddr::from(([10, 0, 0, 2], 1))), "10.0.0.2:1");
    }
}
