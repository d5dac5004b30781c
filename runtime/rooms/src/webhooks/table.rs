//! The webhooks of a node in memory. Owns which of them is sent next, and what becomes of one that fails.
//!
//! Invariant: of one room, one webhook is sent at a time, and the first tries of its webhooks are in their order. Every
//! change here is also among the changes that the store gets. Pure: it does not know clocks, receivers or files.

use super::retry::pause_ms;
use bytes::Bytes;
use hashbrown::HashMap;
use room_core::id::{RoomId, SequenceNumber};
use room_core::jobs::JobId;
use room_core::limits::fixed::WEBHOOK_ERROR_BYTES_MAX;
use room_core::limits::{Limits, size};
use room_core::webhooks::{Webhook, WebhookId};
use room_store::WebhookChanges;
use std::collections::{BTreeMap, BTreeSet};

/// The webhooks that wait, and the dead letters.
#[derive(Default)]
pub(super) struct WebhookTable {
    all: BTreeMap<WebhookId, Webhook>,
    /// Those that wait, by their room.
    rooms: HashMap<RoomId, RoomLine>,
    /// The first webhook of each room that is not sending one, by its time.
    heads: BTreeSet<(u64, RoomId)>,
    /// The dead letters, the oldest first.
    dead: BTreeSet<(u64, WebhookId)>,
    waiting: usize,
    /// Changes that the store does not have yet.
    changes: WebhookChanges,
}

/// The waiting webhooks of a room.
#[derive(Default)]
struct RoomLine {
    due: BTreeSet<(u64, JobId)>,
    /// The one that is being sent. It is not among the others.
    sending: Option<JobId>,
    /// Its place among the heads.
    head_ms: Option<u64>,
}

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WebhookOutcome {
    /// The receiver has it.
    Delivered,
    /// The receiver wants no more of it.
    Unwanted,
    /// It failed, for this reason.
    Failed(String),
}

/// What the table did with a webhook that is new, or whose try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WebhookFate {
    /// It waits for its next try.
    Waits,
    /// The receiver has it, or an operator has discarded it.
    Gone,
    /// It is a dead letter. So many old ones were discarded for it.
    Dead { discarded: u64 },
}

/// The numbers of webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookCounts {
    /// Those that wait for their receiver.
    pub waiting: u64,
    /// The dead letters.
    pub dead: u64,
}

impl WebhookTable {
    /// Adds a webhook that the store has. One that is known already stays as it is.
    pub(super) fn add(&mut self, id: WebhookId, webhook: Webhook, limits: &Limits) -> WebhookFate {
        if self.all.contains_key(&id) {
            return WebhookFate::Waits;
        }
        if webhook.dead_ms.is_some() {
            return self.bury(id, webhook, limits);
        }
        if self.waiting >= size(limits.webhooks_pending_max) {
            let max = limits.webhooks_pending_max;
            let reason = format!("{max} others waited already (webhooks_pending_max)");
            let dead_ms = Some(webhook.at_ms);
            return self.bury_changed(
                id,
                Webhook { error: Some(reason), dead_ms, ..webhook },
                limits,
            );
        }
        self.wait(id, webhook);
        WebhookFate::Waits
    }

    /// Takes the webhooks that are due, at most so many, and counts them as being sent.
    pub(super) fn due(&mut self, now_ms: u64, max: usize) -> Vec<(WebhookId, Webhook)> {
        let mut due = Vec::new();
        while due.len() < max
            && let Some((due_ms, room)) = self.heads.first().cloned()
            && due_ms <= now_ms
        {
            let Some(line) = self.rooms.get_mut(&room) else { break };
            let Some((_, job)) = line.due.pop_first() else { break };
            line.sending = Some(job);
            self.settle(&room);
            let id = WebhookId { room, job };
            if let Some(webhook) = self.all.get(&id) {
                due.push((id, webhook.clone()));
            }
        }
        due
    }

