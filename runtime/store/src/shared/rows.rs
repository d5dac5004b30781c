//! Reads of a store's rows in the database. Owns how much one question asks.
//!
//! Invariant: a question asks for a bounded number of rows, and for a bounded number of bytes or one value. Rows come in
//! the order of their keys. It does not know what the keys mean, or which rows are in memory.

use crate::backend::StoreError;
use crate::blocking;
use bytes::Bytes;
use hashbrown::HashMap;
use room_core::limits::Limits;
use room_core::span::{Direction, Key, Span};
use room_database::{Database, DatabaseRow, DatabaseValue, FrozenDatabase};
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// The rows of one store. Cheap to clone.
#[derive(Clone)]
pub(super) struct EntryRows {
    source: RowSource,
    store: i64,
    rows_max: i64,
    bytes_max: i64,
}

/// Where rows are read.
#[derive(Clone)]
enum RowSource {
    /// As they are now.
    Live(Database),
    /// As of one moment.
    Frozen(Arc<FrozenDatabase>),
}

/// The rows that one question asked for.
pub(super) struct RowPage<V> {
    pub(super) rows: Vec<(Key, V)>,
    /// Whether the span has no further rows.
    pub(super) is_last: bool,
}

/// Asks for the next page of a span, of at most this many rows. Only rows of these shards, if there are any.
type AskPage<V> = fn(&EntryRows, &Span, Option<&[i16]>, i64) -> Result<RowPage<V>, StoreError>;

/// The number of rows of the first question of a listing. Each further one asks for four times as many, up to the limit.
const FIRST_ROWS: i64 = 16;
/// Follows all keys of all layouts.
const BEHIND_ALL: u8 = 0xff;

impl EntryRows {
    pub(super) fn live(database: Database, store: i64, limits: &Limits) -> Self {
        let bounded = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX);
        Self {
            source: RowSource::Live(database),
            store,
            rows_max: bounded(limits.database_page_rows_max),
            bytes_max: bounded(limits.database_page_bytes_max),
        }
    }

    /// Returns the same rows as of now.
    pub(super) fn frozen(&self) -> Result<Self, StoreError> {
        let RowSource::Live(database) = &self.source else { return Ok(self.clone()) };
        let frozen = blocking(|| database.block_on(database.frozen()))?;
        Ok(Self { source: RowSource::Frozen(Arc::new(frozen)), ..self.clone() })
    }

    /// Waits for an answer on this thread. On a thread that runs rooms, the other rooms continue on another thread.
    pub(super) fn wait<T>(&self, asked: impl Future<Output = T>) -> T {
        blocking(|| match &self.source {
            RowSource::Live(database) => database.block_on(asked),
            RowSource::Frozen(frozen) => frozen.block_on(asked),
        })
    }

    async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn DatabaseValue + Sync)],
    ) -> Result<Vec<DatabaseRow>, StoreError> {
        let answer = match &self.source {
            RowSource::Live(database) => database.query(statement, parameters).await,
            RowSource::Frozen(frozen) => frozen.query(statement, parameters).await,
        };
        Ok(answer?)
    }

    /// Returns the value of a key.
    pub(super) async fn value(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let statement = "SELECT value FROM room.entries WHERE store = $1 AND key = $2";
        let rows = self.query(statement, &[&self.store, &key]).await?;
        Ok(rows.first().map(|row| bytes_in(row, 0)))
    }

    /// Returns the values of those of these keys that there are.
    pub(super) async fn values(&self, keys: &[Key]) -> Result<HashMap<Key, Bytes>, StoreError> {
        let statement = "SELECT key, value FROM room.entries WHERE store = $1 AND key = ANY ($2)";
        let rows = self.query(statement, &[&self.store, &keys]).await?;
        Ok(rows.iter().map(|row| (row.get(0), bytes_in(row, 1))).collect())
    }

    /// Returns the lengths of the values of those of these keys that there are.
    pub(super) async fn lengths(&self, keys: &[Key]) -> Result<HashMap<Key, usize>, StoreError> {
        let statement =
            "SELECT key, octet_length(value) FROM room.entries WHERE store = $1 AND key = ANY ($2)";
        let rows = self.query(statement, &[&self.store, &keys]).await?;
        Ok(rows.iter().map(|row| (row.get(0), length_in(row, 1))).collect())
    }

    /// Returns the next entries of a span.
    pub(super) async fn entries(
        &self,
        span: &Span,
        shards: Option<&[i16]>,
        rows: i64,
    ) -> Result<RowPage<Bytes>, StoreError> {
        let (start, end) = half_open(span);
        let order = order_of(span);
        // The first value is always in the page, however long it is.
        let statement = format!(
            "SELECT key, value, found FROM (
                SELECT key, value, count(*) OVER () AS found,
                    sum(octet_length(value)) OVER (ORDER BY key {order} ROWS UNBOUNDED PRECEDING)
                        - octet_length(value) AS before
                FROM (
                    SELECT key, value FROM room.entries
                    WHERE store = $1 AND key >= $2 AND key < $3
                        AND ($4::smallint[] IS NULL OR shard = ANY ($4))
                    ORDER BY key {order} LIMIT $5
                ) AS page
            ) AS sized WHERE before < $6 ORDER BY key {order}"
        );
        let parameters: [&(dyn DatabaseValue + Sync); 6] =
            [&self.store, &start, &end, &shards, &rows, &self.bytes_max];
        let answer = self.query(&statement, &parameters).await?;
        let found = answer.first().map_or(0, |row| row.get::<_, i64>(2));
        let is_last = found < rows && answer.len() as u64 == found.unsigned_abs();
        Ok(RowPage {
            rows: answer.iter().map(|row| (row.get(0), bytes_in(row, 1))).collect(),
            is_last,
        })
    }

    /// Returns the next keys of a span, with the lengths of their values.
    pub(super) async fn keys(
        &self,
        span: &Span,
        shards: Option<&[i16]>,
        rows: i64,
    ) -> Result<RowPage<usize>, StoreError> {
        let (start, end) = half_open(span);
        let order = order_of(span);
        let statement = format!(
            "SELECT key, octet_length(value) FROM room.entries
            WHERE store = $1 AND key >= $2 AND key < $3
                AND ($4::smallint[] IS NULL OR shard = ANY ($4))
            ORDER BY key {order} LIMIT $5"
        );
        let answer = self.query(&statement, &[&self.store, &start, &end, &shards, &rows]).await?;
        let is_last = (answer.len() as u64) < rows.unsigned_abs();
        Ok(RowPage {
            rows: answer.iter().map(|row| (row.get(0), length_in(row, 1))).collect(),
            is_last,
        })
    }
}

