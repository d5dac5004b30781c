//! The steps about requests to other servers and rooms, and the notes about their answers.
//!
//! Invariant: each answer that had its turn is one note. It does not know who answers.

use crate::step::{Say, Step};
use crate::{Puppet, note};
use room_sdk::prelude::*;
use room_sdk::{PendingRequest, Redirects};
use serde::Deserialize;
use serde_json::Value;
use std::cell::RefCell;
use std::time::Duration;

/// What a step asks of another server or room.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// A request to another server.
    Fetch(Box<Fetching>),
    /// A call of another room, whose data is a script.
    Call { party: String, room: String, tag: String, script: Value },
    /// A request to another room.
    Room { party: String, room: String, tag: String, path: String, body: Option<Value> },
    /// Says the pending requests.
    Pending,
    /// Says the names of a party's rooms.
    Rooms(String),
    /// Says how many requests with this tag it gave up.
    Cancel(String),
}

/// A request to another server.
#[derive(Deserialize)]
pub(crate) struct Fetching {
    url: String,
    tag: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    retries: u32,
    #[serde(default)]
    chunks: bool,
    #[serde(default)]
    best_effort: bool,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    manual: bool,
}

impl Ask {
    pub(crate) fn run(self, ctx: &Context, say: Say<'_>) -> Result {
        match self {
            Self::Fetch(fetching) => fetching.run(ctx),
            Self::Call { party, room, tag, script } => {
                ctx.room(&party, &room).call(&script).tag(&tag).id().map(drop)
            }
            Self::Room { party, room, tag, path, body } => {
                let request = match body {
                    Some(body) => Request::post(path).with_body(body.to_string()),
                    None => Request::get(path),
                };
                ctx.room(&party, &room).fetch(request).tag(&tag).id().map(drop)
            }
            Self::Pending => {
                let shown = |it: PendingRequest| format!("{} {} {}", it.tag, it.target, it.tries);
                let pending: Vec<_> = ctx.pending_requests().into_iter().map(shown).collect();
                say(pending.join(","))
            }
            Self::Rooms(party) => say(ctx.rooms(&party).collect::<Result<Vec<_>>>()?.join(",")),
            Self::Cancel(tag) => {
                let pending = ctx.pending_requests();
                let own = pending.iter().filter(|it| it.tag == tag);
                say(own.filter(|it| ctx.cancel_request(&it.id)).count().to_string())
            }
        }
    }
}

impl Fetching {
    fn run(self, ctx: &Context) -> Result {
        let method = self.method.unwrap_or_else(|| "GET".to_owned());
        let request = Request::new(method, self.url).with_body(self.body);
        let request = self
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.with_header_added(name, value));
        let mut fetch = ctx.fetch(request).tag(&self.tag).retries(self.retries);
        if let Some(timeout_ms) = self.timeout_ms {
            fetch = fetch.timeout(Duration::from_millis(timeout_ms));
        }
        if self.chunks {
            fetch = fetch.in_chunks();
        }
        if self.best_effort {
            fetch = fetch.best_effort();
        }
        if self.manual {
            fetch = fetch.redirects(Redirects::Manual);
        }
        fetch.id().map(drop)
    }
}

impl Puppet {
    /// Fails as often as the tag says, such as `fails-3`.
    fn fail_answer(&mut self, tag: &str) -> Result {
        let fails = tag.strip_prefix("fails-").map_or(Ok(0), str::parse)?;
        if self.failed_answers < fails {
            self.failed_answers += 1;
            bail!("asked to fail {fails} times");
        }
        Ok(())
    }

    pub(crate) fn responded(&mut self, ctx: &Context, fetched: &Fetched) -> Result {
        let tag = fetched.tag();
        self.fail_answer(tag)?;
        match fetched.response() {
            Ok(response) => note(
                ctx,
                format!("response {tag} {} {}", response.status_code(), response.body_text()),
            ),
            Err(failure) => note(ctx, format!("response {tag} failed {failure}")),
        }
    }

    pub(crate) fn answered(&mut self, ctx: &Context, answer: &Answer) -> Result {
        let tag = answer.tag();
        self.fail_answer(tag)?;
        match answer.bytes() {
            Ok(bytes) => note(ctx, format!("answer {tag} {}", String::from_utf8_lossy(bytes))),
            Err(failure) => note(ctx, format!("answer {tag} failed {failure}")),
        }
    }

    pub(crate) fn chunked(&mut self, ctx: &Context, chunk: &Chunk) -> Result {
        self.fail_answer(chunk.tag())?;
        note(ctx, format!("chunk {} {}+{}", chunk.tag(), chunk.offset(), chunk.bytes().len()))
    }

    pub(crate) fn called(&mut self, ctx: &Context, call: &Call) -> Result<Reply> {
        note(ctx, format!("call {}/{}", call.party(), call.room()))?;
        let said = RefCell::new(Vec::new());
        let say = |text: String| {
            said.borrow_mut().push(text);
            Ok(())
        };
        let steps: Vec<Step> = call.data()?;
        steps.into_iter().try_for_each(|step| step.run(self, ctx, None, &say))?;
        Reply::json(&*said.borrow())
    }
}
