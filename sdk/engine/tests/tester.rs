//! Tests of rooms that are scripts themselves: what `roomkit/test` does, without a command line.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use room_engine::testing::{Bounds, Outside, Settings, Tester};
use room_engine::{Positions, Script};

/// The room that most tests here act on.
const ROOM: &str = r#"
import { Server, getServerByName } from "partyserver";
import { capabilitiesOf, claimsOf } from "roomkit/server";
export default class Tested extends Server {
  static onBeforeConnect(request) {
    if (new URL(request.url).searchParams.get("name") === "mallory") return { refuse: { code: 4403, reason: "no" } };
    if (claimsOf(request)?.banned) return { refuse: { code: 4403, reason: "banned" } };
    return request;
  }
  async onConnect(connection, { request }) {
    connection.setState({ name: new URL(request.url).searchParams.get("name") });
    this.heap = (this.heap ?? 0) + 1;
  }
  async onMessage(connection, message) {
    if (message === "throw") throw new Error("the author failed");
    if (message === "late") {
      await fetch("https://api.example.com/late", { method: "POST", body: "asked" });
      throw new Error("the author failed later");
    }
    if (message === "loop") for (;;);
    if (message === "transport") return connection.send(connection.transport);
    if (message === "moves") {
      this.broadcast("at 1", [connection.id], { latest: "at" });
      this.broadcast("typing", [], { volatile: true });
      connection.send("both", {});
      return connection.send("seen", { latest: "seen" });
    }
    if (message === "badly") return connection.send("x", { latest: "at", volatile: true });
    if (message === "who") return connection.send(JSON.stringify([connection.claims, connection.capabilities]));
    if (message === "count") return connection.send(String(this.heap ?? 0));
    if (message === "said") return connection.send(JSON.stringify(this.readHistory({ limit: 2 })));
    if (message === "wave" || message === "wave and fail") {
      this.presence.set(connection, { name: connection.id });
      this.presence.flag(connection, "waving", 1_000);
      if (message === "wave and fail") throw new Error("after a wave");
      return;
    }
    if (message === "here") return connection.send(JSON.stringify([this.presence.users(), this.presence.user("nobody")]));
    if (message === "bye") return this.presence.clear(connection);
    if (message === "time") return connection.send(String(Date.now() >= 0));
    if (message === "later") return void setTimeout(() => connection.send("now"), 50);
    if (message === "schedule") return void this.schedule({ after: 5000 }, "reminder", { of: "tea" });
    if (message === "log") return void console.warn("careful", { n: 1 });
    if (message === "bell") return void (await this.ctx.storage.setAlarm(Date.now() + 1000));
    if (message === "weather") {
      const response = await fetch("https://api.example.com/weather");
      return connection.send(await response.text());
    }
    if (message === "lobby") {
      const other = await getServerByName(this.env.Lobby ?? { party: "lobby" }, "index");
      return connection.send(String(await other.add(2)));
    }
    await this.ctx.storage.put("last", new Map([["text", message]]));
    this.broadcast(message, [connection.id]);
  }
  static onFetch(request) {
    return new URL(request.url).pathname === "/robots.txt" ? new Response("none") : undefined;
  }
  static onSocket(request) {
    return new URL(request.url).pathname === "/lobby" ? { party: "main", room: "lobby" } : undefined;
  }
  static async onBeforeRequest(request) {
    if (!new URL(request.url).pathname.endsWith("/member")) return request;
    const answer = await fetch("https://members.example/me");
    return answer.status === 200 ? request : new Response("who are you?", { status: 401 });
  }
  onCall(caller, data) {
    if (data === "fail") throw new Error("this call failed");
    return { from: caller.party + "/" + caller.room, data };
  }
  async onExpire() { await fetch("https://api.example.com/"); }
  onAlarm() { this.broadcast("ding"); }
  onPublish(message) {
    this.broadcast("published " + (typeof message === "string" ? message : message.byteLength + " bytes"));
  }
  onCron(cron) { this.broadcast("cron " + cron.name); }
  onTimer(timer) { this.broadcast("timer " + timer.tag); }
  async onRequest(request) {
    const path = new URL(request.url).pathname;
    if (path.endsWith("/who")) return Response.json([claimsOf(request), capabilitiesOf(request)]);
    if (path.endsWith("/ticket")) return new Response(this.ticket(await request.json()));
    if (path.endsWith("/upload")) return new Response("got " + (await request.text()));
    if (path.endsWith("/events")) {
      const { readable, writable } = new TransformStream();
      this.writer = writable.getWriter();
      this.writer.write(new TextEncoder().encode("event: greeting\ndata: hello\n\n"));
      return new Response(readable, { headers: { "content-type": "text/event-stream" } });
    }
    if (path.endsWith("/wait")) {
      const response = await fetch("https://api.example.com/");
      return new Response("got " + (await response.text()));
    }
    return Response.json({ method: request.method, text: await request.text(), key: this.env.KEY });
  }
}
export class Lobby extends Server {
  add(by) {
    const sum = (this.ctx.storage.kv.get("sum") ?? 0) + by;
    this.ctx.storage.kv.put("sum", sum);
    return sum;
  }
}
"#;

