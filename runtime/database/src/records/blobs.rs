//! Modules and static files of a cluster by their hashes. Owns the statements for them.
//!
//! Invariant: a blob is in the database with all its pieces, or not at all. One that a project's records name is never
//! removed. It does not know what the bytes are, and leaves the check of their hash to the reader.

use super::ClusterRecords;
use crate::DatabaseError;
use room_core::limits::fixed::BLOB_PIECE_BYTES;
use std::collections::BTreeSet;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The hash by which a blob is named.
pub type BlobHash = [u8; 32];

impl ClusterRecords {
    /// Returns those of these blobs that the database lacks.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn missing_blobs(&self, hashes: &[BlobHash]) -> Result<Vec<BlobHash>, DatabaseError> {
        let named: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
        let text = "SELECT hash FROM room.blobs WHERE hash = ANY($1)";
        let rows = self.database.query(text, &[&named]).await?;
        let found: BTreeSet<&[u8]> = rows.iter().map(|row| row.get(0)).collect();
        Ok(hashes.iter().filter(|hash| !found.contains(hash.as_slice())).copied().collect())
    }

    /// Stores a blob, and reads its bytes only if the database lacks it. The caller has checked that they have this hash.
    ///
    /// # Errors
    /// [`DatabaseError`], also if the bytes cannot be read: the blob is not stored.
    ///
    /// # Cancel safety
    /// If dropped before it returns, the blob is stored as a whole or not at all.
    pub async fn put_blob(
        &self,
        hash: &BlobHash,
        mut bytes: impl AsyncRead + Unpin,
    ) -> Result<(), DatabaseError> {
        let mut client = self.database.client().await?;
        let hash = hash.as_slice();
        let begin = async {
            let change = client.transaction().await?;
            let text = "INSERT INTO room.blobs (hash) VALUES ($1) ON CONFLICT (hash) DO NOTHING";
            let is_new = change.execute(text, &[&hash]).await? > 0;
            let text = "UPDATE room.blobs SET used = clock_timestamp() WHERE hash = $1";
            change.execute(text, &[&hash]).await?;
            Ok((change, is_new))
        };
        let (change, is_new) = self.database.within(begin).await?;
        let unreadable = |error: std::io::Error| DatabaseError::Unreachable(error.to_string());
        for number in 0_i32.. {
            let mut piece = Vec::new();
            if is_new {
                let mut next = (&mut bytes).take(BLOB_PIECE_BYTES as u64);
                next.read_to_end(&mut piece).await.map_err(unreadable)?;
            }
            if piece.is_empty() {
                break;
            }
            let text = "INSERT INTO room.pieces (hash, piece, bytes) VALUES ($1, $2, $3)";
            let write = async { Ok(change.execute(text, &[&hash, &number, &piece]).await?) };
            self.database.within(write).await?;
        }
        self.database.within(async { Ok(change.commit().await?) }).await
    }

    /// Returns one piece of a blob, counted from 0; `None` after the last one, and if the blob does not exist.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn blob_piece(
        &self,
        hash: &BlobHash,
        piece: i32,
    ) -> Result<Option<Vec<u8>>, DatabaseError> {
        let text = "SELECT bytes FROM room.pieces WHERE hash = $1 AND piece = $2";
        let rows = self.database.query(text, &[&hash.as_slice(), &piece]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    /// Removes the blobs that are not among `needed` and were last used longer ago than `unused_ms`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    ///
    /// # Cancel safety
    /// If dropped before it returns, they may be removed.
    pub async fn collect_blobs(
        &self,
        needed: &[BlobHash],
        unused_ms: u64,
    ) -> Result<u64, DatabaseError> {
        let client = self.database.client().await?;
        let needed: Vec<&[u8]> = needed.iter().map(<[u8; 32]>::as_slice).collect();
        let unused = i64::try_from(unused_ms).unwrap_or(i64::MAX);
        let asked = async {
            // A deployment that names one of them at this moment holds its row, and this statement looks at `used` again.
            let text = "DELETE FROM room.blobs WHERE hash <> ALL($1) \
                        AND used < clock_timestamp() - $2::bigint * interval '1 millisecond'";
            Ok(client.execute(text, &[&needed, &unused]).await?)
        };
        self.database.within(asked).await
    }
}
