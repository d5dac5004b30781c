//! One call of a guest for many turns. Owns the exchange of messages and finished turns with the guest.
//!
//! Invariant: between two messages the guest waits in the host and has no turn, so that the room is as free
//! as after a callback. A turn of such a call has the budget of a call of its own, and its end is the same. It
//! does not know which messages there are, or what becomes of a turn.

use crate::fault::{GuestFault, Overrun, cut};
use crate::host::HostState;
use crate::instance::within;
use crate::log::GuestLog;
use room_core::event::Message;
use room_core::id::ConnectionId;
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use room_core::turn::Turn;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use wasmtime::component::{ComponentType, Linker, Lower, TypedFunc};
use wasmtime::{Store, StoreContextMut};

/// The interface that the guest takes its messages from.
const INBOX: &str = "room:runtime/inbox@0.1.0";

/// A message on its way into the guest.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Delivery {
    connection: Arc<str>,
    message: Payload,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum Payload {
    #[component(name = "text")]
    Text(String),
    #[component(name = "binary")]
    Binary(Vec<u8>),
}

/// The place of the exchange. Cheap to clone; clones are the same place. The room looks at it whenever the
/// guest waits, so nobody has to be woken.
#[derive(Clone)]
pub(super) struct Inbox(Arc<Mutex<Slot>>);

enum Slot {
    /// The guest is at work, or has not begun.
    Empty,
    /// The room has put in the next message, and the turn that it begins.
    Filled(Delivery, Box<Turn>),
    /// The guest has ended its turn, and waits for the next message.
    Asked(Asked),
    /// There are no more messages.
    Over,
}

/// A turn that the guest has ended, with its outcome. There is no turn if a flush lost it.
type Asked = (Result<(), String>, Option<Box<Turn>>);

/// A call of a guest that takes several messages. If it is dropped before [`BatchCall::end`] returned, the
/// caller must discard the instance.
pub struct BatchCall<'a> {
    call: Pin<Box<dyn Future<Output = Result<(), GuestFault>> + Send + 'a>>,
    inbox: Inbox,
    log: GuestLog,
    limits: Arc<Limits>,
}

/// How the guest gave the thread back.
enum Step {
    Asked(Asked),
    Returned(Result<(), GuestFault>),
}

impl Inbox {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        lock(&self.0)
    }

    fn put(&self, slot: Slot) {
        *self.slot() = slot;
    }

    /// Returns true if there is a message that the guest has not asked for: the first one of the call.
    fn is_unasked(&self) -> bool {
        !matches!(*self.slot(), Slot::Empty | Slot::Asked(_))
    }

    /// Takes what the room has put in: a message, or `None` if there are no more.
    fn take(&self) -> Poll<Option<(Delivery, Box<Turn>)>> {
        let mut slot = self.slot();
        match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Filled(delivery, turn) => Poll::Ready(Some((delivery, turn))),
            Slot::Over => Poll::Ready(None),
            other => {
                *slot = other;
                Poll::Pending
            }
        }
    }

    /// Takes the turn that the guest has ended, if it has.
    fn asked(&self) -> Option<Asked> {
        let mut slot = self.slot();
        match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Asked(asked) => Some(asked),
            other => {
                *slot = other;
                None
            }
        }
    }
}

/// Gives guests the interface that they take their messages from.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.instance(INBOX)?.func_wrap_async(
        "next",
        |store: StoreContextMut<'_, HostState>, (outcome,): (Result<(), String>,)| {
            Box::new(next(store, outcome))
        },
    )
}

/// Ends the turn in work, and waits for the room to begin the next one. Outside of a call for a batch there is
/// no next message, and the turn in work goes on. Nor is there one behind the last, and asking for it renews
/// no budget: a guest that asks forever is stopped.
async fn next(
    mut store: StoreContextMut<'_, HostState>,
    outcome: Result<(), String>,
) -> wasmtime::Result<(Option<Delivery>,)> {
    let host = store.data_mut();
    let Some(inbox) = &host.inbox else { return Ok((None,)) };
    if !inbox.is_unasked() {
        inbox.put(Slot::Asked((outcome, host.turn.take())));
    }
    let filled = poll_fn(|_| inbox.take()).await;
    host.budget.start_turn();
    let delivery = match filled {
        Some((delivery, turn)) => {
            host.turn = Some(turn);
            Some(delivery)
        }
        None => {
            host.inbox = None;
            None
        }
    };
    store.set_epoch_deadline(1);
    Ok((delivery,))
}

