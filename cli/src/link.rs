//! The way to a server: its address, and the connection to it, with or without TLS. Owns what is trusted.
//!
//! Invariant: data sent over https reaches only a server whose certificate is trusted for the name in its URL, and
//! every wait for a connection has an end. It does not know what is said on it.

use crate::codes::Code;
use crate::mistake::Mistake;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error as TlsError, RootCertStore, StreamOwned,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for a connection to one of the addresses of a name.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The port on which `room serve` listens for operators by default.
const OPERATORS_PORT: u16 = 1998;
/// The default port of https.
const HTTPS_PORT: u16 = 443;

/// The address of a server.
pub(crate) struct Address {
    /// The host and the port, as they stand in the URL.
    authority: String,
    host: String,
    port: u16,
    /// `None` for plain HTTP.
    tls: Option<Tls>,
}

struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// The reason why there is no connection.
pub(crate) enum NoLink {
    /// No server answers now; that may change.
    Away(io::Error),
    /// The server that answers is not trusted, or speaks another protocol.
    Untrusted(anyhow::Error),
}

impl Address {
    /// Returns the address that a URL names. With a `ca_file`, the authorities in it replace this machine's.
    ///
    /// # Errors
    /// A mistake: the URL is not a server's, or the authorities cannot be read.
    pub(crate) fn of(url: &str, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let wrong = |why: &str| {
            Mistake::new(Code::BadUrl, format_args!("{url} is not a server address: {why}"))
                .help("write it as https://rooms.example.com, or as http://127.0.0.1:1998")
        };
        let (is_https, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            None => (false, url),
            Some(_) => return Err(wrong("it must start with http:// or https://").into()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('/') {
            return Err(wrong("it must have a host and a port, and no path").into());
        }
        let own_port = if is_https { HTTPS_PORT } else { OPERATORS_PORT };
        let (host, port) = split(authority, own_port).ok_or_else(|| wrong("it has no host"))?;
        let tls = match is_https {
            false => None,
            true => Some(Tls {
                name: ServerName::try_from(host.clone())
                    .map_err(|_| wrong("no certificate can be for this host"))?,
                config: config(ca_file)?,
            }),
        };
        Ok(Self { authority: authority.to_owned(), host, port, tls })
    }

    /// Returns a server on this machine that speaks plain HTTP.
    pub(crate) fn here(at: SocketAddr) -> Self {
        Self { authority: at.to_string(), host: at.ip().to_string(), port: at.port(), tls: None }
    }

    /// Returns the host and the port, as they stand in the URL.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Connects. Afterwards each wait for the server's bytes ends after `silence_max`.
    ///
    /// # Errors
    /// [`NoLink`].
    pub(crate) fn connect(&self, silence_max: Duration) -> Result<ServerLink, NoLink> {
        let mut tcp = self.tcp().map_err(NoLink::Away)?;
        tcp.set_read_timeout(Some(CONNECT_MAX)).map_err(NoLink::Away)?;
        let link = match &self.tls {
            None => ServerLink::Plain(tcp),
            Some(Tls { config, name }) => {
                let tls = ClientConnection::new(config.clone(), name.clone());
                let mut tls = tls.map_err(|err| NoLink::Untrusted(err.into()))?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut tcp).map_err(|err| self.refused(err))?;
                }
                ServerLink::Tls(Box::new(StreamOwned::new(tls, tcp)))
            }
        };
        link.tcp().set_read_timeout(Some(silence_max)).map_err(NoLink::Away)?;
        Ok(link)
    }

    fn tcp(&self) -> io::Result<TcpStream> {
        let mut why = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, CONNECT_MAX) {
                Ok(tcp) => return Ok(tcp),
                Err(err) => why = err,
            }
        }
        Err(why)
    }

    /// Returns why there was no TLS.
    fn refused(&self, err: io::Error) -> NoLink {
        let Some(tls) = err.get_ref().and_then(|err| err.downcast_ref::<TlsError>()) else {
            return NoLink::Away(err);
        };
        let (why, help) = match tls {
            TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => (
                "its certificate is for other names".to_owned(),
                "name it in --to as its certificate does",
            ),
            // A bad signature means another authority of the same name.
            TlsError::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => (
                "its certificate is not signed by a trusted authority".to_owned(),
                "--ca-file names the certificate of an authority of your own",
            ),
            TlsError::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => ("its certificate has expired".to_owned(), "renew it, and check the clock here"),
            TlsError::InvalidMessage(_) => {
                ("it does not speak TLS".to_owned(), "if it speaks plain HTTP, write http://")
            }
            other => (other.to_string(), "check the certificate with which it was started"),
        };
        let message =
            format_args!("the server {} is not trusted: {why}", self.authority).to_string();
        NoLink::Untrusted(Mistake::new(Code::UntrustedServer, message).help(help).into())
    }
}

/// Returns the host and the port of an authority.
fn split(authority: &str, own_port: u16) -> Option<(String, u16)> {
    // The colons of an IPv6 address stand in brackets.
    let from = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority[from..].find(':') {
        None => (authority, own_port),
        Some(colon) => (&authority[..from + colon], authority[from + colon + 1..].parse().ok()?),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!bare.is_empty() && bare.chars().all(plain)).then(|| (bare.to_owned(), port))
}

/// Returns a TLS configuration that trusts the authorities of a file, or of this machine.
fn config(ca_file: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let wrong = |why: &dyn std::fmt::Display| {
                Mistake::new(Code::BadCaFile, format_args!("{}: {why}", file.display()))
                    .help("--ca-file names a file with certificates in PEM")
            };
            let found = CertificateDer::pem_file_iter(file).map_err(|err| wrong(&err))?;
            for certificate in found {
                let certificate = certificate.map_err(|err| wrong(&err))?;
                roots.add(certificate).map_err(|err| wrong(&err))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"it contains no certificate in PEM format").into());
            }
        }
        None => {
            // Some of a machine's certificates are of kinds that are no longer used.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let message = "this machine has no certificates of authorities";
                return Err(Mistake::new(Code::BadCaFile, message)
                    .help("install them (often the package ca-certificates), or use --ca-file")
                    .into());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A connection to a server.
pub(crate) enum ServerLink {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl ServerLink {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for ServerLink {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(into),
            Self::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for ServerLink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_yields_an_address_or_a_reason() {
        for (url, authority, host, port) in [
            ("http://127.0.0.1:7/", "127.0.0.1:7", "127.0.0.1", 7),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1", 1998),
            ("http://[::1]:7", "[::1]:7", "::1", 7),
            ("rooms.example.com", "rooms.example.com", "rooms.example.com", 1998),
        ] {
            let address = Address::of(url, None).unwrap();
            let found = (address.authority(), address.host.as_str(), address.port);
            assert_eq!(found, (authority, host, port));
        }
        for url in
            ["", "http://", "ftp://a", "http://127.0.0.1:7/x", "http://a b:7", "http://a:99999"]
        {
            let err = Address::of(url, None).err().unwrap();
            assert!(err.is::<Mistake>(), "{url}");
        }
    }

    #[test]
    fn certificate_authorities_are_read_or_the_bad_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let read = || Address::of("https://a", Some(&file)).err().map(|err| err.to_string());
        assert!(read().unwrap().contains("ca.pem"));
        std::fs::write(&file, "nothing").unwrap();
        assert!(read().unwrap().contains("no certificate in PEM"));
    }
}
