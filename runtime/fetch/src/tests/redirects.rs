//! Servers that redirect.

use super::peer::{Peer, Then};
use super::{OK, client, get, hosts, request, small};
use crate::{FetchFailure, FetchPart, FetchRequest, Redirects};
use bytes::Bytes;
use tokio::sync::mpsc;

fn redirect(status: u16, place: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n")
        .into_bytes()
}

#[tokio::test]
async fn a_redirect_out_of_the_list_is_refused() {
    let own = client(&small());
    for (place, code) in [
        ("http://169.254.169.254/latest/meta-data/", "host-not-allowed"),
        ("http://[::ffff:169.254.169.254]/", "host-not-allowed"),
        ("http://0xa9fea9fe/", "host-not-allowed"),
        ("//evil.example/", "host-not-allowed"),
        ("http://localhost:1/", "address-not-allowed"),
        ("file:///etc/passwd", "protocol"),
        ("http://user:pw@127.0.0.1/", "protocol"),
    ] {
        let peer = Peer::answering(&redirect(302, place), Then::Next).await;
        // It may reach every public host, and `localhost` by its name, which is not enough.
        let listed = [peer.addr().to_string(), "*.example.com".to_owned(), "*:1".to_owned()];
        let listed = hosts(&[&listed[0], &listed[1], &listed[2]]);
        let failure = own.fetch(&get(&peer.url()), &listed, None).await.unwrap_err();
        assert_eq!(failure.code(), code, "{place}: {failure}");
    }
}

#[tokio::test]
async fn redirects_in_circles_end_at_the_limit() {
    let peer = Peer::answering(&redirect(307, "/again"), Then::Next).await;
    let failure = client(&small()).fetch(&get(&peer.url()), &peer.hosts(), None).await.unwrap_err();
    assert_eq!((failure, peer.seen().len()), (FetchFailure::TooManyRedirects(3), 4));
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_origin() {
    let other = Peer::answering(OK, Then::Next).await;
    let place = other.url();
    let peer = Peer::routing(
        move |request| match request.starts_with("POST /here") {
            true => redirect(307, &place),
            false => redirect(307, "/here"),
        },
        Then::Next,
    )
    .await;
    let mut post = request("POST", &peer.url());
    post.request.body = Bytes::from_static(b"body");
    let headers = ["authorization", "cookie", "x-own"];
    post.request.headers = headers.map(|name| (name.to_owned(), b"secret".to_vec())).into();
    let listed = [peer.addr().to_string(), other.addr().to_string()];
    let listed = hosts(&[&listed[0], &listed[1]]);
    let response = client(&small()).fetch(&post, &listed, Some("key")).await.unwrap();
    assert_eq!(&response.body[..], b"ok");
    for seen in peer.seen() {
        assert!(
            seen.contains("authorization: secret") && seen.contains("cookie: secret"),
            "{seen}"
        );
    }
    let seen = other.seen().remove(0);
    assert!(!seen.contains("authorization") && !seen.contains("cookie"), "{seen}");
    assert!(seen.contains("x-own: secret") && seen.contains("idempotency-key: key"), "{seen}");
    assert!(seen.contains(&format!("host: {}", other.addr())) && seen.ends_with("body"), "{seen}");
}

#[tokio::test]
async fn a_request_may_take_a_redirect_as_its_response_or_as_an_error() {
    let (own, peer) =
        (client(&small()), Peer::answering(&redirect(302, "/there"), Then::Next).await);
    let manual = FetchRequest { redirects: Redirects::Manual, ..get(&peer.url()) };
    let response = own.fetch(&manual, &peer.hosts(), None).await.unwrap();
    assert_eq!(response.status, 302);
    assert!(response.headers.contains(&("location".to_owned(), b"/there".to_vec())));
    let strict = FetchRequest { redirects: Redirects::Error, ..get(&peer.url()) };
    let failure = own.fetch(&strict, &peer.hosts(), None).await.unwrap_err();
    assert_eq!(failure, FetchFailure::TooManyRedirects(0));
}

#[tokio::test]
async fn a_streamed_response_names_the_url_that_answered() {
    let peer = Peer::routing(
        |request| match request.starts_with("GET /end ") {
            true => OK.to_vec(),
            false => redirect(301, "end#part"),
        },
        Then::Next,
    )
    .await;
    let (sink, mut parts) = mpsc::channel(8);
    client(&small()).fetch_stream(&get(&peer.url()), &peer.hosts(), None, sink).await.unwrap();
    let Some(FetchPart::Head(head)) = parts.recv().await else { panic!("no head") };
    assert_eq!(head.url, format!("{}end", peer.url()));
}
