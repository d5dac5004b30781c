//! How static files are answered: compressed forms, times in caches, and pages that do not exist.

use room_runtime::{AssetCache, AssetSettings};
use room_tests::{Reply, Requests, Setup, TestNode};
use std::path::Path;

/// Returns a folder with these files.
fn site(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

async fn node(site: &Path, settings: AssetSettings) -> TestNode {
    Setup::memory().assets(site).asset_settings(settings).start().await
}

fn single_page() -> AssetSettings {
    AssetSettings { single_page: true, ..AssetSettings::default() }
}

fn long() -> String {
    "let it = 'repeat itself';\n".repeat(200)
}

async fn get(node: &TestNode, path: &str, headers: &[(&str, &str)]) -> Reply {
    node.request("GET", path, headers, &[]).await
}

const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test]
async fn a_text_file_is_sent_in_the_form_that_the_client_prefers() {
    let site = site(&[("a.js", &long()), ("a.png", &long()), ("small.js", "x")]);
    let node = node(site.path(), AssetSettings::default()).await;
    let plain = get(&node, "/a.js", &[]).await;
    assert_eq!((plain.header("content-encoding"), plain.text()), (None, long()));
    let mut tags = vec![plain.header("etag").unwrap().to_owned()];
    for (accepts, wanted) in [
        ("gzip, deflate, br", Some("br")),
        ("gzip", Some("gzip")),
        ("br;q=0.2, gzip;q=0.9", Some("gzip")),
        ("br; q=0, gzip; q=0", None),
        ("identity", None),
        ("zstd", None),
    ] {
        let reply = get(&node, "/a.js", &[("Accept-Encoding", accepts)]).await;
        assert_eq!((reply.status, reply.header("content-encoding")), (200, wanted), "{accepts}");
        assert_eq!(reply.all("vary"), ["accept-encoding"], "{accepts}");
        let length: usize = reply.header("content-length").unwrap().parse().unwrap();
        assert_eq!(reply.body.len(), length, "{accepts}");
        assert_eq!(reply.header("content-type"), Some("text/javascript; charset=utf-8"));
        tags.push(reply.header("etag").unwrap().to_owned());
        if wanted.is_some() {
            assert!(reply.body.len() < long().len() / 10, "{accepts}: {length}");
            // As a client that asks for the head alone.
            let head = node.request("HEAD", "/a.js", &[("Accept-Encoding", accepts)], &[]).await;
            assert_eq!((head.headers, head.body), (reply.headers, Vec::new()), "{accepts}");
        } else {
            assert_eq!(reply.text(), long());
        }
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has its own tag: {tags:?}");
    for path in ["/a.png", "/small.js"] {
        let reply = get(&node, path, &[("Accept-Encoding", "gzip, br")]).await;
        assert_eq!((reply.status, reply.header("content-encoding")), (200, None), "{path}");
    }
}

#[tokio::test]
async fn conditions_are_about_the_form_that_the_client_has() {
    let site = site(&[("a.js", &long())]);
    let node = node(site.path(), AssetSettings::default()).await;
    let tag = async |accepts: &str| {
        let reply = get(&node, "/a.js", &[("Accept-Encoding", accepts)]).await;
        reply.header("etag").unwrap().to_owned()
    };
    let (br, gzip, plain) = (tag("br").await, tag("gzip").await, tag("identity").await);
    let ask = async |accepts: &str, name: &str, value: &str| {
        let headers = [("Accept-Encoding", accepts), (name, value)];
        let reply = get(&node, "/a.js", &headers).await;
        (reply.status, reply.header("etag").unwrap_or_default().to_owned())
    };
    for (accepts, own, other) in [("br", &br, &gzip), ("gzip", &gzip, &plain), ("", &plain, &br)] {
        let hit = (304, own.clone());
        assert_eq!(ask(accepts, "If-None-Match", own).await, hit);
        assert_eq!(ask(accepts, "If-None-Match", &format!("\"x\", W/{own}")).await, hit);
        assert_eq!(ask(accepts, "If-None-Match", "*").await, hit);
        assert_eq!(ask(accepts, "If-None-Match", other).await, (200, own.clone()));
        assert_eq!(ask(accepts, "If-Match", own).await, (200, own.clone()));
        assert_eq!(ask(accepts, "If-Match", other).await.0, 412);
    }
    // A tag decides alone, whatever the date says.
    let date = get(&node, "/a.js", &[]).await.header("last-modified").unwrap().to_owned();
    let headers = [
        ("Accept-Encoding", "br"),
        ("If-None-Match", "\"x\""),
        ("If-Modified-Since", date.as_str()),
    ];
    assert_eq!(get(&node, "/a.js", &headers).await.status, 200);
    assert_eq!(ask("br", "If-Modified-Since", &date).await, (304, br.clone()));
    // The part of a file is a part of the file as it is. A copy in another form is not continued.
    let part = async |if_range: &str| {
        let headers = [("Accept-Encoding", "br"), ("Range", "bytes=0-3"), ("If-Range", if_range)];
        let reply = get(&node, "/a.js", &headers).await;
        (reply.status, reply.header("content-encoding").map(str::to_owned), reply.body)
    };
    assert_eq!(part(&plain).await, (206, None, b"let ".to_vec()));
    assert_eq!(part(&gzip).await.0, 200);
    let replaced = long().replace("it", "that");
    std::fs::write(site.path().join("a.js"), replaced).unwrap();
    assert_eq!(ask("br", "If-None-Match", &br).await.0, 200);
}

#[tokio::test]
async fn a_file_is_kept_as_long_as_its_name_or_the_project_allows() {
    let site = site(&[
        ("index.html", "page"),
        ("assets/index-BpQ3kZ1x.js", "code"),
        ("img/logo.png", "picture"),
    ]);
    let year = "public, max-age=31536000, immutable";
    let (files, value) = ("img/**".to_owned(), "public, max-age=60".to_owned());
    let cache = vec![AssetCache { files, value: value.clone() }];
    let settings = AssetSettings { cache, ..AssetSettings::default() };
    let node = node(site.path(), settings).await;
    for (path, wanted) in [
        ("/", "no-cache"),
        ("/index.html", "no-cache"),
        ("/assets/index-BpQ3kZ1x.js", year),
        ("/img/logo.png", &value),
        // However the path is spelled.
        ("/img%2flogo.png", &value),
    ] {
        assert_eq!(node.get(path).await.header("cache-control"), Some(wanted), "{path}");
    }
}

#[tokio::test]
async fn a_missing_page_is_the_projects_own() {
    let site = site(&[("index.html", "index"), ("404.html", &format!("sorry {}", long()))]);
    let node = node(site.path(), AssetSettings::default()).await;
    for headers in [&[][..], &[HTML], &[HTML, ("Range", "bytes=0-1"), ("If-None-Match", "*")]] {
        let reply = get(&node, "/a/missing", headers).await;
        assert_eq!((reply.status, &reply.text()[..5]), (404, "sorry"), "{headers:?}");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!((reply.header("cache-control"), reply.header("etag")), (Some("no-cache"), None));
    }
    let reply = get(&node, "/a/missing", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!((reply.status, reply.header("content-encoding")), (404, Some("gzip")));
    let head = node.request("HEAD", "/a/missing", &[], &[]).await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    // What is not asked for as a page, and what is not the project's.
    for (method, path) in [("POST", "/a/missing"), ("GET", "/_room/missing")] {
        let reply = node.request(method, path, &[HTML], &[]).await;
        assert_eq!((reply.status, reply.text().contains("sorry")), (404, false), "{method} {path}");
    }
    assert_eq!(get(&node, "/404.html", &[]).await.status, 200);
}

#[tokio::test]
async fn an_application_gets_its_index_for_pages_and_404_for_files() {
    let site = site(&[("index.html", "app"), ("404.html", "sorry"), ("a.js", "code")]);
    let node = node(site.path(), single_page()).await;
    for path in ["/", "/users/7", "/users/", "/x?y=a.b"] {
        let reply = get(&node, path, &[HTML]).await;
        assert_eq!((reply.status, reply.text()), (200, "app".to_owned()), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-cache"), "{path}");
    }
    let tag = get(&node, "/users/7", &[HTML]).await.header("etag").unwrap().to_owned();
    assert_eq!(get(&node, "/users/7", &[]).await.status, 404, "not asked for as a page");
    for path in ["/missing.js", "/a.b/c.css", "/.git", "/%2egit/x", "/_room/x"] {
        assert_eq!(get(&node, path, &[HTML]).await.status, 404, "{path}");
    }
    assert_eq!(get(&node, "/a.js", &[HTML]).await.text(), "code");
    assert!(!tag.is_empty());
    // Rooms are before files.
    assert_eq!(get(&node, "/party/lobby", &[HTML]).await.json()["name"], "lobby");
}
