//! The command as a shell sees it: what goes to stdout, what to stderr, and the exit codes.

use expect_test::expect;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the command in a folder.
fn room(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_room"));
    command.args(args).current_dir(dir).env_remove("ROOM_PROJECT").env_remove("ROOM_DATA");
    command.output().expect("the command was built with this test")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Stderr with its left margin marked, as expectations have none.
fn drawn(output: &Output) -> String {
    stderr(output).lines().map(|line| format!("|{line}\n")).collect()
}

#[test]
fn limits_go_to_stdout_and_show_the_projects_values() {
    let dir = tempfile::tempdir().unwrap();
    let outside = room(dir.path(), &["limits", "--json"]);
    assert_eq!(outside.status.code(), Some(0));
    let rows: serde_json::Value = serde_json::from_slice(&outside.stdout).unwrap();
    assert!(rows.as_array().unwrap().iter().all(|row| row["overridden"] == false));

    let text = "name = \"x\"\n[limits]\nturn_ms_max = 2000\n";
    std::fs::write(dir.path().join("room.toml"), text).unwrap();
    std::fs::write(dir.path().join("Cargo.toml"), "").unwrap();
    let inside = room(dir.path(), &["limits", "--json"]);
    let rows: serde_json::Value = serde_json::from_slice(&inside.stdout).unwrap();
    let own: Vec<_> =
        rows.as_array().unwrap().iter().filter(|row| row["overridden"] == true).collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["name"], "turn_ms_max");
    assert_eq!(own[0]["value"], 2000);
}

#[test]
fn the_schema_is_json_and_strict() {
    let dir = tempfile::tempdir().unwrap();
    let output = room(dir.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["name"]));
    assert_eq!(schema["properties"]["limits"]["additionalProperties"], false);
}

