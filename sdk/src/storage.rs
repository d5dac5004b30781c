//! The room's durable, ordered key-value storage.
//!
//! Owns [`Storage`] (any serde type, kept as JSON), [`RawStorage`] (bytes) and [`List`]. Invariant:
//! reads see what this turn wrote; writes take effect when it commits. It does not know where the
//! bytes are kept.

use std::fmt;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::host::{Current, Entry, Host as _};
use crate::list::List;

/// The room's storage: keys of 1 to 2,048 bytes in byte order, values of any serde type.
///
/// Values are kept as JSON. Reads see what this turn wrote, and writes take effect when it commits.
///
/// A refused call did nothing and the turn continues. The error names the limit it met, what that is set
/// to and how to raise it; `?` turns it into the failure of the turn.
///
/// ```
/// # use room_sdk::prelude::*;
/// # use room_sdk::test::TestRoom;
/// #[derive(Default)]
/// struct Visits;
///
/// impl Room for Visits {
///     fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
///         let visits = ctx.storage().get::<u64>("visits")?.unwrap_or_default() + 1;
///         ctx.storage().put("visits", &visits)?;
///         Response::json(&visits)
///     }
/// }
///
/// let room = TestRoom::<Visits>::new("lobby");
/// room.request(Request::get("/"));
/// assert_eq!(room.request(Request::get("/")).body_text(), "2");
/// ```
///
/// What the error is can be asked for:
///
/// ```
/// # use room_sdk::prelude::*;
/// # use room_sdk::test::TestRoom;
/// use room_sdk::StorageError;
///
/// # #[derive(Default)]
/// # struct Album;
/// # impl Room for Album {
/// #     fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
/// let photo = vec![0_u8; 2_000_000];
/// let refused = ctx.storage().raw().put("photo", &photo).unwrap_err();
/// assert_eq!(refused.downcast_ref(), Some(&StorageError::ValueTooLarge(1_048_576)));
/// assert_eq!(
///     format!("{refused:#}"),
///     "cannot write key \"photo\": the value is larger than 1048576 bytes; \
///      raise value_bytes_max in room.toml [limits], or store it in pieces",
/// );
/// #         Ok(Response::status(204))
/// #     }
/// # }
/// # let room = TestRoom::<Album>::new("lobby");
/// # assert_eq!(room.request(Request::get("/")).status_code(), 204, "{:?}", room.take_errors());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Storage(());

