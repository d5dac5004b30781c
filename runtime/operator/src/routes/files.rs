//! Backups, exports and imports over HTTP. Owns their bounds.
//!
//! Invariant: a body is in a file, whatever its size, and the file is removed with the response. It does not know what
//! a backup or an export is.
//!
//! ```text
//! POST /backup                       the backup
//! GET  /rooms/:party/:room/export    the room as lines of JSON
//! PUT  /rooms/:party/:room/import    such lines; answers {"room":…,"keys":…}
//! ```

use super::target::RoomTarget;
use crate::scratch::Scratch;
use crate::{Operator, OperatorError};
use axum::Json;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::BytesMut;
use futures_util::stream::try_unfold;
use http::{HeaderValue, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use room_core::limits::{Limits, ms, size};
use room_door::DoorError;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};

pub(super) async fn backup(operator: Operator) -> Result<Response, OperatorError> {
    send(&operator.0.limits, operator.backup().await?, "application/octet-stream").await
}

pub(super) async fn export(operator: Operator, uri: Uri) -> Result<Response, OperatorError> {
    let RoomTarget { room } = RoomTarget::of(&operator, &uri)?;
    send(&operator.0.limits, operator.export(room).await?, "application/x-ndjson").await
}

pub(super) async fn import(
    operator: Operator,
    uri: Uri,
    body: Body,
) -> Result<Json<Value>, OperatorError> {
    let RoomTarget { room } = RoomTarget::of(&operator, &uri)?;
    if operator.0.rooms.is_empty() {
        return Err(DoorError::Starting.into());
    }
    let lines = receive(&operator.0.limits, body, operator.scratch()?).await?;
    let keys = operator.import(room.clone(), lines).await?;
    Ok(Json(json!({ "room": room.to_string(), "keys": keys })))
}

/// Writes a body into a file, within its bounds.
async fn receive(limits: &Limits, body: Body, into: Scratch) -> Result<Scratch, OperatorError> {
    if body.size_hint().lower() > limits.import_bytes_max {
        return Err(DoorError::BodyTooLarge(limits.import_bytes_max).into());
    }
    let mut body = Limited::new(body, size(limits.import_bytes_max));
    let failed = |error| OperatorError::from(into.failed(&error));
    let receiving = async {
        let mut file = BufWriter::new(File::create(into.path()).await.map_err(failed)?);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => DoorError::BodyTooLarge(limits.import_bytes_max),
                false => DoorError::BodyMissing,
            })?;
            if let Ok(piece) = frame.into_data() {
                file.write_all(&piece).await.map_err(failed)?;
            }
        }
        file.flush().await.map_err(failed)
    };
    let received = tokio::time::timeout(ms(limits.import_ms_max), receiving).await;
    received.unwrap_or(Err(DoorError::BodyMissing.into()))?;
    Ok(into)
}

/// Returns a file as a response. The file is removed with the response, whether that was sent or not.
async fn send(
    limits: &Limits,
    scratch: Scratch,
    content_type: &'static str,
) -> Result<Response, OperatorError> {
    let failed = |error| OperatorError::from(scratch.failed(&error));
    let file = File::open(scratch.path()).await.map_err(failed)?;
    let length = file.metadata().await.map_err(failed)?.len();
    let piece = size(limits.copy_slice_bytes);
    let pieces = try_unfold((file, scratch), move |(mut file, scratch)| async move {
        let mut bytes = BytesMut::with_capacity(piece);
        let read = file.read_buf(&mut bytes).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (bytes.freeze(), (file, scratch))))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // The length lets a client check that it has the whole file.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
