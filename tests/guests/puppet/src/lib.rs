//! A room that follows its test's script, good or bad. Owns the script that tests speak.
//!
//! A text message that starts with `[` is a script: a JSON array of `Step`s, carried out in one turn. Any other
//! message comes back as it is. A POST carries a script, too, and its answer has the script's outputs. A GET is
//! answered with a `report`. A `Plan` says what any other callback should do. The room's starts, connects, closes,
//! errors and alarms are kept under keys that start with `~`.
//!
//! Invariant: nothing happens here that a test did not ask for. It does not know what tests expect.

mod faults;
mod outcalls;
mod plan;
mod presence;
mod samples;
mod step;
mod streams;

use plan::Plan;
use room_sdk::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use step::Step;

const STARTS: &str = "~starts";
const EVENTS: &str = "~events";
/// Set by [`Puppet::on_start`] in rooms whose name asks for one failure.
const FAILED: &str = "~failed";
/// The number of times an alarm fails before it succeeds: a test puts it.
const ALARM_FAILS: &str = "alarm-fails";
/// How many milliseconds an alarm takes: a test puts it.
const ALARM_SLEEPS: &str = "alarm-sleeps";

/// The number of handled timers of [`Step::TimerMany`].
const MANY: &str = "~many";

/// The puppet. Its fields are an instance's memory, and are lost with the instance.
#[derive(Default)]
pub struct Puppet {
    /// Events this instance has handled.
    handled: u64,
    /// Alarms this instance has handled, failed ones included.
    alarms: u64,
    /// Ticks this instance has handled, failed ones included.
    ticks: u64,
    /// Answers that this instance failed to handle because their tags asked for it.
    failed_answers: u64,
    /// What [`Step::Leak`] keeps.
    leaked: Vec<Vec<u8>>,
    /// The bodies that come in pieces, by the ids of their requests.
    uploads: HashMap<String, streams::Upload>,
}

/// The facts about a room that a test can read.
#[derive(Serialize)]
struct Report {
    party: String,
    name: String,
    starts: u64,
    handled: u64,
    version: Option<String>,
    events: Vec<String>,
    connections: Vec<Value>,
    keys: Vec<String>,
    alarm: Option<u64>,
    streams: Vec<String>,
}

impl Puppet {
    fn report(&self, ctx: &Context) -> Result<Report> {
        let connections = ctx.connections().into_iter().map(|conn| {
            Ok(json!({
                "id": conn.id(),
                "uri": conn.uri(),
                "tags": conn.tags(),
                "state": conn.state::<Value>()?,
                "claims": conn.claims::<Value>()?,
                "may": may(conn.capabilities()),
            }))
        });
        let keys = ctx
            .storage()
            .raw()
            .list()
            .into_iter()
            .map(|entry| Ok(String::from_utf8_lossy(&entry?.0).into_owned()));
        let keys = keys.filter(|key| !key.as_ref().is_ok_and(|key| key.starts_with('~')));
        Ok(Report {
            party: ctx.party().to_owned(),
            name: ctx.name().to_owned(),
            starts: ctx.storage().get(STARTS)?.unwrap_or_default(),
            handled: self.handled,
            version: ctx.var("VERSION"),
            events: ctx.storage().get(EVENTS)?.unwrap_or_default(),
            connections: connections.collect::<Result<_>>()?,
            keys: keys.collect::<Result<_>>()?,
            alarm: ctx.alarm().get().map(Timestamp::as_millis),
            streams: streams::ids(ctx),
        })
    }
}

/// The first letters of what a client may do.
fn may(capabilities: Capabilities) -> String {
    let all =
        [(Capabilities::READ, 'r'), (Capabilities::WRITE, 'w'), (Capabilities::PRESENCE, 'p')];
    all.into_iter().filter(|(one, _)| capabilities.has(*one)).map(|(_, letter)| letter).collect()
}

/// Notes an event durably.
fn note(ctx: &Context, event: String) -> Result {
    let mut events: Vec<String> = ctx.storage().get(EVENTS)?.unwrap_or_default();
    events.push(event);
    ctx.storage().put(EVENTS, &events)
}

/// Misbehaves as the room's name, its variables or a query ask for by one word.
fn misbehave(how: Option<&str>) -> Result {
    match how {
        Some("err") => bail!("asked to fail"),
        Some("panic") => panic!("asked to panic"),
        Some("trap") => faults::trap(),
        Some("loop") => faults::endless_loop(),
        Some("alloc") => faults::endless_allocation(),
        Some("recurse") => Err(anyhow!("it came back with {}", faults::endless_recursion::<0>(0))),
        _ => Ok(()),
    }
}