    /// Returns when the next webhook is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.heads.first().map(|(due_ms, _)| *due_ms)
    }

    /// Notes how a try ended.
    pub(super) fn ended(
        &mut self,
        id: WebhookId,
        outcome: WebhookOutcome,
        now_ms: u64,
        limits: &Limits,
    ) -> WebhookFate {
        if let Some(line) = self.rooms.get_mut(&id.room) {
            line.sending = line.sending.filter(|job| *job != id.job);
        }
        self.settle(&id.room);
        // An operator may have discarded it, or a deployment.
        let Some(webhook) = self.all.get(&id).filter(|own| own.dead_ms.is_none()).cloned() else {
            return WebhookFate::Gone;
        };
        self.waiting -= 1;
        let tries = webhook.tries.saturating_add(1);
        let (error, pause_ms) = match outcome {
            WebhookOutcome::Delivered => {
                self.all.remove(&id);
                self.changes.insert(id, None);
                return WebhookFate::Gone;
            }
            WebhookOutcome::Unwanted => (
                "the receiver answered 410, which says that it wants no more of it".to_owned(),
                None,
            ),
            WebhookOutcome::Failed(error) => (cut(error), pause_ms(&id, tries, limits)),
        };
        let webhook = Webhook { tries, error: Some(error), ..webhook };
        match pause_ms {
            Some(pause_ms) => {
                let due_ms = now_ms.saturating_add(pause_ms);
                let webhook = Webhook { due_ms, ..webhook };
                self.changes.insert(id.clone(), Some(webhook.encode()));
                self.wait(id, webhook);
                WebhookFate::Waits
            }
            None => self.bury_changed(id, Webhook { dead_ms: Some(now_ms), ..webhook }, limits),
        }
    }

    /// Makes a waiting webhook or a dead letter due now. Returns false if no webhook has this id, if it is being sent, or
    /// if `webhooks_pending_max` of them wait already.
    pub(super) fn retry(&mut self, id: &WebhookId, now_ms: u64, limits: &Limits) -> bool {
        let Some(webhook) = self.all.get(id).cloned() else { return false };
        match webhook.dead_ms {
            Some(_) if self.waiting >= size(limits.webhooks_pending_max) => return false,
            Some(dead_ms) => drop(self.dead.remove(&(dead_ms, id.clone()))),
            None => {
                let line = self.rooms.get_mut(&id.room);
                if !line.is_some_and(|line| line.due.remove(&(webhook.due_ms, id.job))) {
                    return false;
                }
                self.waiting -= 1;
            }
        }
        // A dead letter has all its tries again.
        let tries = if webhook.dead_ms.is_some() { 0 } else { webhook.tries };
        let webhook = Webhook { tries, due_ms: now_ms, dead_ms: None, ..webhook };
        self.changes.insert(id.clone(), Some(webhook.encode()));
        self.wait(id.clone(), webhook);
        true
    }

    /// Removes a waiting webhook or a dead letter. Returns false if no webhook has this id.
    pub(super) fn discard(&mut self, id: &WebhookId) -> bool {
        let Some(webhook) = self.all.remove(id) else { return false };
        match webhook.dead_ms {
            Some(dead_ms) => drop(self.dead.remove(&(dead_ms, id.clone()))),
            None => {
                if let Some(line) = self.rooms.get_mut(&id.room) {
                    line.due.remove(&(webhook.due_ms, id.job));
                }
                self.waiting -= 1;
                self.settle(&id.room);
            }
        }
        self.changes.insert(id.clone(), None);
        true
    }

    /// Leaves a webhook to the node that runs its room now.
    pub(super) fn leave(&mut self, id: &WebhookId) {
        if let Some(webhook) = self.all.remove(id) {
            match webhook.dead_ms {
                Some(dead_ms) => drop(self.dead.remove(&(dead_ms, id.clone()))),
                None => self.waiting -= 1,
            }
        }
        if let Some(line) = self.rooms.get_mut(&id.room) {
            line.due.retain(|(_, job)| *job != id.job);
            line.sending = line.sending.filter(|job| *job != id.job);
        }
        self.changes.remove(id);
        self.settle(&id.room);
    }

    /// Leaves all webhooks but those that are being sent.
    pub(super) fn leave_idle(&mut self) {
        let idle = |id: &WebhookId| {
            self.rooms.get(&id.room).is_none_or(|line| line.sending != Some(id.job))
        };
        let idle: Vec<WebhookId> = self.all.keys().filter(|id| idle(id)).cloned().collect();
        idle.iter().for_each(|id| self.leave(id));
    }

    /// Returns the ids of those that wait.
    pub(super) fn waiting_ids(&self) -> Vec<WebhookId> {
        let waiting = self.all.iter().filter(|(_, webhook)| webhook.dead_ms.is_none());
        waiting.map(|(id, _)| id.clone()).collect()
    }

    /// Returns the ids of the dead letters, the oldest first.
    pub(super) fn dead_ids(&self) -> Vec<WebhookId> {
        self.dead.iter().map(|(_, id)| id.clone()).collect()
    }

    /// Returns the id that is shown as this text in a project.
    pub(super) fn find(&self, project: &str, shown: &str) -> Option<WebhookId> {
        self.all.keys().find(|id| id.header(project) == shown).cloned()
    }

    /// Returns the first webhooks that wait, by their time, at most so many.
    pub(super) fn first_waiting(&self, max: usize) -> Vec<(WebhookId, Webhook)> {
        let waiting = self.all.iter().filter(|(_, webhook)| webhook.dead_ms.is_none());
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|(_, webhook)| webhook.due_ms);
        let shown = waiting.into_iter().take(max);
        shown.map(|(id, webhook)| (id.clone(), webhook.clone())).collect()
    }

    /// Returns the newest dead letters, the newest first, at most so many.
    pub(super) fn newest_dead(&self, max: usize) -> Vec<(WebhookId, Webhook)> {
        let ids = self.dead.iter().rev().map(|(_, id)| id);
        ids.filter_map(|id| Some((id.clone(), self.all.get(id)?.clone()))).take(max).collect()
    }

    /// Returns how many there are.
    pub(super) fn counts(&self) -> WebhookCounts {
        WebhookCounts { waiting: self.waiting as u64, dead: self.dead.len() as u64 }
    }

    /// Returns how many there are of a room.
    pub(super) fn counts_of(&self, room: &RoomId) -> WebhookCounts {
        let first = JobId::first_of(SequenceNumber::default());
        let from = WebhookId { room: room.clone(), job: first };
        let own = self.all.range(from..).take_while(|(id, _)| id.room == *room);
        own.fold(WebhookCounts::default(), |counts, (_, webhook)| match webhook.dead_ms {
            Some(_) => WebhookCounts { dead: counts.dead + 1, ..counts },
            None => WebhookCounts { waiting: counts.waiting + 1, ..counts },
        })
    }

    /// Takes the changes that the store does not have.
    pub(super) fn take_changes(&mut self) -> WebhookChanges {
        std::mem::take(&mut self.changes)
    }

    /// Takes back changes that the store did not take. Later ones replace them.
    pub(super) fn give_back(&mut self, changes: WebhookChanges) {
        let later = std::mem::replace(&mut self.changes, changes);
        self.changes.extend(later);
    }

    fn wait(&mut self, id: WebhookId, webhook: Webhook) {
        self.waiting += 1;
        let line = self.rooms.entry(id.room.clone()).or_default();
        line.due.insert((webhook.due_ms, id.job));
        let room = id.room.clone();
        self.all.insert(id, webhook);
        self.settle(&room);
    }

    /// Puts a room in its place among the heads.
    fn settle(&mut self, room: &RoomId) {
        let Some(line) = self.rooms.get_mut(room) else { return };
        let first = line.due.first().map(|(due_ms, _)| *due_ms);
        let head_ms = first.filter(|_| line.sending.is_none());
        let old = std::mem::replace(&mut line.head_ms, head_ms);
        let is_empty = line.due.is_empty() && line.sending.is_none();
        if let Some(old) = old.filter(|old| Some(*old) != head_ms) {
            self.heads.remove(&(old, room.clone()));
        }
        if let Some(head_ms) = head_ms.filter(|new| Some(*new) != old) {
            self.heads.insert((head_ms, room.clone()));
        }
        if is_empty {
            self.rooms.remove(room);
        }
    }

    fn bury_changed(&mut self, id: WebhookId, webhook: Webhook, limits: &Limits) -> WebhookFate {
        self.changes.insert(id.clone(), Some(webhook.encode()));
        self.bury(id, webhook, limits)
    }

    fn bury(&mut self, id: WebhookId, webhook: Webhook, limits: &Limits) -> WebhookFate {
        self.dead.insert((webhook.dead_ms.unwrap_or_default(), id.clone()));
        self.all.insert(id, webhook);
        let mut discarded = 0;
        while self.dead.len() > size(limits.webhooks_dead_max)
            && let Some((_, oldest)) = self.dead.pop_first()
        {
            self.all.remove(&oldest);
            self.changes.insert(oldest, None::<Bytes>);
            discarded += 1;
        }
        WebhookFate::Dead { discarded }
    }
}

