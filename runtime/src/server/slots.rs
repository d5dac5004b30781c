//! The projects of a server by their names. Owns who may change one.
//!
//! Invariant: at most one change of a project is under way, from its first look at the project to its end. A second
//! change during that time is refused, or waits while the node follows another node. Readers never wait for a change. It
//! does not know what changes are.

use super::site::Site;
use room_core::lock::lock;
use room_database::RecordChange;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// The projects. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub(super) struct ProjectSlots(Arc<SlotsInner>);

#[derive(Default)]
struct SlotsInner {
    slots: Mutex<BTreeMap<String, ProjectSlot>>,
    /// Notified when a claim ends.
    freed: Notify,
}

struct ProjectSlot {
    held: SlotState,
    changer: Option<Changer>,
}

/// Who changes a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changer {
    /// An operator, by a request to this node.
    Operator,
    /// This node, which follows the records of its cluster.
    Follower,
}

/// The state of a name.
#[derive(Clone)]
pub(super) enum SlotState {
    /// No project, or one that is being created or removed.
    Nothing,
    /// A project that is served.
    Open(Arc<Site>),
    /// A project on disk that cannot be served, and why.
    Broken(String),
}

/// Why a project cannot be changed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimError {
    /// Another change is under way.
    Busy(Changer),
    /// There are as many projects as the limit allows.
    Full,
}

impl ProjectSlots {
    /// Adds a project before any change can start.
    pub(super) fn insert(&self, name: String, held: SlotState) {
        self.lock().insert(name, ProjectSlot { held, changer: None });
    }

    /// Removes a name that turned out not to be a project, before any change can start.
    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Returns the state of a name.
    pub(super) fn get(&self, name: &str) -> SlotState {
        self.lock().get(name).map_or(SlotState::Nothing, |slot| slot.held.clone())
    }

    /// Returns the projects by their names: the open ones, and why the others cannot be served.
    pub(super) fn all(&self) -> Vec<(String, Result<Arc<Site>, String>)> {
        let slots = self.lock();
        let held = |(name, slot): (&String, &ProjectSlot)| match &slot.held {
            SlotState::Nothing => None,
            SlotState::Open(site) => Some((name.clone(), Ok(site.clone()))),
            SlotState::Broken(why) => Some((name.clone(), Err(why.clone()))),
        };
        slots.iter().filter_map(held).collect()
    }

    /// Takes the right to change the project of this name, which need not exist. `max` bounds the number of projects.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub(super) fn claim(
        &self,
        name: &str,
        max: usize,
        changer: Changer,
    ) -> Result<ProjectClaim, ClaimError> {
        let mut slots = self.lock();
        let count = slots.len();
        let changer = Some(changer);
        match slots.get_mut(name) {
            Some(ProjectSlot { changer: Some(other), .. }) => return Err(ClaimError::Busy(*other)),
            Some(slot) => slot.changer = changer,
            None if count >= max => return Err(ClaimError::Full),
            None => {
                slots.insert(name.to_owned(), ProjectSlot { held: SlotState::Nothing, changer });
            }
        }
        Ok(ProjectClaim { slots: self.clone(), name: name.to_owned(), right: Mutex::new(None) })
    }

    /// As [`ProjectSlots::claim`] for an operator. Waits while this node follows another node's change.
    ///
    /// # Errors
    /// [`ClaimError`].
    ///
    /// # Cancel safety
    /// Nothing is held while it waits.
    pub(super) async fn claim_soon(
        &self,
        name: &str,
        max: usize,
    ) -> Result<ProjectClaim, ClaimError> {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.claim(name, max, Changer::Operator) {
                Err(ClaimError::Busy(Changer::Follower)) => freed.await,
                claimed => return claimed,
            }
        }
    }

    /// Removes all projects, and returns the open ones.
    pub(super) fn take(&self) -> Vec<Arc<Site>> {
        let open = |slot: ProjectSlot| match slot.held {
            SlotState::Open(site) => Some(site),
            SlotState::Nothing | SlotState::Broken(_) => None,
        };
        std::mem::take(&mut *self.lock()).into_values().filter_map(open).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ProjectSlot>> {
        lock(&self.0.slots)
    }
}

/// The right to change a project. At most one exists for a project.
#[must_use]
pub(super) struct ProjectClaim {
    slots: ProjectSlots,
    name: String,
    /// In a cluster, the right to change the project's records.
    right: Mutex<Option<RecordChange>>,
}

impl ProjectClaim {
    /// Adds the right to change the project's records in a cluster.
    pub(super) fn hold(&self, right: RecordChange) {
        *lock(&self.right) = Some(right);
    }

    /// Takes the right to change the project's records out of the claim.
    pub(super) fn right(&self) -> Option<RecordChange> {
        lock(&self.right).take()
    }

    /// Ends the claim, and waits until other nodes may change the project.
    pub(super) async fn end(self) {
        if let Some(right) = self.right() {
            right.leave().await;
        }
    }

    /// Returns the current state of the project.
    pub(super) fn held(&self) -> SlotState {
        self.slots.get(&self.name)
    }

    /// Replaces the state of the project.
    pub(super) fn put(&self, held: SlotState) {
        if let Some(slot) = self.slots.lock().get_mut(&self.name) {
            slot.held = held;
        }
    }

    /// Returns true if no other project is being changed.
    pub(super) fn is_alone(&self) -> bool {
        let slots = self.slots.lock();
        slots.iter().all(|(name, slot)| slot.changer.is_none() || *name == self.name)
    }
}

impl Drop for ProjectClaim {
    fn drop(&mut self) {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get_mut(&self.name) {
            slot.changer = None;
            if matches!(slot.held, SlotState::Nothing) {
                slots.remove(&self.name);
            }
        }
        drop(slots);
        self.slots.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_one_holder_at_a_time_and_keeps_its_value() {
        let slots = ProjectSlots::default();
        slots.insert("old".to_owned(), SlotState::Broken("hurt".to_owned()));
        let claim = |name: &str, max| slots.claim(name, max, Changer::Operator);
        let held = claim("old", 2).unwrap();
        assert_eq!(claim("old", 2).err(), Some(ClaimError::Busy(Changer::Operator)));
        assert!(held.is_alone());
        let other = claim("new", 2).unwrap();
        assert!(!held.is_alone());
        assert_eq!(claim("more", 2).err(), Some(ClaimError::Full));
        let names = |slots: &ProjectSlots| {
            slots.all().into_iter().map(|(name, held)| (name, held.err())).collect::<Vec<_>>()
        };
        assert_eq!(names(&slots), [("old".to_owned(), Some("hurt".to_owned()))]);
        drop(other);
        assert!(claim("more", 2).is_ok());
        held.put(SlotState::Nothing);
        assert_eq!(claim("old", 2).err(), Some(ClaimError::Busy(Changer::Operator)));
        drop(held);
        assert!(names(&slots).is_empty() && claim("old", 1).is_ok());
    }

    #[tokio::test]
    async fn an_operator_waits_while_its_node_follows_another_one_and_not_for_an_operator() {
        let slots = ProjectSlots::default();
        let following = slots.claim("chat", 1, Changer::Follower).unwrap();
        let waiting = tokio::spawn({
            let slots = slots.clone();
            async move { slots.claim_soon("chat", 1).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(following);
        let held = waiting.await.unwrap().unwrap();
        let busy = slots.claim_soon("chat", 1).await.err();
        assert_eq!(busy, Some(ClaimError::Busy(Changer::Operator)));
        drop(held);
    }
}
