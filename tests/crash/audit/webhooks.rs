//! The rules about webhooks: the connections that clients had, against what the receiver heard. Owns them.
//!
//! Invariant: a connection that was admitted is durable, so that it has one webhook, in the end, however often that is
//! sent. Pure.

use super::{Kind, Problem};
use std::collections::{BTreeMap, BTreeSet};

/// A webhook that the receiver of the test got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// Its id.
    pub(crate) id: String,
    /// The room of the connection.
    pub(crate) room: String,
    /// The connection's own id.
    pub(crate) who: String,
    /// All that it says.
    pub(crate) body: String,
}

/// How often each client of a room was admitted.
pub(crate) type Admitted = BTreeMap<(String, String), u64>;

/// Compares the webhooks that were received with the connections, some of whose webhooks may still be on their way.
pub(crate) fn audit_hooks(admitted: &Admitted, hooks: &[Hook]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut known: BTreeMap<&str, &Hook> = BTreeMap::new();
    for hook in hooks {
        let first = *known.entry(&hook.id).or_insert(hook);
        if first != hook {
            let text = format!("the webhook {} said {:?} and {:?}", hook.id, first.body, hook.body);
            problems.push(Problem::new(Kind::Twice, text));
        }
    }
    for (own, ids) in by_client(hooks) {
        let count = admitted.get(&own).copied().unwrap_or_default();
        if ids.len() as u64 > count {
            let (room, who) = own;
            let text = format!("{room}: {who} came {count} times, and has the webhooks {ids:?}");
            problems.push(Problem::new(Kind::Early, text));
        }
    }
    problems
}

/// Returns the clients that have fewer webhooks than connections.
pub(crate) fn missing_hooks(admitted: &Admitted, hooks: &[Hook]) -> Vec<(String, String)> {
    let heard = by_client(hooks);
    let misses = |own: &(String, String), count: u64| {
        (heard.get(own).map_or(0, BTreeSet::len) as u64) < count
    };
    let missing = admitted.iter().filter(|(own, count)| misses(own, **count));
    missing.map(|(own, _)| own.clone()).collect()
}

fn by_client(hooks: &[Hook]) -> BTreeMap<(String, String), BTreeSet<&str>> {
    let mut heard: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for hook in hooks {
        heard.entry((hook.room.clone(), hook.who.clone())).or_default().insert(&hook.id);
    }
    heard
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(id: &str, who: &str) -> Hook {
        let (room, body) = ("room".to_owned(), format!("{who} came"));
        Hook { id: id.to_owned(), room, who: who.to_owned(), body }
    }

    fn admitted(counts: &[(&str, u64)]) -> Admitted {
        let own = |who: &str| ("room".to_owned(), who.to_owned());
        counts.iter().map(|(who, count)| (own(who), *count)).collect()
    }

    fn audited(counts: &[(&str, u64)], hooks: &[Hook]) -> Vec<Kind> {
        audit_hooks(&admitted(counts), hooks).iter().map(|problem| problem.kind).collect()
    }

    #[test]
    fn a_webhook_without_a_connection_or_with_two_bodies_is_reported() {
        let (one, two) = (hook("1", "a"), hook("2", "a"));
        assert_eq!(audited(&[("a", 2)], &[one.clone(), two.clone(), one.clone()]), []);
        assert_eq!(audited(&[("a", 1)], &[one.clone(), two]), [Kind::Early]);
        assert_eq!(audited(&[], std::slice::from_ref(&one)), [Kind::Early]);
        let other = Hook { body: "other".to_owned(), ..one.clone() };
        assert_eq!(audited(&[("a", 1)], &[one, other]), [Kind::Twice]);
    }

    #[test]
    fn a_connection_whose_webhook_is_missing_is_found() {
        let hooks = [hook("1", "a"), hook("1", "a")];
        let missing = |counts| missing_hooks(&admitted(counts), &hooks).len();
        assert_eq!((missing(&[("a", 1)]), missing(&[("a", 2)]), missing(&[("b", 1)])), (0, 1, 1));
    }
}
