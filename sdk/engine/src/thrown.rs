//! What a script threw, as text.
//!
//! Owns the words for errors, and for values that are not errors. Invariant: a getter or a proxy that throws in its turn costs its
//! own part of the text alone. It does not know positions.

use rquickjs::{CaughtError, Coerced, Exception, FromJs as _, Value};

/// The most characters of a value that is not an error.
const VALUE_CHARS_MAX: usize = 200;

/// Name and message of an error, or the text of a value that is not an error.
pub(crate) fn message(error: &CaughtError<'_>) -> String {
    match error {
        CaughtError::Error(error) => error.to_string(),
        CaughtError::Exception(error) => of_error(error),
        CaughtError::Value(value) if value.is_null() && is_full() => {
            "InternalError: out of memory, or the script threw null".to_owned()
        }
        CaughtError::Value(value) => {
            format!("the script threw {}, which is not an Error", of_value(value))
        }
    }
}

/// The stack of an error; empty if it has none.
pub(crate) fn stack(error: &CaughtError<'_>) -> String {
    match error {
        CaughtError::Exception(error) => error.stack().unwrap_or_default(),
        CaughtError::Error(_) | CaughtError::Value(_) => String::new(),
    }
}

fn of_error(error: &Exception<'_>) -> String {
    let name: Option<String> = error.as_object().get("name").ok();
    let name = name.filter(|name| !name.is_empty());
    let message = match error.as_object().get::<_, Value>("message") {
        Ok(value) => Coerced::<String>::from_js(error.ctx(), value).map(|text| text.0).ok(),
        Err(_) => None,
    };
    match (name, message.as_deref()) {
        // What is left of the engine's own error if there was no space for its text.
        (Some(name), Some("Invalid error message")) => format!("{name}: out of memory"),
        (Some(name), Some("")) => name,
        (Some(name), Some(message)) => format!("{name}: {message}"),
        (None, Some(message)) => message.to_owned(),
        (name, None) => {
            format!("{}: its message cannot be read", name.as_deref().unwrap_or("Error"))
        }
    }
}

/// A value as its author may know it.
fn of_value(value: &Value<'_>) -> String {
    let ctx = value.ctx();
    let text = if value.is_string() {
        value.as_string().and_then(|text| text.to_string().ok()).map(|text| format!("{text:?}"))
    } else if value.is_symbol() || value.is_function() {
        None
    } else if value.is_object() {
        let json = ctx.json_stringify(value.clone()).ok().flatten();
        json.and_then(|json| json.to_string().ok())
    } else {
        Coerced::<String>::from_js(ctx, value.clone()).ok().map(|text| text.0)
    };
    let Some(text) = text else {
        return match (value.is_function(), value.is_object()) {
            (true, _) => "a function".to_owned(),
            (_, true) => "an object that cannot be read".to_owned(),
            _ => format!("a {}", value.type_name()),
        };
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whether the heap has all the memory that it may have. The engine throws null if it has no space for an error.
#[cfg(target_family = "wasm")]
fn is_full() -> bool {
    core::arch::wasm32::memory_grow::<0>(1) == usize::MAX
}

/// Natively nothing bounds it.
#[cfg(not(target_family = "wasm"))]
fn is_full() -> bool {
    false
}
