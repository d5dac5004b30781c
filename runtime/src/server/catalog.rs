//! The records of a project: its versions, which one is served, and its variables. Owns where they are kept, in the
//! project's folder or in a cluster's database, and that each changes as a whole.
//!
//! Invariant: a change that fails leaves the records as they were. It does not know how a version is served.

use super::file::{self, FileError};
use super::ledger::Ledger;
use super::records::{self, KeepError, RecordHome};
use super::release::{BlobId, Release};
use room_core::limits::fixed::VERSIONS_MAX;
use room_database::{BlobHash, ProjectRecord, RecordChange, RecordError, RecordMark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of both files.
const FORMAT: u32 = 1;
/// The file of the versions.
pub(super) const VERSIONS: &str = "versions.json";
/// The file of the variables.
const VARIABLES: &str = "env.json";

/// A release that was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Counted from 1.
    pub number: u64,
    /// When it was deployed, in milliseconds since 1970.
    pub created_ms: u64,
    /// The name of the token with which it was deployed.
    pub by: String,
    /// The release.
    pub release: Release,
}

/// A variable that was set on the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its value.
    pub value: String,
    /// Whether the value is never shown again.
    #[serde(default)]
    pub secret: bool,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Versions {
    format: u32,
    current: Option<u64>,
    versions: Vec<Version>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Variables {
    format: u32,
    variables: BTreeMap<String, Variable>,
}

/// The records of a project.
#[derive(Clone)]
pub(super) struct Catalog {
    home: CatalogHome,
    versions: Versions,
    variables: Variables,
}

/// Where a project's records are kept.
#[derive(Clone)]
enum CatalogHome {
    /// In the project's folder.
    Folder(Ledger),
    /// In the database of a cluster.
    Cluster(ClusterCatalog),
}

/// The place of a project's records in a cluster's database.
#[derive(Clone)]
struct ClusterCatalog {
    home: RecordHome,
    project: String,
    /// The state that was read or written last; `None` if there is no record.
    mark: Option<RecordMark>,
}

impl Catalog {
    /// Reads the folder of the project of this name. If the file of versions was removed, there are no versions.
    ///
    /// # Errors
    /// [`FileError`]: a file is damaged, or a newer server wrote it.
    pub(super) fn open(dir: &Path, project: &str) -> Result<Self, FileError> {
        let mut ledger = Ledger::open(dir, project);
        let empty = || Versions { format: FORMAT, ..Versions::default() };
        let versions: Versions = ledger.read_or_lost(VERSIONS)?.unwrap_or_else(empty);
        file::check_format(&dir.join(VERSIONS), versions.format, FORMAT)?;
        let empty = || Variables { format: FORMAT, ..Variables::default() };
        let variables: Variables = ledger.read(VARIABLES)?.unwrap_or_else(empty);
        file::check_format(&dir.join(VARIABLES), variables.format, FORMAT)?;
        Ok(Self { home: CatalogHome::Folder(ledger), versions, variables })
    }

    /// Reads what a cluster's database has of the project of this name. Without a record, there are no versions.
    ///
    /// # Errors
    /// [`KeepError`]: the record is damaged, or a newer server wrote it, or the node's key does not open it.
    pub(super) fn of_record(
        home: &RecordHome,
        project: &str,
        record: Option<&ProjectRecord>,
    ) -> Result<Self, KeepError> {
        let mut versions = Versions { format: FORMAT, ..Versions::default() };
        let mut variables = Variables { format: FORMAT, ..Variables::default() };
        if let Some(record) = record {
            let what = format!("the versions of {project}");
            versions = records::read(&what, &record.versions)?;
            records::check_format(&what, versions.format, FORMAT)?;
            variables = home.opened(project, &record.variables)?;
            records::check_format(
                &format!("the variables of {project}"),
                variables.format,
                FORMAT,
            )?;
        }
        let (home, project) = (home.clone(), project.to_owned());
        let mark = record.map(|record| record.mark);
        let home = CatalogHome::Cluster(ClusterCatalog { home, project, mark });
        Ok(Self { home, versions, variables })
    }

    /// Returns which state of a cluster's records this is.
    pub(super) fn mark(&self) -> Option<RecordMark> {
        match &self.home {
            CatalogHome::Folder(_) => None,
            CatalogHome::Cluster(record) => record.mark,
        }
    }

    /// Returns true if another state of the records serves the same version with the same variables.
    pub(super) fn serves_as(&self, other: &Self) -> bool {
        self.current() == other.current() && self.variables == other.variables
    }

    /// Returns the versions that are kept, the oldest first.
    pub(super) fn versions(&self) -> &[Version] {
        &self.versions.versions
    }

    /// Returns the version that is served.
    pub(super) fn current(&self) -> Option<&Version> {
        self.version(self.versions.current?)
    }

    /// Returns the version with this number.
    pub(super) fn version(&self, number: u64) -> Option<&Version> {
        self.versions.versions.iter().find(|version| version.number == number)
    }

    /// Returns the version that was deployed before the one that is served.
    pub(super) fn before(&self) -> Option<&Version> {
        let current = self.versions.current?;
        self.versions.versions.iter().rev().find(|version| version.number < current)
    }

    /// Returns the number of the next version.
    pub(super) fn next(&self) -> u64 {
        self.versions.versions.last().map_or(1, |version| version.number + 1)
    }

    /// Records that a version is served from now on, and drops the oldest versions. In a cluster this uses `right` up.
    ///
    /// # Errors
    /// [`KeepError`]: nothing is recorded.
    pub(super) fn serve(
        &mut self,
        version: Version,
        right: Option<RecordChange>,
    ) -> Result<(), KeepError> {
        let blobs: Vec<BlobHash> = version.release.blobs().iter().map(BlobId::hash).collect();
        let mut versions = self.versions.clone();
        versions.current = Some(version.number);
        if self.version(version.number).is_none() {
            versions.versions.push(version);
        }
        let excess = versions.versions.len().saturating_sub(VERSIONS_MAX);
        let current = versions.current;
        let mut at = 0;
        versions.versions.retain(|version| {
            at += 1;
            at > excess || Some(version.number) == current
        });
        match &mut self.home {
            CatalogHome::Folder(ledger) => ledger.write(VERSIONS, &versions)?,
            CatalogHome::Cluster(record) => {
                record.write((&versions, &self.variables), right, &blobs)?;
            }
        }
        self.versions = versions;
        Ok(())
    }

    /// Returns the variables that were set on the server.
    pub(super) fn variables(&self) -> &BTreeMap<String, Variable> {
        &self.variables.variables
    }

    /// Replaces the variables, and returns the previous ones. In a cluster this uses `right` up.
    ///
    /// # Errors
    /// [`KeepError`]: the variables are unchanged.
    pub(super) fn set_variables(
        &mut self,
        variables: BTreeMap<String, Variable>,
        right: Option<RecordChange>,
    ) -> Result<BTreeMap<String, Variable>, KeepError> {
        let new = Variables { format: FORMAT, variables };
        match &mut self.home {
            CatalogHome::Folder(ledger) => ledger.write(VARIABLES, &new)?,
            CatalogHome::Cluster(record) => record.write((&self.versions, &new), right, &[])?,
        }
        Ok(std::mem::replace(&mut self.variables, new).variables)
    }
}

impl ClusterCatalog {
    /// Writes the records. Uses the right up. Blocks.
    fn write(
        &mut self,
        (versions, variables): (&Versions, &Variables),
        right: Option<RecordChange>,
        blobs: &[BlobHash],
    ) -> Result<(), KeepError> {
        // A claim has one right, and a change is one write.
        let right = right.ok_or(RecordError::Busy)?;
        let text = records::text(&format!("the versions of {}", self.project), versions)?;
        let sealed = self.home.sealed(&self.project, variables)?;
        self.mark = Some(self.home.records().block_on(right.write(&text, &sealed, blobs))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> Version {
        Version { number, created_ms: number, by: "me".into(), release: Release::default() }
    }

    #[test]
    fn versions_are_persisted_and_the_served_one_is_never_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let mut catalog = Catalog::open(dir.path(), "chat").unwrap();
        assert_eq!((catalog.next(), catalog.current(), catalog.before()), (1, None, None));
        for number in 1..=3 {
            catalog.serve(version(number), None).unwrap();
        }
        catalog.serve(version(1), None).unwrap();
        let mut catalog = Catalog::open(dir.path(), "chat").unwrap();
        assert_eq!(catalog.current(), Some(&version(1)));
        assert_eq!((catalog.next(), catalog.before(), catalog.versions().len()), (4, None, 3));
        for number in 4..=VERSIONS_MAX as u64 + 3 {
            catalog.serve(version(number), None).unwrap();
        }
        assert_eq!(catalog.versions().len(), VERSIONS_MAX);
        assert_eq!(catalog.before().unwrap().number, VERSIONS_MAX as u64 + 2);
    }

    #[test]
    fn variables_are_persisted_in_a_file_that_only_the_owner_reads() {
        let dir = tempfile::tempdir().unwrap();
        let mut catalog = Catalog::open(dir.path(), "chat").unwrap();
        let key = Variable { value: "s3cret".into(), secret: true };
        let before = catalog.set_variables([("KEY".to_owned(), key.clone())].into(), None).unwrap();
        assert!(before.is_empty());
        assert_eq!(Catalog::open(dir.path(), "chat").unwrap().variables()["KEY"], key);
        let newer = Variables { format: 9, ..Variables::default() };
        Ledger::open(dir.path(), "chat").write(VARIABLES, &newer).unwrap();
        let error = Catalog::open(dir.path(), "chat").err().unwrap().to_string();
        assert!(error.contains("env.json") && error.contains("version 9"), "{error}");
    }
}
