//! The queue before one room. Owns the order in which events reach it.
//!
//! Invariant: first in, first out, bounded by count and by bytes. A closed mailbox takes nothing and
//! hands back what it was given. It does not know what the events mean.

use super::RoomError;
use super::mail::{Mail, MailType};
use room_core::byte_budget::{ByteBudget, BytePermit};
use room_core::limits::{Limits, ms, size};
use room_core::line::WaitingLine;
use room_core::lock::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// The mailbox of a room. Cheap to clone; clones are the same mailbox.
#[derive(Clone)]
pub struct Mailbox(Arc<MailboxInner>);

struct MailboxInner {
    queue: Mutex<MailQueue>,
    filled: Notify,
    /// Notifies the first sender in the line.
    drained: Notify,
    /// The senders that wait for space, first come, first served. Only the first looks at the space that
    /// became free.
    line: WaitingLine,
    limits: Arc<Limits>,
}

struct MailQueue {
    mails: VecDeque<Mail>,
    bytes: usize,
    /// Bytes of the mails taken last: the room is about to handle them.
    taken: usize,
    /// Covers `bytes` and `taken`.
    permit: BytePermit,
    closed: bool,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mailbox({} events)", self.queue().mails.len())
    }
}

/// The reason why a mail was not taken, with the mail.
#[derive(Debug)]
pub(super) enum Refused<P> {
    /// The mailbox is at its bound.
    Full(P),
    /// The room is gone; the sender looks it up again.
    Closed(P),
}

/// The mails that a closed mailbox still held.
#[must_use]
pub struct Leftover(VecDeque<Mail>);

impl Leftover {
    /// Answers their senders that they will not be handled.
    pub fn fail(self, error: &RoomError) {
        self.0.into_iter().for_each(|mail| mail.fail(error));
    }
}

impl Mailbox {
    pub(super) fn new(limits: Arc<Limits>, budget: &ByteBudget) -> Self {
        let (filled, drained, line) = (Notify::new(), Notify::new(), WaitingLine::default());
        let (mails, permit) = (VecDeque::new(), budget.permit());
        let queue = Mutex::new(MailQueue { mails, bytes: 0, taken: 0, permit, closed: false });
        Self(Arc::new(MailboxInner { queue, filled, drained, line, limits }))
    }

    /// Puts a mail at the end of the queue.
    pub(super) fn push<P: MailType>(&self, post: P) -> Result<(), Refused<P>> {
        let (bounded, bytes) = (P::CLASS.bounded, post.bytes());
        let mut queue = self.queue();
        if queue.closed {
            return Err(Refused::Closed(post));
        }
        if bounded && self.is_full(&queue, bytes) {
            return Err(Refused::Full(post));
        }
        let sum = queue.bytes + queue.taken + bytes;
        // An empty mailbox takes one mail whatever the other rooms keep: the room must go on, and its
        // progress wakes the waiting senders.
        if !queue.permit.cover(sum) && bounded && !queue.mails.is_empty() {
            return Err(Refused::Full(post));
        }
        queue.bytes += bytes;
        queue.mails.push_back(post.into());
        drop(queue);
        self.0.filled.notify_one();
        Ok(())
    }

    /// Puts a mail at the end of the queue, unless other senders wait for space.
    pub(super) fn offer<P: MailType>(&self, post: P) -> Result<(), Refused<P>> {
        match self.0.line.is_empty() {
            true => self.push(post),
            false => Err(Refused::Full(post)),
        }
    }