/// The room of the guide's examples.
const GUIDE_ROOM: &str = r#"
import { Server, getServerByName } from "roomkit/server";
export default class Chat extends Server {
  async onConnect(connection) {
    const history = [...this.ctx.storage.kv.list({ prefix: "said:" })].map(([, said]) => said);
    if (history.length > 0) connection.send(JSON.stringify({ type: "welcome", history }));
    if (this.name !== "rust") return;
    const lobby = await getServerByName(this.env.Lobby, "index");
    await lobby.join(this.name);
  }
  async onMessage(connection, message) {
    if (message === "remind me in 60 s") return void this.schedule({ after: 60_000 }, "reminder");
    if (message === "weather") {
      const response = await fetch("https://api.example.com/weather");
      return connection.send(await response.text());
    }
    if (!message.startsWith("{")) return this.broadcast(message, [connection.id]);
    const { kv } = this.ctx.storage;
    kv.put(`said:${[...kv.list({ prefix: "said:" })].length}`, JSON.parse(message));
  }
  onTimer() { this.broadcast("it is time"); }
  onRequest() { return new Response("ok"); }
}
export class Lobby extends Server {
  join(room) { this.ctx.storage.kv.put(room, this.count(room) + 1); }
  count(room) { return this.ctx.storage.kv.get(room) ?? 0; }
}
"#;

/// What a file's tests said.
#[derive(Default)]
struct Said(RefCell<Vec<String>>);

impl Outside for Said {
    fn said(&self, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }

    fn clock(&self, _: u64) {}
}

fn load(tests: &str, said: &Rc<Said>) -> Result<Tester, String> {
    load_for(ROOM, tests, said)
}

fn load_for(room: &str, tests: &str, said: &Rc<Said>) -> Result<Tester, String> {
    let lobby = Script { export: "Lobby".to_owned(), ..Script::new(room) };
    let settings = Settings {
        scripts: vec![("main".to_owned(), Script::new(room)), ("lobby".to_owned(), lobby)],
        vars: vec![("KEY".to_owned(), "of the project".to_owned())],
        bounds: Bounds {
            test: Duration::from_secs(2),
            turn: Duration::from_millis(300),
            ..Bounds::default()
        },
    };
    let head =
        "import { assert, beforeEach, describe, test, TestProject, TestRoom } from 'roomkit/test';";
    let loaded =
        Tester::load(settings, format!("{head}\n{tests}"), Positions::default(), said.clone());
    loaded.map_err(|error| error.to_string())
}

/// Runs a file of tests: names and failures.
fn run(tests: &str) -> Vec<(String, Result<(), String>)> {
    let tester = load(tests, &Rc::default()).expect("the file can be loaded");
    let names = tester.names().to_vec();
    names.into_iter().zip(0..).map(|(name, index)| (name, tester.run(index))).collect()
}

/// The failure of the only test.
fn failure(body: &str) -> String {
    let mut ended = run(&format!("test('it', async () => {{ {body} }});"));
    assert_eq!(ended.len(), 1);
    ended.remove(0).1.expect_err("the test fails")
}

fn passes(body: &str) {
    let source = format!("test('it', async () => {{ {body} }});");
    for (name, ended) in run(&source) {
        assert_eq!(ended, Ok(()), "{name}");
    }
}