impl Room for Puppet {
    fn on_start(&mut self, ctx: &Context) -> Result {
        let name = ctx.name().to_owned();
        if name.starts_with("slow-start") {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        if name.starts_with("fail-start-once") && ctx.storage().get::<bool>(FAILED)?.is_none() {
            // The turn fails, and its writes are lost. So this is kept before.
            ctx.storage().put(FAILED, &true)?;
            ctx.flush()?;
            bail!("asked to fail once");
        }
        if name.starts_with("greet-start") {
            ctx.broadcast(Message::text("started")).send()?;
        }
        let how = if name.starts_with("fail-start-always") {
            Some("err".to_owned())
        } else {
            ctx.var("START")
        };
        misbehave(how.as_deref())?;
        Plan::run(self, ctx, "on_start", None)?;
        let starts: u64 = ctx.storage().get(STARTS)?.unwrap_or_default();
        ctx.storage().put(STARTS, &(starts + 1))
    }

    fn tags(&mut self, ctx: &Context, conn: &Connection, request: &Request) -> Result<Vec<String>> {
        Plan::run(self, ctx, "tags", Some(conn))?;
        let tags = request.query("tags").unwrap_or_default();
        Ok(tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
    }

    fn on_connect(&mut self, ctx: &Context, conn: &Connection, request: &Request) -> Result {
        self.handled += 1;
        if let Some(state) = request.query("state") {
            conn.set_state(&state)?;
        }
        for hello in request.query("hello").iter().flat_map(|hellos| hellos.split(',')) {
            conn.send(Message::text(hello))?;
        }
        if let Some(added) = request.header("x-added") {
            conn.send(Message::text(format!("x-added: {added}")))?;
        }
        if request.query("join").is_some() {
            ctx.broadcast(Message::text(format!("joined {}", conn.id()))).except(conn);
        }
        misbehave(request.query("connect").as_deref())?;
        Plan::run(self, ctx, "on_connect", Some(conn))?;
        if request.query("quiet").is_none() {
            note(ctx, format!("connect {}", conn.id()))?;
        }
        Ok(())
    }

    fn on_message(&mut self, ctx: &Context, conn: &Connection, message: Message) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_message", Some(conn))?;
        match message.as_text() {
            Some(text) if text.starts_with('[') => {
                let steps: Vec<Step> = message.json()?;
                let say = |text: String| conn.send(Message::text(text));
                steps.into_iter().try_for_each(|step| step.run(self, ctx, Some(conn), &say))
            }
            _ => conn.send(message),
        }
    }

    fn on_close(&mut self, ctx: &Context, conn: &Connection, close: Close) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_close", Some(conn))?;
        let Close { code, reason, clean } = close;
        let state = conn.state::<String>()?.unwrap_or_default();
        let lost = if ctx.connection(conn.id()).is_none() { " not found" } else { "" };
        let end = format!("{code} {reason:?} clean={clean} state={state:?}{lost}");
        let whose = conn.claims::<Value>()?.map(|claims| format!(" claims={claims}"));
        note(ctx, format!("close {} {end}{}", conn.id(), whose.unwrap_or_default()))?;
        ctx.broadcast(Message::text(format!("left {}", conn.id()))).tagged("watches");
        Ok(())
    }