    /// Puts a mail at the end of the queue, as soon as there is space for it and all earlier senders have
    /// theirs.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if there was no space within `mailbox_wait_ms_max`; [`RoomError::Gone`] if the
    /// mailbox is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the mail was not delivered and is lost.
    pub(super) async fn push_when_free<P: MailType>(&self, post: P) -> Result<(), RoomError> {
        let mut post = post;
        if self.0.line.is_empty() {
            post = match self.push(post) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed(_)) => return Err(RoomError::Gone),
                Err(Refused::Full(post)) => post,
            };
        }
        let waited = async {
            let _first = self.0.line.first().await;
            loop {
                let drained = self.0.drained.notified();
                tokio::pin!(drained);
                drained.as_mut().enable();
                post = match self.push(post) {
                    Ok(()) => return Ok(()),
                    Err(Refused::Closed(_)) => return Err(RoomError::Gone),
                    Err(Refused::Full(post)) => post,
                };
                drained.await;
            }
        };
        let limit = ms(self.0.limits.mailbox_wait_ms_max);
        tokio::time::timeout(limit, waited).await.unwrap_or(Err(RoomError::Busy))
    }

    /// Takes the next mails, at most `mailbox_batch_max`; none if the mailbox is empty. The caller has
    /// handled the mails of the call before.
    pub(super) fn take(&self) -> Vec<Mail> {
        let mut queue = self.queue();
        let count = queue.mails.len().min(size(self.0.limits.mailbox_batch_max));
        let (mut batch, mut taken) = (Vec::with_capacity(count), 0);
        // One by one: for the one or two mails that usually wait, a drain costs more.
        for _ in 0..count {
            let Some(mail) = queue.mails.pop_front() else { break };
            taken += mail.bytes();
            batch.push(mail);
        }
        queue.taken = taken;
        queue.bytes -= taken;
        let kept = queue.bytes + queue.taken;
        queue.permit.shrink(kept);
        drop(queue);
        if !batch.is_empty() {
            self.0.drained.notify_one();
        }
        batch
    }

    /// Returns the number of mails in the queue.
    pub(super) fn len(&self) -> usize {
        self.queue().mails.len()
    }

    /// Returns when there may be something to take. Only the one actor that reads may call it.
    ///
    /// # Cancel safety
    /// If the future is dropped before it returns, the next call reports what it would have reported.
    pub(super) async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// Closes the mailbox if it is empty. Returns whether it is closed now.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut queue = self.queue();
        queue.closed |= queue.mails.is_empty();
        queue.closed
    }

    /// Closes the mailbox and returns the mails in it.
    pub fn close(&self) -> Leftover {
        let mut queue = self.queue();
        queue.closed = true;
        (queue.bytes, queue.taken) = (0, 0);
        queue.permit.shrink(0);
        let rest = std::mem::take(&mut queue.mails);
        drop(queue);
        // The first sender leaves the line, and the senders after it find the mailbox closed.
        self.0.drained.notify_one();
        Leftover(rest)
    }

    /// Returns true if both are the same mailbox.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn is_full(&self, queue: &MailQueue, more: usize) -> bool {
        let limits = &self.0.limits;
        queue.mails.len() >= size(limits.mailbox_events_max)
            || queue.bytes + more > size(limits.mailbox_bytes_max)
    }

    fn queue(&self) -> MutexGuard<'_, MailQueue> {
        lock(&self.0.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mail::{EventMail, NodeOrder, Visit};
    use super::*;
    use room_core::event::{CloseFrame, Message};
    use room_core::id::Serial;

    fn message(text: &str) -> Visit {
        Visit::Message { from: Serial(1), message: Message::text(text) }
    }

    fn mailbox(events: u64, bytes: u64) -> Mailbox {
        let limits =
            Limits { mailbox_events_max: events, mailbox_bytes_max: bytes, ..Limits::default() };
        Mailbox::new(Arc::new(limits), &ByteBudget::new(1 << 20))
    }

    #[test]
    fn a_mailbox_takes_one_mail_at_a_time_when_others_use_the_whole_budget() {
        let budget = ByteBudget::new(64 * 1024);
        let greedy = Mailbox::new(Arc::default(), &budget);
        let large = message(&"x".repeat(40 * 1024));
        assert!(greedy.push(large).is_ok());
        let other = Mailbox::new(Arc::default(), &budget);
        let large = || message(&"x".repeat(30 * 1024));
        assert!(other.push(large()).is_ok(), "it is empty");
        assert!(matches!(other.push(large()), Err(Refused::Full(_))));
        assert!(budget.granted() <= 64 * 1024);
        assert_eq!(other.take().len(), 1);
        assert!(other.push(large()).is_ok());
        // The mails that the greedy mailbox handed out count until its room asks for more.
        assert_eq!((greedy.take().len(), budget.granted()), (1, 40 * 1024));
        assert_eq!((greedy.take().len(), budget.granted()), (0, 0));
    }

    #[test]
    fn a_mailbox_is_bounded_by_count_and_by_bytes() {
        let by_count = mailbox(2, 1000);
        assert!(by_count.push(message("a")).is_ok());
        assert!(by_count.push(message("b")).is_ok());
        assert!(matches!(by_count.push(message("c")), Err(Refused::Full(_))));
        let by_bytes = mailbox(100, 5);
        assert!(by_bytes.push(message("four")).is_ok());
        assert!(matches!(by_bytes.push(message("more")), Err(Refused::Full(_))));
        assert_eq!(by_bytes.take().len(), 1);
        assert!(by_bytes.push(message("more")).is_ok());
    }

    #[test]
    fn a_full_mailbox_still_takes_the_end_of_a_connection() {
        let full = mailbox(1, 1000);
        assert!(full.push(message("a")).is_ok());
        assert!(full.push(NodeOrder::Stop(CloseFrame::new(1012, "bye"))).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_sender_gets_space_or_a_busy_error() {
        let full = mailbox(1, 1000);
        assert!(full.push(message("a")).is_ok());
        assert_eq!(full.push_when_free(message("b")).await, Err(RoomError::Busy));
        let waiting = tokio::spawn({
            let full = full.clone();
            async move { full.push_when_free(message("c")).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(full.take().len(), 1);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_senders_get_space_in_order_of_arrival() {
        let full = mailbox(1, 1000);
        assert!(full.push(message("0")).is_ok());
        let mut waiting = Vec::new();
        for number in 1..=20 {
            let full = full.clone();
            let text = number.to_string();
            waiting.push(tokio::spawn(async move { full.push_when_free(message(&text)).await }));
            tokio::task::yield_now().await;
        }
        let mut came = Vec::new();
        while came.len() <= 20 {
            for mail in full.take() {
                match mail {
                    Mail::Event(EventMail::Visit(Visit::Message { message, .. })) => {
                        came.push(message);
                    }
                    mail => panic!("{mail:?}"),
                }
            }
            tokio::task::yield_now().await;
        }
        let expected: Vec<_> = (0..=20).map(|number| Message::text(number.to_string())).collect();
        assert_eq!(came, expected);
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn closing_a_mailbox_fails_all_waiting_senders_at_once() {
        let full = mailbox(1, 1000);
        assert!(full.push(message("0")).is_ok());
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let full = full.clone();
                tokio::spawn(async move { full.push_when_free(message("more")).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        full.close().fail(&RoomError::Gone);
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Err(RoomError::Gone));
        }
        assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
    }

    #[test]
    fn a_closed_mailbox_returns_the_mail_to_its_sender() {
        let closed = mailbox(10, 1000);
        assert!(closed.push(message("a")).is_ok());
        assert!(!closed.close_if_empty());
        assert_eq!(closed.close().0.len(), 1);
        assert!(matches!(closed.push(message("b")), Err(Refused::Closed(_))));
    }
}
