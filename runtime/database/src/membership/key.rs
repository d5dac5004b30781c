//! The key that the nodes of a cluster share. Owns how a node proves that it is one of them.
//!
//! Invariant: the key itself is never sent or shown, and a proof fits one text alone. It does not know what the texts say.

use std::fmt;

/// The key that all nodes of a cluster have from their database.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; 32]);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClusterKey(…)")
    }
}

impl ClusterKey {
    /// Returns the key with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the proof that a node of the cluster said these words.
    pub fn proof<'a>(&self, words: impl Iterator<Item = &'a [u8]>) -> String {
        self.hash(words).to_hex().to_string()
    }

    /// Returns true if this is the proof that a node of the cluster said these words.
    pub fn proves<'a>(&self, words: impl Iterator<Item = &'a [u8]>, proof: &str) -> bool {
        // This comparison takes the same time for all wrong proofs.
        blake3::Hash::from_hex(proof).is_ok_and(|proof| proof == self.hash(words))
    }

    fn hash<'a>(&self, words: impl Iterator<Item = &'a [u8]>) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for word in words {
            hasher.update(&(word.len() as u64).to_be_bytes());
            hasher.update(word);
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_fits_its_words_and_its_key() {
        let (key, other) = (ClusterKey::new([1; 32]), ClusterKey::new([2; 32]));
        let words =
            |words: &[&'static str]| words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>();
        let proof = key.proof(words(&["ab", "c"]).into_iter());
        assert!(key.proves(words(&["ab", "c"]).into_iter(), &proof));
        for wrong in [words(&["a", "bc"]), words(&["ab"]), words(&["ab", "c", ""])] {
            assert!(!key.proves(wrong.into_iter(), &proof));
        }
        assert!(!other.proves(words(&["ab", "c"]).into_iter(), &proof));
        for wrong in ["", "00", &proof[1..], "é"] {
            assert!(!key.proves(words(&["ab", "c"]).into_iter(), wrong), "{wrong}");
        }
        assert_eq!(format!("{key:?}"), "ClusterKey(…)");
    }
}