    fn on_error(&mut self, ctx: &Context, conn: &Connection, error: &str) -> Result {
        Plan::run(self, ctx, "on_error", Some(conn))?;
        note(ctx, format!("error {} {error}", conn.id()))
    }

    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        self.handled += 1;
        Plan::run(self, ctx, "on_request", None)?;
        if let Some(open) = streams::respond(ctx, &request)? {
            return Ok(open);
        }
        match request.rest() {
            "/reflect" => Response::json(&json!({
                "method": request.method(),
                "uri": request.uri(),
                "headers": request.headers().collect::<Vec<_>>(),
                "body": request.body(),
                "claims": request.claims::<Value>()?,
            })),
            "/large" => {
                let bytes = request.query("bytes").unwrap_or_default().parse()?;
                Ok(Response::text("x".repeat(bytes)))
            }
            "/status" => {
                let status = request.query("code").unwrap_or_default().parse()?;
                let mut response = Response::text(request.text()?).with_status(status);
                for header in request.query_all("header") {
                    let (name, value) = header.split_once(':').unwrap_or((&header, ""));
                    response = response.with_header_added(name, value);
                }
                Ok(response)
            }
            _ if request.method() == "POST" => {
                let steps: Vec<Step> = request.json()?;
                let said = std::cell::RefCell::new(Vec::new());
                let say = |text: String| {
                    said.borrow_mut().push(text);
                    Ok(())
                };
                steps.into_iter().try_for_each(|step| step.run(self, ctx, None, &say))?;
                Response::json(&*said.borrow())
            }
            _ => Response::json(&self.report(ctx)?),
        }
    }

    fn on_body(&mut self, ctx: &Context, id: &str, piece: BodyPiece) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_body", None)?;
        streams::take(self, ctx, id, piece)
    }

    fn on_stream_close(&mut self, ctx: &Context, _: &str, end: StreamEnd) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_stream_close", None)?;
        note(ctx, format!("stream {end:?}"))
    }

    fn on_alarm(&mut self, ctx: &Context) -> Result {
        self.handled += 1;
        self.alarms += 1;
        Plan::run(self, ctx, "on_alarm", None)?;
        let fails: u64 = ctx.storage().get(ALARM_FAILS)?.unwrap_or_default();
        ensure!(self.alarms > fails, "asked to fail {fails} times");
        let sleeps: u64 = ctx.storage().get(ALARM_SLEEPS)?.unwrap_or_default();
        std::thread::sleep(std::time::Duration::from_millis(sleeps));
        ctx.broadcast(Message::text("alarm"));
        note(ctx, format!("alarm in {}", ctx.name()))
    }

    fn on_timer(&mut self, ctx: &Context, timer: Timer) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_timer", None)?;
        // `fails-3` fails three times.
        let fails = timer.tag().strip_prefix("fails-").map_or(Ok(0), str::parse)?;
        ensure!(timer.tries() >= fails, "asked to fail {fails} times");
        ctx.broadcast(Message::text(format!("timer {}", timer.tag())));
        if timer.tag().starts_with("many-") {
            let many: u64 = ctx.storage().get(MANY)?.unwrap_or_default();
            return ctx.storage().put(MANY, &(many + 1));
        }
        note(ctx, format!("timer {}", timer.tag()))
    }

    fn on_response(&mut self, ctx: &Context, fetched: Fetched) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_response", None)?;
        self.responded(ctx, &fetched)
    }

    fn on_chunk(&mut self, ctx: &Context, chunk: Chunk) -> Result {
        self.handled += 1;
        self.chunked(ctx, &chunk)
    }

    fn on_call(&mut self, ctx: &Context, call: Call) -> Result<Reply> {
        self.handled += 1;
        Plan::run(self, ctx, "on_call", None)?;
        self.called(ctx, &call)
    }

    fn on_answer(&mut self, ctx: &Context, answer: Answer) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_answer", None)?;
        self.answered(ctx, &answer)
    }

    fn on_tick(&mut self, ctx: &Context) -> Result {
        self.ticks += 1;
        Plan::run(self, ctx, "on_tick", None)?;
        ctx.broadcast(Message::text(format!("tick {}", self.ticks)));
        Ok(())
    }

    fn on_publish(&mut self, ctx: &Context, message: Message) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_publish", None)?;
        match message.as_text() {
            Some(text) if text.starts_with('[') => {
                let steps: Vec<Step> = message.json()?;
                let say = |text: String| ctx.broadcast(Message::text(text)).send();
                steps.into_iter().try_for_each(|step| step.run(self, ctx, None, &say))
            }
            text => {
                note(ctx, format!("published {}", text.unwrap_or("bytes")))?;
                ctx.broadcast(message).send()
            }
        }
    }

    fn on_cron(&mut self, ctx: &Context, cron: Cron) -> Result {
        self.handled += 1;
        Plan::run(self, ctx, "on_cron", None)?;
        ctx.broadcast(Message::text(format!("cron {}", cron.name())));
        note(ctx, format!("cron {} {}", cron.name(), cron.at().as_millis()))
    }

    #[expect(clippy::print_stdout, reason = "what a room prints is in its log")]
    fn on_expire(&mut self, ctx: &Context) -> Result {
        self.handled += 1;
        let events: Vec<String> = ctx.storage().get(EVENTS)?.unwrap_or_default();
        println!("{} expires after {} events", ctx.name(), events.len());
        // Data that is stored in between goes with the rest.
        ctx.storage().put("expires", &true)?;
        Plan::run(self, ctx, "on_expire", None)?;
        ctx.alarm().set_in(std::time::Duration::from_secs(3_600));
        Ok(())
    }

    fn on_before_connect(request: Request, lobby: &Lobby) -> Result<Verdict> {
        decide(request, lobby)
    }

    fn on_fetch(request: Request, project: &ProjectEnv) -> Result<Option<Response>> {
        misbehave(request.query("how").as_deref())?;
        if let Some(url) = request.query("fetch") {
            return Ok(Some(project.fetch(Request::get(url)).send()?));
        }
        match request.path() {
            "/own" | "/own.html" => {
                let version = project.var("VERSION").unwrap_or_default();
                let text = format!("own {} {} {version}", request.method(), request.text()?);
                Ok(Some(Response::text(text).with_status(201)))
            }
            "/own/claims" => Response::json(&(request.claims::<Value>()?, request.uri())).map(Some),
            "/own/bad" => Ok(Some(Response::status(99))),
            _ => Ok(None),
        }
    }

    fn on_socket(request: Request, project: &ProjectEnv) -> Result<SocketVerdict> {
        misbehave(request.query("how").as_deref())?;
        if let Some(url) = request.query("fetch") {
            let room = project.fetch(Request::get(url)).send()?;
            return Ok(SocketVerdict::enter("main", room.body_text()));
        }
        Ok(match request.path() {
            "/chat" => {
                let (party, room) = (request.query("party"), request.query("room"));
                SocketVerdict::enter(party.unwrap_or("main".to_owned()), room.unwrap_or_default())
            }
            "/gone" => SocketVerdict::refuse(4410, "gone"),
            "/plain" => SocketVerdict::Respond(Response::status(418)),
            _ => SocketVerdict::Unknown,
        })
    }

    fn on_before_request(request: Request, lobby: &Lobby) -> Result<Verdict> {
        decide(request, lobby)
    }
}

