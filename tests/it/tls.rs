//! TLS: the same server behind certificate files, and the effect of changes to them.

use futures_util::{SinkExt, StreamExt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use room_tests::{RawClient, Setup, TestNode, until, within};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring::default_provider,
};
use tokio_tungstenite::tungstenite::Message;

/// A self-signed certificate for `localhost`, and a client configuration that trusts it.
pub(crate) struct Own {
    pair: CertifiedKey<rcgen::KeyPair>,
}

impl Own {
    pub(crate) fn new() -> Self {
        Self { pair: generate_simple_self_signed(["localhost".to_owned()]).unwrap() }
    }

    /// Writes `cert.pem` and `key.pem` into a folder.
    pub(crate) fn write(&self, dir: &Path) {
        std::fs::write(dir.join("key.pem"), self.pair.signing_key.serialize_pem()).unwrap();
        std::fs::write(dir.join("cert.pem"), self.pair.cert.pem()).unwrap();
    }

    fn der(&self) -> CertificateDer<'static> {
        self.pair.cert.der().clone()
    }

    /// Returns a connection of a client that trusts this certificate, and no other.
    async fn connect(
        &self,
        node: &TestNode,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(node.addr()).await?;
        self.shake_hands_as(tcp, versions, protocols).await
    }

    /// Makes the handshake of a modern client, on an open connection.
    pub(crate) async fn shake_hands(
        &self,
        tcp: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.shake_hands_as(tcp, &[&TLS13], &[]).await
    }

    async fn shake_hands_as(
        &self,
        tcp: TcpStream,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        within("a TLS handshake", handshake).await
    }

    /// Returns true if the node shows this certificate.
    async fn is_shown(&self, node: &TestNode) -> bool {
        self.connect(node, &[&TLS13], &[]).await.is_ok()
    }
}

/// Returns what comes back for a path.
async fn get(mut tls: TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", tls.read_to_string(&mut answer)).await.unwrap();
    answer
}

async fn node(dir: &Path) -> TestNode {
    let files = (dir.join("cert.pem"), dir.join("key.pem"));
    Setup::memory().limits(|limits| limits.tls_reload_ms = 10).tls(files.0, files.1).start().await
}

#[tokio::test]
async fn rooms_are_reachable_over_tls_and_see_the_scheme() {
    let (dir, own) = (tempfile::tempdir().unwrap(), Own::new());
    own.write(dir.path());
    let node = node(dir.path()).await;
    for version in [&TLS12, &TLS13] {
        let tls = own.connect(&node, &[version], &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = get(tls, "/party/lobby/reflect").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(r#""uri":"https://localhost/party/lobby/reflect""#), "{answer}");
    }
    // A client that speaks HTTP/2 and nothing else, and one that trusts another authority.
    assert!(own.connect(&node, &[&TLS13], &["h2"]).await.is_err());
    assert!(!Own::new().is_shown(&node).await);
}

#[tokio::test]
async fn a_websocket_works_over_tls() {
    let (dir, own) = (tempfile::tempdir().unwrap(), Own::new());
    own.write(dir.path());
    let node = node(dir.path()).await;
    let tls = own.connect(&node, &[&TLS13], &["http/1.1"]).await.unwrap();
    let url = "wss://localhost/party/lobby?_pk=a";
    let (mut socket, _) = tokio_tungstenite::client_async(url, tls).await.unwrap();
    let large = "x".repeat(1 << 20);
    for text in ["hello", &large] {
        socket.send(Message::text(text)).await.unwrap();
        let answer = within("an echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(answer.into_text().unwrap(), text);
    }
    // A drain closes it like any other.
    let (_, closed) = tokio::join!(node.stop(), within("a close frame", socket.next()));
    let Message::Close(Some(frame)) = closed.unwrap().unwrap() else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 1012);
}

#[tokio::test]
async fn new_certificates_are_served_without_a_restart_and_broken_ones_never() {
    let (dir, first, second) = (tempfile::tempdir().unwrap(), Own::new(), Own::new());
    first.write(dir.path());
    let node = node(dir.path()).await;
    let mut open = first.connect(&node, &[&TLS13], &[]).await.unwrap();
    // The key of the new pair comes first, as two files never change at once. Then the certificate is invalid, then
    // it is gone. The node reads each state, as its log would say.
    std::fs::write(dir.path().join("key.pem"), second.pair.signing_key.serialize_pem()).unwrap();
    assert!(first.is_shown(&node).await);
    std::fs::write(dir.path().join("cert.pem"), "no certificate").unwrap();
    assert!(first.is_shown(&node).await);
    std::fs::remove_file(dir.path().join("cert.pem")).unwrap();
    assert!(first.is_shown(&node).await);
    second.write(dir.path());
    until("the new certificate", async || second.is_shown(&node).await).await;
    assert!(!first.is_shown(&node).await);
    // An open connection stays open.
    open.write_all(b"GET /_room/health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    within("an answer", open.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_client_without_tls_gets_an_explanation_and_a_silent_one_is_disconnected() {
    let (dir, own) = (tempfile::tempdir().unwrap(), Own::new());
    own.write(dir.path());
    let setup = Setup::memory().tls(dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let limits = |limits: &mut room_runtime::Limits| limits.tls_handshake_ms_max = 1_000;
    let node = setup.limits(limits).start().await;
    let mut plain = RawClient::open(node.addr()).await;
    plain.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    plain.finish().await;
    let answer = String::from_utf8(plain.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.ends_with("this port speaks TLS: say https:// or wss://\n"), "{answer}");
    // Nothing, and half a handshake: the node ends both.
    for said in [&b""[..], &[22, 3, 1, 0, 200, 1]] {
        let mut silent = RawClient::open(node.addr()).await;
        silent.write(said).await;
        silent.rest().await;
    }
    assert!(own.is_shown(&node).await);
}

#[tokio::test]
async fn a_node_does_not_start_with_a_mismatched_pair() {
    let (dir, one, other) = (tempfile::tempdir().unwrap(), Own::new(), Own::new());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let refused = async || {
        let setup = Setup::memory().tls(cert.clone(), key.clone());
        setup.try_start_empty().await.err().unwrap().to_string()
    };
    assert!(refused().await.contains("cannot read") && refused().await.contains("cert.pem"));
    one.write(dir.path());
    std::fs::write(&key, other.pair.signing_key.serialize_pem()).unwrap();
    assert!(refused().await.contains("are not a certificate and its key"), "{}", refused().await);
    std::fs::write(&key, "nothing").unwrap();
    assert!(refused().await.contains("no private key"), "{}", refused().await);
    one.write(dir.path());
    std::fs::write(&cert, one.pair.signing_key.serialize_pem()).unwrap();
    assert!(refused().await.contains("no certificate in PEM"), "{}", refused().await);
}
