//! The way to a server. Owns how a name becomes addresses, and that only checked ones are connected to.
//!
//! Invariant: an address that is not allowed never receives a packet. A lookup that takes too long keeps its permit, so
//! that slow lookups cannot take all threads. It does not know what is sent.

use crate::target::{Target, TargetServer};
use room_core::config::FetchHosts;
use room_core::fetch::FetchFailure;
use room_core::limits::fixed::FETCH_ADDRESSES_MAX;
use room_core::limits::{Limits, ms};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Returns the addresses of a target that the project allows.
///
/// # Errors
/// [`FetchFailure::Unreachable`], [`FetchFailure::AddressNotAllowed`].
pub(crate) async fn addresses(
    target: &Target,
    hosts: &FetchHosts,
    lookups: &Arc<Semaphore>,
) -> Result<Vec<SocketAddr>, FetchFailure> {
    let found = match &target.server {
        TargetServer::Address(address) => vec![SocketAddr::new(*address, target.port)],
        TargetServer::Name(name) => resolve(name, target.port, lookups).await?,
    };
    checked(target, hosts, found)
}

/// Returns those of the found addresses that the project allows.
fn checked(
    target: &Target,
    hosts: &FetchHosts,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, FetchFailure> {
    let found = found.into_iter().map(|one| SocketAddr::new(one.ip().to_canonical(), target.port));
    let (allowed, refused): (Vec<_>, Vec<_>) =
        found.partition(|one| hosts.allows_address(target.scheme, one.ip(), target.port));
    match (allowed.is_empty(), refused.first()) {
        (false, _) => Ok(allowed),
        (true, Some(one)) => {
            Err(FetchFailure::AddressNotAllowed { host: target.authority(), address: one.ip() })
        }
        (true, None) => {
            Err(FetchFailure::Unreachable(format!("the name {} has no address", target.host)))
        }
    }
}

async fn resolve(
    name: &str,
    port: u16,
    lookups: &Arc<Semaphore>,
) -> Result<Vec<SocketAddr>, FetchFailure> {
    let unknown = |why: String| {
        FetchFailure::Unreachable(format!("the name {name} cannot be resolved: {why}"))
    };
    let permit = lookups.clone().acquire_owned().await;
    let permit = permit.map_err(|_| FetchFailure::Busy("fetch_lookups_max".to_owned()))?;
    let asked = name.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        // The system's lookup cannot be stopped.
        let _until_it_ends = permit;
        let found = (asked.as_str(), port).to_socket_addrs();
        found.map(|found| found.take(FETCH_ADDRESSES_MAX).collect())
    });
    let found = looking.await.map_err(|error| unknown(error.to_string()))?;
    found.map_err(|error| unknown(error.to_string()))
}

/// Connects to the first of these addresses that accepts. Each gets its share of the time.
///
/// # Errors
/// [`FetchFailure::Unreachable`].
pub(crate) async fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    limits: &Limits,
) -> Result<(TcpStream, SocketAddr), FetchFailure> {
    let until = Instant::now() + ms(limits.fetch_connect_ms_max);
    let mut why = "it has no address".to_owned();
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        let share = until.duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it a small request waits; a connection that cannot have it works all the same.
                let _slower = stream.set_nodelay(true);
                return Ok((stream, *address));
            }
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address} does not answer"),
        }
    }
    Err(FetchFailure::Unreachable(format!("{}: {why}", target.host)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    fn named(hosts: &[&str], found: &[&str]) -> Result<Vec<SocketAddr>, FetchFailure> {
        let list: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let hosts = FetchHosts::parse(&list, &Limits::default()).unwrap();
        let target = Target::of(&Url::parse("http://a.example/").unwrap(), &hosts).unwrap();
        checked(&target, &hosts, found.iter().map(|one| one.parse().unwrap()).collect())
    }

    #[test]
    fn a_name_that_leads_inside_is_refused_with_the_address() {
        for inside in ["127.0.0.1:80", "[::1]:80", "[::ffff:10.0.0.1]:80", "169.254.169.254:80"] {
            let failure = named(&["a.example"], &[inside]).unwrap_err();
            assert_eq!(failure.code(), "address-not-allowed");
            assert!(failure.to_string().starts_with("a.example has the address"), "{failure}");
        }
    }

    #[test]
    fn only_the_allowed_addresses_of_a_name_are_connected_to() {
        let mixed = ["10.0.0.1:80", "8.8.8.8:80", "[fe80::1]:80", "[::ffff:1.1.1.1]:80"];
        let allowed = named(&["a.example"], &mixed).unwrap();
        assert_eq!(allowed, ["8.8.8.8:80".parse().unwrap(), "1.1.1.1:80".parse().unwrap()]);
        let listed = named(&["a.example", "10.0.0.1"], &["10.0.0.1:80"]).unwrap();
        assert_eq!(listed, ["10.0.0.1:80".parse().unwrap()]);
    }

    #[test]
    fn a_name_without_addresses_is_unreachable() {
        assert_eq!(named(&["*"], &[]).unwrap_err().code(), "unreachable");
    }
}
