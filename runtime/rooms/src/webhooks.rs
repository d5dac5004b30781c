//! Sends the webhooks of a project to its receiver. Owns the waiting, the tries, and the dead letters.
//!
//! Invariant: a webhook is sent when the turn that made it is durable, and again until its receiver has answered it or its
//! tries are used up, across crashes. Sending needs no room and no guest, and a receiver that hangs holds up nothing but
//! webhooks of its own project. It does not know which turns make webhooks.

mod retry;
mod table;

pub use table::WebhookCounts;

use crate::rooms::{Guests, Rooms};
use bytes::Bytes;
use room_core::config::{FetchHosts, WebhookError, WebhookPlan, WebhookSettings};
use room_core::event::Request;
use room_core::fetch::{FetchRequest, Redirects};
use room_core::id::{PartyName, RoomId};
use room_core::limits::{Limits, ms, size};
use room_core::lock::lock;
use room_core::logs::LogLevel;
use room_core::metrics::level;
use room_core::report;
use room_core::webhooks::{Webhook, WebhookEvents, WebhookId};
use room_fetch::{FetchClient, WebhookSecret};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use table::{WebhookFate, WebhookOutcome, WebhookTable};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The pause before a failed look at the store is repeated, and before changes that it refused are written again.
const RETRY: Duration = Duration::from_secs(1);
/// The status by which a receiver says that it wants no more of a webhook.
const GONE: u16 = 410;

/// The receiver of a project's webhooks.
#[derive(Debug)]
pub struct WebhookReceiver {
    plan: WebhookPlan,
    /// The servers that it may be: the host of its URL, and those that the project's rooms may fetch from.
    hosts: FetchHosts,
    secret: WebhookSecret,
}

impl WebhookReceiver {
    /// Returns the receiver of a project with these parties and variables, whose rooms may fetch from these hosts.
    ///
    /// # Errors
    /// [`WebhookError`]: a setting is invalid, or the secret is missing.
    pub fn new<'a>(
        settings: &WebhookSettings,
        parties: &[PartyName],
        hosts: &FetchHosts,
        variables: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, WebhookError> {
        let plan = settings.check(parties)?;
        let secret = WebhookSecret::parse(settings.secret_among(variables)?)
            .map_err(|problem| settings.with_secret_problem(problem))?;
        let hosts = hosts.and(plan.host.clone());
        Ok(Self { plan, hosts, secret })
    }

    /// Returns the events that a party's rooms make webhooks of.
    pub fn events_of(&self, party: &PartyName) -> WebhookEvents {
        self.plan.events_of(party)
    }

    /// Returns the request that sends a webhook with this id at this time.
    fn request(&self, id: &str, body: String, now_ms: u64) -> FetchRequest {
        let at_s = now_ms / 1_000;
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at_s.to_string()),
            ("webhook-signature", self.secret.sign(id, at_s, &body)),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.into_bytes()));
        let (method, uri) = ("POST".to_owned(), self.plan.url.clone());
        let request = Request { method, uri, headers: headers.into(), body: Bytes::from(body) };
        FetchRequest { request, timeout_ms: None, redirects: Redirects::Manual }
    }
}

/// The webhooks of one node. Cheap to clone; clones are the same webhooks.
#[derive(Clone)]
pub struct Webhooks(Arc<WebhooksInner>);

struct WebhooksInner {
    rooms: Rooms,
    client: FetchClient,
    limits: Arc<Limits>,
    table: Mutex<WebhookTable>,
    receiver: Mutex<DeployedReceiver>,
    /// Notifies the loop of a deployment, and of what an operator asks for.
    changed: Notify,
}

/// The receiver, as far as it is known.
#[derive(Clone, Default)]
enum DeployedReceiver {
    /// Nothing has been deployed yet.
    #[default]
    Unknown,
    /// The project has no webhooks.
    Without,
    With(Arc<WebhookReceiver>),
}

/// The webhooks of a project as an operator sees them.
#[derive(Clone, Debug)]
pub struct WebhookList {
    /// The URL of the receiver without its query; `None` in a project without webhooks.
    pub url: Option<String>,
    /// How many there are.
    pub counts: WebhookCounts,
    /// The first of those that wait, by the time of their next try.
    pub waiting: Vec<WebhookReport>,
    /// The newest dead letters.
    pub dead: Vec<WebhookReport>,
}

