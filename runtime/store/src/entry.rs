//! A key and its value, in a form for people. Owns the form of one entry.
//!
//! Invariant: an entry that is written and read back is the same, byte for byte. It does not know where
//! entries come from.
//!
//! A value that is JSON as `serde_json` would write it is shown as `json`, another text as `text`, and any
//! other value as `base64`. A key that is not UTF-8 is `key_base64` instead of `key`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use room_core::limits::{Limits, size};
use room_core::span::Key;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An entry, or a part of one.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntryLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    json: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Keeps a `null` that is present apart from a missing value.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl EntryLine {
    /// Makes the line of a key with its value.
    pub fn of(key: &[u8], value: &Bytes) -> Self {
        let (named, valued) = (Self::of_key(key), Self::of_value(value));
        Self { key: named.key, key_base64: named.key_base64, ..valued }
    }

    /// Makes the line of a key alone.
    pub fn of_key(key: &[u8]) -> Self {
        match std::str::from_utf8(key) {
            Ok(text) => Self { key: Some(text.to_owned()), ..Self::default() },
            Err(_) => Self { key_base64: Some(BASE64_STANDARD.encode(key)), ..Self::default() },
        }
    }

    /// Makes the line of a value alone.
    pub fn of_value(value: &Bytes) -> Self {
        let mut line = Self::default();
        match (json_of(value), std::str::from_utf8(value)) {
            (Some(json), _) => line.json = Some(json),
            (None, Ok(text)) => line.text = Some(text.to_owned()),
            (None, Err(_)) => line.base64 = Some(BASE64_STANDARD.encode(value)),
        }
        line
    }

    /// Parses the entry in a text.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it. The limits on keys and values bound the sizes.
    pub(super) fn read(text: &str, limits: &Limits) -> Result<(Key, Bytes), String> {
        let line: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let decode = |text: String| BASE64_STANDARD.decode(text).map_err(|error| error.to_string());
        let key = match (line.key, line.key_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => decode(base64)?,
            _ => return Err("an entry has either `key` or `key_base64`".to_owned()),
        };
        let value = match (line.json, line.text, line.base64) {
            (Some(json), None, None) => json.to_string().into_bytes(),
            (None, Some(text), None) => text.into_bytes(),
            (None, None, Some(base64)) => decode(base64)?,
            _ => return Err("an entry has one of `json`, `text` and `base64`".to_owned()),
        };
        if !(1..=size(limits.key_bytes_max)).contains(&key.len()) {
            return Err(format!("a key has 1 to {} bytes (key_bytes_max)", limits.key_bytes_max));
        }
        if value.len() > size(limits.value_bytes_max) {
            return Err(format!(
                "a value has at most {} bytes (value_bytes_max)",
                limits.value_bytes_max
            ));
        }
        Ok((key, value.into()))
    }
}

/// Returns the JSON in these bytes, if writing it again gives the same bytes.
fn json_of(bytes: &Bytes) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    (value.to_string().as_bytes() == bytes).then_some(value)
}
