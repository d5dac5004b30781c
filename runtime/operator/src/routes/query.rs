//! The query of an operator's request. Owns its parameters and the errors about invalid ones.
//!
//! Invariant: an unknown or repeated parameter is an error that names the known ones. Values are bytes, as keys are. It
//! does not know what the parameters mean.

use crate::OperatorError;
use http::Uri;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The parameters of a query.
pub(super) struct Query(Vec<(String, Vec<u8>)>);

impl Query {
    /// Parses a query. All its parameters must be among `known`.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`].
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, OperatorError> {
        let mut words: Vec<(String, Vec<u8>)> = Vec::new();
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(invalid(format!("the query has {name:?} in it; it may have {known}")));
            }
            if words.iter().any(|(other, _)| *other == name) {
                return Err(invalid(format!("the query has {name} in it twice")));
            }
            words.push((name, decoded(value)));
        }
        Ok(Self(words))
    }

    /// Returns the bytes of a parameter, if it is present.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    /// Returns the text of a parameter, if it is present and not empty.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`]: it is not valid UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, OperatorError> {
        let bytes = self.bytes(name).filter(|bytes| !bytes.is_empty());
        let text = bytes.map(std::str::from_utf8).transpose();
        text.map_err(|_| invalid(format!("{name} is not valid UTF-8 after percent-decoding")))
    }

    /// Returns the number of a parameter, from 1 to `max`, or `otherwise` if the parameter is not present.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`].
    pub(super) fn number(
        &self,
        name: &str,
        otherwise: u64,
        max: u64,
    ) -> Result<u64, OperatorError> {
        let Some(text) = self.text(name)? else { return Ok(otherwise.min(max)) };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| invalid(format!("{name} is a number from 1 to {max}, not {text:?}")))
    }

    /// Returns the choice of a parameter, or the first choice if the parameter is not present.
    ///
    /// # Errors
    /// [`OperatorError::Invalid`].
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<T, OperatorError> {
        let text = self.text(name)?;
        let chosen = choices.iter().find(|(choice, _)| text.is_none_or(|text| text == *choice));
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let choices: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            let text = text.unwrap_or_default();
            invalid(format!("{name} is one of {}, not {text:?}", choices.join(", ")))
        })
    }
}

/// Decodes a value of a query: percent-decoding, with a plus as a space.
fn decoded(value: &str) -> Vec<u8> {
    let value =
        if value.contains('+') { Cow::Owned(value.replace('+', " ")) } else { value.into() };
    percent_decode_str(&value).collect()
}

/// Returns the error for an invalid request.
pub(super) fn invalid(text: String) -> OperatorError {
    OperatorError::Invalid(text)
}

/// Encodes bytes for a path or a query.
pub(super) fn encoded(bytes: &[u8]) -> String {
    percent_encoding::percent_encode(bytes, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, OperatorError> {
        Query::of(&format!("/x?{text}").parse().unwrap(), &["a", "b"])
    }

    #[test]
    fn query_words_are_parsed_and_invalid_ones_are_named() {
        let read = query("a=%FF+%2B&b=7").unwrap();
        assert_eq!(read.bytes("a"), Some(&b"\xff +"[..]));
        assert_eq!(read.number("b", 1, 9), Ok(7));
        assert!(read.text("a").is_err());
        for (text, problem) in [
            ("c=1", "the query has \"c\" in it; it may have a, b"),
            ("a=1&a=2", "the query has a in it twice"),
        ] {
            assert_eq!(query(text).err().map(|error| error.to_string()).as_deref(), Some(problem));
        }
        for text in ["b=0", "b=10", "b=x", "b=-1"] {
            assert!(query(text).unwrap().number("b", 1, 9).is_err(), "{text}");
        }
        assert_eq!(query("b=").unwrap().number("b", 50, 9), Ok(9));
        let choices = [("x", 1), ("y", 2)];
        assert_eq!(query("").unwrap().choice("a", &choices), Ok(1));
        assert_eq!(query("a=y").unwrap().choice("a", &choices), Ok(2));
        let error = query("a=z").unwrap().choice("a", &choices).unwrap_err();
        assert_eq!(error.to_string(), "a is one of x, y, not \"z\"");
    }

    #[test]
    fn encoded_bytes_decode_to_themselves() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&all)), all);
    }
}