/// Reads a span page by page, each when it is needed.
pub(super) struct PagedRows<V> {
    rows: EntryRows,
    rest: Span,
    shards: Option<Vec<i16>>,
    ask: AskPage<V>,
    page: VecDeque<(Key, V)>,
    next_rows: i64,
    is_over: bool,
}

impl PagedRows<usize> {
    /// Reads the keys of a span, with the lengths of their values.
    pub(super) fn keys(rows: &EntryRows, span: &Span, shards: Option<Vec<i16>>) -> Self {
        let ask = |rows: &EntryRows, span: &Span, shards: Option<&[i16]>, count: i64| {
            rows.wait(rows.keys(span, shards, count))
        };
        Self::of(rows.clone(), span.clone(), shards, ask)
    }
}

impl PagedRows<Bytes> {
    /// Reads the entries of a span.
    pub(super) fn entries(rows: &EntryRows, span: &Span, shards: Option<Vec<i16>>) -> Self {
        let ask = |rows: &EntryRows, span: &Span, shards: Option<&[i16]>, count: i64| {
            rows.wait(rows.entries(span, shards, count))
        };
        Self::of(rows.clone(), span.clone(), shards, ask)
    }
}

impl<V> PagedRows<V> {
    fn of(rows: EntryRows, span: Span, shards: Option<Vec<i16>>, ask: AskPage<V>) -> Self {
        let (next_rows, is_over) = (FIRST_ROWS.min(rows.rows_max), span.is_empty());
        Self { rows, rest: span, shards, ask, page: VecDeque::new(), next_rows, is_over }
    }

    fn turn_page(&mut self) -> Result<(), StoreError> {
        let page = (self.ask)(&self.rows, &self.rest, self.shards.as_deref(), self.next_rows)?;
        self.next_rows = (self.next_rows * 4).min(self.rows.rows_max);
        self.is_over = page.is_last;
        if let Some((last, _)) = page.rows.last() {
            let behind = Bound::Excluded(last.clone());
            match self.rest.direction {
                Direction::Forward => self.rest.start = behind,
                Direction::Reverse => self.rest.end = behind,
            }
        }
        self.page = page.rows.into();
        Ok(())
    }
}

impl<V> Iterator for PagedRows<V> {
    type Item = Result<(Key, V), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.is_over {
            // A caller that continues after an error is not caught in a loop.
            self.is_over = true;
            if let Err(error) = self.turn_page() {
                return Some(Err(error));
            }
        }
        self.page.pop_front().map(Ok)
    }
}

/// Returns the first key of a span, and the first key behind it.
fn half_open(span: &Span) -> (Key, Key) {
    let behind = |key: &Key| [key.as_slice(), &[0]].concat();
    let start = match &span.start {
        Bound::Unbounded => Key::new(),
        Bound::Included(key) => key.clone(),
        Bound::Excluded(key) => behind(key),
    };
    let end = match &span.end {
        Bound::Unbounded => vec![BEHIND_ALL],
        Bound::Included(key) => behind(key),
        Bound::Excluded(key) => key.clone(),
    };
    (start, end)
}

fn order_of(span: &Span) -> &'static str {
    match span.direction {
        Direction::Forward => "ASC",
        Direction::Reverse => "DESC",
    }
}

fn bytes_in(row: &DatabaseRow, column: usize) -> Bytes {
    row.get::<_, Vec<u8>>(column).into()
}

fn length_in(row: &DatabaseRow, column: usize) -> usize {
    usize::try_from(row.get::<_, i32>(column)).unwrap_or_default()
}