/// A webhook as an operator sees it.
#[derive(Clone, Debug)]
pub struct WebhookReport {
    /// The header `webhook-id`.
    pub id: String,
    /// Its room.
    pub room: RoomId,
    /// The webhook.
    pub webhook: Webhook,
}

/// Which webhooks an operator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookChoice {
    /// The one with this header `webhook-id`: a dead letter, or one that waits.
    One(String),
    /// All dead letters.
    AllDead,
}

impl Webhooks {
    /// Returns the webhooks of a node. [`Webhooks::run`] does their work.
    pub fn new(rooms: Rooms, guests: &Guests) -> Self {
        Self(Arc::new(WebhooksInner {
            rooms,
            client: guests.fetch.clone(),
            limits: guests.limits.clone(),
            table: Mutex::default(),
            receiver: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Puts the receiver of a deployment in place of the one before. Webhooks that wait go to the new one. In a project
    /// without a receiver they are dropped; dead letters stay.
    pub fn replace(&self, receiver: Option<WebhookReceiver>) {
        let receiver = receiver.map(Arc::new);
        let receiver = receiver.map_or(DeployedReceiver::Without, DeployedReceiver::With);
        *lock(&self.0.receiver) = receiver;
        self.drop_unwanted();
        self.0.changed.notify_one();
    }

    /// Returns what an operator sees, at most so many of each kind.
    pub fn list(&self, max: usize) -> WebhookList {
        let project = self.project();
        let shown = |(id, webhook): (WebhookId, Webhook)| WebhookReport {
            id: id.header(project),
            room: id.room,
            webhook,
        };
        let table = self.table();
        let waiting = table.first_waiting(max).into_iter().map(shown).collect();
        let dead = table.newest_dead(max).into_iter().map(shown).collect();
        let url = self.receiver().map(|own| own.plan.shown().to_owned());
        WebhookList { url, counts: table.counts(), waiting, dead }
    }

    /// Returns how many webhooks wait, and how many are dead letters.
    pub fn counts(&self) -> WebhookCounts {
        self.table().counts()
    }

    /// Returns how many webhooks of a room wait, and how many are dead letters.
    pub fn counts_of(&self, room: &RoomId) -> WebhookCounts {
        self.table().counts_of(room)
    }

    /// Sends webhooks now. Dead letters get all their tries again. Returns how many were changed; one that is being sent
    /// stays as it is.
    pub fn retry(&self, choice: &WebhookChoice) -> u64 {
        let now_ms = self.now_ms();
        let limits = &self.0.limits;
        self.change(choice, |table, id| table.retry(id, now_ms, limits))
    }

    /// Removes webhooks, and returns how many.
    pub fn discard(&self, choice: &WebhookChoice) -> u64 {
        self.change(choice, WebhookTable::discard)
    }

    fn change(
        &self,
        choice: &WebhookChoice,
        act: impl Fn(&mut WebhookTable, &WebhookId) -> bool,
    ) -> u64 {
        let mut table = self.table();
        let chosen = match choice {
            WebhookChoice::One(id) => table.find(self.project(), id).into_iter().collect(),
            WebhookChoice::AllDead => table.dead_ids(),
        };
        let changed = chosen.iter().filter(|id| act(&mut table, id)).count();
        drop(table);
        self.0.changed.notify_one();
        changed as u64
    }

    /// Sets the gauges of webhooks.
    fn measure(&self) {
        let (counts, metrics) = (self.counts(), &self.0.rooms.parts().metrics);
        metrics.webhooks_waiting.set(level(counts.waiting));
        metrics.webhooks_dead.set(level(counts.dead));
    }

    /// Sends webhooks until the future is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future at any time loses no webhook: one that is being sent is sent again after the next start.
    pub async fn run(self) {
        let bell = self.0.rooms.parts().store.webhook_bell();
        let running_max = size(self.0.limits.webhooks_running_max);
        // Tasks of their own, so that a store which makes this loop wait holds up no other project's webhooks.
        let mut running = JoinSet::new();
        self.read_all().await;
        loop {
            self.take_fresh().await;
            self.drop_unwanted();
            let saved = self.save().await;
            if let Some(receiver) = self.receiver() {
                let free = running_max.saturating_sub(running.len());
                let due = self.table().due(self.now_ms(), free);
                for due in due.into_iter().filter(|(id, _)| self.is_ours(id)) {
                    running.spawn(self.clone().send(receiver.clone(), due));
                }
            }
            self.measure();
            let wait = self.wait(saved, running.len() < running_max);
            tokio::select! {
                Some(sent) = running.join_next(), if !running.is_empty() => match sent {
                    Ok((id, outcome)) => self.ended(id, outcome),
                    // The next start sends it again.
                    Err(panic) => tracing::error!(%panic, "a webhook panicked; this is a bug of the runtime"),
                },
                () = bell.rings() => {}
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Returns how long the loop may wait if nothing happens.
    fn wait(&self, saved: SavedChanges, has_place: bool) -> Duration {
        let look_max = ms(self.0.rooms.parts().limits.alarm_look_ms_max);
        let next_ms = self.receiver().and_then(|_| self.table().next_ms()).filter(|_| has_place);
        let wait = next_ms.map_or(look_max, |at_ms| ms(at_ms.saturating_sub(self.now_ms())));
        match saved {
            SavedChanges::All => wait.min(look_max),
            SavedChanges::NotYet => wait.min(look_max).min(RETRY),
        }
    }

    /// Reads all stored webhooks. Repeats that until it succeeds.
    async fn read_all(&self) {
        let store = &self.0.rooms.parts().store;
        loop {
            match store.webhooks().await {
                Ok(stored) => {
                    // What the bell has reported until now is among them.
                    drop(store.webhook_bell().take());
                    stored.into_iter().for_each(|(id, bytes)| self.add(id, &bytes));
                    return;
                }
                Err(error) => {
                    tracing::error!(project = self.project(), %error, "cannot read the webhooks");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Takes the webhooks that rooms have made.
    async fn take_fresh(&self) {
        let fresh = self.0.rooms.parts().store.webhook_bell().take();
        fresh.new.into_iter().for_each(|(id, bytes)| self.add(id, &bytes));
        if fresh.missed {
            self.save().await;
            if self.0.rooms.parts().homes.may_move() {
                // Another node may have sent some of them, while it ran their rooms.
                self.table().leave_idle();
            }
            self.read_all().await;
        }
    }

    /// Returns true if this node sends a webhook. One of a room that has moved to another node is left to that node.
    fn is_ours(&self, id: &WebhookId) -> bool {
        let is_ours = self.0.rooms.may_run(&id.room);
        if !is_ours {
            self.table().leave(id);
        }
        is_ours
    }

    fn add(&self, id: WebhookId, bytes: &[u8]) {
        let log = self.0.rooms.logs().of_room(&id.room);
        let Some(webhook) = Webhook::decode(bytes) else {
            report!(error, log, [], "a stored webhook cannot be read and is left alone");
            return;
        };
        let is_new = webhook.dead_ms.is_none();
        let fate = self.table().add(id.clone(), webhook, &self.0.limits);
        match fate {
            WebhookFate::Dead { discarded } if is_new => {
                self.buried(&id, discarded, "too many others wait (webhooks_pending_max)");
            }
            WebhookFate::Dead { discarded } => self.discarded(discarded),
            WebhookFate::Waits | WebhookFate::Gone => {}
        }
    }

    /// Writes the changes of the table to the store.
    async fn save(&self) -> SavedChanges {
        let mut changes = self.table().take_changes();
        changes.retain(|id, _| self.is_ours(id));
        if changes.is_empty() {
            return SavedChanges::All;
        }
        // A copy, for the case that the store does not take them.
        match self.0.rooms.parts().store.keep_webhooks(changes.clone()).await {
            Ok(()) => SavedChanges::All,
            Err(error) => {
                tracing::debug!(project = self.project(), %error, "webhooks are not noted yet");
                self.table().give_back(changes);
                SavedChanges::NotYet
            }
        }
    }

    /// Sends one webhook.
    async fn send(
        self,
        receiver: Arc<WebhookReceiver>,
        (id, webhook): (WebhookId, Webhook),
    ) -> (WebhookId, WebhookOutcome) {
        let shown = id.header(self.project());
        let request = receiver.request(&shown, webhook.body(&id.room), self.now_ms());
        let outcome = match self.0.client.send_webhook(&request, &receiver.hosts).await {
            Ok(200..=299) => WebhookOutcome::Delivered,
            Ok(GONE) => WebhookOutcome::Unwanted,
            Ok(status @ 300..=399) => WebhookOutcome::Failed(format!(
                "the receiver answered {status}, and redirects are not followed: write the URL that it leads to"
            )),
            Ok(status) => WebhookOutcome::Failed(format!("the receiver answered {status}")),
            Err(failure) => WebhookOutcome::Failed(failure.to_string()),
        };
        (id, outcome)
    }

    fn ended(&self, id: WebhookId, outcome: WebhookOutcome) {
        let metrics = &self.0.rooms.parts().metrics;
        let error = match &outcome {
            WebhookOutcome::Delivered => {
                metrics.webhooks_delivered.increment(1);
                None
            }
            WebhookOutcome::Unwanted => Some("the receiver answered 410".to_owned()),
            WebhookOutcome::Failed(error) => Some(error.clone()),
        };
        let fate = self.table().ended(id.clone(), outcome, self.now_ms(), &self.0.limits);
        let Some(error) = error else { return };
        metrics.webhooks_failed.increment(1);
        match fate {
            WebhookFate::Waits => {
                let (log, shown) =
                    (self.0.rooms.logs().of_room(&id.room), id.header(self.project()));
                report!(warn, log, [%error], "the webhook {shown} failed, and is tried again: {error}");
            }
            WebhookFate::Dead { discarded } => self.buried(&id, discarded, &error),
            WebhookFate::Gone => {}
        }
    }

    /// Reports a webhook that became a dead letter.
    fn buried(&self, id: &WebhookId, discarded: u64, why: &str) {
        self.0.rooms.parts().metrics.webhooks_given_up.increment(1);
        let (log, shown) = (self.0.rooms.logs().of_room(&id.room), id.header(self.project()));
        report!(error, log, [], "the webhook {shown} is a dead letter: {why}");
        self.discarded(discarded);
    }

    /// Reports old dead letters that went because there were too many.
    fn discarded(&self, count: u64) {
        if count > 0 {
            let (project, max) = (self.project(), self.0.limits.webhooks_dead_max);
            self.0.rooms.parts().metrics.webhooks_dropped.increment(count);
            tracing::warn!(
                project,
                count,
                "old dead letters are discarded: webhooks_dead_max allows {max}"
            );
        }
    }

    /// Drops the webhooks that wait, if the project has no receiver.
    fn drop_unwanted(&self) {
        if !matches!(*lock(&self.0.receiver), DeployedReceiver::Without) {
            return;
        }
        let mut table = self.table();
        let waiting = table.waiting_ids();
        let dropped = waiting.iter().filter(|id| table.discard(id)).count();
        drop(table);
        if dropped > 0 {
            self.0.rooms.parts().metrics.webhooks_dropped.increment(dropped as u64);
            let text =
                format!("{dropped} webhooks are dropped: the project has no [webhooks] any more");
            self.0.rooms.logs().node(LogLevel::Warn, &text);
        }
    }

    fn receiver(&self) -> Option<Arc<WebhookReceiver>> {
        match &*lock(&self.0.receiver) {
            DeployedReceiver::With(receiver) => Some(receiver.clone()),
            DeployedReceiver::Unknown | DeployedReceiver::Without => None,
        }
    }

    fn table(&self) -> MutexGuard<'_, WebhookTable> {
        lock(&self.0.table)
    }

    fn project(&self) -> &str {
        self.0.rooms.logs().project()
    }

    fn now_ms(&self) -> u64 {
        self.0.rooms.parts().clock.wall_ms()
    }
}

/// Whether the store has all changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SavedChanges {
    All,
    NotYet,
}
