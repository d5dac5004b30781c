//! The pages that a person looks at. Owns their addresses and how a browser is opened.
//!
//! Invariant: a shown or opened address works from the place where it is shown. It does not know what is on a page.

use crate::print::{self, LINK, WARN, styled};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Returns the host by which a browser on this machine reaches the address.
pub(super) fn host(addr: SocketAddr) -> String {
    if addr.ip().is_loopback() || addr.ip().is_unspecified() {
        format!("localhost:{}", addr.port())
    } else {
        addr.to_string()
    }
}

/// Returns the address at which other machines of the network reach the server; `None` if they do not.
pub(super) fn lan(addr: SocketAddr) -> Option<SocketAddr> {
    match addr.ip() {
        ip if ip.is_loopback() => None,
        ip if ip.is_unspecified() => own_ip().map(|ip| SocketAddr::new(ip, addr.port())),
        _ => Some(addr),
    }
}

/// Returns the address of this machine in its network, which the system chooses for an outgoing connection. Nothing
/// is sent: the target is an address that is reserved for documentation (RFC 5737).
fn own_ip() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// Returns the URL of a server as a QR code. The drawn part is its light part.
pub(super) fn code(url: &str) -> Option<String> {
    // A screen is neither torn nor stained, and a small code fits on it better.
    let code = QrCode::with_error_correction_level(url, EcLevel::L).ok()?;
    let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
    Some(code.render::<Dense1x2>().dark_color(dark).light_color(light).build())
}

/// Returns the address of the dashboard.
pub(super) fn dashboard(addr: SocketAddr) -> String {
    format!("http://{}/_room/", host(addr))
}

/// Opens the project's page in a browser on this machine.
pub(super) fn open(addr: SocketAddr) {
    open_as(&format!("http://{}/", host(addr)), "");
}

/// Returns the dashboard's address with a code that is valid once. The code is in the fragment, which no browser
/// sends, and the page removes it from the address.
pub(super) fn dashboard_link(addr: SocketAddr, code: &str) -> String {
    format!("{}#link={code}", dashboard(addr))
}

/// Opens the dashboard there.
pub(super) fn open_dashboard(addr: SocketAddr, code: &str) {
    open_as(&dashboard(addr), &format!("#link={code}"));
}

fn open_as(url: &str, secret: &str) {
    match open::that_detached(format!("{url}{secret}")) {
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
    fn a_browser_on_this_machine_gets_an_address_that_works() {
        assert_eq!(host(SocketAddr::from(([127, 0, 0, 1], 1))), "localhost:1");
        assert_eq!(host(SocketAddr::from(([0, 0, 0, 0], 1))), "localhost:1");
        assert_eq!(host(SocketAddr::from(([10, 0, 0, 2], 1))), "10.0.0.2:1");
    }

    #[test]
    fn other_machines_get_an_address_that_works() {
        assert_eq!(lan(SocketAddr::from(([127, 0, 0, 1], 1))), None);
        let own = SocketAddr::from(([10, 0, 0, 2], 1));
        assert_eq!(lan(own), Some(own));
        // A machine without a network has no such address.
        if let Some(addr) = lan(SocketAddr::from(([0, 0, 0, 0], 1))) {
            assert!(!addr.ip().is_loopback() && !addr.ip().is_unspecified(), "{addr}");
        }
    }

    #[test]
    fn a_code_is_square_and_has_a_quiet_edge() {
        let code = code("http://192.168.178.23:1999/").unwrap();
        let lines: Vec<_> = code.lines().map(|line| line.chars().count()).collect();
        // Version 2 has 25 modules and 4 on each side; a line of text has two rows.
        assert_eq!(lines, vec![33; 17]);
        assert!(code.lines().next().unwrap().chars().all(|c| c == '█'), "{code}");
    }
}
