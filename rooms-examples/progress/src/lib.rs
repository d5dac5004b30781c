//! A long task that reports over server-sent events.
//!
//! `POST …/start?steps=20` starts the task, and `GET …/events` follows it, with `EventSource` or `curl -N`. Each step is a
//! timer, so the task goes on when nobody watches, and after a restart. Each reader gets the present state first, so one
//! that connects again has missed nothing.

use std::time::Duration;

use room_sdk::prelude::*;
use serde::{Deserialize, Serialize};

const TASK: &str = "task";
const PAUSE: Duration = Duration::from_millis(200);
const STEPS_MAX: u32 = 1_000;

/// The room. All that it knows is in storage.
#[derive(Debug, Default)]
pub struct Progress;

/// How far the task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Task {
    done: u32,
    steps: u32,
}

impl Task {
    fn is_over(self) -> bool {
        self.done >= self.steps
    }

    fn event(self) -> Result<ServerEvent> {
        let name = if self.is_over() { "done" } else { "progress" };
        Ok(ServerEvent::json(&self)?.named(name).with_id(&self.done.to_string()))
    }
}

fn task(ctx: &Context) -> Result<Task> {
    Ok(ctx.storage().get(TASK)?.unwrap_or_default())
}

fn start(ctx: &Context, request: &Request) -> Result<Response> {
    let steps = request.query("steps").unwrap_or_else(|| "20".to_owned());
    let steps = steps.parse().ok().filter(|steps| (1..=STEPS_MAX).contains(steps));
    let problem = || StatusError::new(400, format!("steps is a number from 1 to {STEPS_MAX}"));
    let steps = steps.ok_or_else(problem)?;
    if !task(ctx)?.is_over() {
        return Err(StatusError::new(409, "the task is not over yet").into());
    }
    let task = Task { done: 0, steps };
    ctx.storage().put(TASK, &task)?;
    ctx.schedule(ctx.now() + PAUSE, "step", &());
    Ok(Response::json(&task)?.with_status(202))
}

impl Room for Progress {
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        match (request.method(), request.rest()) {
            ("POST", "/start") => start(ctx, &request),
            ("GET", "/events") => {
                let (stream, task) = (ctx.open_stream()?, task(ctx)?);
                let response = Response::events(&stream).with_body(task.event()?.to_string());
                Ok(response)
            }
            _ => Ok(Response::text("POST start, or GET events").with_status(404)),
        }
    }

    fn on_timer(&mut self, ctx: &Context, _: Timer) -> Result {
        let mut task = task(ctx)?;
        task.done += 1;
        ctx.storage().put(TASK, &task)?;
        for reader in ctx.streams() {
            reader.event(&task.event()?)?;
            if task.is_over() {
                reader.end()?;
            }
        }
        if !task.is_over() {
            ctx.schedule(ctx.now() + PAUSE, "step", &());
        }
        Ok(())
    }
}

room_sdk::export!(Progress);
