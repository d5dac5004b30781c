//! The values of another tool's file, in JSON or TOML, with their places. Owns the two ways from a text to them.
//!
//! Invariant: the order is the file's, and a place lies in the text. It does not know what a key means.

use crate::codes::Code;
use crate::mistake::Mistake;
use jsonc_parser::ast::{ObjectProp, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value, and its place.
#[derive(Debug, Clone)]
pub(super) struct PlacedValue {
    /// The value.
    pub(super) content: KeyContent,
    /// Its bytes in the text.
    pub(super) at: Range<usize>,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum KeyContent {
    /// A text.
    Text(String),
    /// True or false.
    Flag(bool),
    /// A number, a date or nothing, in the spelling of JSON.
    Literal(String),
    /// Several values.
    List(Vec<PlacedValue>),
    /// Values by their keys.
    Object(Vec<PlacedKey>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct PlacedKey {
    /// The key.
    pub(super) name: String,
    /// Its bytes in the text.
    pub(super) at: Range<usize>,
    /// What it has.
    pub(super) value: PlacedValue,
}

impl PlacedValue {
    /// Returns the text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            KeyContent::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the keys, if it is an object.
    pub(super) fn object(&self) -> Option<&[PlacedKey]> {
        match &self.content {
            KeyContent::Object(keys) => Some(keys),
            _ => None,
        }
    }

    /// Returns the values, if it is a list.
    pub(super) fn list(&self) -> Option<&[PlacedValue]> {
        match &self.content {
            KeyContent::List(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the value of a key, if it is an object that has it.
    pub(super) fn get(&self, key: &str) -> Option<&PlacedValue> {
        let keys = self.object()?;
        keys.iter().find(|own| own.name == key).map(|own| &own.value)
    }

    /// Returns it in the spelling of JSON.
    pub(super) fn json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match &self.content {
            KeyContent::Text(text) => quoted(text),
            KeyContent::Flag(flag) => flag.to_string(),
            KeyContent::Literal(text) => text.clone(),
            KeyContent::List(values) => {
                let values: Vec<String> = values.iter().map(Self::json).collect();
                format!("[{}]", values.join(","))
            }
            KeyContent::Object(keys) => {
                let pair = |key: &PlacedKey| format!("{}:{}", quoted(&key.name), key.value.json());
                let pairs: Vec<String> = keys.iter().map(pair).collect();
                format!("{{{}}}", pairs.join(","))
            }
        }
    }
}

/// Reads JSON, with comments and commas at the end. `None` is a text without a value.
///
/// # Errors
/// The first mistake, with its place.
pub(super) fn of_json(file: &str, text: &str) -> Result<Option<PlacedValue>, Mistake> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default());
    let parsed = parsed.map_err(|err| {
        let message = format!("{file} is not valid JSON: {}", err.kind());
        let at = err.range();
        Mistake::new(Code::NotJson, message).at(file, text, at.start..at.end, "here")
    })?;
    Ok(parsed.value.as_ref().map(json_value))
}

fn json_value(value: &Value<'_>) -> PlacedValue {
    let content = match value {
        Value::StringLit(text) => KeyContent::Text(text.value.clone().into_owned()),
        Value::NumberLit(number) => KeyContent::Literal(number.value.to_owned()),
        Value::BooleanLit(flag) => KeyContent::Flag(flag.value),
        Value::NullKeyword(_) => KeyContent::Literal("null".to_owned()),
        Value::Object(object) => {
            KeyContent::Object(object.properties.iter().map(json_key).collect())
        }
        Value::Array(list) => KeyContent::List(list.elements.iter().map(json_value).collect()),
    };
    PlacedValue { content, at: value.start()..value.end() }
}

fn json_key(property: &ObjectProp<'_>) -> PlacedKey {
    PlacedKey {
        name: property.name.as_str().to_owned(),
        at: property.name.start()..property.name.end(),
        value: json_value(&property.value),
    }
}

/// Reads TOML.
///
/// # Errors
/// The first mistake, with its place.
pub(super) fn of_toml(file: &str, text: &str) -> Result<PlacedValue, Mistake> {
    let table = DeTable::parse(text).map_err(|err| {
        let message = err.message().trim().replace('\n', "; ");
        let message = format!("{file} is not valid TOML: {message}");
        let mistake = Mistake::new(Code::NotToml, message);
        match err.span() {
            Some(span) => mistake.at(file, text, span, "here"),
            None => mistake,
        }
    })?;
    Ok(PlacedValue { content: toml_keys(table.get_ref()), at: table.span() })
}

fn toml_keys(table: &DeTable<'_>) -> KeyContent {
    let keys = table.iter().map(|(name, value)| PlacedKey {
        name: name.get_ref().clone().into_owned(),
        at: name.span(),
        value: toml_value(value),
    });
    KeyContent::Object(keys.collect())
}

fn toml_value(value: &Spanned<DeValue<'_>>) -> PlacedValue {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let content = match value.get_ref() {
        DeValue::String(text) => KeyContent::Text(text.clone().into_owned()),
        DeValue::Integer(number) => {
            // TOML also has binary, octal and hexadecimal numbers.
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            KeyContent::Literal(parsed.map_or_else(|_| quoted(number.as_str()), |n| n.to_string()))
        }
        DeValue::Float(number) => KeyContent::Literal(number.as_str().to_owned()),
        DeValue::Boolean(flag) => KeyContent::Flag(*flag),
        DeValue::Datetime(date) => KeyContent::Literal(quoted(&date.to_string())),
        DeValue::Array(list) => KeyContent::List(list.iter().map(toml_value).collect()),
        DeValue::Table(table) => toml_keys(table),
    };
    PlacedValue { content, at: value.span() }
}
