//! Servers that speak TLS.

use super::peer::{Then, converse};
use super::{OK, get, hosts, small};
use crate::tls::TlsRoots;
use crate::{ByteBudget, FetchClient};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_util::task::AbortOnDropHandle;

/// Returns a server with a certificate for this name, and the certificate.
async fn secured(name: &str) -> (SocketAddr, CertificateDer<'static>, AbortOnDropHandle<()>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let seen = Mutex::default();
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                converse(stream, &|_| OK.to_vec(), Then::Close, &seen).await;
            }
        }
    });
    (addr, cert.der().clone(), AbortOnDropHandle::new(serving))
}

fn trusting(roots: TlsRoots) -> FetchClient {
    let limits = Arc::new(small());
    FetchClient::with_roots(&limits, ByteBudget::new(limits.buffered_bytes_max), roots)
}

#[tokio::test]
async fn only_a_trusted_certificate_for_the_host_is_accepted() {
    let (addr, cert, _serving) = secured("localhost").await;
    let (other, _, _serving_too) = secured("elsewhere.example").await;
    let listed = [addr.port(), other.port()].map(|port| format!("https://localhost:{port}"));
    let listed = hosts(&[&listed[0], &listed[1]]);
    let own = trusting(TlsRoots::given(vec![cert.clone()]));
    let url = |addr: SocketAddr| format!("https://localhost:{}/", addr.port());
    let response = own.fetch(&get(&url(addr)), &listed, None).await.unwrap();
    assert_eq!(&response.body[..], b"ok");

    // The first has a certificate of nobody whom the system trusts, the second one that is not for its name.
    for (client, addr) in [(trusting(TlsRoots::of_system()), addr), (own, other)] {
        let failure = client.fetch(&get(&url(addr)), &listed, None).await.unwrap_err();
        assert_eq!(failure.code(), "unreachable", "{failure}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_unreachable() {
    let peer = super::Peer::answering(OK, Then::Close).await;
    let own = trusting(TlsRoots::of_system());
    let url = peer.url().replace("http:", "https:");
    let failure = own.fetch(&get(&url), &peer.hosts(), None).await.unwrap_err();
    assert_eq!(failure.code(), "unreachable", "{failure}");
}