fn decide(request: Request, lobby: &Lobby) -> Result<Verdict> {
    for header in request.query_all("add") {
        let (name, value) = header.split_once(':').unwrap_or((&header, ""));
        lobby.add_response_header(name, value);
    }
    for _ in 0..request.query("add-many").map_or(Ok(0), |many| many.parse())? {
        lobby.add_response_header("x-many", &"x".repeat(200));
    }
    let how = request.query("verdict");
    match how.as_deref() {
        Some("refuse") => Ok(Verdict::refuse(4403, "not you")),
        Some("refuse-1000") => Ok(Verdict::refuse(1000, "no such refusal")),
        Some("claims") => {
            let claims = request.claims::<Value>()?.unwrap_or_default();
            Ok(Verdict::refuse(4403, claims.to_string()))
        }
        Some("respond") => Ok(Verdict::respond(Response::text("teapot").with_status(418))),
        Some("respond-99") => Ok(Verdict::respond(Response::text("no status").with_status(99))),
        Some("respond-header") => {
            let hooked = request.query_all("header").iter().fold(
                Response::text("hooked"),
                |response, header| {
                    let (name, value) = header.split_once(':').unwrap_or((header, ""));
                    response.with_header_added(name, value)
                },
            );
            Ok(Verdict::respond(hooked))
        }
        Some("uri") => {
            let to = request.query("to").unwrap_or_default();
            Ok(Verdict::forward(request.with_uri(to)))
        }
        Some("rest") => {
            let request = request.with_rest("/reflect").with_query("user", lobby.room());
            Ok(Verdict::forward(request.with_query("verdict", "")))
        }
        Some("protocol") => {
            let chosen = request.query("choose").unwrap_or_default();
            Ok(Verdict::forward(match chosen.as_str() {
                "" => request.without_header("sec-websocket-protocol"),
                chosen => request.with_header("sec-websocket-protocol", chosen),
            }))
        }
        Some("fetch") => Ok(fetched(request, lobby)),
        Some("fetch-many") => loop {
            if let Err(error) =
                lobby.fetch(Request::get(request.query("url").unwrap_or_default())).send()
                && error.code() == "invalid"
            {
                return Ok(Verdict::refuse(4403, error.to_string()));
            }
        },
        Some("header") => {
            let added = format!("{}/{}", lobby.party(), lobby.room());
            let request = request.with_header("x-added", &added);
            Ok(Verdict::forward(request.with_header_added("x-added", "too")))
        }
        how => misbehave(how).map(|()| Verdict::forward(request)),
    }
}

/// Hands on what a hook fetched, or refuses with the code of the error.
fn fetched(request: Request, lobby: &Lobby) -> Verdict {
    let mut fetch = lobby.fetch(Request::get(request.query("url").unwrap_or_default()));
    if let Some(key) = request.query("key") {
        fetch = fetch.cached(key, Duration::from_secs(60));
    }
    match fetch.send() {
        Ok(response) => {
            let added = format!("{} {}", response.status_code(), response.body_text());
            Verdict::forward(request.with_header("x-added", &added))
        }
        Err(error) => Verdict::refuse(4403, error.code()),
    }
}

room_sdk::export!(Puppet);
