//! Reading a range of the storage.
//!
//! Owns [`List`]: which entries, and the walk over the host's pages. Invariant: no entry is returned
//! twice or left out between two pages. It does not know what the values are: a function that it was
//! given decodes them.

use std::collections::VecDeque;
use std::fmt;

use anyhow::Context as _;

use crate::Result;
use crate::host::{Current, Entry, Host as _, ListOptions};

/// A range of the storage: narrowed by its methods, read by iterating over it.
///
/// Every bound that is given must hold. Iteration yields `Result`s, and ends after the first error.
#[must_use = "a list reads nothing until it is iterated over"]
pub struct List<I> {
    options: ListOptions,
    decode: fn(Entry) -> Result<I>,
}

impl<I> List<I> {
    pub(crate) fn new(decode: fn(Entry) -> Result<I>) -> Self {
        Self { options: ListOptions::default(), decode }
    }

    /// Only keys with this prefix.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.options.prefix = Some(prefix.as_ref().to_vec());
        self
    }

    /// Only this key and those after it.
    pub fn start(mut self, key: impl AsRef<[u8]>) -> Self {
        self.options.start = Some(key.as_ref().to_vec());
        self
    }

    /// Only keys after this one. Not together with [`start`](Self::start).
    pub fn start_after(mut self, key: impl AsRef<[u8]>) -> Self {
        self.options.start_after = Some(key.as_ref().to_vec());
        self
    }

    /// Only keys before this one.
    pub fn end(mut self, key: impl AsRef<[u8]>) -> Self {
        self.options.end = Some(key.as_ref().to_vec());
        self
    }

    /// From the largest key to the smallest. `start` and `end` keep their meaning.
    pub fn reverse(mut self) -> Self {
        self.options.reverse = true;
        self
    }

    /// At most so many entries.
    pub fn limit(mut self, entries: u32) -> Self {
        self.options.limit = Some(entries);
        self
    }

    /// All entries at once.
    ///
    /// # Errors
    /// [`InvalidRange`](crate::StorageError::InvalidRange),
    /// [`Unavailable`](crate::StorageError::Unavailable); or a value is not of the expected type.
    pub fn entries(self) -> Result<Vec<I>> {
        self.into_iter().collect()
    }
}

impl<K, V> List<(K, V)> {
    /// All keys at once, in order.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn keys(self) -> Result<Vec<K>> {
        self.into_iter().map(|entry| Ok(entry?.0)).collect()
    }

    /// All values at once, in the order of their keys.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn values(self) -> Result<Vec<V>> {
        self.into_iter().map(|entry| Ok(entry?.1)).collect()
    }
}

impl<I> fmt::Debug for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<I> IntoIterator for List<I> {
    type Item = Result<I>;
    type IntoIter = Entries<I>;

    fn into_iter(self) -> Entries<I> {
        Entries { list: self, page: VecDeque::new(), more: More::Yes }
    }
}

/// The entries of a [`List`], fetched page by page.
#[derive(Debug)]
pub struct Entries<I> {
    list: List<I>,
    page: VecDeque<Entry>,
    more: More,
}

/// Whether the host may have entries beyond the page at hand.
#[derive(Debug, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

impl<I> Entries<I> {
    /// Fetches the next page, and moves the bounds after it.
    fn fetch(&mut self) -> Result {
        let options = &mut self.list.options;
        let page = Current::list(options).context("cannot list the storage")?;
        let taken = u32::try_from(page.entries.len()).unwrap_or(u32::MAX);
        options.limit = options.limit.map(|limit| limit.saturating_sub(taken));
        let done = !page.more || page.entries.is_empty() || options.limit == Some(0);
        self.more = if done { More::No } else { More::Yes };
        if let Some((last, _)) = page.entries.last() {
            if options.reverse {
                options.end = Some(last.clone());
            } else {
                options.start = None;
                options.start_after = Some(last.clone());
            }
        }
        self.page = page.entries.into();
        Ok(())
    }
}

impl<I> Iterator for Entries<I> {
    type Item = Result<I>;

    fn next(&mut self) -> Option<Result<I>> {
        if self.page.is_empty()
            && self.more == More::Yes
            && let Err(error) = self.fetch()
        {
            self.more = More::No;
            return Some(Err(error));
        }
        let entry = (self.list.decode)(self.page.pop_front()?);
        if entry.is_err() {
            self.page.clear();
            self.more = More::No;
        }
        Some(entry)
    }
}