#[test]
fn a_message_reaches_the_other_clients_and_the_storage() {
    passes(
        "const room = new TestRoom('lobby');
        const [ada, bob] = [room.connect('ada', { query: { name: 'Ada' } }), room.connect('bob')];
        ada.send('hello');
        assert.deepEqual(bob.received(), ['hello']);
        assert.deepEqual(ada.received(), []);
        assert.deepEqual(room.storage.get('last'), new Map([['text', 'hello']]));
        assert.deepEqual(room.storage.keys(), ['last']);
        assert.deepEqual(room.connectionIds(), ['ada', 'bob']);
        bob.close(1000, 'bye');
        assert.deepEqual(bob.closed(), { code: 1000, reason: 'bye', wasClean: true });
        assert.throws(() => bob.send('x'), 'closed');",
    );
}

#[test]
fn a_turn_that_fails_leaves_nothing_and_its_error_can_be_taken() {
    passes(
        "const room = new TestRoom('lobby');
        const ada = room.connect('ada');
        ada.send('throw');
        assert.match(room.lastError(), /the author failed/);
        assert.equal(room.takeErrors().length, 1);
        assert.equal(room.takeErrors().length, 0);
        assert.equal(room.storage.size, 0);",
    );
}

#[test]
fn a_failed_turn_that_nobody_looks_at_fails_the_test() {
    let text = failure("new TestRoom('lobby').connect('ada').send('throw');");
    assert!(text.starts_with("a turn failed, and the test did not look"), "{text}");
    assert!(text.contains("main/lobby: Error: the author failed\n"), "{text}");
}

#[test]
fn a_handler_that_fails_in_a_later_turn_fails_the_test() {
    let text = failure(
        "const room = new TestRoom('lobby');
        room.connect('ada').send('late');
        const [fetch] = room.fetches();
        assert.equal(await fetch.request.text(), 'asked');
        fetch.respond(new Response('ok'));",
    );
    assert!(text.contains("the author failed later\n        at onMessage (script.js:"), "{text}");
    assert!(!text.contains("room:server"), "{text}");
}

#[test]
fn memory_ends_with_a_crash_a_reload_and_hibernation_and_connections_stay() {
    passes(
        "const room = new TestRoom('lobby');
        const ada = room.connect('ada');
        for (const end of ['crash', 'reload', 'hibernate']) {
            room.connect('bob');
            ada.send('count');
            assert.deepEqual(ada.received(), [end === 'crash' ? '2' : '1'], end);
            room[end]();
            ada.send('count');
            assert.deepEqual(ada.received(), ['0'], end);
        }",
    );
}

#[test]
fn the_clock_is_in_the_hands_of_the_test() {
    passes(
        "const room = new TestRoom('lobby', { clock: Date.now() });
        const ada = room.connect('ada');
        ada.send('bell');
        assert.ok = assert;
        assert(room.alarm() > room.now());
        const before = room.now();
        room.advance(room.alarm() - room.now() - 1);
        assert.deepEqual(ada.received(), []);
        room.advance(1);
        assert.deepEqual(ada.received(), ['ding']);
        assert.equal(room.alarm(), null);
        room.cron('prune');
        assert.deepEqual(ada.received(), ['cron prune']);",
    );
}

#[test]
fn clients_have_a_transport_and_publications_reach_a_room() {
    passes(
        "const room = new TestRoom('lobby');
        const ada = room.connect('ada', { transport: 'sse' });
        const bob = room.connect('bob');
        ada.send('transport');
        bob.send('transport');
        assert.deepEqual([ada.received(), bob.received()], [['sse'], ['websocket']]);
        room.publish('news');
        assert.deepEqual(ada.received(), ['published news']);
        room.publish(new Uint8Array([1, 2]));
        assert.deepEqual(ada.received(), ['published 2 bytes']);",
    );
}

#[test]
fn requests_are_answered_at_once_or_when_the_test_answers_others() {
    passes(
        "const room = new TestRoom('lobby', { vars: { KEY: 'of the test' } });
        const response = await room.request('/', { method: 'POST', body: 'text' });
        assert.deepEqual(await response.json(), { method: 'POST', text: 'text', key: 'of the test' });
        const waiting = room.request('/wait');
        const [fetch] = room.fetches();
        assert.equal(fetch.url, 'https://api.example.com/');
        fetch.respond(new Response('data'));
        assert.equal(await (await waiting).text(), 'got data');
        assert.throws(() => fetch.respond(new Response('again')), 'answer already');
        assert.equal((await (await new TestRoom('b').request('/')).json()).key, 'of the project');",
    );
}

