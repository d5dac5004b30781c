//! TLS from certificate files. Owns the handshake, and when the files are read again.
//!
//! Invariant: the serving certificate was a valid pair when it was read. Invalid files are logged, and the pair before
//! them stays in use. A handshake ends in time. It does not know what is sent over the connection.

use super::write_deadline::WriteDeadline;
use room_core::config::Tls;
use room_core::limits::{Limits, ms};
use room_core::lock::lock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig, crypto::ring};
use tokio_rustls::server::TlsStream;

/// Why certificate files cannot be used, as a sentence that names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// The pair of files and the acceptor made of them. Cheap to clone; clones share both.
#[derive(Clone)]
pub struct Certificates(Arc<CertificatesInner>);

struct CertificatesInner {
    files: Tls,
    limits: Arc<Limits>,
    serving: Mutex<TlsAcceptor>,
    /// The pair that was read last, valid or not.
    read: tokio::sync::Mutex<CertificatePair>,
}

/// The bytes of both files.
#[derive(PartialEq, Eq)]
struct CertificatePair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE: u8 = 22;

/// The response to a client that does not speak TLS. It is for people who typed the wrong scheme.
const PLAIN: &str = "this port speaks TLS: say https:// or wss://\n";

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`]: a file cannot be read, or the two are not a pair.
    ///
    /// # Cancel safety
    /// If dropped before it returns, nothing is held.
    pub async fn read(files: Tls, limits: Arc<Limits>) -> Result<Self, TlsError> {
        let pair = CertificatePair::read(&files, &limits).await?;
        let serving = Mutex::new(pair.acceptor(&files)?);
        let read = tokio::sync::Mutex::new(pair);
        Ok(Self(Arc::new(CertificatesInner { files, limits, serving, read })))
    }

    /// Reads the files again at each interval, until it is dropped.
    ///
    /// # Cancel safety
    /// May be dropped at any time: the current pair stays in use.
    pub(super) async fn look_after(self) {
        let mut due = tokio::time::interval(ms(self.0.limits.tls_reload_ms));
        loop {
            due.tick().await;
            match self.look().await {
                Ok(CertificateCheck::Same) => {}
                Ok(CertificateCheck::Renewed) => tracing::info!("the new certificate serves"),
                Err(error) => {
                    tracing::warn!(%error, "the new certificate is invalid; the old one stays in use");
                }
            }
        }
    }

    /// Reads the files, and serves them if they changed.
    async fn look(&self) -> Result<CertificateCheck, TlsError> {
        let pair = CertificatePair::read(&self.0.files, &self.0.limits).await?;
        let mut read = self.0.read.lock().await;
        if *read == pair {
            return Ok(CertificateCheck::Same);
        }
        // An invalid pair is kept here, too, so that it is parsed once and logged once.
        *read = pair;
        let acceptor = read.acceptor(&self.0.files)?;
        *lock(&self.0.serving) = acceptor;
        Ok(CertificateCheck::Renewed)
    }

    /// Makes a connection a TLS connection. Returns `None` if the handshake fails or takes too long.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the connection is closed.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
    ) -> Option<TlsStream<WriteDeadline<TcpStream>>> {
        let write_ms_max = self.0.limits.write_ms_max;
        let handshake = async {
            let mut first = [0];
            match tcp.peek(&mut first).await? {
                0 => Ok(None),
                _ if first[0] == HANDSHAKE => {
                    let tcp = WriteDeadline::new(tcp, write_ms_max);
                    self.acceptor().accept(tcp).await.map(Some)
                }
                _ => refuse_plain(tcp).await.map(|()| None),
            }
        };
        let limit = ms(self.0.limits.tls_handshake_ms_max);
        match tokio::time::timeout(limit, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took longer than tls_handshake_ms_max");
                None
            }
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        lock(&self.0.serving).clone()
    }
}

/// The result of reading the files again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CertificateCheck {
    Same,
    Renewed,
}

impl CertificatePair {
    async fn read(files: &Tls, limits: &Limits) -> Result<Self, TlsError> {
        let max = limits.tls_file_bytes_max;
        Ok(Self { cert: read(&files.cert, max).await?, key: read(&files.key, max).await? })
    }

    /// Returns an acceptor for this pair: TLS 1.2 and 1.3, and HTTP/1.1 inside, as on plain connections.
    fn acceptor(&self, files: &Tls) -> Result<TlsAcceptor, TlsError> {
        let wrong = |file: &PathBuf, why: &dyn std::fmt::Display| {
            TlsError(format!("{}: {why}", file.display()))
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(&files.cert, &error))?;
        if chain.is_empty() {
            return Err(wrong(&files.cert, &"it contains no certificate in PEM format"));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| {
            let why =
                format!("it contains no private key in PEM format without a password ({error})");
            wrong(&files.key, &why)
        })?;
        let config = server_config(chain, key).map_err(|error| {
            let pair = format!("{} and {}", files.cert.display(), files.key.display());
            TlsError(format!("{pair} are not a certificate and its key: {error}"))
        })?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Returns a file's bytes, if there are at most `max`.
async fn read(path: &Path, max: u64) -> Result<Vec<u8>, TlsError> {
    let reading = async {
        let file = tokio::fs::File::open(path).await?;
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).await?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = reading
        .await
        .map_err(|error| TlsError(format!("cannot read {}: {error}", path.display())))?;
    if bytes.len() as u64 > max {
        let why = format!("{} is larger than tls_file_bytes_max ({max} bytes)", path.display());
        return Err(TlsError(why));
    }
    Ok(bytes)
}

/// Answers a client that speaks plain HTTP with the reason. The rest of its request is read and discarded: otherwise
/// the connection would be reset before the client has read the answer.
async fn refuse_plain(mut tcp: TcpStream) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{PLAIN}",
        PLAIN.len()
    );
    tcp.write_all(answer.as_bytes()).await?;
    tcp.shutdown().await?;
    let mut rest = [0; 4096];
    while tcp.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::generate_simple_self_signed;

    fn write(files: &Tls) {
        let pair = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.cert, pair.cert.pem()).unwrap();
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    }

    #[tokio::test]
    async fn a_mismatched_pair_is_never_served_and_is_logged_once() {
        let dir = tempfile::tempdir().unwrap();
        let files = Tls { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        write(&files);
        let own = Certificates::read(files.clone(), Arc::new(Limits::default())).await.unwrap();
        let first = own.acceptor();
        let serves_first = || Arc::ptr_eq(first.config(), own.acceptor().config());
        assert_eq!(own.look().await, Ok(CertificateCheck::Same));

        let whole = std::fs::read(&files.cert).unwrap();
        for broken in [&b""[..], b"nothing", &whole[..whole.len() / 2]] {
            std::fs::write(&files.cert, broken).unwrap();
            assert!(own.look().await.is_err() && serves_first());
            assert_eq!(own.look().await, Ok(CertificateCheck::Same));
        }
        std::fs::remove_file(&files.cert).unwrap();
        assert!(own.look().await.is_err() && serves_first());
        std::fs::write(&files.cert, vec![b'x'; 2 << 20]).unwrap();
        let error = own.look().await.unwrap_err().to_string();
        assert!(error.contains("larger than tls_file_bytes_max") && serves_first(), "{error}");

        write(&files);
        assert_eq!(own.look().await, Ok(CertificateCheck::Renewed));
        assert!(!serves_first());
    }
}