impl<'a> BatchCall<'a> {
    /// Makes a call that enters the guest with its first message.
    pub(super) fn new(
        store: &'a mut Store<HostState>,
        run: TypedFunc<(), ()>,
        log: &'a GuestLog,
    ) -> Self {
        let inbox = Inbox(Arc::new(Mutex::new(Slot::Empty)));
        let host = store.data_mut();
        host.inbox = Some(inbox.clone());
        host.budget.start_turn();
        let limits = host.budget.limits().clone();
        store.set_epoch_deadline(1);
        let call = Box::pin(async move {
            let returned = run.call_async(&mut *store, ()).await;
            let host = store.data_mut();
            host.inbox = None;
            returned.map_err(|error| GuestFault::of(&error, &host.budget))
        });
        Self { call, inbox, log: log.clone(), limits }
    }

    /// Delivers a message, and returns the turn with the guest's effects.
    ///
    /// # Errors
    /// [`GuestFault`]: the turn is dropped. Unless the fault spares the instance, the call is over, and the
    /// caller must drop the instance, too.
    ///
    /// # Cancel safety
    /// If the future is dropped, its turn is dropped with it, and the caller must discard the instance.
    pub async fn turn(
        &mut self,
        (connection, message): &(ConnectionId, Message),
        turn: Box<Turn>,
    ) -> Result<Box<Turn>, GuestFault> {
        let message = match message {
            Message::Text(text) => Payload::Text(text.as_str().to_owned()),
            Message::Binary(bytes) => Payload::Binary(bytes.to_vec()),
        };
        let delivery = Delivery { connection: connection.shared(), message };
        self.inbox.put(Slot::Filled(delivery, turn));
        self.log.start_turn();
        let step = self.step().await;
        self.log.end_turn();
        match step? {
            Step::Asked((Ok(()), Some(turn))) => Ok(turn),
            Step::Asked((Ok(()), None)) => Err(trapped("the turn was lost in a flush")),
            Step::Asked((Err(text), _)) => {
                Err(GuestFault::Rejected(cut(text, size(self.limits.fault_text_bytes_max))))
            }
            Step::Returned(Ok(())) => {
                Err(trapped("`run` returned before `next` returned none, call it until then"))
            }
            Step::Returned(Err(fault)) => Err(fault),
        }
    }

    /// Tells the guest, which has ended its last turn, that there are no more messages, and waits until it
    /// has returned.
    ///
    /// # Errors
    /// [`GuestFault`]: the caller must drop the instance. The turns before stand.
    ///
    /// # Cancel safety
    /// If the future is dropped, the caller must discard the instance.
    pub async fn end(mut self) -> Result<(), GuestFault> {
        self.inbox.put(Slot::Over);
        self.log.start_turn();
        let step = self.step().await;
        self.log.end_turn();
        match step? {
            // Not reached: the inbox answers at once.
            Step::Asked(_) => Err(trapped("`run` did not return")),
            Step::Returned(returned) => returned,
        }
    }

    /// Lets the guest work until it asks for a message or returns, within the wall time of one turn.
    async fn step(&mut self) -> Result<Step, GuestFault> {
        let Self { call, inbox, limits, .. } = self;
        let step = poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(returned) => Poll::Ready(Step::Returned(returned)),
            Poll::Pending => {
                inbox.asked().map_or(Poll::Pending, |asked| Poll::Ready(Step::Asked(asked)))
            }
        });
        let wall_ms = limits.turn_wall_ms_max;
        let step = within(ms(wall_ms), pin!(step)).await;
        step.ok_or(GuestFault::Overrun(Overrun::Wall { ms: wall_ms }))
    }
}

fn trapped(message: &str) -> GuestFault {
    GuestFault::Trapped { message: message.to_owned(), backtrace: String::new() }
}
