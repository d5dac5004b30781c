//! WebSocket messages.
//!
//! Owns [`Message`] and what can become one. Invariant: text stays text and binary stays binary,
//! both ways; JSON is text. It does not know connections.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::Result;

/// One WebSocket message, received or to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// A text message that is sent as it is.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The text of a text message; `None` if it is binary.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The bytes of the message, whichever kind it is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Reads the message as JSON. `T` may borrow from it.
    ///
    /// ```
    /// use room_sdk::Message;
    ///
    /// let point: (u32, u32) = Message::text("[3, 4]").json()?;
    /// assert_eq!(point, (3, 4));
    /// # Ok::<(), room_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// The message is not JSON, or not that of a `T`. With `?` in
    /// [`Room::on_message`](crate::Room::on_message) the turn fails, the connection stays.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(self.as_bytes()).context("the message is not the expected JSON")
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// What can be sent: a reference to any serde type (as JSON text), or a [`Message`] (as it is).
///
/// Mind that `conn.send("hi")` sends the JSON string `"hi"` with its quotes; the bare text is
/// `conn.send(Message::text("hi"))`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to a connection",
    label = "neither a reference to a serde type nor a `Message`",
    note = "`&value` is sent as JSON if its type implements `serde::Serialize`",
    note = "a `Message` is sent as it is, by value: `message` or `message.clone()`, not `&message`"
)]
pub trait IntoMessage {
    /// The message to send.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    fn into_message(self) -> Result<Message>;
}

impl IntoMessage for Message {
    fn into_message(self) -> Result<Message> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> IntoMessage for &T {
    fn into_message(self) -> Result<Message> {
        let text = serde_json::to_string(self).context("the message cannot be written as JSON")?;
        Ok(Message::Text(text))
    }
}
