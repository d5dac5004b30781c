//! The projects of a server by their names. Owns who may change one.
//!
//! Invariant: at most one change of a project is under way, from its first look at the project to its end; who
//! wants another one meanwhile is refused. Nobody waits for a change to read what is there. It does not know
//! what changes are.

use super::site::Site;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The projects. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Slots(Arc<Mutex<BTreeMap<String, Slot>>>);

struct Slot {
    held: Held,
    changing: bool,
}

/// What there is under a name.
#[derive(Clone)]
pub(super) enum Held {
    /// Nothing, or what is just being made or removed.
    Nothing,
    /// A project that is served.
    Open(Arc<Site>),
    /// A project on disk that cannot be served, and why.
    Broken(String),
}

/// Why a project cannot be changed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unclaimed {
    /// Another change is under way.
    Busy,
    /// There are as many projects as there may be.
    Full,
}

impl Slots {
    /// Puts a project in place before anybody changes anything.
    pub(super) fn insert(&self, name: String, held: Held) {
        self.lock().insert(name, Slot { held, changing: false });
    }

    /// Takes what turned out to be no project out, before anybody changes anything.
    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// What there is under a name.
    pub(super) fn get(&self, name: &str) -> Held {
        self.lock().get(name).map_or(Held::Nothing, |slot| slot.held.clone())
    }

    /// The projects that are there, by their names.
    pub(super) fn all(&self) -> Vec<(String, Result<Arc<Site>, String>)> {
        let slots = self.lock();
        let held = |(name, slot): (&String, &Slot)| match &slot.held {
            Held::Nothing => None,
            Held::Open(site) => Some((name.clone(), Ok(site.clone()))),
            Held::Broken(why) => Some((name.clone(), Err(why.clone()))),
        };
        slots.iter().filter_map(held).collect()
    }

    /// Takes the right to change the project of this name, which need not be there; `max` bounds how many
    /// there are.
    ///
    /// # Errors
    /// [`Unclaimed`].
    pub(super) fn claim(&self, name: &str, max: usize) -> Result<Claim, Unclaimed> {
        let mut slots = self.lock();
        let count = slots.len();
        match slots.get_mut(name) {
            Some(slot) if slot.changing => return Err(Unclaimed::Busy),
            Some(slot) => slot.changing = true,
            None if count >= max => return Err(Unclaimed::Full),
            None => {
                slots.insert(name.to_owned(), Slot { held: Held::Nothing, changing: true });
            }
        }
        Ok(Claim { slots: self.clone(), name: name.to_owned() })
    }

    /// Takes all projects out.
    pub(super) fn take(&self) -> Vec<Arc<Site>> {
        let open = |slot: Slot| match slot.held {
            Held::Open(site) => Some(site),
            Held::Nothing | Held::Broken(_) => None,
        };
        std::mem::take(&mut *self.lock()).into_values().filter_map(open).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        // It is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to change a project. Nobody else has it as long as this is held.
#[must_use]
pub(super) struct Claim {
    slots: Slots,
    name: String,
}

impl Claim {
    /// What there is now.
    pub(super) fn held(&self) -> Held {
        self.slots.get(&self.name)
    }

    /// Puts this in place of what there is.
    pub(super) fn put(&self, held: Held) {
        if let Some(slot) = self.slots.lock().get_mut(&self.name) {
            slot.held = held;
        }
    }

    /// True if no other project is being changed.
    pub(super) fn is_alone(&self) -> bool {
        let slots = self.slots.lock();
        slots.iter().all(|(name, slot)| !slot.changing || *name == self.name)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get_mut(&self.name) {
            slot.changing = false;
            if matches!(slot.held, Held::Nothing) {
                slots.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_changed_by_one_at_a_time_and_left_as_it_was_put() {
        let slots = Slots::default();
        slots.insert("old".to_owned(), Held::Broken("hurt".to_owned()));
        let claim = slots.claim("old", 2).unwrap();
        assert_eq!(slots.claim("old", 2).err(), Some(Unclaimed::Busy));
        assert!(claim.is_alone());
        let other = slots.claim("new", 2).unwrap();
        assert!(!claim.is_alone());
        assert_eq!(slots.claim("more", 2).err(), Some(Unclaimed::Full));
        let names = |slots: &Slots| {
            slots.all().into_iter().map(|(name, held)| (name, held.err())).collect::<Vec<_>>()
        };
        assert_eq!(names(&slots), [("old".to_owned(), Some("hurt".to_owned()))]);
        drop(other);
        assert!(slots.claim("more", 2).is_ok());
        claim.put(Held::Nothing);
        assert_eq!(slots.claim("old", 2).err(), Some(Unclaimed::Busy));
        drop(claim);
        assert!(names(&slots).is_empty() && slots.claim("old", 1).is_ok());
    }
}