/// Returns as much of an error as is kept.
fn cut(mut text: String) -> String {
    let mut end = text.len().min(WEBHOOK_ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::id::PartyName;
    use room_core::webhooks::WebhookEvent;

    fn id(room: &str, seq: u64) -> WebhookId {
        let room = RoomId::new(PartyName::parse("main").unwrap(), room, 256).unwrap();
        WebhookId { room, job: JobId::first_of(SequenceNumber { epoch: 1, seq }) }
    }

    fn table(ids: &[WebhookId], limits: &Limits) -> WebhookTable {
        let mut table = WebhookTable::default();
        for id in ids {
            let webhook = Webhook::new(WebhookEvent::Connected, None, 100);
            table.add(id.clone(), webhook, limits);
        }
        table
    }

    fn taken(table: &mut WebhookTable, now_ms: u64, max: usize) -> Vec<WebhookId> {
        table.due(now_ms, max).into_iter().map(|(id, _)| id).collect()
    }

    fn failed() -> WebhookOutcome {
        WebhookOutcome::Failed("500".to_owned())
    }

    #[test]
    fn a_room_sends_one_at_a_time_in_order_and_no_room_waits_for_another() {
        let limits = Limits::default();
        let (a1, a2, a3, b1) = (id("a", 1), id("a", 2), id("a", 3), id("b", 1));
        let all = [a2.clone(), b1.clone(), a1.clone(), a3.clone()];
        let mut table = table(&all, &limits);
        assert_eq!((taken(&mut table, 99, 9), table.next_ms()), (vec![], Some(100)));
        assert_eq!(taken(&mut table, 100, 9), [a1.clone(), b1.clone()]);
        assert_eq!((taken(&mut table, 100, 9), table.next_ms()), (vec![], None));
        // The one that failed waits, and the one behind it does not wait for it.
        assert_eq!(table.ended(a1.clone(), failed(), 100, &limits), WebhookFate::Waits);
        assert_eq!(taken(&mut table, 100, 9), std::slice::from_ref(&a2));
        let delivered = table.ended(a2.clone(), WebhookOutcome::Delivered, 100, &limits);
        assert_eq!((delivered, taken(&mut table, 100, 9)), (WebhookFate::Gone, vec![a3.clone()]));
        assert_eq!(table.counts(), WebhookCounts { waiting: 3, dead: 0 });
        let changes = table.take_changes();
        assert_eq!(changes.len(), 2);
        let tried = Webhook::decode(changes[&a1].as_ref().unwrap()).unwrap();
        assert_eq!((tried.tries, tried.error.as_deref()), (1, Some("500")));
        assert_eq!(changes[&a2], None);
        // It is due again after its pause, when the room sends no other.
        assert_eq!(taken(&mut table, tried.due_ms, 9), []);
        table.ended(a3, WebhookOutcome::Delivered, 100, &limits);
        assert_eq!(taken(&mut table, tried.due_ms - 1, 9), []);
        assert_eq!(taken(&mut table, tried.due_ms, 9), [a1]);
    }

    #[test]
    fn a_webhook_that_fails_too_often_or_is_unwanted_is_a_dead_letter_until_an_operator_acts() {
        let limits = Limits { webhook_tries_max: 2, ..Limits::default() };
        let (one, two) = (id("a", 1), id("a", 2));
        let mut table = table(&[one.clone(), two.clone()], &limits);
        let dead = WebhookFate::Dead { discarded: 0 };
        assert_eq!(taken(&mut table, 100, 1), std::slice::from_ref(&one));
        assert_eq!(table.ended(one.clone(), failed(), 100, &limits), WebhookFate::Waits);
        assert_eq!(taken(&mut table, 100, 1), std::slice::from_ref(&two));
        assert_eq!(table.ended(two.clone(), WebhookOutcome::Unwanted, 100, &limits), dead);
        let now_ms = table.next_ms().unwrap();
        assert_eq!(taken(&mut table, now_ms, 1), std::slice::from_ref(&one));
        assert_eq!(table.ended(one.clone(), failed(), now_ms, &limits), dead);
        assert_eq!(table.counts_of(&one.room), WebhookCounts { waiting: 0, dead: 2 });
        assert_eq!(table.dead_ids(), [two.clone(), one.clone()]);
        let error = table.newest_dead(9)[1].1.error.clone().unwrap();
        assert!(error.contains("410"), "{error}");
        // All tries again, or none.
        assert!(table.retry(&one, 7, &limits) && !table.retry(&id("x", 1), 7, &limits));
        assert_eq!(table.due(7, 9)[0].1.tries, 0);
        assert!(!table.retry(&one, 7, &limits));
        assert!(table.discard(&two) && !table.discard(&two) && table.discard(&one));
        assert_eq!(table.counts(), WebhookCounts::default());
        let ended = table.ended(one.clone(), failed(), now_ms, &limits);
        assert_eq!((ended, table.counts()), (WebhookFate::Gone, WebhookCounts::default()));
        assert_eq!(table.take_changes(), [(one, None), (two, None)].into());
    }

    #[test]
    fn too_many_are_dead_letters_and_the_oldest_of_too_many_dead_letters_goes() {
        let limits = Limits { webhooks_pending_max: 1, webhooks_dead_max: 1, ..Limits::default() };
        let mut table = table(&[id("a", 1), id("a", 2)], &limits);
        assert_eq!(table.counts(), WebhookCounts { waiting: 1, dead: 1 });
        let reason = table.newest_dead(1)[0].1.error.clone().unwrap();
        assert!(reason.contains("webhooks_pending_max"), "{reason}");
        let another = Webhook::new(WebhookEvent::Emptied, None, 200);
        let fate = table.add(id("b", 3), another, &limits);
        assert_eq!(fate, WebhookFate::Dead { discarded: 1 });
        assert_eq!(table.dead_ids(), [id("b", 3)]);
        assert_eq!(table.take_changes()[&id("a", 2)], None);
        assert!(!table.retry(&id("b", 3), 0, &limits), "the line is full");
    }

    #[test]
    fn webhooks_that_are_left_to_another_node_leave_no_trace() {
        let limits = Limits::default();
        let (a1, a2, b1, dead) = (id("a", 1), id("a", 2), id("b", 1), id("c", 1));
        let mut table = table(&[a1.clone(), a2.clone(), b1.clone()], &limits);
        let buried = Webhook { dead_ms: Some(1), ..Webhook::new(WebhookEvent::Connected, None, 1) };
        table.add(dead, buried, &limits);
        assert_eq!(taken(&mut table, 100, 1), std::slice::from_ref(&a1));
        table.leave_idle();
        assert_eq!(table.counts(), WebhookCounts { waiting: 1, dead: 0 });
        assert_eq!((taken(&mut table, 100, 9), table.next_ms()), (vec![], None));
        table.leave(&a1);
        assert_eq!(table.counts(), WebhookCounts::default());
        let ended = table.ended(a1.clone(), failed(), 100, &limits);
        assert_eq!((ended, table.take_changes().len()), (WebhookFate::Gone, 0));
        // It comes again with the store's bytes.
        table.add(a1.clone(), Webhook::new(WebhookEvent::Connected, None, 200), &limits);
        assert_eq!(taken(&mut table, 200, 9), [a1]);
    }

    #[test]
    fn changes_that_were_given_back_do_not_replace_later_ones() {
        let limits = Limits::default();
        let mut table = table(&[id("a", 1)], &limits);
        table.retry(&id("a", 1), 5, &limits);
        let refused = table.take_changes();
        table.discard(&id("a", 1));
        table.give_back(refused);
        assert_eq!(table.take_changes(), [(id("a", 1), None)].into());
    }
}
