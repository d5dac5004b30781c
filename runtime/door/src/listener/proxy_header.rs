//! The header of the PROXY protocol, versions 1 and 2: the client on whose behalf a proxy connects. Owns its format.
//!
//! Invariant: any bytes are a header, the start of a header, or malformed, and they are classified as soon as that
//! is certain. Nothing behind the header is read. It does not know who sent the header, or whether to believe it.

use super::Scheme;
use room_core::limits::{Limits, ms, size};
use room_core::metrics::BadPreamble;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The first bytes of version 1.
const WORD: &[u8; 6] = b"PROXY ";
/// The longest header of version 1, including its line end.
const LINE_BYTES_MAX: usize = 107;
/// The fixed part of version 2, which ends with the length of the rest.
const FIXED_BYTES: usize = 16;
/// Version 2: the addresses and ports of both ends of a TCP connection.
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;
/// Version 2: the type of the entry about TLS, and the bit of its first byte that says that the client used TLS.
const TYPE_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 1;

/// The content of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProxyHeader {
    /// The client, or `None` if the proxy connects on its own behalf, or does not know the client.
    pub(super) client: Option<IpAddr>,
    /// The scheme between client and proxy, or `None` if the header does not have it.
    pub(super) scheme: Option<Scheme>,
}

/// The classification of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderBytes {
    /// A complete header.
    Header(ProxyHeader),
    /// The start of a header.
    Begun(MissingBytes),
}

/// The bytes that certainly belong to a header that has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MissingBytes {
    Bytes(usize),
    /// Everything up to the end of the line.
    Line,
}

/// Reads a header, and nothing after it. Returns `None` if the proxy closed without sending anything, as a health
/// check does.
///
/// # Errors
/// [`BadPreamble`]: the connection is useless.
///
/// # Cancel safety
/// If dropped before it returns, a part of the header has been read.
pub(super) async fn read(
    tcp: &mut TcpStream,
    limits: &Limits,
) -> Result<Option<ProxyHeader>, BadPreamble> {
    let reading = read_whole(tcp, size(limits.proxy_header_bytes_max));
    let limit = ms(limits.proxy_header_ms_max);
    tokio::time::timeout(limit, reading).await.unwrap_or(Err(BadPreamble::TimedOut))
}

async fn read_whole(
    tcp: &mut TcpStream,
    bytes_max: usize,
) -> Result<Option<ProxyHeader>, BadPreamble> {
    let mut bytes = Vec::new();
    loop {
        let missing = match parse(&bytes, bytes_max)? {
            HeaderBytes::Header(header) => return Ok(Some(header)),
            HeaderBytes::Begun(MissingBytes::Bytes(count)) => count,
            HeaderBytes::Begun(MissingBytes::Line) => rest_of_line(tcp).await?,
        };
        let from = bytes.len();
        bytes.resize(from + missing, 0);
        match tcp.read(&mut bytes[from..]).await {
            Ok(0) | Err(_) if from == 0 => return Ok(None),
            Ok(0) | Err(_) => return Err(BadPreamble::BrokenOff),
            Ok(count) => bytes.truncate(from + count),
        }
    }
}

/// Returns how many of the received bytes belong to the line.
async fn rest_of_line(tcp: &TcpStream) -> Result<usize, BadPreamble> {
    let mut there = [0; LINE_BYTES_MAX];
    match tcp.peek(&mut there).await {
        Ok(0) | Err(_) => Err(BadPreamble::BrokenOff),
        Ok(count) => {
            let end = there[..count].iter().position(|byte| *byte == b'\n');
            Ok(end.map_or(count, |end| end + 1))
        }
    }
}

fn parse(bytes: &[u8], bytes_max: usize) -> Result<HeaderBytes, BadPreamble> {
    if bytes.len() < SIGNATURE.len() {
        let could_be =
            SIGNATURE.starts_with(bytes) || WORD.starts_with(&bytes[..bytes.len().min(WORD.len())]);
        // No header is shorter than the signature.
        let missing = HeaderBytes::Begun(MissingBytes::Bytes(SIGNATURE.len() - bytes.len()));
        return could_be.then_some(missing).ok_or(BadPreamble::Malformed);
    }
    if bytes.starts_with(SIGNATURE) {
        version_2(bytes, bytes_max)
    } else if bytes.starts_with(WORD) {
        version_1(bytes)
    } else {
        Err(BadPreamble::Malformed)
    }
}

