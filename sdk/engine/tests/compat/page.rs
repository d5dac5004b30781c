//! The page that compares: it names every method of both generations, and tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::bundle;

/// What PartyKit and PartyServer have, by the name that the page must have in code.
const API: &[&str] = &[
    // The class of PartyKit, with its hooks.
    "constructor(room)",
    "options.hibernate",
    "onStart()",
    "getConnectionTags(connection, { request })",
    "onConnect(connection, { request })",
    "onMessage(message, sender)",
    "onClose(connection)",
    "onError(connection, error)",
    "onRequest(request)",
    "onAlarm()",
    "static onBeforeConnect(request, lobby, ctx)",
    "static onBeforeRequest(request, lobby, ctx)",
    "static onFetch(request, lobby, ctx)",
    "static onSocket(socket, lobby, ctx)",
    "static onCron(cron, lobby, ctx)",
    "ctx.waitUntil",
    "ctx.passThroughOnException",
    "lobby.id",
    "lobby.env",
    "lobby.parties",
    "lobby.ai",
    "lobby.assets",
    "lobby.vectorize",
    "lobby.analytics.writeDataPoint",
    "lobby.bindings",
    // `Party.Room`.
    "room.id",
    "room.internalID",
    "room.name",
    "room.env",
    "room.storage",
    "room.blockConcurrencyWhile(work)",
    "room.broadcast(message, without)",
    "room.getConnection(id)",
    "room.getConnections(tag)",
    "room.connections",
    "room.parties",
    "room.context.parties",
    "room.context.assets",
    "room.context.ai",
    "room.context.vectorize",
    "room.context.bindings",
    "room.analytics.writeDataPoint",
    // A connection.
    "connection.id",
    "connection.uri",
    "connection.state",
    "connection.setState(next)",
    "connection.tags",
    "connection.server",
    "connection.socket",
    "connection.serializeAttachment",
    "connection.deserializeAttachment",
    "connection.send(message)",
    "connection.close(code, reason)",
    "connection.readyState",
    "connection.addEventListener",
    "connection.removeEventListener",
    "connection.accept",
    // The class of PartyServer, and the functions beside it.
    "static options",
    "onStart(props)",
    "onMessage(connection, message)",
    "onClose(connection, code, reason, wasClean)",
    "onException(error)",
    "getConnectionTags(connection, context)",
    "sql",
    "broadcast(message, without)",
    "getConnection(id)",
    "getConnections(tag)",
    "name",
    "env",
    "fetch(request)",
    "alarm()",
    "ctx.storage",
    "ctx.storage.sql",
    "ctx.id",
    "ctx.blockConcurrencyWhile",
    "ctx.getWebSockets",
    "ctx.getTags",
    "ctx.acceptWebSocket",
    "ctx.setWebSocketAutoResponse",
    "ctx.getWebSocketAutoResponse",
    "ctx.abort(reason)",
    "setName(name)",
    "__unsafe_ensureInitialized",
    "_initAndFetch",
    "routePartykitRequest(request, env)",
    "prefix",
    "props",
    "cors",
    "jurisdiction",
    "locationHint",
    "routingRetry",
    "getServerByName(namespace, name)",
    "hono-party",
    // The object of the first PartyKit.
    "onConnect(ws, room, ctx)",
    "onMessage(message, ws, room)",
    "onClose(ws, room)",
    "onError(ws, error, room)",
    "onRequest(request, room)",
    "onAlarm(room)",
    "unstable_onFetch",
    // The storage.
    "storage.get(key)",
    "storage.get(keys)",
    "storage.put(key, value)",
    "storage.put(entries)",
    "storage.delete(key)",
    "storage.delete(keys)",
    "storage.deleteAll()",
    "storage.list(options)",
    "storage.transaction(work)",
    "storage.sync()",
    "storage.getAlarm()",
    "storage.setAlarm(at)",
    "storage.deleteAlarm()",
];

/// The folders whose tests the page may name, relative to this crate.
const TESTS: &[&str] =
    &["tests", "tests/compat", "js/tests", "../../cli/tests", "../../tests/conformance"];

/// One row of a table of the page.
struct Row<'a> {
    line: usize,
    what: &'a str,
    verdict: &'a str,
    tests: &'a str,
}

