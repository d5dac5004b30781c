use super::*;
use FetchScheme::{Http, Https};
use proptest::prelude::*;

fn hosts(list: &[&str]) -> FetchHosts {
    let list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
    FetchHosts::parse(&list, &Limits::default()).unwrap()
}

#[test]
fn an_empty_list_allows_nobody() {
    let own = FetchHosts::default();
    assert!(!own.allows(Https, "example.com", 443));
    assert!(!own.lists_address(Http, "127.0.0.1".parse().unwrap(), 80));
}

#[test]
fn a_listed_host_is_allowed_and_a_similar_one_is_not() {
    let own =
        hosts(&["api.example.com", "https://*.b.example", "HTTP://c.example:8080", "d.example:*"]);
    for (scheme, host, port) in [
        (Https, "api.example.com", 443),
        (Http, "api.example.com", 80),
        (Https, "x.b.example", 443),
        (Https, "y.x.b.example", 443),
        (Http, "c.example", 8080),
        (Http, "d.example", 1),
        (Https, "d.example", 65535),
    ] {
        assert!(own.allows(scheme, host, port), "{host}:{port}");
    }
    for (scheme, host, port) in [
        (Https, "api.example.com", 80),
        (Https, "api.example.com", 8443),
        (Https, "example.com", 443),
        (Https, "evilapi.example.com", 443),
        (Https, "api.example.com.evil.example", 443),
        (Https, "b.example", 443),
        (Https, ".b.example", 443),
        (Https, "evilb.example", 443),
        (Http, "x.b.example", 80),
        (Https, "c.example", 8080),
        (Http, "c.example", 80),
        (Http, "127.0.0.1", 80),
    ] {
        assert!(!own.allows(scheme, host, port), "{host}:{port}");
    }
}

#[test]
fn a_star_alone_allows_public_hosts_at_their_own_ports() {
    let own = hosts(&["*"]);
    assert!(own.allows(Https, "example.com", 443) && own.allows(Http, "8.8.8.8", 80));
    assert!(!own.allows(Https, "example.com", 8443));
    for address in ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]"] {
        assert!(!own.allows(Http, address, 80), "{address}");
    }
    let internal = "127.0.0.1".parse().unwrap();
    assert!(!own.allows_address(Http, internal, 80));
    assert!(hosts(&["https://*:*"]).allows(Https, "example.com", 8443));
}

#[test]
fn an_address_that_is_not_public_is_allowed_only_if_it_is_listed_itself() {
    let own = hosts(&["127.0.0.1:8080", "[::1]:81", "internal.example", "https://10.0.0.1"]);
    let lists = |scheme, text: &str, port| own.lists_address(scheme, text.parse().unwrap(), port);
    assert!(lists(Http, "127.0.0.1", 8080) && lists(Http, "::ffff:127.0.0.1", 8080));
    assert!(lists(Https, "10.0.0.1", 443) && lists(Http, "::1", 81));
    assert!(!lists(Http, "127.0.0.1", 80) && !lists(Http, "127.0.0.2", 8080));
    assert!(!lists(Http, "10.0.0.1", 443), "the scheme is another");
    assert!(own.allows(Http, "127.0.0.1", 8080) && own.allows(Http, "[::1]", 81));
    assert!(own.allows(Http, "[::ffff:7f00:1]", 8080), "it is the same address");
    assert!(own.allows_address(Https, "8.8.8.8".parse().unwrap(), 443));
}

#[test]
fn localhost_stands_for_the_addresses_of_this_machine() {
    let own = hosts(&["localhost:3000"]);
    assert!(own.allows(Http, "localhost", 3000));
    for (address, port, listed) in [
        ("127.0.0.1", 3000, true),
        ("::1", 3000, true),
        ("127.0.0.1", 3001, false),
        ("127.0.0.2", 3000, false),
        ("10.0.0.1", 3000, false),
    ] {
        assert_eq!(own.lists_address(Http, address.parse().unwrap(), port), listed, "{address}");
    }
}

#[test]
fn an_invalid_host_is_refused_with_advice() {
    for (text, advice) in [
        ("", "api.example.com"),
        ("ftp://a.example", "https:// or http://"),
        ("https://a.example/", "without a path"),
        ("me@a.example", "without a user"),
        ("a.example:0", "1 to 65535"),
        ("a.example:99999", "1 to 65535"),
        ("a.example:", "1 to 65535"),
        ("a.example:+8", "1 to 65535"),
        ("::1", "brackets"),
        ("[::1", "brackets"),
        ("[fe80::1%eth0]", "brackets"),
        ("a.*.example", "first part"),
        ("*example", "first part"),
        ("bücher.example", "xn--"),
        ("a.example.", "without a dot"),
        ("a..example", "api.example.com"),
        ("a b", "api.example.com"),
        ("0x7f.1", "four numbers"),
        ("2130706433", "four numbers"),
        ("127.1", "four numbers"),
        ("0x7f000001", "four numbers"),
        ("127.0.0.01", "four numbers"),
    ] {
        let error = FetchHost::parse(text).unwrap_err().to_string();
        assert!(error.contains(advice), "{text}: {error}");
    }
    let many = vec!["a.example".to_owned(); 3];
    let limits = Limits { fetch_hosts_max: 2, ..Limits::default() };
    let error = FetchHosts::parse(&many, &limits).unwrap_err().to_string();
    assert_eq!(error, "3 hosts to fetch from, fetch_hosts_max allows 2");
}

proptest! {
    #[test]
    fn a_printed_host_parses_to_the_same_host(text in "(https?://)?((\\*\\.)?[a-z0-9.]{1,12}|\\*|\\[::[0-9a-f]{1,4}\\])(:[0-9]{1,5}|:\\*)?") {
        if let Ok(host) = FetchHost::parse(&text) {
            prop_assert_eq!(FetchHost::parse(&host.to_string()), Ok(host));
        }
    }

    #[test]
    fn parsing_any_text_as_a_host_never_panics(text in any::<String>(), port: u16) {
        let _ = FetchHost::parse(&text);
        let _ = hosts(&["*", "*.example.com:*"]).allows(Http, &text, port);
    }
}