/// Parses `PROXY TCP4 192.0.2.7 192.0.2.1 56324 443`.
fn version_1(bytes: &[u8]) -> Result<HeaderBytes, BadPreamble> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return match bytes.len() {
            ..LINE_BYTES_MAX => Ok(HeaderBytes::Begun(MissingBytes::Line)),
            _ => Err(BadPreamble::TooLarge),
        };
    };
    if end >= LINE_BYTES_MAX {
        return Err(BadPreamble::TooLarge);
    }
    let line = bytes[..end].strip_suffix(b"\r").filter(|_| end + 1 == bytes.len());
    let words = line.and_then(|line| std::str::from_utf8(line).ok()).map(|line| line.split(' '));
    let words: Vec<&str> = words.into_iter().flatten().collect();
    let port = |text: &str| text.parse::<u16>().is_ok_and(|port| port.to_string() == text);
    let client: Option<IpAddr> = match words[..] {
        // The protocol says to ignore the rest of the line.
        ["PROXY", "UNKNOWN", ..] => return Ok(HeaderBytes::Header(ProxyHeader::default())),
        ["PROXY", "TCP4", client, here, from, to] if port(from) && port(to) => {
            let here = here.parse::<Ipv4Addr>().is_ok();
            client.parse::<Ipv4Addr>().ok().filter(|_| here).map(IpAddr::V4)
        }
        ["PROXY", "TCP6", client, here, from, to] if port(from) && port(to) => {
            let here = here.parse::<Ipv6Addr>().is_ok();
            client.parse::<Ipv6Addr>().ok().filter(|_| here).map(IpAddr::V6)
        }
        _ => None,
    };
    let client = Some(client.ok_or(BadPreamble::Malformed)?);
    Ok(HeaderBytes::Header(ProxyHeader { client, scheme: None }))
}

fn version_2(bytes: &[u8], bytes_max: usize) -> Result<HeaderBytes, BadPreamble> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(HeaderBytes::Begun(MissingBytes::Bytes(FIXED_BYTES - bytes.len())));
    };
    let [.., command, kind, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED_BYTES + length > bytes_max {
        return Err(BadPreamble::TooLarge);
    }
    if !matches!(command, 0x20 | 0x21) {
        return Err(BadPreamble::Malformed);
    }
    if rest.len() < length {
        return Ok(HeaderBytes::Begun(MissingBytes::Bytes(length - rest.len())));
    }
    if rest.len() > length {
        return Err(BadPreamble::Malformed);
    }
    if command == 0x20 {
        // The proxy connects on its own behalf. The protocol says to ignore the rest.
        return Ok(HeaderBytes::Header(ProxyHeader::default()));
    }
    let (client, entries) = match kind {
        0x11 => rest.split_at_checked(IPV4_BYTES).map(|(ends, entries)| {
            (ends.first_chunk::<4>().map(|client| IpAddr::from(*client)), entries)
        }),
        0x21 => rest.split_at_checked(IPV6_BYTES).map(|(ends, entries)| {
            (ends.first_chunk::<16>().map(|client| IpAddr::from(*client)), entries)
        }),
        // Unspecified, or a Unix socket on the proxy's machine: its ends have no address.
        0x00 | 0x31 => Some((None, &[][..])),
        _ => None,
    }
    .ok_or(BadPreamble::Malformed)?;
    Ok(HeaderBytes::Header(ProxyHeader { client, scheme: scheme(entries)? }))
}