fn crate_file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn page() -> String {
    fs::read_to_string(crate_file("../js/COMPATIBILITY.md")).expect("the page is there")
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// The rows of all tables, without their heads.
fn rows(page: &str) -> Vec<Row<'_>> {
    let numbered = page.lines().enumerate();
    let in_tables = numbered.filter(|(_, line)| line.starts_with('|'));
    in_tables
        .map(|(index, line)| (index + 1, cells(line)))
        .inspect(|(line, cells)| assert_eq!(cells.len(), 4, "line {line} has four cells"))
        .filter(|(_, cells)| cells[3] != "test" && !cells[3].starts_with("---"))
        .map(|(line, cells)| Row { line, what: cells[0], verdict: cells[2], tests: cells[3] })
        .collect()
}

/// What is in code in a text.
fn in_code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The names of all tests that the page may name.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in TESTS {
        let entries = fs::read_dir(crate_file(folder)).expect("the tests are there");
        for entry in entries {
            let path = entry.expect("a folder is read to its end").path();
            let Ok(source) = fs::read_to_string(&path) else { continue };
            for line in source.lines() {
                let line = line.trim_start();
                let rust = line.strip_prefix("fn ").and_then(|rest| rest.split_once("()"));
                let script = line.strip_prefix("test(\"").and_then(|rest| rest.split_once('"'));
                names.extend(rust.or(script).map(|(name, _)| name.to_owned()));
            }
        }
    }
    names
}

#[test]
fn every_row_of_the_page_has_a_verdict_and_names_tests_that_exist() {
    let (page, names) = (page(), test_names());
    let rows = rows(&page);
    assert!(rows.len() > 100, "{} rows were read", rows.len());
    for Row { line, what, verdict, tests } in rows {
        let verdicts = ["**same**", "**better**", "**not**"];
        assert!(
            verdicts.iter().any(|word| verdict.starts_with(word)),
            "line {line}: {what}: {verdict:?} begins with none of {verdicts:?}"
        );
        assert!(
            verdict.starts_with("**same**") || verdict.len() > 20,
            "line {line}: {what}: a difference needs its reason"
        );
        let tests = in_code(tests);
        assert!(!tests.is_empty(), "line {line}: {what}: no test shows it");
        for test in tests {
            assert!(names.contains(test), "line {line}: {what}: there is no test {test:?}");
        }
    }
}

#[test]
fn the_page_has_every_method_of_both_generations() {
    let page = page();
    let named: BTreeSet<&str> = rows(&page).iter().flat_map(|row| in_code(row.what)).collect();
    let missing: Vec<_> = API.iter().filter(|name| !named.contains(*name)).collect();
    assert!(missing.is_empty(), "no row is about {missing:?}");
}

/// The types that `partykit/server` 0.0.115 exports, but for those of services that are not here.
const TYPES_OF_PARTYKIT: &str = "Request Storage ConnectionContext Stub Context FetchLobby CronLobby Lobby \
    ExecutionContext ConnectionState ConnectionSetStateFn Connection Room Party Server FetchSocket Cron Worker \
    PartyKitServer ServerOptions PartyRequest PartyStorage PartyKitStorage PartyConnectionContext PartyKitContext \
    PartyStub PartyContext PartyFetchLobby PartyLobby PartyExecutionContext PartyConnection PartyServer PartyWorker \
    PartyKitRoom PartyKitConnection PartyServerOptions";

#[test]
fn the_modules_have_every_type_that_partykit_exports() {
    let ours = fs::read_to_string(crate_file("../js/compat.d.ts")).expect("it is there");
    let (_, ours) = ours.split_once("declare module \"partykit/server\"").expect("it is declared");
    for name in TYPES_OF_PARTYKIT.split_whitespace() {
        let declared =
            [" ", "<"].iter().any(|next| ours.contains(&format!("export type {name}{next}")));
        assert!(declared, "partykit/server exports the type {name}, and ours does not");
    }
}

#[test]
fn the_modules_have_every_name_that_partyserver_exports() {
    let types = Path::new(&bundle::npm_program("esbuild"))
        .ancestors()
        .nth(2)
        .expect("npm has a folder")
        .join("partyserver/dist/index.d.ts");
    let types = fs::read_to_string(types).expect("partyserver is among the packages");
    let (_, exports) = types.rsplit_once("export {").expect("it exports something");
    let (exports, _) = exports.split_once('}').expect("the list ends");
    let ours = fs::read_to_string(crate_file("../js/server.d.ts")).expect("it is there");
    for name in exports.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let known = ["class", "interface", "type", "function"]
            .iter()
            .any(|kind| ours.contains(&format!("export {kind} {name}")));
        assert!(known, "partyserver exports {name}, and roomkit/server does not");
    }
}
