//! A forwarded WebSocket: two connections, joined byte for byte. Owns the copying.
//!
//! Invariant: every byte of one side reaches the other in order, or both connections end. Each direction holds at most
//! `forward_buffer_bytes`. The home pings its clients, so one that is silent for too long is gone. It does not know what
//! the bytes mean.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use room_core::limits::fixed::FORWARD_BUFFER_BYTES;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Joins a client and the home of its room, until one of them ends.
///
/// # Cancel safety
/// If dropped before it returns, both connections are closed.
pub(super) async fn join(client: OnUpgrade, home: OnUpgrade, idle_max: Duration) {
    // A side that left during the handshake takes the other one with it.
    let Ok((client, home)) = tokio::try_join!(client, home) else { return };
    copy_both(TokioIo::new(client), TokioIo::new(home), idle_max).await;
}

async fn copy_both<C, H>(client: C, home: H, idle_max: Duration)
where
    C: AsyncRead + AsyncWrite,
    H: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_home, mut to_home) = tokio::io::split(home);
    let inward = async {
        // A client may be silent for as long as it answers the home's pings.
        copy(&mut from_client, &mut to_home, (Duration::MAX, idle_max)).await;
        // The home learns that the client is gone, and ends the connection.
        drop(to_home.shutdown().await);
        std::future::pending().await
    };
    let outward = async {
        copy(&mut from_home, &mut to_client, (idle_max, idle_max)).await;
        drop(timeout(idle_max, to_client.shutdown()).await);
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}

/// Copies until `from` ends or is silent for too long, or `to` takes nothing for too long.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    (read_max, write_max): (Duration, Duration),
) {
    let mut buffer = vec![0; FORWARD_BUFFER_BYTES];
    while let Ok(Ok(length @ 1..)) = timeout(read_max, from.read(&mut buffer)).await {
        let written = async {
            to.write_all(&buffer[..length]).await?;
            to.flush().await
        };
        if !matches!(timeout(write_max, written).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};

    const IDLE: Duration = Duration::from_secs(60);

    /// Returns a client and a home with a tunnel between them, each with a buffer of 64 bytes.
    fn joined() -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<()>) {
        let ((client, near), (far, home)) = (duplex(64), duplex(64));
        (client, home, tokio::spawn(copy_both(near, far, IDLE)))
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_go_both_ways_and_the_end_of_either_side_ends_both() {
        for client_ends in [true, false] {
            let (mut client, mut home, tunnel) = joined();
            let long = [7; 1_000];
            let mut seen = [0; 1_000];
            let (sent, read) = tokio::join!(client.write_all(&long), home.read_exact(&mut seen));
            assert!(sent.is_ok() && read.is_ok() && seen == long);
            home.write_all(b"back").await.unwrap();
            let mut back = [0; 4];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"back");
            if client_ends {
                client.shutdown().await.unwrap();
                assert_eq!(home.read(&mut seen).await.unwrap(), 0);
                // What the home says last still reaches the client.
                home.write_all(b"bye").await.unwrap();
            }
            drop(home);
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, if client_ends { &b"bye"[..] } else { b"" });
            tunnel.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_home_ends_the_tunnel_and_a_silent_client_does_not() {
        let (mut client, mut home, tunnel) = joined();
        for _ in 0..5 {
            tokio::time::sleep(IDLE / 2).await;
            home.write_all(b"ping").await.unwrap();
            client.read_exact(&mut [0; 4]).await.unwrap();
        }
        assert!(!tunnel.is_finished());
        tunnel.await.unwrap();
        assert_eq!(client.read(&mut [0; 4]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_ends_the_tunnel() {
        let (_client, mut home, tunnel) = joined();
        while home.write_all(&[0; 64]).await.is_ok() {}
        tunnel.await.unwrap();
    }
}
