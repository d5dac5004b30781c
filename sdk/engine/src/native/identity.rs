//! Who clients are, and tickets, for the library.
//!
//! Owns the functions about identities. Invariant: what the library learns comes from the host. It does not know the
//! objects that authors see.

use room_sdk::Capabilities;
use room_sdk::host::{Current, GrantRecord, Host as _, IdentityRecord};
use rquickjs::{Ctx, Object, Result};

use super::natives;
use crate::mode::in_room;
use crate::values::{Text, number, optional, refuse, type_error, whole};

natives! {
    "identity" => identity,
    "ticket" => ticket,
}

const CAPABILITIES: [(Capabilities, &str); 3] = [
    (Capabilities::READ, "read"),
    (Capabilities::WRITE, "write"),
    (Capabilities::PRESENCE, "presence"),
];

/// Who a client is, towards a script.
pub(crate) fn identity_in<'js>(ctx: &Ctx<'js>, record: IdentityRecord) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("claims", record.claims)?;
    let held = CAPABILITIES.iter().filter(|(one, _)| record.capabilities.has(*one));
    object.set("capabilities", held.map(|(_, name)| *name).collect::<Vec<_>>())?;
    object.set("ends", record.ends_ms.map(number))?;
    Ok(object)
}

fn identity<'js>(ctx: Ctx<'js>, connection: Text) -> Result<Option<Object<'js>>> {
    in_room(&ctx)?;
    Current::identity_of(&connection.0).map(|record| identity_in(&ctx, record)).transpose()
}

fn ticket(ctx: Ctx<'_>, grant: Object<'_>) -> Result<String> {
    in_room(&ctx)?;
    let names: Vec<Text> = grant.get("capabilities")?;
    let mut capabilities = Capabilities::NONE;
    for name in names {
        let found = CAPABILITIES.iter().find(|(_, own)| *own == name.0);
        let (one, _) = found.ok_or_else(|| {
            let text = "is not a capability: write read, write or presence";
            type_error(&ctx, &format!("{:?} {text}", name.0))
        })?;
        capabilities = capabilities | *one;
    }
    let grant = GrantRecord {
        party: grant.get::<_, Text>("party")?.0,
        room: optional::<Text>(&grant, "room")?.map(|room| room.0),
        ms: whole(&ctx, "the time of a ticket", grant.get("ms")?)?,
        capabilities,
        once: grant.get("once")?,
        claims: optional::<Text>(&grant, "claims")?.map(|claims| claims.0),
    };
    Current::ticket(grant)
        .map_err(|why| refuse(&ctx, "no-ticket", &format!("cannot make a ticket: {why}")))
}
