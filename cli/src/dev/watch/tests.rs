use super::*;
use crate::cargo::{Inputs, disk_time};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A folder with a scope over all of it but `web`. A build has read a few of its files.
struct Folder {
    _dir: tempfile::TempDir,
    root: PathBuf,
    scope: Scope,
}

fn folder() -> Folder {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("project");
    write(&root, "src/lib.rs", "fn a() {}");
    write(&root, "src/ignored.rs", "");
    write(&root, "src/notes", "");
    write(&root, "room.toml", "name = \"x\"");
    write(&root, ".gitignore", "made/\nignored.rs\n");
    write(&root, "web/read.json", "{}");
    write(&root, "../beyond/read.txt", "x");
    write(&root, "schema/deep/a", "x");
    fs::create_dir(root.join(".git")).unwrap();
    let read = ["room.toml", "src/lib.rs", "src/ignored.rs", "web/read.json", "Cargo.lock"];
    let mut files: BTreeSet<_> = read.iter().map(|file| root.join(file)).collect();
    files.insert(root.parent().unwrap().join("beyond/read.txt"));
    files.insert(root.join(".cargo/config.toml"));
    let inputs = Inputs {
        files,
        trees: BTreeSet::from([root.join("schema")]),
        sources: BTreeSet::from([root.join("src")]),
        roots: BTreeSet::from([root.clone()]),
        ..Inputs::default()
    };
    let ignored = BTreeSet::from([root.join("web"), root.join("out")]);
    Folder { _dir: dir, root, scope: Scope { inputs, ignored } }
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Returns the differences after `act`: files that matter, and files that may.
fn differing(prepare: impl Fn(&Path), act: impl Fn(&Path)) -> (Vec<String>, Vec<String>) {
    let Folder { root, scope, _dir } = folder();
    prepare(&root);
    let before = scope.scan(&Snapshot::default());
    act(&root);
    let changed = scope.scan(&before).differs_from(&before);
    let names = |files: BTreeSet<PathBuf>| {
        let names = files.into_iter().map(|file| file.display().to_string());
        let (base, above) = (format!("{}/", root.display()), root.parent().unwrap().display());
        let above = format!("{above}/");
        names.map(|name| name.replace(&base, "").replace(&above, "../")).collect()
    };
    (names(changed.files), names(changed.perhaps))
}

fn saved(file: &str) -> (Vec<String>, Vec<String>) {
    differing(|_| (), |root| write(root, file, "something else"))
}

fn sure(file: &str) -> (Vec<String>, Vec<String>) {
    (vec![file.to_owned()], vec![])
}

fn perhaps(file: &str) -> (Vec<String>, Vec<String>) {
    (vec![], vec![file.to_owned()])
}

const NOTHING: (Vec<String>, Vec<String>) = (vec![], vec![]);

#[test]
fn a_file_that_the_build_read_is_watched_even_if_it_is_ignored() {
    let read = [
        "room.toml",
        "src/lib.rs",
        "src/ignored.rs",
        "web/read.json",
        "../beyond/read.txt",
        "Cargo.lock",
        ".cargo/config.toml",
        "schema/deep/a",
        "schema/deep/.new",
    ];
    for file in read {
        assert_eq!(saved(file), sure(file), "{file}");
    }
    assert_eq!(
        differing(|_| (), |root| fs::remove_file(root.join("src/lib.rs")).unwrap()),
        sure("src/lib.rs")
    );
}

#[test]
fn a_new_source_file_is_a_change_and_an_unread_file_may_be_one() {
    assert_eq!(saved("src/new/mod.rs"), sure("src/new/mod.rs"));
    assert_eq!(saved("src/target/mod.rs"), sure("src/target/mod.rs"));
    assert_eq!(saved("src/notes"), perhaps("src/notes"));
    assert_eq!(saved("templates/page.html"), perhaps("templates/page.html"));
}

#[test]
fn a_save_without_a_change_is_ignored() {
    assert_eq!(differing(|_| (), |root| write(root, "src/lib.rs", "fn a() {}")), NOTHING);
}

#[test]
fn files_that_tools_write_for_themselves_are_ignored() {
    let outputs = [
        "made/x.rs",
        ".room/state/db",
        ".git/HEAD",
        "web/app.js",
        "out/debug/x.wasm",
        "src/lib.rs~",
        "src/.lib.rs.swp",
        "src/4913",
        "node_modules/a/index.js",
    ];
    for output in outputs {
        assert_eq!(saved(output), NOTHING, "{output}");
    }
    let cache = |root: &Path| {
        write(root, "deep/target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
        write(root, "deep/target/debug/x.rs", "");
    };
    assert_eq!(differing(|_| (), cache), NOTHING);
}

#[test]
fn ignore_rules_follow_git_and_end_at_the_repository_root() {
    for rules in ["../.gitignore", ".ignore", "../.ignore", ".rgignore"] {
        let all = |root: &Path| write(root, rules, "*\n");
        let save = |root: &Path| write(root, "templates/page.html", "x");
        assert_eq!(differing(all, save), perhaps("templates/page.html"), "{rules}");
        let save = |root: &Path| write(root, "src/new.rs", "x");
        assert_eq!(differing(all, save), sure("src/new.rs"), "{rules}");
    }
    // In a repository that ignores the whole project, its sources still count.
    let all = |root: &Path| {
        fs::remove_dir(root.join(".git")).unwrap();
        fs::create_dir(root.join("../.git")).unwrap();
        write(root, "../.gitignore", "*\n");
    };
    assert_eq!(differing(all, |root| write(root, "src/new.rs", "x")), sure("src/new.rs"));
    assert_eq!(differing(all, |root| write(root, "src/lib.rs", "x")), sure("src/lib.rs"));
    let save = |root: &Path| write(root, "templates/page.html", "x");
    assert_eq!(differing(all, save), perhaps("templates/page.html"));
}

#[test]
fn a_save_through_a_link_is_a_change_of_its_target() {
    let link = |root: &Path| {
        write(root, "../beyond/linked.rs", "");
        write(root, "../beyond/folder/deep.rs", "");
        symlink(root.join("../beyond/linked.rs"), root.join("src/linked.rs")).unwrap();
        symlink(root.join("../beyond/folder"), root.join("src/folder")).unwrap();
        fs::remove_file(root.join("src/lib.rs")).unwrap();
        symlink(root.join("../beyond/linked.rs"), root.join("src/lib.rs")).unwrap();
    };
    let save = |root: &Path| write(root, "../beyond/linked.rs", "x");
    assert_eq!(differing(link, save), (vec!["src/lib.rs".into()], vec!["src/linked.rs".into()]));
    let save = |root: &Path| write(root, "../beyond/folder/deep.rs", "x");
    assert_eq!(differing(link, save), perhaps("src/folder/deep.rs"));
    // One that leads around in a circle ends somewhere.
    let circle = |root: &Path| symlink(root.join("src"), root.join("src/again")).unwrap();
    assert_eq!(differing(circle, |root| write(root, "src/lib.rs", "x")), sure("src/lib.rs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_reported_once_even_in_a_new_folder() {
    for notice in [Notice::Events, Notice::Polling] {
        let Folder { root, scope, _dir } = folder();
        let mut watcher = Watcher::new(scope, notice);
        for (file, text) in
            [("src/lib.rs", "fn b() {}"), ("src/deep/er/mod.rs", ""), ("src/lib.rs", "")]
        {
            write(&root, file, text);
            let changes = watcher.changed().await;
            assert_eq!(changes.files, BTreeSet::from([root.join(file)]));
            assert!(!changes.touch("room.toml"));
        }
        assert_eq!(watcher.notice(), notice);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_of_a_link_is_watched() {
    let Folder { root, scope, _dir } = folder();
    write(&root, "../beyond/linked.rs", "");
    fs::remove_file(root.join("src/lib.rs")).unwrap();
    symlink(root.join("../beyond/linked.rs"), root.join("src/lib.rs")).unwrap();
    let mut watcher = Watcher::new(scope, Notice::Events);
    for text in ["a", "b", "c"] {
        write(&root, "../beyond/linked.rs", text);
        assert_eq!(watcher.changed().await.files, BTreeSet::from([root.join("src/lib.rs")]));
    }
    assert_eq!(watcher.notice(), Notice::Events, "the system reported it");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_polled_where_the_system_sends_no_events() {
    let Folder { root, scope, _dir } = folder();
    let mut watcher = Watcher::new(scope, Notice::Events);
    let deaf = |watcher: &mut Watcher| {
        let debouncer = watcher.debouncer.as_mut().unwrap();
        watcher.folders.iter().for_each(|folder| debouncer.unwatch(folder).unwrap());
    };
    deaf(&mut watcher);
    for text in ["a", "b", "c"] {
        write(&root, "src/lib.rs", text);
        assert_eq!(watcher.changed().await.files, BTreeSet::from([root.join("src/lib.rs")]));
    }
    assert_eq!(watcher.notice(), Notice::Polling);
}

#[test]
fn a_save_while_the_scope_changes_is_not_lost() {
    let Folder { root, scope, _dir } = folder();
    let mut watcher = Watcher::new(scope.clone(), Notice::Events);
    write(&root, "src/lib.rs", "fn b() {}");
    let read = disk_time();
    write(&root, "other/old", "");
    let mut files = scope.inputs.files.clone();
    files.extend(["other/old", "other/new"].map(|file| root.join(file)));
    let inputs = Inputs { files, ..scope.inputs.clone() };
    fs::File::options()
        .append(true)
        .open(root.join("other/old"))
        .unwrap()
        .set_modified(read)
        .unwrap();
    write(&root, "other/new", "");
    let later = read + Duration::from_secs(1);
    fs::File::options()
        .append(true)
        .open(root.join("other/new"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    watcher.watch(Scope { inputs, ..scope }, Some(read));
    let changed = watcher.look().files;
    assert!(changed.contains(&root.join("src/lib.rs")), "{changed:?}");
    assert!(changed.contains(&root.join("other/new")), "{changed:?}");
    assert!(!changed.contains(&root.join("other/old")), "{changed:?}");
}