impl Storage {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// The value of a key, or `None`.
    ///
    /// # Errors
    /// What is stored is not that of a `T`; [`InvalidKey`], [`Unavailable`].
    ///
    /// [`InvalidKey`]: crate::StorageError::InvalidKey
    /// [`Unavailable`]: crate::StorageError::Unavailable
    pub fn get<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        let key = key.as_ref();
        let value = self.raw().get(key)?;
        value.map(|value| decode(key, &value)).transpose()
    }

    /// The values of many keys: one answer a key, in the order of the keys. One call costs less than
    /// many.
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # use room_sdk::test::TestRoom;
    /// # #[derive(Default)]
    /// # struct Scores;
    /// # impl Room for Scores {
    /// #     fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
    /// let storage = ctx.storage();
    /// storage.put_many([("score:ada", &7), ("score:bob", &4)])?;
    /// assert_eq!(storage.get_many::<u32>(["score:bob", "score:eve"])?, [Some(4), None]);
    /// assert_eq!(storage.delete_many(["score:bob", "score:eve"])?, 1);
    /// assert_eq!(storage.get::<u32>("score:bob")?, None);
    /// #         Ok(Response::status(204))
    /// #     }
    /// # }
    /// # let room = TestRoom::<Scores>::new("lobby");
    /// # assert_eq!(room.request(Request::get("/")).status_code(), 204, "{:?}", room.take_errors());
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get); [`TooManyWrites`](crate::StorageError::TooManyWrites) if there are more
    /// keys than `turn_writes_max`.
    pub fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<T>>> {
        let keys = owned(keys);
        let values = self.raw().get_many(&keys)?;
        let decoded = keys.iter().zip(values);
        decoded.map(|(key, value)| value.map(|value| decode(key, &value)).transpose()).collect()
    }

    /// Sets a key.
    ///
    /// # Errors
    /// The value cannot be written as JSON; [`InvalidKey`](crate::StorageError::InvalidKey),
    /// [`ValueTooLarge`](crate::StorageError::ValueTooLarge),
    /// [`TooManyWrites`](crate::StorageError::TooManyWrites).
    pub fn put<T: Serialize + ?Sized>(&self, key: impl AsRef<[u8]>, value: &T) -> Result {
        let key = key.as_ref();
        self.raw().put(key, encode(key, value)?)
    }

    /// Sets many keys: all of them, or none if one is refused. Of two values for one key the later
    /// wins.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_many<'a, T: Serialize + ?Sized + 'a>(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<[u8]>, &'a T)>,
    ) -> Result {
        let entries = entries
            .into_iter()
            .map(|(key, value)| Ok((key.as_ref().to_vec(), encode(key.as_ref(), value)?)))
            .collect::<Result<Vec<Entry>>>()?;
        self.raw().put_many(entries)
    }

    /// Removes a key. True if it was there.
    ///
    /// # Errors
    /// [`InvalidKey`](crate::StorageError::InvalidKey),
    /// [`TooManyWrites`](crate::StorageError::TooManyWrites).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        Current::delete(key).with_context(|| format!("cannot delete key {}", Shown(key)))
    }

    /// Removes many keys. How many were there.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<u32> {
        Current::delete_many(&owned(keys)).context("cannot delete from storage")
    }

    /// The bytes of the room's keys and values, what this turn wrote included. After a commit it may wait a
    /// moment for the disk, so ask for it seldom.
    ///
    /// # Errors
    /// [`Unavailable`](crate::StorageError::Unavailable).
    pub fn bytes(&self) -> Result<u64> {
        Current::bytes().context("cannot measure the storage")
    }

    /// What [`bytes`](Self::bytes) cannot grow beyond: `room_bytes_max` in `room.toml [limits]`.
    pub fn bytes_max(&self) -> u64 {
        Current::bytes_max()
    }

    /// Removes every key, and the alarm.
    ///
    /// # Errors
    /// [`Unavailable`](crate::StorageError::Unavailable).
    pub fn delete_all(&self) -> Result {
        Current::delete_all().context("cannot empty the storage")
    }

    /// The entries in key order, to be narrowed by the methods of [`List`]. They are fetched page by
    /// page while the list is read, so what the turn changes meanwhile may be seen or not.
    ///
    /// Order is byte order: numbers in keys need leading zeros.
    ///
    /// ```
    /// # use room_sdk::prelude::*;
    /// # use room_sdk::test::TestRoom;
    /// # #[derive(Default)]
    /// # struct Log;
    /// # impl Room for Log {
    /// #     fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
    /// let storage = ctx.storage();
    /// for n in 0..100_u32 {
    ///     storage.put(format!("msg:{n:06}"), &format!("text {n}"))?;
    /// }
    /// let last_two: Vec<String> = storage.list().prefix("msg:").reverse().limit(2).values()?;
    /// assert_eq!(last_two, ["text 99", "text 98"]);
    ///
    /// let from_90 = storage.list::<String>().prefix("msg:").start("msg:000090").entries()?;
    /// assert_eq!(from_90[0], ("msg:000090".to_owned(), "text 90".to_owned()));
    ///
    /// // The first ninety go, without being held at once.
    /// for entry in storage.list::<String>().prefix("msg:").end("msg:000090") {
    ///     let (key, _text) = entry?;
    ///     storage.delete(key)?;
    /// }
    /// assert_eq!(storage.list::<String>().keys()?.len(), 10);
    /// #         Ok(Response::status(204))
    /// #     }
    /// # }
    /// # let room = TestRoom::<Log>::new("lobby");
    /// # assert_eq!(room.request(Request::get("/")).status_code(), 204, "{:?}", room.take_errors());
    /// ```
    pub fn list<T: DeserializeOwned>(&self) -> List<(String, T)> {
        List::new(|(key, value)| {
            let value = decode(&key, &value)?;
            Ok((String::from_utf8(key).context("a key is not text: list it raw")?, value))
        })
    }

    /// The same storage as bytes, without JSON.
    pub fn raw(&self) -> RawStorage {
        RawStorage(())
    }
}

