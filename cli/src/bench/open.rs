//! Many connections at once. Owns how they are opened, and that the system lets this process have them.
//!
//! Invariant: all requested connections are open, or an error says how many are and why there are no more. It does
//! not know what they are for.

use super::figures::count;
use super::link::Broken;
use crate::codes::Code;
use crate::mistake::Mistake;
use crate::print;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::task::JoinSet;

/// The most connections that open at a time: a server's backlog has space for them.
const OPENING_MAX: usize = 64;
/// The number of times progress is shown, in connections.
const SHOWN_EVERY: usize = 500;
/// The other files that this process has open.
#[cfg(unix)]
const OTHER_FILES: u64 = 64;

/// Opens so many connections and returns them in their order.
///
/// # Errors
/// A mistake: one of them could not be opened.
///
/// # Cancel safety
/// The opened ones are closed.
pub(crate) async fn all<T: 'static>(
    total: usize,
    open: impl AsyncFn(usize) -> Result<T, Broken> + 'static,
) -> anyhow::Result<Vec<T>> {
    let open = Rc::new(open);
    let next = Rc::new(Cell::new(0));
    let found = Rc::new(RefCell::new(Vec::new()));
    let mut workers = JoinSet::new();
    for _ in 0..OPENING_MAX.min(total) {
        let (open, next, found) = (open.clone(), next.clone(), found.clone());
        workers.spawn_local(async move {
            while next.get() < total {
                let number = next.replace(next.get() + 1);
                let opened = open(number).await?;
                let mut found = found.borrow_mut();
                found.push((number, opened));
                if found.len() % SHOWN_EVERY == 0 {
                    let (open, total) = (count(found.len() as f64), count(total as f64));
                    print::progress(format_args!("opening {total} connections: {open}"));
                }
            }
            Ok::<_, Broken>(())
        });
    }
    while let Some(done) = workers.join_next().await {
        if let Err(err) = done? {
            let message =
                format!("only {} of {total} connections opened: {err}", found.borrow().len());
            return Err(Mistake::new(Code::ServerBusy, message)
                .help(
                    "ask for fewer clients, or raise the server's connections_max, \
                       connections_per_address_max, room_connections_max or file limit",
                )
                .into());
        }
    }
    let mut found = found.take();
    found.sort_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, opened)| opened).collect())
}

/// Raises the system's limit so that this process can have so many connections.
///
/// # Errors
/// A mistake: the system refuses.
#[cfg(unix)]
pub(crate) fn allow(connections: usize) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = connections as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum });
    raised.map_err(|_| {
        let most = maximum.map_or_else(|| "no more".to_owned(), |most| most.to_string());
        let message = format!(
            "{connections} connections need {needed} open files, and this process may have {most}"
        );
        Mistake::new(Code::BadLoad, message)
            .help(format_args!(
                "raise it (`ulimit -Hn {needed}`, as root), or ask for fewer clients"
            ))
            .into()
    })
}

/// Does nothing: other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn allow(_: usize) -> anyhow::Result<()> {
    Ok(())
}
