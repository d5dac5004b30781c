//! `room ticket`. Owns how a ticket is asked for.
//!
//! Invariant: the ticket alone is on stdout. It does not know how a ticket is made.

use crate::args::ticket::{CapabilityName, TicketArgs};
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::operator::Operator;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Asks the server for a ticket, and prints it.
pub(crate) fn run(args: &TicketArgs) -> anyhow::Result<ExitCode> {
    let Some((party, room)) = args.rooms.split_once('/') else {
        let message = format!("`{}` names no party and room", args.rooms);
        let help = "write PARTY/ROOM, such as main/lobby, or PARTY/* for every room of the party";
        return Err(Mistake::new(Code::BadTicket, message).help(help).into());
    };
    let room = (room != "*").then_some(room);
    let claims = args.claims.as_deref().map(claims).transpose()?;
    let all = [CapabilityName::Read, CapabilityName::Write, CapabilityName::Presence];
    let capabilities: &[CapabilityName] = match &args.allow[..] {
        _ if args.read_only => &all[..1],
        [] => &all,
        some => some,
    };
    let names: Vec<&str> = capabilities.iter().map(|one| one.name()).collect();
    let body = json!({
        "party": party,
        "room": room,
        "ms": u64::try_from(args.lasting.as_millis()).unwrap_or(u64::MAX),
        "capabilities": names,
        "once": args.once,
        "claims": claims,
    });
    let operator = Operator::find(&args.server)?;
    let answer = operator.ask("POST", "tickets", body.to_string().as_bytes())?;
    operator.print(&answer, |answer| answer["ticket"].as_str().unwrap_or_default().to_owned())?;
    Ok(ExitCode::SUCCESS)
}

fn claims(text: &str) -> anyhow::Result<Value> {
    let parsed = serde_json::from_str(text).ok().filter(Value::is_object);
    parsed.ok_or_else(|| {
        let message = "--claims is not a JSON object";
        let help = "write it as --claims '{\"sub\":\"ann\"}'";
        Mistake::new(Code::BadTicket, message).help(help).into()
    })
}