#[test]
fn failures_of_other_servers_reach_the_room() {
    passes(
        "const room = new TestRoom('lobby');
        room.connect('ada').send('weather');
        room.fetches()[0].fail('timed-out');
        assert.match(room.takeErrors().join(), 'timed-out');",
    );
}

#[test]
fn hooks_fetch_from_the_test() {
    passes(
        "const room = new TestRoom('lobby');
        let status = 403;
        room.answerHooks((request) => {
            assert.equal(request.url, 'https://members.example/me');
            return new Response('', { status });
        });
        assert.equal((await room.request('/member')).status, 401);
        status = 200;
        assert.equal((await room.request('/member')).status, 200);",
    );
    let text = failure(
        "const room = new TestRoom('lobby');
        room.answerHooks(() => { room.advance(1); return new Response(''); });
        await room.request('/member');",
    );
    assert!(text.contains("a hook of a room waits for this answer"), "{text}");
}

#[test]
fn answers_outside_of_rooms_are_those_of_the_class() {
    passes(
        "const room = new TestRoom('lobby');
        assert.equal(await room.onFetch('/robots.txt').text(), 'none');
        assert.equal(room.onFetch('/other'), null);
        assert.deepEqual(room.onSocket('/lobby'), { party: 'main', room: 'lobby' });
        assert.deepEqual(room.onSocket('/other'), {});",
    );
}

#[test]
fn streams_are_read_as_they_grow_and_bodies_come_in_pieces() {
    passes(
        "const room = new TestRoom('lobby');
        const events = room.begin('/events');
        assert.equal(events.status, 200);
        assert.equal(events.head.headers.get('content-type'), 'text/event-stream');
        assert.deepEqual(events.takeEvents(), [{ type: 'greeting', data: 'hello' }]);
        assert.equal(events.isComplete, false);
        events.leave();
        const upload = room.upload('/upload');
        upload.sendPiece('one ');
        assert.equal(upload.status, null);
        upload.sendLast('two');
        assert.equal(await (await upload.whole()).text(), 'got one two');",
    );
}

#[test]
fn timers_schedules_and_logs_are_seen() {
    passes(
        "const room = new TestRoom('lobby', { stored: { a: new Set([1]) } });
        const ada = room.connect('ada');
        ada.send('schedule');
        const [timer] = room.timers();
        assert.deepEqual([timer.tag, timer.data, timer.at > 0], ['reminder', { of: 'tea' }, true]);
        ada.send('log');
        assert.deepEqual(room.logs().map(({ level, message }) => [level, message]), [['warn', 'careful { n: 1 }']]);
        assert.deepEqual(room.storage.get('a'), new Set([1]));
        assert.equal(room.storage.get('b'), undefined);
        ada.send('later');
        room.advance(49);
        assert.deepEqual(ada.received(), []);
        room.advance(1);
        assert.deepEqual(ada.received(), ['now']);",
    );
}

#[test]
fn a_room_reads_what_it_has_said_if_its_party_remembers() {
    passes(
        "const room = new TestRoom('lobby', { history: 10 });
        const ada = room.connect('ada');
        for (const text of ['one', 'two', 'three', 'said']) ada.send(text);
        const [page] = ada.received().map(JSON.parse);
        assert.equal(page.more, true);
        assert.deepEqual(page.messages.map(({ id, message }) => [id, message]), [['1-2', 'two'], ['1-3', 'three']]);
        assert.equal(page.messages[0].at, room.now());
        const silent = new TestRoom('other');
        silent.connect('bob').send('said');
        assert.match(silent.lastError(), /history = \\{ keep = 100 \\}/);
        assert.equal(silent.takeErrors().length, 1);",
    );
}

