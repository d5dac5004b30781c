//! How a node shows another one that a request comes from a node of their cluster. Owns the header that says so.
//!
//! Invariant: what a request says about its client and its way is believed of a node only with a proof that fits exactly
//! these words, which takes the cluster's key. Without a proof, nothing of it remains. It does not know which node has sent
//! it.

use super::{BY, PROTO};
use ::http::{HeaderName, HeaderValue, Request, header};
use room_rooms::cluster::ClusterKey;

/// The proof.
const PROOF: HeaderName = HeaderName::from_static("room-node-proof");
/// The client's address.
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Adds the proof to a request that is as the other node gets it.
pub(super) fn add<B>(request: &mut Request<B>, key: &ClusterKey) {
    let proof = key.proof(words(request).iter().map(Vec::as_slice));
    if let Ok(proof) = HeaderValue::try_from(proof) {
        request.headers_mut().insert(PROOF, proof);
    }
}

/// Returns true if a request that has arrived comes from a node of this cluster. Otherwise it loses what only such a node
/// may say. Without a cluster it stays as it is.
pub(crate) fn take<B>(request: &mut Request<B>, key: Option<&ClusterKey>) -> bool {
    let Some(key) = key else { return false };
    let proof = request.headers_mut().remove(PROOF);
    let proof = proof.as_ref().and_then(|proof| proof.to_str().ok());
    let is_proven = proof.is_some_and(|proof| {
        let words = words(request);
        // Each of them once: which one of several counts is not for the proof to say.
        let once = |name: &HeaderName| request.headers().get_all(name).iter().count() == 1;
        [BY, FOR, PROTO, header::HOST].iter().all(once)
            && key.proves(words.iter().map(Vec::as_slice), proof)
    });
    if !is_proven {
        request.headers_mut().remove(BY);
    }
    is_proven
}

/// Returns what a proof is about: what is asked, and what only a node may say of a request.
fn words<B>(request: &Request<B>) -> Vec<Vec<u8>> {
    let asked = [request.method().as_str().into(), request.uri().to_string().into_bytes()];
    let said = [BY, FOR, PROTO, header::HOST].map(|name| {
        let value = request.headers().get(name);
        value.map(|value| value.as_bytes().to_vec()).unwrap_or_default()
    });
    asked.into_iter().chain(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::new([byte; 32])
    }

    fn request() -> Request<()> {
        let head = Request::builder().uri("/party/a?b").header("host", "chat.example.com");
        let head = head.header("x-forwarded-for", "192.0.2.7").header("x-forwarded-proto", "https");
        head.header("room-forwarded-by", "a").body(()).unwrap()
    }

    fn proven() -> Request<()> {
        let mut request = request();
        add(&mut request, &key(1));
        request
    }

    #[test]
    fn a_request_of_a_node_is_believed_and_its_proof_goes_no_further() {
        let mut request = proven();
        assert!(take(&mut request, Some(&key(1))));
        assert_eq!(request.headers().get(BY).unwrap(), "a");
        assert!(!request.headers().contains_key(PROOF));
        // A node without a cluster has other reasons to believe it.
        let mut request = proven();
        assert!(!take(&mut request, None) && request.headers().contains_key(BY));
    }

    #[test]
    fn nothing_of_a_stranger_is_believed() {
        let mut stranger = request();
        assert!(!take(&mut stranger, Some(&key(1))) && !stranger.headers().contains_key(BY));
        assert!(!take(&mut proven(), Some(&key(2))), "a node of another cluster");
        for (name, value) in [
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("room-forwarded-by", "b"),
            ("host", "other.example.com"),
            ("room-node-proof", "00"),
        ] {
            let mut changed = proven();
            changed.headers_mut().insert(name, HeaderValue::from_static(value));
            assert!(!take(&mut changed, Some(&key(1))), "{name}");
            let mut doubled = proven();
            doubled.headers_mut().append(name, HeaderValue::from_static(value));
            assert_eq!(take(&mut doubled, Some(&key(1))), name == "room-node-proof", "{name}");
        }
        let mut moved = proven();
        *moved.uri_mut() = "/party/b?b".parse().unwrap();
        assert!(!take(&mut moved, Some(&key(1))));
        let mut other = proven();
        *other.method_mut() = ::http::Method::POST;
        assert!(!take(&mut other, Some(&key(1))));
    }
}
