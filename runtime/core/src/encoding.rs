//! The serialised form of shared bytes and shared texts. Owns the forms that serde does not provide.
//!
//! Invariant: a value that is read back equals the written one, and equal values are written as equal bytes.
//! It does not know what the values mean.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Bytes as one value, and not as a row of numbers, for formats that distinguish the two.
struct Blob<B>(B);

impl<B: AsRef<[u8]>> Serialize for Blob<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_ref())
    }
}

impl<'de> Deserialize<'de> for Blob<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BlobVisitor).map(Self)
    }
}

struct BlobVisitor;

impl<'de> Visitor<'de> for BlobVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = row.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

/// `Bytes`, for `#[serde(with)]`.
pub(crate) mod bytes {
    use crate::encoding::Blob;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        Blob(bytes).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        Blob::<Vec<u8>>::deserialize(from).map(|blob| blob.0.into())
    }
}

/// A map to `Bytes`, as a row of pairs in the order of the keys, for `#[serde(with)]`.
pub(crate) mod map_to_bytes {
    use crate::encoding::Blob;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub(crate) fn serialize<K: Serialize, S: Serializer>(
        map: &BTreeMap<K, Bytes>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map.iter().map(|(key, bytes)| (key, Blob(bytes))))
    }

    pub(crate) fn deserialize<'de, K: Deserialize<'de> + Ord, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<K, Bytes>, D::Error> {
        let pairs = Vec::<(K, Blob<Vec<u8>>)>::deserialize(from)?;
        Ok(pairs.into_iter().map(|(key, blob)| (key, blob.0.into())).collect())
    }
}

/// Changes to keys, as a row of pairs in the order of the keys, for `#[serde(with)]`.
pub(crate) mod overlay {
    use crate::encoding::Blob;
    use crate::span::{Key, Overlay};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(overlay: &Overlay, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(overlay.iter().map(|(key, value)| (Blob(key), value.as_ref().map(Blob))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Overlay, D::Error> {
        let pairs = Vec::<(Blob<Key>, Option<Blob<Vec<u8>>>)>::deserialize(from)?;
        let change = |(key, value): (Blob<Key>, Option<Blob<Vec<u8>>>)| {
            (key.0, value.map(|value| value.0.into()))
        };
        Ok(pairs.into_iter().map(change).collect())
    }
}

/// A shared value in its own form, for `#[serde(with)]`.
pub(crate) mod shared {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(crate) fn serialize<T: Serialize + ?Sized, S: Serializer>(
        shared: &Arc<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        T::serialize(shared, to)
    }

    pub(crate) fn deserialize<'de, T: ?Sized, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<T>, D::Error>
    where
        Box<T>: Deserialize<'de>,
    {
        Box::<T>::deserialize(from).map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Overlay;
    use ::bytes::Bytes;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Each {
        #[serde(with = "bytes")]
        bytes: Bytes,
        #[serde(with = "map_to_bytes")]
        map: BTreeMap<u64, Bytes>,
        #[serde(with = "overlay")]
        overlay: Overlay,
        #[serde(with = "shared")]
        text: Arc<str>,
        #[serde(with = "shared")]
        texts: Arc<[String]>,
    }

    #[test]
    fn every_encoding_is_read_back_from_formats_with_and_without_bytes() {
        let some = || Bytes::from_static(b"\0\xff");
        let each = Each {
            bytes: some(),
            map: [(7, some())].into(),
            overlay: [(b"\xff".to_vec(), None), (b"a".to_vec(), Some(some()))].into(),
            text: "text".into(),
            texts: ["a".to_owned(), "b".to_owned()].into(),
        };
        let bytes = postcard::to_allocvec(&each).unwrap();
        assert_eq!(postcard::from_bytes::<Each>(&bytes).unwrap(), each);
        let json = serde_json::to_string(&each).unwrap();
        assert_eq!(serde_json::from_str::<Each>(&json).unwrap(), each);
    }
}