#[test]
fn a_room_shows_users_and_reads_what_clients_show() {
    passes(
        "const room = new TestRoom('lobby', { presence: true });
        const [ada, bob] = [room.connect('ada'), room.connect('bob')];
        ada.send('wave and fail');
        assert.deepEqual(room.presentUsers(), []);
        assert.equal(room.takeErrors().length, 1);
        ada.send('wave');
        bob.show([1, null]);
        bob.flag('typing', 500);
        const wave = { user: 'ada', data: { name: 'ada' }, connections: 1, flags: ['waving'] };
        assert.deepEqual(room.presentUsers(), [wave, { user: 'bob', data: [1, null], connections: 1, flags: ['typing'] }]);
        room.advance(500);
        ada.send('here');
        assert.deepEqual(ada.received().map(JSON.parse), [[[wave, { user: 'bob', data: [1, null], connections: 1, flags: [] }], null]]);
        bob.hide();
        ada.send('bye');
        assert.deepEqual(room.presentUsers(), []);
        ada.send('wave');
        ada.lose();
        room.advance(4_999);
        assert.equal(room.presentUsers()[0].connections, 0);
        room.advance(1);
        assert.deepEqual(room.presentUsers(), []);
        assert.throws(() => bob.flag('typing', 500), 'not present');
        assert.throws(() => bob.show(undefined), 'a value of JSON');
        const brief = new TestRoom('brief', { presence: { grace: 10 } });
        const eve = brief.connect('eve');
        eve.show('here');
        eve.lose();
        brief.advance(10);
        assert.deepEqual(brief.presentUsers(), []);
        const silent = new TestRoom('other');
        assert.throws(() => silent.presentUsers(), 'presence = true');
        silent.connect('bob').send('wave');
        assert.match(silent.lastError(), 'presence = true');
        silent.takeErrors();",
    );
}

#[test]
fn calls_of_the_test_reach_the_room_and_its_end_deletes_everything() {
    passes(
        "const room = new TestRoom('lobby', { stored: { a: 1 } });
        assert.deepEqual(room.call({ n: 1 }, { party: 'other', room: 'x' }), { from: 'other/x', data: { n: 1 } });
        assert.throws(() => room.call('fail'), 'this call failed');
        room.takeErrors();
        const ada = room.connect('ada');
        assert.throws(() => room.expire(), 'does not expire');
        ada.lose();
        room.expire();
        assert.equal(room.storage.size, 0);
        assert(room.takeErrors().length > 0);",
    );
}

#[test]
fn a_test_has_no_network_and_no_storage_of_its_own() {
    passes("await assert.rejects(fetch('https://example.com/'), 'it acts on a room');");
}

#[test]
fn hooks_are_asked_before_a_client_connects() {
    passes(
        "const room = new TestRoom('lobby');
        const mallory = room.connect('m', { query: { name: 'mallory' } });
        assert.deepEqual(mallory.closed(), { code: 4403, reason: 'no', wasClean: true });",
    );
}

#[test]
fn claims_reach_hooks_requests_and_connections_and_no_client_chooses_them() {
    passes(
        "const room = new TestRoom('lobby');
        const all = { read: true, write: true, presence: true };
        const who = async (init) => (await room.request('/who', init)).json();
        assert.deepEqual(await who({ claims: { sub: 'ada' } }), [{ sub: 'ada' }, all]);
        assert.deepEqual(await who({ headers: { claims: '{}' } }), [null, all]);
        const banned = room.connect('b', { claims: { banned: true } });
        assert.deepEqual(banned.closed(), { code: 4403, reason: 'banned', wasClean: true });
        const [ada, bob] = [room.connect('ada', { claims: { sub: 'ada' } }), room.connect('bob')];
        ada.send('who');
        room.reload();
        ada.send('who');
        room.hibernate();
        ada.send('who');
        bob.send('who');
        const said = ada.received().map((text) => JSON.parse(text));
        assert.deepEqual(said, Array(3).fill([{ sub: 'ada' }, all]));
        assert.deepEqual(JSON.parse(bob.received()[0]), [null, all]);",
    );
}

#[test]
fn a_room_makes_tickets_that_open_it_for_what_they_allow() {
    passes(
        "const room = new TestRoom('lobby');
        const made = async (grant) => (await room.request('/ticket', { method: 'POST', body: JSON.stringify(grant) })).text();
        const viewer = room.connect('v', { ticket: await made({ capabilities: ['read'], claims: { sub: 'hall' } }) });
        room.connect('ada').send('hello');
        assert.deepEqual(viewer.received(), ['hello']);
        viewer.send('mine');
        assert.equal(viewer.closed().code, 4403);
        const once = await made({ room: 'lobby', party: 'main', once: true });
        assert.equal(room.connect('first', { ticket: once }).closed(), null);
        assert.equal(room.connect('second', { ticket: once }).closed().code, 4401);
        const brief = await made({ party: 'main', for: 1000 });
        room.advance(1000);
        assert.equal(room.connect('late', { ticket: brief }).closed().code, 4401);
        const wrong = await room.request('/ticket', { method: 'POST', body: '{\"capabilities\":[\"fly\"]}' });
        assert.equal(wrong.status, 500);
        assert.match(room.takeErrors()[0], /read, write or presence/);",
    );
}