#[test]
fn a_mistake_is_printed_to_stderr_and_exits_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let output = room(dir.path(), &["build"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    expect![[r#"
        |error[R0001]: there is no room.toml here, nor in any folder above
        |  help: `room new my-project` makes a project; or name its folder
        |for more about this, run `room explain R0001`
    "#]]
    .assert_eq(&drawn(&output));
}

#[test]
fn a_wrong_command_line_exits_with_1_and_help_goes_to_stdout() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = room(dir.path(), &["devv"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("'dev'"), "{}", stderr(&wrong));
    let help = room(dir.path(), &["dev", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("Examples:"));
}

#[test]
fn files_named_in_room_toml_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let text = "name = \"x\"\n[parties.game]\npath = \"game\"\n[assets]\ndir = \"web\"\n";
    std::fs::write(dir.path().join("room.toml"), text).unwrap();
    let output = room(dir.path(), &["build", "."]);
    assert_eq!(output.status.code(), Some(1));
    expect![[r#"
        |error[R0015]: the party game has no cargo package: there is no Cargo.toml in game
        |   ╭─[room.toml:3:8]
        | 2 │ [parties.game]
        | 3 │ path = "game"
        |   ·        ───┬──
        |   ·           ╰── this party
        | 4 │ [assets]
        |   ╰────
        |  help: set `path` to the folder of its package, relative to room.toml
        |
        |error[R0016]: the folder web does not exist
        |   ╭─[room.toml:5:7]
        | 4 │ [assets]
        | 5 │ dir = "web"
        |   ·       ──┬──
        |   ·         ╰── this folder
        |   ╰────
        |  help: make the folder, or remove `[assets]`
        |
        |error: room.toml has 2 mistakes
        |for more, run `room explain` with one of R0015, R0016
    "#]]
    .assert_eq(&drawn(&output));
}

#[test]
fn a_new_project_is_complete_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let made = room(dir.path(), &["new", "my-chat", "--template", "blank"]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert_eq!(stdout(&made), "");
    for file in
        ["Cargo.toml", "room.toml", "src/lib.rs", ".gitignore", "vendor/room-sdk/src/lib.rs"]
    {
        assert!(dir.path().join("my-chat").join(file).is_file(), "{file}");
    }
    let again = room(dir.path(), &["new", "my-chat"]);
    assert_eq!(again.status.code(), Some(1));
    expect![[r#"
        |error[R0028]: my-chat exists and is not empty
        |  help: choose another name, or empty the folder first
        |for more about this, run `room explain R0028`
    "#]]
    .assert_eq(&drawn(&again));
}

#[test]
fn a_name_that_is_a_keyword_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = room(dir.path(), &["new", "fn"]);
    assert_eq!(output.status.code(), Some(1));
    expect![[r#"
        |error[R0009]: `fn` means something else in Rust already
        |  help: take another one, as `my-fn`
        |for more about this, run `room explain R0009`
    "#]]
    .assert_eq(&drawn(&output));
    assert!(!dir.path().join("fn").exists());
}

#[test]
fn completions_name_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let script = stdout(&room(dir.path(), &["completions", "bash"]));
    for command in
        ["new", "init", "dev", "build", "test", "limits", "schema", "explain", "completions"]
    {
        assert!(script.contains(command), "{command}");
    }
}

/// Writes a file of a folder.
fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it is ours");
    std::fs::write(path, text).expect("it is ours");
}

#[test]
fn the_current_folder_becomes_a_project_with_the_folders_name() {
    for with_git in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("my-chat");
        std::fs::create_dir(&here).unwrap();
        if with_git {
            std::fs::create_dir(here.join(".git")).unwrap();
        }
        let made = room(&here, &["new", ".", "--template", "blank"]);
        assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
        let said = stderr(&made);
        assert!(said.contains("made my-chat") && !said.contains("cd "), "{said}");
        let manifest = std::fs::read_to_string(here.join("room.toml")).unwrap();
        assert!(manifest.contains("name = \"my-chat\""), "{manifest}");
        // Existing files are left alone.
        assert_eq!(room(&here, &["new", "."]).status.code(), Some(1));
    }
}

/// The members of a workspace, by cargo.
fn members(root: &Path) -> Vec<String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root);
    let output = cargo.output().expect("there is cargo");
    assert!(output.status.success(), "{}", stderr(&output));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages").iter();
    let mut names: Vec<_> =
        packages.map(|package| package["name"].as_str().expect("it is text").to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_new_project_fits_into_the_workspace_it_lies_in() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "Cargo.toml", "[workspace]\nmembers = [\"apps/*\", \"imported/rooms/*\"]\n");
    for name in ["apps/score", "apps/other", "elsewhere/alone"] {
        let made = room(root, &["new", name, "--template", "blank"]);
        assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    }
    write(root, "imported/partykit.json", "{ \"name\": \"x\", \"main\": \"a.ts\" }");
    let made = room(root, &["init", "--from", "imported/partykit.json"]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert_eq!(members(root), ["other", "party-main", "room-sdk", "score"]);
    assert_eq!(members(&root.join("elsewhere/alone")), ["alone"]);

    // One that has the SDK for its members has them inherit it.
    let text =
        "[workspace]\nmembers = [\"apps/*\"]\n[workspace.dependencies]\nroom-sdk = \"0.1\"\n";
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "Cargo.toml", text);
    let made = room(dir.path(), &["new", "apps/score"]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    assert_eq!(members(dir.path()), ["score"]);
    assert!(!dir.path().join("vendor").exists() && !dir.path().join("apps/score/vendor").exists());
}

#[test]
fn the_projects_own_files_are_never_static_files() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "Cargo.toml", "");
    write(dir.path(), "game/Cargo.toml", "");
    for (assets, party) in
        [(".", "."), ("./", "game"), ("web/..", "."), ("game", "game"), ("..", ".")]
    {
        std::fs::create_dir_all(dir.path().join("web")).unwrap();
        let text =
            format!("name = \"x\"\n[parties.main]\npath = {party:?}\n[assets]\ndir = {assets:?}\n");
        write(dir.path(), "room.toml", &text);
        let refused = room(dir.path(), &["build"]);
        assert_eq!(refused.status.code(), Some(1), "{assets}");
        let said = stderr(&refused);
        assert!(said.contains("R0060") && said.contains("dir = \"web\""), "{said}");
    }
}

#[test]
fn a_listen_address_may_be_short_and_an_invalid_one_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    for args in [["dev", "--host", "http://localhost"], ["serve", "--listen", "local"]] {
        let refused = room(dir.path(), &args);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            stderr(&refused).contains("`localhost:8080`, `:8080` or `8080`"),
            "{}",
            stderr(&refused)
        );
    }
}
