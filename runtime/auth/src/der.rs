//! Public keys in DER: X.690, RFC 5280 section 4.1, RFC 8017 appendix A. Owns the reading of the few forms that a key has.
//!
//! Invariant: any bytes are read or refused, in one pass. Pure: it does not know what the keys are for.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// What a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyBytes<'a> {
    /// The modulus and the exponent, without leading zeros.
    Rsa(&'a [u8], &'a [u8]),
    /// A point of the curve P-256.
    P256(&'a [u8]),
    /// A point of the curve of Ed25519.
    Ed25519(&'a [u8]),
}

/// Reads a `SubjectPublicKeyInfo`, the content of a PEM block `PUBLIC KEY`.
pub(crate) fn public_key(der: &[u8]) -> Option<KeyBytes<'_>> {
    let mut outer = whole(der, SEQUENCE)?;
    let mut kind = Elements(outer.next(SEQUENCE)?);
    let id = kind.next(OBJECT_ID)?;
    // The first byte counts the unused bits of the last one.
    let key = outer.next(BIT_STRING)?.strip_prefix(&[0])?;
    match id {
        RSA => rsa_key(key),
        EC if kind.next(OBJECT_ID)? == P256 => Some(KeyBytes::P256(key)),
        ED25519 => Some(KeyBytes::Ed25519(key)),
        _ => None,
    }
}

/// Reads an `RSAPublicKey`, the content of a PEM block `RSA PUBLIC KEY`.
pub(crate) fn rsa_key(der: &[u8]) -> Option<KeyBytes<'_>> {
    let mut parts = whole(der, SEQUENCE)?;
    let (modulus, exponent) = (parts.next(INTEGER)?, parts.next(INTEGER)?);
    Some(KeyBytes::Rsa(without_zeros(modulus), without_zeros(exponent)))
}

/// Returns a big-endian number without leading zeros.
pub(crate) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Returns the elements of the one that is the whole text.
fn whole(der: &[u8], tag: u8) -> Option<Elements<'_>> {
    let mut outer = Elements(der);
    let inner = outer.next(tag)?;
    outer.0.is_empty().then_some(Elements(inner))
}

/// Elements one after the other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// Returns the content of the next element, which has this tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match head[1] {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => rest.split_first().map(|(byte, rest)| (usize::from(*byte), rest))?,
            0x82 => {
                let (bytes, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*bytes)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        if head[0] != tag {
            return None;
        }
        self.0 = after;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = public_key(&bytes);
            let _ = rsa_key(&bytes);
        }
    }
}
