//! `/rooms/:party/:room/storage`: a room's stored data, key by key. Owns the form of keys and values.
//!
//! Invariant: a key in a path or a query is its bytes, percent-encoded, whatever they are. A new value is the body as
//! it is. It does not know whether the room runs.
//!
//! ```text
//! GET    /rooms/:party/:room/storage?prefix=&start=&limit=
//!   {"entries":[{"key":"count","bytes":1,"json":3}],"next":"…"}      `next` is the next page's `start`
//! GET    /rooms/:party/:room/storage/:key     {"key":"count","bytes":1,"json":3}
//! PUT    /rooms/:party/:room/storage/:key     the value; answers {"key":"count","was_there":true}
//! DELETE /rooms/:party/:room/storage/:key     answers the same
//! ```
//!
//! Entries have the form of an export. A running room makes the change itself, between two turns. Its next event runs
//! in a fresh instance, so that no value remembered in memory hides the change. Its connections stay open.

use super::PAGE;
use super::query::{Query, encoded};
use super::target::RoomTarget;
use crate::{Operator, OperatorError};
use axum::Json;
use axum::body::Body;
use bytes::Bytes;
use http::Uri;
use room_core::limits::size;
use room_core::span::{Key, ListOptions};
use room_door::read_body;
use room_rooms::room::Edit;
use room_store::EntryLine;
use serde_json::{Value, json};

pub(super) async fn list(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    let target = RoomTarget::of(&operator, &uri)?;
    let query = Query::of(&uri, &["prefix", "start", "limit"])?;
    let given = |name| query.bytes(name).filter(|bytes| !bytes.is_empty()).map(<[u8]>::to_vec);
    let (prefix, start) = (given("prefix"), given("start"));
    let options = ListOptions { prefix, start, ..ListOptions::default() };
    let limit = size(query.number("limit", PAGE, operator.0.limits.admin_page_entries_max)?);
    let page = operator.entries(&target.room, options, limit).await?;
    let entries: Vec<Value> =
        page.entries.iter().map(|(key, value)| entry(key, Some(value))).collect();
    let next = page.next.map(|key| encoded(&key));
    Ok(Json(json!({ "entries": entries, "next": next })))
}

pub(super) async fn get(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    let (target, key) = RoomTarget::with_key(&operator, &uri)?;
    let value = operator.value(&target.room, &key).await?;
    Ok(Json(entry(&key, Some(&value))))
}

pub(super) async fn put(
    operator: Operator,
    uri: Uri,
    body: Body,
) -> Result<Json<Value>, OperatorError> {
    let (target, key) = RoomTarget::with_key(&operator, &uri)?;
    let limits = &operator.0.limits;
    let mut permit = operator.0.rooms.bytes().permit();
    let value = Some(read_body(body, limits.value_bytes_max, limits, &mut permit).await?);
    edit(&operator, &target, Edit { key, value }).await
}

pub(super) async fn delete(operator: Operator, uri: Uri) -> Result<Json<Value>, OperatorError> {
    let (target, key) = RoomTarget::with_key(&operator, &uri)?;
    edit(&operator, &target, Edit { key, value: None }).await
}

async fn edit(
    operator: &Operator,
    target: &RoomTarget,
    edit: Edit,
) -> Result<Json<Value>, OperatorError> {
    let mut said = entry(&edit.key, None);
    said["was_there"] = operator.edit(&target.room, edit).await?.into();
    Ok(Json(said))
}

/// Returns an entry in the form of an export, with the size of its value. Without a value, only the key.
fn entry(key: &Key, value: Option<&Bytes>) -> Value {
    let line = match value {
        Some(value) => EntryLine::of(key, value),
        None => EntryLine::of_key(key),
    };
    let mut entry = serde_json::to_value(line).unwrap_or_default();
    if let Some(value) = value {
        entry["bytes"] = value.len().into();
    }
    entry
}
