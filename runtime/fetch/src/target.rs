//! Where a request goes. Owns which URLs can be requested at all, and the check of their hosts.
//!
//! Invariant: a [`Target`] is a host that the project lists. Its addresses are not checked yet. It does not know how
//! names become addresses.

use room_core::config::{FetchHosts, FetchScheme};
use room_core::fetch::FetchFailure;
use std::net::IpAddr;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

/// An allowed server, and what is requested of it.
pub(crate) struct Target {
    pub(crate) scheme: FetchScheme,
    /// The name or address, as in a URL: an IPv6 address is in brackets.
    pub(crate) host: String,
    pub(crate) server: TargetServer,
    pub(crate) port: u16,
    /// The path and the query.
    pub(crate) path: String,
}

/// The host of a URL.
pub(crate) enum TargetServer {
    Name(String),
    Address(IpAddr),
}

/// Returns why a URL cannot be requested, and what to write instead; `None` if it can.
pub(crate) fn problem(url: &Url) -> Option<String> {
    if FetchScheme::of(url.scheme()).is_none() {
        return Some(format!("the scheme {} cannot be fetched: write https://", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some(
            "the URL has a user or a password: set the header authorization instead".to_owned(),
        );
    }
    match url.host_str() {
        None | Some("") => Some("the URL has no host".to_owned()),
        Some(host) if host.ends_with('.') => {
            Some(format!("the host {host} ends with a dot: leave it out"))
        }
        Some(_) if url.port() == Some(0) => Some("port 0 cannot be fetched".to_owned()),
        Some(_) => None,
    }
}

impl Target {
    /// Checks a URL without a [`problem`].
    ///
    /// # Errors
    /// [`FetchFailure::HostNotAllowed`].
    pub(crate) fn of(url: &Url, hosts: &FetchHosts) -> Result<Self, FetchFailure> {
        let parts = FetchScheme::of(url.scheme()).zip(url.host());
        let Some((scheme, (host, port))) =
            parts.map(|(scheme, host)| (scheme, (host, url.port().unwrap_or(scheme.port()))))
        else {
            return Err(FetchFailure::Invalid(problem(url).unwrap_or_default()));
        };
        let text = host.to_string();
        let server = match host {
            Host::Domain(name) => TargetServer::Name(name.to_owned()),
            // The other spellings of an address are the address, also for the socket.
            Host::Ipv4(address) => TargetServer::Address(address.into()),
            Host::Ipv6(address) => TargetServer::Address(IpAddr::from(address).to_canonical()),
        };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let target = Self { scheme, host: text, server, port, path };
        match hosts.allows(scheme, &target.host, port) {
            true => Ok(target),
            false => Err(FetchFailure::HostNotAllowed { host: target.authority() }),
        }
    }

    /// Returns the host, with the port if it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        match self.port == self.scheme.port() {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Returns the name that the server's certificate must have; `None` if the connection is plain.
    ///
    /// # Errors
    /// [`FetchFailure::Invalid`]: no certificate can have the name.
    pub(crate) fn tls_name(&self) -> Result<Option<ServerName<'static>>, FetchFailure> {
        match (self.scheme, &self.server) {
            (FetchScheme::Http, _) => Ok(None),
            (FetchScheme::Https, TargetServer::Address(address)) => {
                Ok(Some(ServerName::IpAddress((*address).into())))
            }
            (FetchScheme::Https, TargetServer::Name(name)) => {
                let named = ServerName::try_from(name.clone());
                let wrong = |_| FetchFailure::Invalid(format!("{name} is not a name for TLS"));
                named.map(Some).map_err(wrong)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::limits::Limits;

    fn target(url: &str, hosts: &[&str]) -> Result<Target, FetchFailure> {
        let list: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let url = Url::parse(url).unwrap();
        assert_eq!(problem(&url), None, "{url}");
        Target::of(&url, &FetchHosts::parse(&list, &Limits::default()).unwrap())
    }

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for url in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://017700000001/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://127.0.0.1./",
            "http://%31%32%37.0.0.1/",
            "http://１２７.0.0.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
        ] {
            let refused = target(url, &["*"]).err().unwrap();
            assert_eq!(refused.code(), "host-not-allowed", "{url}: {refused}");
            let own = target(url, &["127.0.0.1"]).unwrap();
            let TargetServer::Address(address) = own.server else { panic!("{url} is a name") };
            assert_eq!(address.to_string(), "127.0.0.1", "{url}");
        }
    }

    #[test]
    fn a_host_that_is_not_listed_is_named_as_it_would_be_listed() {
        let listed = ["api.example.com"];
        for (url, host) in [
            ("https://evil.example/", "evil.example"),
            ("https://api.example.com:8443/", "api.example.com:8443"),
            ("https://API.example.com.evil.example/", "api.example.com.evil.example"),
            ("http://[::1]:81/", "[::1]:81"),
            ("http://api.example.com:443/", "api.example.com:443"),
        ] {
            let host = host.to_owned();
            assert_eq!(target(url, &listed).err(), Some(FetchFailure::HostNotAllowed { host }));
        }
        let own = target("https://API.example.com/a/../b?c=d#e", &listed).unwrap();
        assert_eq!((own.authority().as_str(), own.path.as_str()), ("api.example.com", "/b?c=d"));
    }

    #[test]
    fn urls_that_hide_their_host_are_refused() {
        for (url, why) in [
            ("ftp://a.example/", "https://"),
            ("file:///etc/passwd", "https://"),
            ("data:text/plain,x", "https://"),
            ("https://api.example.com@evil.example/", "authorization"),
            ("https://:secret@evil.example/", "authorization"),
            ("https://api.example.com./", "dot"),
            ("http://a.example:0/", "port 0"),
        ] {
            let problem = problem(&Url::parse(url).unwrap()).unwrap_or_default();
            assert!(problem.contains(why), "{url}: {problem}");
        }
    }
}
