//! Which compressed form of a file a client accepts. Owns the reading of `Accept-Encoding`.
//!
//! Invariant: a client gets a coding only if it gave it a weight above zero, and not a smaller one than the file as it
//! is. The parsers that exist are private, or pass over a weight after a space. Pure.

use ::http::{HeaderMap, header};

/// A coding in which files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentCoding {
    Brotli,
    Gzip,
}

impl ContentCoding {
    /// All of them, the one that compresses best first.
    pub(super) const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// Returns its name in headers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn is_named(self, name: &str) -> bool {
        // RFC 9110 section 8.4.1.3: recipients treat `x-gzip` as `gzip`.
        let old = self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip");
        old || name.eq_ignore_ascii_case(self.name())
    }
}

/// Returns the codings that a client accepts, the one that it prefers first.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<ContentCoding> {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let listed: Vec<(&str, u16)> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(weighted)
        .collect();
    let of = |named: &dyn Fn(&str) -> bool| {
        let found = listed.iter().find(|(name, _)| named(name));
        found.map(|(_, weight)| *weight)
    };
    let any = of(&|name| name == "*");
    let plain = of(&|name| name.eq_ignore_ascii_case("identity")).unwrap_or_default();
    let mut accepted: Vec<(u16, ContentCoding)> = ContentCoding::ALL
        .into_iter()
        .filter_map(|coding| Some((of(&|name| coding.is_named(name)).or(any)?, coding)))
        .filter(|(weight, _)| *weight > 0 && *weight >= plain)
        .collect();
    // The sort is stable: of codings with one weight, the better one comes first.
    accepted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    accepted.into_iter().map(|(_, coding)| coding).collect()
}

/// Returns a coding's name and its weight in thousandths: RFC 9110 section 12.4.2. A weight that is not a number counts
/// as zero.
fn weighted(item: &str) -> Option<(&str, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    Some((name, weight.unwrap_or(1_000)))
}

fn thousandths(text: &str) -> u16 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, digits) {
        ("1", true) => 1_000,
        ("0", true) => format!("{rest:0<3}").parse().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::ContentCoding::{Brotli, Gzip};
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> Vec<ContentCoding> {
        let values = values.iter().map(|value| (header::ACCEPT_ENCODING, value.parse().unwrap()));
        accepted(&values.collect())
    }

    #[test]
    fn weights_are_respected() {
        for (values, wanted) in [
            (&["gzip, deflate, br, zstd"][..], &[Brotli, Gzip][..]),
            (&["gzip"], &[Gzip]),
            (&["GZIP", "br"], &[Brotli, Gzip]),
            (&["x-gzip"], &[Gzip]),
            (&["br;q=0.5, gzip;q=0.8"], &[Gzip, Brotli]),
            (&["br; q=0.5, gzip; Q=0.501"], &[Gzip, Brotli]),
            (&["br;q=0, gzip"], &[Gzip]),
            (&["br;q=0.000,*;q=0.1"], &[Gzip]),
            (&["*"], &[Brotli, Gzip]),
            (&["*;q=0"], &[]),
            (&["identity"], &[]),
            (&["identity, br"], &[Brotli]),
            (&["identity;q=0.5, gzip;q=0.4"], &[]),
            (&["identity;q=0, gzip;q=0.4"], &[Gzip]),
            (&["br;q=2, gzip;q=abc"], &[]),
            (&[""], &[]),
            (&[], &[]),
        ] {
            assert_eq!(of(values), wanted, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(text in "[ -~]{0,40}") {
            of(&[&text]);
        }
    }
}
