use super::*;
use std::fs;
use std::path::Path;

/// A folder with a scope over all of it but `web`.
fn project() -> (tempfile::TempDir, Scope) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    write(&root, "src/lib.rs", "fn a() {}");
    write(&root, "room.toml", "name = \"x\"");
    write(&root, ".gitignore", "made/\n");
    let scope = Scope {
        folders: BTreeSet::from([root.clone()]),
        files: BTreeSet::from([root.join("room.toml")]),
        ignored: BTreeSet::from([root.join("web"), root.join("out")]),
    };
    (dir, scope)
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What differs after `act`, as paths relative to the project.
fn differing(act: impl Fn(&Path)) -> Vec<String> {
    let (dir, scope) = project();
    let root = dir.path().canonicalize().unwrap();
    let before = scope.scan();
    act(&root);
    let changed = scope.scan().differs_from(&before);
    changed.iter().map(|file| file.strip_prefix(&root).unwrap().display().to_string()).collect()
}

#[test]
fn a_new_content_is_a_change() {
    assert_eq!(differing(|root| write(root, "src/lib.rs", "fn b() {}")), ["src/lib.rs"]);
    assert_eq!(differing(|root| write(root, "room.toml", "name = \"y\"")), ["room.toml"]);
    assert_eq!(differing(|root| write(root, "src/new/mod.rs", "")), ["src/new/mod.rs"]);
    assert_eq!(differing(|root| fs::remove_file(root.join("src/lib.rs")).unwrap()), ["src/lib.rs"]);
}

#[test]
fn a_save_without_a_change_is_none() {
    assert!(differing(|root| write(root, "src/lib.rs", "fn a() {}")).is_empty());
}

#[test]
fn outputs_are_no_sources() {
    let outputs = [
        "made/x.rs",
        ".room/state/db",
        ".git/HEAD",
        "web/app.js",
        "out/debug/x.wasm",
        "Cargo.lock",
        "src/lib.rs~",
        "src/.lib.rs.swp",
        "node_modules/a/index.js",
    ];
    for output in outputs {
        assert_eq!(differing(|root| write(root, output, "x")), Vec::<String>::new(), "{output}");
    }
}

#[test]
fn a_cache_is_no_source_wherever_it_lies() {
    let changed = differing(|root| {
        write(root, "deep/target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
        write(root, "deep/target/debug/x.rs", "");
    });
    assert!(changed.is_empty(), "{changed:?}");
}

#[test]
fn a_module_that_is_called_target_is_a_source() {
    assert_eq!(differing(|root| write(root, "src/target/mod.rs", "")), ["src/target/mod.rs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_reported_once_and_in_new_folders_too() {
    let (dir, scope) = project();
    let root = dir.path().canonicalize().unwrap();
    let mut watcher = Watcher::new(scope).unwrap();
    write(&root, "src/lib.rs", "fn b() {}");
    let changes = watcher.changed().await.unwrap();
    assert_eq!(changes.files, BTreeSet::from([root.join("src/lib.rs")]));
    write(&root, "src/deep/er/mod.rs", "");
    let changes = watcher.changed().await.unwrap();
    assert_eq!(changes.files, BTreeSet::from([root.join("src/deep/er/mod.rs")]));
    write(&root, "src/deep/er/mod.rs", "fn c() {}");
    let changes = watcher.changed().await.unwrap();
    assert_eq!(changes.files, BTreeSet::from([root.join("src/deep/er/mod.rs")]));
    assert!(!changes.touch("room.toml"));
}

#[test]
fn a_save_while_the_scope_changes_is_not_lost() {
    let (dir, scope) = project();
    let root = dir.path().canonicalize().unwrap();
    let mut watcher = Watcher::new(scope.clone()).unwrap();
    write(&root, "src/lib.rs", "fn b() {}");
    write(&root, "other/lib.rs", "");
    watcher.watch(Scope { files: BTreeSet::from([root.join("Cargo.toml")]), ..scope });
    assert!(watcher.look().contains(&root.join("src/lib.rs")));
}
