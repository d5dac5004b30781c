//! TLS to other servers. Owns which authorities are trusted: those of the system.
//!
//! Invariant: a server without a certificate for its name, from a trusted authority, receives nothing. It does not know
//! what is sent.

use room_core::fetch::FetchFailure;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto::ring};

/// The trusted authorities. They are read when a request needs them first.
pub(crate) struct TlsRoots {
    /// The only trusted ones, instead of the system's.
    given: Option<Vec<CertificateDer<'static>>>,
    connector: OnceCell<TlsConnector>,
}

impl TlsRoots {
    /// Returns the authorities that the system trusts.
    pub(crate) fn of_system() -> Self {
        Self { given: None, connector: OnceCell::new() }
    }

    /// Returns these authorities.
    #[cfg(test)]
    pub(crate) fn given(roots: Vec<CertificateDer<'static>>) -> Self {
        Self { given: Some(roots), connector: OnceCell::new() }
    }

    /// Makes a connection a TLS connection to a server with this name.
    ///
    /// # Errors
    /// [`FetchFailure::Unreachable`].
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
        host: &str,
    ) -> Result<TlsStream<TcpStream>, FetchFailure> {
        let connector = self.connector.get_or_try_init(|| self.read()).await;
        let connector = connector.map_err(FetchFailure::Unreachable)?;
        let secured = connector.connect(name, stream).await;
        secured.map_err(|error| {
            FetchFailure::Unreachable(format!("no TLS connection to {host}: {error}"))
        })
    }

    async fn read(&self) -> Result<TlsConnector, String> {
        let found = match self.given.clone() {
            Some(given) => given,
            None => tokio::task::spawn_blocking(|| rustls_native_certs::load_native_certs().certs)
                .await
                .map_err(|error| error.to_string())?,
        };
        let mut roots = RootCertStore::empty();
        // Some of a machine's certificates are of kinds that are no longer used.
        roots.add_parsable_certificates(found);
        if roots.is_empty() {
            return Err("this machine has no certificates of authorities: install them (often the package ca-certificates)".to_owned());
        }
        config(roots).map(|config| Arc::new(config).into()).map_err(|error| error.to_string())
    }
}

fn config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
