//! A range of keys and how to read through it. Owns the meaning of a listing's options.
//!
//! Invariant: a span yields keys in byte order, or in exactly the opposite one. Pure; it does not
//! know what holds the keys.

use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A room's key.
pub type Key = Vec<u8>;

/// Keys between two bounds, in a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The smallest key.
    pub start: Bound<Key>,
    /// The largest key.
    pub end: Bound<Key>,
    /// The direction of reading.
    pub direction: Direction,
}

/// A direction of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key to the largest.
    #[default]
    Forward,
    /// From the largest key to the smallest.
    Reverse,
}

/// The options of a listing. Every given bound must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// First key, inclusive.
    pub start: Option<Key>,
    /// First key, exclusive.
    pub start_after: Option<Key>,
    /// Last key, exclusive.
    pub end: Option<Key>,
    /// The prefix of every key.
    pub prefix: Option<Key>,
    /// The direction of reading.
    pub direction: Direction,
    /// The largest number of keys.
    pub limit: Option<u32>,
}

impl Span {
    /// All keys, forward.
    pub const ALL: Self =
        Self { start: Bound::Unbounded, end: Bound::Unbounded, direction: Direction::Forward };

    /// Returns the span of a listing's options.
    ///
    /// # Errors
    /// A sentence, when `start` and `start_after` are both given.
    pub fn of(options: &ListOptions) -> Result<Self, &'static str> {
        let mut start = match (&options.start, &options.start_after) {
            (Some(_), Some(_)) => return Err("`start` and `start-after` cannot both be given"),
            (Some(key), None) => Bound::Included(key.clone()),
            (None, Some(key)) => Bound::Excluded(key.clone()),
            (None, None) => Bound::Unbounded,
        };
        let mut end = options.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
        if let Some(prefix) = &options.prefix {
            if key_of(&start).is_none_or(|key| key < prefix) {
                start = Bound::Included(prefix.clone());
            }
            let after = after_prefix(prefix);
            if let Some(after) = after
                && key_of(&end).is_none_or(|key| *key > after)
            {
                end = Bound::Excluded(after);
            }
        }
        Ok(Self { start, end, direction: options.direction })
    }

    /// Returns true if no key can lie in it. `BTreeMap::range` and sled refuse such bounds.
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Excluded(end) | Bound::Included(end),
            ) => start >= end,
        }
    }
}

fn key_of(bound: &Bound<Key>) -> Option<&Key> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

/// Returns the smallest key that is larger than every key with this prefix; `None` if there is no such key.
pub fn after_prefix(prefix: &[u8]) -> Option<Key> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

/// Changes to keys over the stored ones: the new value, or `None` for a removed key.
pub type Overlay = BTreeMap<Key, Option<Bytes>>;

/// Returns the part of an overlay that lies in a span, in the span's order.
pub fn over<'a>(overlay: &'a Overlay, span: &Span) -> SpanChanges<'a> {
    if span.is_empty() {
        return Box::new(std::iter::empty());
    }
    let range = overlay.range::<Key, _>((span.start.as_ref(), span.end.as_ref()));
    let range = range.map(|(key, value)| (key.clone(), value.clone()));
    match span.direction {
        Direction::Forward => Box::new(range),
        Direction::Reverse => Box::new(range.rev()),
    }
}

/// Merges `base` with the changes in `over`, which win. Both are in this direction.
pub fn merged<'a, E: 'a>(
    over: SpanChanges<'a>,
    base: Entries<'a, E>,
    direction: Direction,
) -> Entries<'a, E> {
    Box::new(Merged { over: over.peekable(), base: base.peekable(), direction })
}

/// Entries in the order of a span, or the error of a read.
pub type Entries<'a, E> = Box<dyn Iterator<Item = Result<(Key, Bytes), E>> + 'a>;

/// Changes in the order of a span.
pub type SpanChanges<'a> = Box<dyn Iterator<Item = (Key, Option<Bytes>)> + 'a>;

struct Merged<'a, E> {
    over: std::iter::Peekable<SpanChanges<'a>>,
    base: std::iter::Peekable<Entries<'a, E>>,
    direction: Direction,
}

impl<E> Iterator for Merged<'_, E> {
    type Item = Result<(Key, Bytes), E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.over.peek(), self.base.peek()) {
                (_, None) => Ordering::Less,
                (None, _) | (_, Some(Err(_))) => Ordering::Greater,
                (Some((over, _)), Some(Ok((base, _)))) => match self.direction {
                    Direction::Forward => over.cmp(base),
                    Direction::Reverse => base.cmp(over),
                },
            };
            if order == Ordering::Greater {
                return self.base.next();
            }
            if order == Ordering::Equal {
                self.base.next();
            }
            let (key, value) = self.over.next()?;
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn read(map: &BTreeMap<Key, Bytes>, span: &Span) -> Vec<(Key, Bytes)> {
        if span.is_empty() {
            return Vec::new();
        }
        let range = map.range::<Key, _>((span.start.as_ref(), span.end.as_ref()));
        let entries = range.map(|(key, value)| (key.clone(), value.clone()));
        match span.direction {
            Direction::Forward => entries.collect(),
            Direction::Reverse => entries.rev().collect(),
        }
    }

    fn key() -> impl Strategy<Value = Key> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(254), Just(255)], 1..4)
    }

    fn options() -> impl Strategy<Value = ListOptions> {
        let bound = || prop::option::of(key());
        (bound(), bound(), bound(), bound(), any::<bool>()).prop_map(|(a, b, end, prefix, back)| {
            ListOptions {
                start_after: if a.is_some() { None } else { b },
                start: a,
                end,
                prefix,
                direction: if back { Direction::Reverse } else { Direction::Forward },
                limit: None,
            }
        })
    }

    proptest! {
        #[test]
        fn a_span_holds_exactly_the_keys_its_options_name(
            options in options(),
            keys in prop::collection::btree_map(key(), Just(Bytes::new()), 0..40),
        ) {
            let span = Span::of(&options).unwrap();
            let mut expected: Vec<Key> = keys.keys().filter(|key| {
                options.start.as_ref().is_none_or(|start| *key >= start)
                    && options.start_after.as_ref().is_none_or(|start| *key > start)
                    && options.end.as_ref().is_none_or(|end| *key < end)
                    && options.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
            }).cloned().collect();
            if options.direction == Direction::Reverse {
                expected.reverse();
            }
            let found: Vec<Key> = read(&keys, &span).into_iter().map(|(key, _)| key).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn an_overlay_reads_like_the_merged_map(
            base in prop::collection::btree_map(key(), "[a-c]".prop_map(Bytes::from), 0..20),
            over in prop::collection::btree_map(key(), prop::option::of("[d-f]".prop_map(Bytes::from)), 0..20),
            options in options(),
        ) {
            let span = Span::of(&options).unwrap();
            let mut plain = base.clone();
            for (key, value) in &over {
                match value {
                    Some(value) => plain.insert(key.clone(), value.clone()),
                    None => plain.remove(key),
                };
            }
            let entries = read(&base, &span).into_iter().map(Ok::<_, Infallible>);
            let merged = merged(super::over(&over, &span), Box::new(entries), span.direction);
            let found: Vec<_> = merged.map(Result::unwrap).collect();
            prop_assert_eq!(found, read(&plain, &span));
        }
    }

    #[test]
    fn two_start_keys_at_once_are_refused() {
        let key = Some(b"a".to_vec());
        let options = ListOptions { start: key.clone(), start_after: key, ..Default::default() };
        assert!(Span::of(&options).is_err());
    }
}
