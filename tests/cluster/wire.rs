//! A wire between two processes, which can be cut. Owns its address and what becomes of its bytes.
//!
//! Invariant: the address stays the same, whatever is behind it. It does not know what the bytes mean.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Duration;

/// What a wire does with connections and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It passes everything on, each piece after a pause.
    Passes(Duration),
    /// It holds everything back, as a network that lost its way. Open connections stay open.
    Holds,
    /// It ends all connections, and takes no others.
    Cut,
}

/// A wire that leads to one address.
pub(crate) struct Wire {
    pub(crate) addr: SocketAddr,
    behaviour: watch::Sender<Behaviour>,
}

impl Wire {
    /// Lays a wire to an address.
    pub(crate) async fn to(end: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (behaviour, seen) = watch::channel(Behaviour::Passes(Duration::ZERO));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, end, seen.clone()));
            }
        });
        Self { addr, behaviour }
    }

    /// Changes what it does with bytes from now on.
    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }
}

/// Carries one connection until it ends or is cut.
async fn carry(near: TcpStream, end: SocketAddr, mut seen: watch::Receiver<Behaviour>) {
    let is_cut = |behaviour: &Behaviour| *behaviour == Behaviour::Cut;
    if is_cut(&seen.borrow()) {
        return;
    }
    let Ok(far) = TcpStream::connect(end).await else { return };
    drop((near.set_nodelay(true), far.set_nodelay(true)));
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let there = pump(from_near, to_far, seen.clone());
    let back = pump(from_far, to_near, seen.clone());
    tokio::select! {
        _ = seen.wait_for(is_cut) => {}
        _ = there => {}
        _ = back => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut seen: watch::Receiver<Behaviour>,
) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        let passes = seen.wait_for(|behaviour| *behaviour != Behaviour::Holds).await.ok();
        if let Some(Behaviour::Passes(pause)) = passes.map(|behaviour| *behaviour) {
            tokio::time::sleep(pause).await;
        }
        to.write_all(&buffer[..length]).await.ok()?;
    }
}