#[test]
fn calls_between_rooms_are_answered_by_the_test_or_by_the_rooms_of_a_project() {
    passes(
        "const alone = new TestRoom('lobby');
        const ada = alone.connect('ada');
        ada.send('lobby');
        const [call] = alone.calls();
        assert.deepEqual([call.party, call.room, call.method, call.args], ['lobby', 'index', 'add', [2]]);
        call.answer(40);
        assert.deepEqual(ada.received(), ['40']);
        const project = new TestProject();
        const chat = project.room('chat');
        const lobby = project.room('index', { party: 'lobby' });
        const bob = chat.connect('bob');
        bob.send('lobby');
        bob.send('lobby');
        assert.deepEqual(bob.received(), ['2', '4']);
        assert.equal(lobby.storage.get('sum'), 4);
        assert.equal(lobby.callMethod('add', 1), 5);",
    );
}

#[test]
fn an_endless_loop_of_a_room_fails_its_turn_and_the_test_goes_on() {
    passes(
        "const room = new TestRoom('lobby');
        const ada = room.connect('ada');
        ada.send('loop');
        assert.match(room.takeErrors()[0], 'ran for longer than 300 ms (turn_ms_max)');
        ada.send('count');
        assert.deepEqual(ada.received(), ['0']);",
    );
}

