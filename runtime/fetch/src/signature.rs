//! The signatures of webhooks, as the specification of Standard Webhooks has them. Owns the forms of a secret.
//!
//! Invariant: a signature covers the id, the time and the whole body, and a secret is never shown. Pure: it does not know
//! what is signed, or who verifies it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac::{HMAC_SHA256, Key, sign};
use std::fmt;

/// The start of a secret that is in base64.
const PREFIX: &str = "whsec_";

/// A secret that the sender and the receiver of webhooks share.
#[derive(Clone)]
pub struct WebhookSecret(Key);

impl WebhookSecret {
    /// Reads a secret: `whsec_` and bytes in base64, or any other text, whose bytes are the secret.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the secret.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = match text.strip_prefix(PREFIX) {
            None => text.as_bytes().to_vec(),
            Some(base64) => BASE64_STANDARD
                .decode(base64)
                .map_err(|_| "what follows whsec_ is not valid base64")?,
        };
        match bytes.is_empty() {
            true => Err("it is empty"),
            false => Ok(Self(Key::new(HMAC_SHA256, &bytes))),
        }
    }

    /// Returns the header `webhook-signature` of a webhook with this id that is sent at this time, in seconds since 1970.
    pub fn sign(&self, id: &str, at_s: u64, body: &str) -> String {
        let tag = sign(&self.0, format!("{id}.{at_s}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(tag.as_ref()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let (id, at_s, body) =
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let wanted = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(secret.sign(id, at_s, body), wanted);
        assert_ne!(secret.sign(id, at_s + 1, body), wanted);
        assert_ne!(secret.sign("msg_", at_s, body), wanted);
        // The same bytes without base64.
        let raw = WebhookSecret::parse("0123456789abcdef").unwrap();
        let same = WebhookSecret::parse("whsec_MDEyMzQ1Njc4OWFiY2RlZg==").unwrap();
        assert_eq!(raw.sign(id, at_s, body), same.sign(id, at_s, body));
    }

    #[test]
    fn a_secret_that_is_not_one_is_refused_and_never_shown() {
        for wrong in ["", "whsec_", "whsec_not base64"] {
            assert!(WebhookSecret::parse(wrong).is_err(), "{wrong}");
        }
        let secret = WebhookSecret::parse("0123456789abcdef").unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret");
    }
}
