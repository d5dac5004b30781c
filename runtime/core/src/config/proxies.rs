//! Which proxies stand before the server. Owns what a network of addresses is, and which networks are trusted.
//!
//! Invariant: an IPv4 address and the same address mapped into IPv6 are equal. Pure: it does not know connections, only
//! their addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The proxies before a server, and the protocol that they speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The networks of trusted proxies. `Forwarded` and `X-Forwarded-*` are believed, and PROXY headers read, only from
    /// these.
    pub trusted: Vec<Network>,
    /// What the connections of these proxies start with.
    pub preamble: Preamble,
}

/// What a connection of a trusted proxy starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preamble {
    /// With the client's own bytes.
    #[default]
    Nothing,
    /// With a header of the PROXY protocol, version 1 or 2. A connection without it is closed.
    ProxyHeader,
}

impl Proxies {
    /// Returns what is wrong with the choice, as a sentence, or `None` if it can be used.
    pub fn problem(&self) -> Option<String> {
        let nobody = self.preamble == Preamble::ProxyHeader && self.trusted.is_empty();
        nobody
            .then(|| "PROXY headers are taken from trusted proxies, and there are none".to_owned())
    }

    /// Returns true if this address is a trusted proxy's.
    pub fn trusts(&self, addr: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(addr))
    }
}

/// The addresses with a common prefix, such as `10.0.0.0/8` or `2001:db8::/32`, or one single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address; never a mapped one.
    first: IpAddr,
    /// The length of the prefix in bits.
    bits: u8,
}

/// Why a text is not a network, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(String);

/// The length in bits of the prefix that marks an IPv6 address as a mapped IPv4 address.
const MAPPED_BITS: u8 = 96;

impl Network {
    /// Returns true if the address is in this network.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.first, addr.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(addr)) => cut4(addr, self.bits) == first,
            (IpAddr::V6(first), IpAddr::V6(addr)) => cut6(addr, self.bits) == first,
            _ => false,
        }
    }
}

/// Returns the address with all bits after the prefix set to zero.
fn cut4(addr: Ipv4Addr, bits: u8) -> Ipv4Addr {
    let dropped = u32::from(32_u8.saturating_sub(bits));
    Ipv4Addr::from_bits(addr.to_bits() & u32::MAX.checked_shl(dropped).unwrap_or(0))
}

fn cut6(addr: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let dropped = u32::from(128_u8.saturating_sub(bits));
    Ipv6Addr::from_bits(addr.to_bits() & u128::MAX.checked_shl(dropped).unwrap_or(0))
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong =
            |why: &str| NetworkError(format!("{why}, such as 10.0.0.0/8, 10.1.2.3 or fd00::/8"));
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| wrong("it must start with an IP address"))?;
        let bits_max: u8 = if addr.is_ipv4() { 32 } else { 128 };
        let digits = |bits: &&str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            None => bits_max,
            Some(bits) => Some(bits)
                .filter(digits)
                .and_then(|bits| bits.parse().ok())
                .filter(|bits| *bits <= bits_max)
                .ok_or_else(|| {
                    wrong(&format!("the number after the slash must be from 0 to {bits_max}"))
                })?,
        };
        let (addr, bits) = match (addr, addr.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(own)) if bits >= MAPPED_BITS => {
                (IpAddr::V4(own), bits - MAPPED_BITS)
            }
            _ => (addr, bits),
        };
        let first = match addr {
            IpAddr::V4(addr) => IpAddr::V4(cut4(addr, bits)),
            IpAddr::V6(addr) => IpAddr::V6(cut6(addr, bits)),
        };
        // The author of `10.1.2.3/8` may mean all of 10, or one address.
        if first != addr {
            let why = format!(
                "{addr} has more than {bits} bits; for all of the network write {first}/{bits}"
            );
            return Err(NetworkError(why));
        }
        Ok(Self { first, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_both_spellings_of_an_address() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("::/0", "fe80::1", "8.8.8.8"),
        ] {
            let own = network(text);
            assert!(own.contains(inside.parse().unwrap()), "{inside} in {text}");
            assert!(!own.contains(outside.parse().unwrap()), "{outside} in {text}");
        }
    }

    #[test]
    fn an_invalid_network_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "must start with an IP address"),
            ("proxy.example.com", "must start with an IP address"),
            ("10.0.0.0/33", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.0.0.0/", "0 to 32"),
            ("10.0.0.0/+8", "0 to 32"),
            ("10.1.2.3/8", "write 10.0.0.0/8"),
            ("2001:db8::1/32", "write 2001:db8::/32"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_network_parses_to_the_same_network(addr: IpAddr, bits in 0_u8..=32) {
            let first = match addr.to_canonical() {
                IpAddr::V4(addr) => IpAddr::V4(cut4(addr, bits)),
                IpAddr::V6(addr) => IpAddr::V6(cut6(addr, bits)),
            };
            let own = network(&format!("{first}/{bits}"));
            prop_assert_eq!(network(&own.to_string()), own);
            prop_assert!(own.contains(addr));
        }
    }
}