#[test]
fn an_endless_test_fails_and_the_next_one_runs() {
    let ended = run("
        test('loops', () => { for (;;); });
        test('loops later', async () => { await null; for (;;); });
        test('waits', async () => { await new Promise(() => {}); });
        test('passes', () => {});
    ");
    let texts: Vec<_> =
        ended.iter().map(|(_, ended)| ended.clone().err().unwrap_or_default()).collect();
    for text in &texts[..2] {
        assert!(text.starts_with("the test ran for longer than 2 s, and was ended\n"), "{text}");
        assert!(text.contains("script.js:"), "{text}");
    }
    assert!(texts[2].contains("never settles"), "{}", texts[2]);
    assert_eq!(texts[3], "");
}

#[test]
fn a_failed_assertion_shows_both_values_and_its_place() {
    let text = failure("assert.equal('hi', 'ho');");
    assert!(
        text.starts_with("the values are not equal\n  expected: 'ho'\n  received: 'hi'\n    at "),
        "{text}"
    );
    let text = failure("assert.deepEqual({ a: 1, b: [1, 2] }, { a: 1, b: [1, 3] }, 'lists');");
    assert!(text.starts_with("lists: the values are not equal\n"), "{text}");
    let lines = failure(
        "assert.deepEqual(Array.from('abcdefgh'.repeat(20)), Array.from('abcdefgh'.repeat(20) + 'x'));",
    );
    assert!(lines.contains("\n    ...\n      'g',\n      'h',\n  -   'x',\n"), "{lines}");
    let text = failure("await assert.rejects(async () => 5);");
    assert!(
        text.starts_with("the promise was not rejected, but is 5\n    at <anonymous> (script.js:"),
        "{text}"
    );
    assert!(
        failure("assert.throws(() => { throw new TypeError('odd'); }, /even/);")
            .contains("TypeError: odd")
    );
    assert!(failure("assert(0 > 1, 'less');").starts_with("less\n"));
    assert!(
        failure("assert.deepEqual(new Response('a'), new Response('a'));").contains("not equal")
    );
    let looped = "const error = new Error('round'); error.cause = error; throw error;";
    assert_eq!(failure(looped).matches("caused by").count(), 4);
    passes(
        "const round = { list: [new Date(5), new Map([[1, new Set(['a'])]])] };
        round.self = round;
        const other = { list: [new Date(5), new Map([[1, new Set(['a'])]])] };
        other.self = other;
        assert.deepEqual(round, other);
        assert.notDeepEqual(new Uint8Array([1, 2]), new Uint8Array([1, 3]));
        assert.deepEqual(new Headers({ a: 'b' }), new Headers([['A', 'b']]));
        assert.notEqual({}, {});
        assert.match('abc', /B/i);
        assert.equal(assert.throws(() => { throw new RangeError('far'); }, RangeError).message, 'far');",
    );
}

#[test]
fn groups_name_their_tests_and_prepare_them() {
    let ended = run("
        const seen = [];
        let room;
        beforeEach(() => { room = new TestRoom('lobby'); seen.push('outer'); });
        describe('group', () => {
            beforeEach(async () => { seen.push('inner'); });
            test('inside', () => assert.deepEqual(seen, ['outer', 'inner']));
        });
        test('outside', () => { seen.push(room.name); assert.equal(seen.length, 4); });
    ");
    let names: Vec<_> = ended.iter().map(|(name, ended)| (name.as_str(), ended.is_ok())).collect();
    assert_eq!(names, [("group > inside", true), ("outside", true)]);
}

#[test]
fn rooms_of_one_test_are_gone_in_the_next_and_console_reaches_the_outside() {
    let said = Rc::<Said>::default();
    let tester = load(
        "let kept;
        test('first', () => { kept = new TestRoom('lobby'); console.log('made', kept.name); });
        test('second', () => { kept.connect('ada'); });
        test('third', () => { setTimeout(() => {}, 1); });
        test('fourth', () => { new TestRoom('lobby', { party: 'odd' }); });",
        &said,
    )
    .expect("the file can be loaded");
    assert_eq!(tester.run(0), Ok(()));
    assert!(tester.run(1).is_err_and(|text| text.contains("belongs to a test that has ended")));
    assert!(tester.run(2).is_err_and(|text| text.contains("advance(milliseconds)")));
    assert!(tester.run(3).is_err_and(|text| text.contains("main, lobby")));
    assert_eq!(*said.0.borrow(), ["made lobby"]);
}

#[test]
fn the_examples_of_the_guides_pass() {
    let mut tests = String::new();
    for page in [include_str!("../../js/TESTING.md"), include_str!("../../js/SERVER.md")] {
        let blocks = page.split("```ts\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in
            blocks.filter(|block| block.contains("roomkit/test") || block.starts_with("test("))
        {
            let lines = block.lines().filter(|line| !line.starts_with("import "));
            tests.extend(lines.map(|line| format!("{line}\n")));
        }
    }
    let tester = load_for(GUIDE_ROOM, &tests, &Rc::default()).expect("the examples can be loaded");
    assert_eq!(tester.names().len(), 6, "{:?}", tester.names());
    for (name, index) in tester.names().iter().zip(0..) {
        assert_eq!(tester.run(index), Ok(()), "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_loaded_says_why() {
    let refused = |tests: &str| load(tests, &Rc::default()).expect_err("it cannot be loaded");
    assert!(refused("throw new Error('at the top');").contains("at the top"));
    assert!(refused("await new Promise(() => {});").contains("does not settle"));
    assert!(refused("for (;;);").starts_with("the file's top level ran for longer than 2 s"));
    assert!(refused("import 'left-pad';").contains("npm install"));
    let room = room_engine::check(Script::new("import 'roomkit/test'; export default class {}"));
    assert!(room.is_ok(), "natively the module is there: {room:?}");
}

#[test]
fn a_test_sees_how_a_message_was_sent() {
    passes(
        "const room = new TestRoom('lobby');
        const [ada, bob] = [room.connect('ada'), room.connect('bob')];
        ada.send('moves');
        assert.deepEqual(bob.deliveries(), [
          { message: 'at 1', delivery: { latest: 'at' } },
          { message: 'typing', delivery: { volatile: true } },
        ]);
        assert.deepEqual(ada.deliveries(), [
          { message: 'typing', delivery: { volatile: true } },
          { message: 'both', delivery: {} },
          { message: 'seen', delivery: { latest: 'seen' } },
        ]);
        ada.send('badly');
        assert.match(room.takeErrors()[0], /not both/);
        const poller = room.connect('cy', { transport: 'long-poll' });
        poller.send('transport');
        assert.deepEqual(poller.received(), ['long-poll']);",
    );
}
