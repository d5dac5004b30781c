//! Ways out of the folder of static files.

use room_tests::{Requests, Setup, TestNode};
use std::path::Path;

/// Returns a folder `web` with a page, and secrets: hidden in it, and beside it.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("web/sub")).unwrap();
    std::fs::create_dir_all(dir.path().join("web/.git")).unwrap();
    std::fs::create_dir_all(dir.path().join("beside")).unwrap();
    for (path, text) in [
        ("web/index.html", "page"),
        ("web/sub/file.txt", "page"),
        ("web/.git/config", "secret"),
        ("secret.txt", "secret"),
        ("beside/index.html", "secret"),
    ] {
        std::fs::write(dir.path().join(path), text).unwrap();
    }
    dir
}

async fn node(site: &Path) -> TestNode {
    Setup::memory().assets(site.join("web")).start().await
}

#[tokio::test]
async fn no_path_spelling_escapes_the_assets_folder() {
    let site = site();
    let node = node(site.path()).await;
    let absolute = format!("/{}", site.path().join("secret.txt").display());
    let encoded = format!("/%2F{}", site.path().join("secret.txt").display());
    for path in [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/.%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/..%2f..%2fsecret.txt",
        // Decoded once, and not again.
        "/%252e%252e/secret.txt",
        "/%252e%252e%252fsecret.txt",
        "/%25252e%25252e/secret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/%2e%2e%5csecret.txt",
        "/sub\\..\\..\\secret.txt",
        // Not the shortest spelling of a dot and of a slash in UTF-8.
        "/%c0%ae%c0%ae/secret.txt",
        "/..%c0%afsecret.txt",
        "/%ef%bc%8e%ef%bc%8e/secret.txt",
        "/../secret.txt%00.html",
        "/%2e%2e/secret.txt%00",
        "/index.html%00.txt",
        "/;/../secret.txt",
        "/sub/.../secret.txt",
        "//secret.txt",
        "/./../secret.txt",
        "/file:///secret.txt",
        &absolute,
        &encoded,
    ] {
        let reply = node.get(path).await;
        let text = reply.text();
        // The server refuses a path that is not a URL before it looks for a file.
        assert!(matches!(reply.status, 400 | 404), "{path}: {} {text}", reply.status);
        assert!(!text.contains("secret") && !text.contains("page"), "{path}: {text}");
    }
    assert_eq!(node.get("/sub/file.txt").await.text(), "page");
    // A proxy's spelling of a request's target.
    let whole = format!("http://{}/sub/file.txt", node.addr());
    assert_eq!(node.get(&whole).await.text(), "page");
    let whole = format!("http://{}/../secret.txt", node.addr());
    assert_eq!(node.get(&whole).await.status, 404);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_shows_only_files_of_the_folder() {
    use std::os::unix::fs::symlink;
    let site = site();
    let web = site.path().join("web");
    symlink("sub/file.txt", web.join("inside.txt")).unwrap();
    symlink("sub", web.join("folder")).unwrap();
    symlink("../secret.txt", web.join("outside.txt")).unwrap();
    symlink(site.path().join("secret.txt"), web.join("absolute.txt")).unwrap();
    symlink("../beside", web.join("beside")).unwrap();
    symlink("..", web.join("up")).unwrap();
    symlink(".git/config", web.join("hidden.txt")).unwrap();
    symlink("../../secret.txt", web.join("sub/index.html")).unwrap();
    symlink("loop", web.join("loop")).unwrap();
    let node = node(site.path()).await;
    for path in ["/inside.txt", "/folder/file.txt"] {
        assert_eq!(node.get(path).await.text(), "page", "{path}");
    }
    for path in [
        "/outside.txt",
        "/absolute.txt",
        "/beside/",
        "/beside/index.html",
        "/up/secret.txt",
        "/up/web/.git/config",
        "/hidden.txt",
        "/sub/",
        "/sub/index.html",
        "/loop",
    ] {
        let reply = node.get(path).await;
        assert_eq!((reply.status, reply.text().contains("secret")), (404, false), "{path}");
    }
    // The folder itself may be behind a link.
    symlink("web", site.path().join("link")).unwrap();
    let node = Setup::memory().assets(site.path().join("link")).start().await;
    assert_eq!(node.get("/").await.text(), "page");
}