/// The room's storage as bytes: for values that are not JSON, and keys that are not text.
///
/// ```
/// # use room_sdk::prelude::*;
/// # use room_sdk::test::TestRoom;
/// # #[derive(Default)]
/// # struct Pixels;
/// # impl Room for Pixels {
/// #     fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
/// let pixels = ctx.storage().raw();
/// for y in [3_u16, 1, 256] {
///     // Big-endian numbers lie in their own order.
///     pixels.put(y.to_be_bytes(), [0xff; 4])?;
/// }
/// let rows = pixels.list().keys()?;
/// assert_eq!(rows, [vec![0, 1], vec![0, 3], vec![1, 0]]);
/// assert_eq!(pixels.get([0, 3])?, Some(vec![0xff; 4]));
/// #         Ok(Response::status(204))
/// #     }
/// # }
/// # let room = TestRoom::<Pixels>::new("lobby");
/// # assert_eq!(room.request(Request::get("/")).status_code(), 204, "{:?}", room.take_errors());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RawStorage(());

impl RawStorage {
    /// The bytes of a key, or `None`.
    ///
    /// # Errors
    /// [`InvalidKey`](crate::StorageError::InvalidKey),
    /// [`Unavailable`](crate::StorageError::Unavailable).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let key = key.as_ref();
        Current::get(key).with_context(|| format!("cannot read key {}", Shown(key)))
    }

    /// The bytes of many keys: one answer a key, in the order of the keys.
    ///
    /// # Errors
    /// As [`Storage::get_many`], but for values that are not JSON.
    pub fn get_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        Current::get_many(&owned(keys)).context("cannot read from storage")
    }

    /// Sets a key.
    ///
    /// # Errors
    /// As [`Storage::put`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result {
        let key = key.as_ref();
        Current::put(key, value.as_ref())
            .with_context(|| format!("cannot write key {}", Shown(key)))
    }

    /// Sets many keys: all of them, or none if one is refused.
    ///
    /// # Errors
    /// As [`Storage::put`].
    pub fn put_many(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
    ) -> Result {
        let entries = entries.into_iter();
        let entries = entries.map(|(key, value)| (key.as_ref().to_vec(), value.as_ref().to_vec()));
        Current::put_many(&entries.collect::<Vec<Entry>>()).context("cannot write to storage")
    }

    /// Removes a key. True if it was there.
    ///
    /// # Errors
    /// As [`Storage::delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Storage(()).delete(key)
    }

    /// Removes many keys. How many were there.
    ///
    /// # Errors
    /// As [`Storage::delete`].
    pub fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<u32> {
        Storage(()).delete_many(keys)
    }

    /// The entries in key order; see [`Storage::list`].
    pub fn list(&self) -> List<(Vec<u8>, Vec<u8>)> {
        List::new(Ok)
    }
}

fn encode<T: Serialize + ?Sized>(key: &[u8], value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .with_context(|| format!("the value of key {} cannot be written as JSON", Shown(key)))
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T> {
    serde_json::from_slice(value)
        .with_context(|| format!("the value of key {} is not the expected type", Shown(key)))
}

fn owned(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Vec<u8>> {
    keys.into_iter().map(|key| key.as_ref().to_vec()).collect()
}

/// A key as an error shows it: quoted, and not longer than a line.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_BYTES_MAX: usize = 64;
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES_MAX)];
        write!(f, "{:?}", String::from_utf8_lossy(shown))?;
        if shown.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}