/// Returns the scheme of the entry about TLS, if there is one.
fn scheme(mut entries: &[u8]) -> Result<Option<Scheme>, BadPreamble> {
    let mut scheme = None;
    while let Some(([kind, high, low], rest)) = entries.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, behind) = rest.split_at_checked(length).ok_or(BadPreamble::Malformed)?;
        if *kind == TYPE_SSL {
            let used = value.first().is_some_and(|flags| flags & CLIENT_SSL != 0);
            scheme = Some(if used { Scheme::Https } else { Scheme::Http });
        }
        entries = behind;
    }
    if entries.is_empty() { Ok(scheme) } else { Err(BadPreamble::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_test_inputs::Inputs;

    const MAX: usize = 4 * 1024;

    /// Parses the bytes as they would come from a socket, and returns the result and the number of bytes taken.
    fn feed(bytes: &[u8]) -> (Result<HeaderBytes, BadPreamble>, usize) {
        let mut taken = 0;
        loop {
            let found = parse(&bytes[..taken], MAX);
            let rest = &bytes[taken..];
            let more = match found {
                Ok(HeaderBytes::Begun(MissingBytes::Bytes(count))) => count,
                Ok(HeaderBytes::Begun(MissingBytes::Line)) => {
                    let there = &rest[..rest.len().min(LINE_BYTES_MAX)];
                    let end = there.iter().position(|byte| *byte == b'\n');
                    end.map_or(there.len(), |end| end + 1)
                }
                _ => return (found, taken),
            };
            if more == 0 || more > rest.len() {
                return (found, taken);
            }
            taken += more;
        }
    }

    fn v2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, kind], &length, rest].concat()
    }

    fn header(bytes: &[u8]) -> ProxyHeader {
        let behind = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
        let (found, taken) = feed(&behind);
        assert_eq!(taken, bytes.len(), "{found:?}");
        let Ok(HeaderBytes::Header(header)) = found else { panic!("{found:?}") };
        header
    }

    #[test]
    fn both_versions_name_the_client() {
        let client = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let v1 = |line: &str| header(format!("{line}\r\n").as_bytes()).client;
        assert_eq!(v1("PROXY TCP4 192.0.2.7 192.0.2.1 56324 443"), client("192.0.2.7"));
        assert_eq!(v1("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535"), client("2001:db8::7"));
        assert_eq!(v1("PROXY UNKNOWN"), None);
        assert_eq!(v1("PROXY UNKNOWN ffff::1 ffff::2 1 2"), None);
        let ends4 = [192, 0, 2, 7, 192, 0, 2, 1, 220, 4, 1, 187];
        assert_eq!(header(&v2(0x21, 0x11, &ends4)).client, client("192.0.2.7"));
        let ends6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 20]].concat();
        assert_eq!(header(&v2(0x21, 0x21, &ends6)).client, client("2001:db8::7"));
        for (command, kind, rest) in
            [(0x20, 0x11, &ends4[..]), (0x20, 0, &[]), (0x21, 0, &[9]), (0x21, 0x31, &[0; 216])]
        {
            assert_eq!(header(&v2(command, kind, rest)), ProxyHeader::default());
        }
    }

    #[test]
    fn version_2_reports_whether_the_client_used_tls() {
        let ends = [192, 0, 2, 7, 192, 0, 2, 1, 220, 4, 1, 187];
        let with = |entries: &[u8]| v2(0x21, 0x11, &[&ends[..], entries].concat());
        // An entry without meaning here, then the one about TLS with its flags and the result of the verification.
        let told = |flags: u8| with(&[4, 0, 1, 0, TYPE_SSL, 0, 5, flags, 0, 0, 0, 0]);
        assert_eq!(header(&told(7)).scheme, Some(Scheme::Https));
        assert_eq!(header(&told(0)).scheme, Some(Scheme::Http));
        assert_eq!(header(&with(&[])).scheme, None);
        for cut in [&[TYPE_SSL][..], &[TYPE_SSL, 0], &[TYPE_SSL, 0, 5, 1]] {
            assert_eq!(feed(&with(cut)).0, Err(BadPreamble::Malformed));
        }
    }

    #[test]
    fn an_invalid_header_is_rejected_at_its_first_wrong_byte() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "PROXYTCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
            "PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4  1.2.3.4 1 1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4\r\n",
            "PROXY \r\n     \r\n",
        ] {
            assert_eq!(feed(line.as_bytes()).0, Err(BadPreamble::Malformed), "{line}");
        }
        for (command, kind, rest) in
            [(0x11, 0, 0), (0x22, 0, 0), (0x21, 0x11, 11), (0x21, 0x12, 12)]
        {
            let bytes = v2(command, kind, &vec![0; rest]);
            assert_eq!(feed(&bytes).0, Err(BadPreamble::Malformed), "{bytes:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(feed(long.as_bytes()).0, Err(BadPreamble::TooLarge));
        // Its length field alone shows that it is too large.
        assert_eq!(feed(&v2(0x21, 0, &vec![0; MAX])[..16]).0, Err(BadPreamble::TooLarge));
    }

    /// Returns a header of this version with this content.
    fn written(ProxyHeader { client, scheme }: ProxyHeader, version: u8) -> Vec<u8> {
        match (version, client) {
            (1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
            (1, Some(IpAddr::V4(ip))) => format!("PROXY TCP4 {ip} {ip} 1 1\r\n").into_bytes(),
            (1, Some(IpAddr::V6(ip))) => format!("PROXY TCP6 {ip} {ip} 1 1\r\n").into_bytes(),
            (_, None) => v2(0x20, 0, &[]),
            (_, Some(ip)) => {
                let (kind, ends) = match ip {
                    IpAddr::V4(ip) => (0x11, [&ip.octets()[..], &[0; 8]].concat()),
                    IpAddr::V6(ip) => (0x21, [&ip.octets()[..], &[0; 20]].concat()),
                };
                let used = |scheme| u8::from(scheme == Scheme::Https) * CLIENT_SSL;
                let tls = scheme.map(|scheme| vec![TYPE_SSL, 0, 5, used(scheme), 0, 0, 0, 0]);
                v2(0x21, kind, &[ends, tls.unwrap_or_default()].concat())
            }
        }
    }

    #[test]
    fn any_bytes_are_a_header_a_prefix_or_invalid() {
        let words =
            ["PROXY ", "TCP4 ", "TCP6 ", "UNKNOWN", "1.2.3.4 ", "::1 ", "\r\n", "\u{20}\0\u{5}"];
        Inputs::of("proxy-header", &words).each(|bytes| {
            let (found, taken) = feed(bytes);
            assert!(taken <= bytes.len().min(MAX));
            // However few bytes have come so far, they are never taken for something else.
            for cut in 0..taken {
                let (early, read) = feed(&bytes[..cut]);
                assert!(read <= cut);
                assert!(matches!(early, Ok(HeaderBytes::Begun(_))) || early == found, "{early:?}");
            }
            if let Ok(HeaderBytes::Header(said)) = found {
                let version = if bytes.starts_with(WORD) { 1 } else { 2 };
                assert_eq!(header(&written(said, version)), said);
            }
        });
    }
}
