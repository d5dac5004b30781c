//! The time that the runtime's own small parts take, without a guest: a turn's effects, listings, names and the
//! clock.
//!
//! Invariant: they are called as the runtime calls them. It does not know rooms.

use anyhow::Result;
use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use room_runtime::clock::Clock;
use room_runtime::connection::Connections;
use room_runtime::event::Message;
use room_runtime::span::{Entries, Key, ListOptions, Overlay, Span, merged, over};
use room_runtime::turn::{EmptyView, ReadError, Turn, View};
use room_runtime::{Limits, connection_of_query, room_of_path};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Keys of a room that lists, and half of them changed in its turn.
const KEYS: usize = 100;

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    turns(&mut criterion);
    lists(&mut criterion);
    names(&mut criterion);
    criterion.final_summary();
    Ok(())
}

fn turns(criterion: &mut Criterion) {
    let (connections, limits) = (Arc::new(Connections::default()), Arc::new(Limits::default()));
    let begin = |view: Arc<dyn View>| Turn::new(view, connections.clone(), None, limits.clone());
    let empty: Arc<dyn View> = Arc::new(EmptyView);
    criterion.bench_function("turn/begin and finish", |b| b.iter(|| begin(empty.clone()).finish()));
    let message = Message::text("x".repeat(32));
    criterion.bench_function("turn/broadcast", |b| {
        b.iter(|| {
            let mut turn = begin(empty.clone());
            turn.broadcast(message.clone(), None, &[]).map(|()| turn.finish())
        });
    });
    let (key, value) = (b"key".to_vec(), Bytes::from_static(b"value"));
    criterion.bench_function("turn/get", |b| {
        b.iter(|| {
            let mut turn = begin(empty.clone());
            turn.get(&key).map(|_| turn.finish())
        });
    });
    criterion.bench_function("turn/put", |b| {
        b.iter(|| {
            let mut turn = begin(empty.clone());
            turn.put(vec![(key.clone(), value.clone())]).map(|()| turn.finish())
        });
    });
    let stored: Arc<dyn View> = Arc::new(Stored(entries(0, 1).collect()));
    let changed = || {
        let mut turn = begin(stored.clone());
        turn.put(entries(1, 2).collect()).map(|()| turn)
    };
    criterion.bench_function(&format!("turn/list {KEYS}, half of them changed"), |b| {
        let all = ListOptions::default();
        b.iter_batched(changed, |turn| turn.map(|mut turn| turn.list(&all)), BatchSize::SmallInput);
    });
}

fn lists(criterion: &mut Criterion) {
    let stored = Stored(entries(0, 1).collect());
    let changes: Overlay = entries(1, 2).map(|(key, value)| (key, Some(value))).collect();
    criterion.bench_function(&format!("span/merge {KEYS}, half of them changed"), |b| {
        b.iter(|| {
            let span = black_box(&Span::ALL);
            merged(over(&changes, span), stored.scan(span), span.direction).count()
        });
    });
    let prefix = ListOptions { prefix: Some(b"user:".to_vec()), ..ListOptions::default() };
    criterion.bench_function("span/of a prefix", |b| b.iter(|| Span::of(black_box(&prefix))));
}

fn names(criterion: &mut Criterion) {
    let limits = Limits::default();
    criterion.bench_function("name/room of a path", |b| {
        b.iter(|| room_of_path(black_box("/parties/main/some-room"), &limits));
    });
    criterion.bench_function("name/connection of a query", |b| {
        b.iter(|| connection_of_query(black_box(Some("_pk=0123456789abcdef")), &limits));
    });
    criterion.bench_function("name/connection without one", |b| {
        b.iter(|| connection_of_query(black_box(None), &limits));
    });
    let clock = Clock::system();
    criterion.bench_function("clock/wall", |b| b.iter(|| clock.wall()));
}

/// Returns every `step`th key from `first` on.
fn entries(first: usize, step: usize) -> impl Iterator<Item = (Key, Bytes)> {
    let keys = (first..KEYS).step_by(step);
    keys.map(|number| (format!("user:{number:06}").into_bytes(), Bytes::from_static(b"value")))
}

/// A room's entries in memory.
struct Stored(BTreeMap<Key, Bytes>);

impl View for Stored {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.0.get(key).cloned())
    }

    fn value_len(&self, key: &[u8]) -> Result<Option<usize>, ReadError> {
        Ok(self.0.get(key).map(Bytes::len))
    }

    fn scan<'a>(&'a self, span: &Span) -> Entries<'a, ReadError> {
        let range = self.0.range::<Key, _>((span.start.as_ref(), span.end.as_ref()));
        Box::new(range.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }

    fn alarm(&self) -> Option<u64> {
        None
    }

    fn bytes_at_most(&self) -> u64 {
        self.bytes()
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}
