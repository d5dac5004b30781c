//! One project on the server: the node that serves its rooms, and its files on disk. Owns that both agree.
//!
//! Invariant: the version that is served is the one that is recorded as current, also after a crash. A change that
//! fails leaves the version before it serving. Changes run one after the other: the caller of a change holds the
//! project's [`ProjectClaim`]. It does not know which operator makes a change.

mod activate;

use super::blobs::{BlobError, Blobs};
use super::catalog::{Catalog, Variable, Version};
use super::file::FileError;
use super::folder::ProjectFolder;
use super::hosts::{HostReservation, Hosts};
use super::layout;
use super::plan::Plan;
use super::records::{KeepError, RecordHome};
use super::release::{BlobId, Release, var_problem};
use super::slots::ProjectClaim;
use crate::node::{DeployError, Deployed, Node, NodeFigures, NodePlace, NodeShare, OpenError};
use hashbrown::HashSet;
use room_core::config::{Audience, StorageConfig};
use room_core::limits::Limits;
use room_core::limits::fixed::{VARIABLE_BYTES_MAX, VARIABLES_MAX};
use room_core::lock::lock;
use room_door::Forwarder;
use room_operator::Operator;
use room_rooms::rooms::GuestHost;
use room_store::{RenameError, StoreError, blocking};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A project that is served, or that was opened to be served.
pub(super) struct Site {
    name: String,
    folder: ProjectFolder,
    blobs: Blobs,
    hosts: Hosts,
    guests: GuestHost,
    node: Node,
    /// The limits that the node runs with. Changed limits apply at the next start.
    limits: BTreeMap<String, u64>,
    /// Replaced as a whole, so that readers never wait for the disk.
    catalog: Mutex<Arc<Catalog>>,
    /// Why the current version is not served, although another node of the cluster deployed it.
    behind: Mutex<Option<String>>,
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChangedProject {
    /// The version that is served now.
    pub(super) version: u64,
    /// The number of rooms that took the version over.
    pub(super) rooms: usize,
    /// The number of connections that stayed open during the change.
    pub(super) connections: usize,
    /// Whether the release's `limits` differ from those that the project was opened with. They apply at the next start.
    pub(super) limits_wait_for_restart: bool,
}

/// Why a change failed. The project is served as before.
#[derive(Debug, thiserror::Error)]
pub(super) enum SiteError {
    #[error("another change of this project is running")]
    Busy,
    #[error("{}", .0.join("; "))]
    Wrong(Vec<String>),
    #[error("files of the release are missing, upload them first: {}", .0.len())]
    Missing(Vec<BlobId>),
    #[error("the project {0} answers to the same hosts; give each its own under [serve] hosts")]
    HostTaken(String),
    #[error("there is no version {0}")]
    NoVersion(u64),
    #[error(
        "{0} has no version: deploy it, which keeps what its rooms have stored, or delete it; if its \
         versions.json was lost, that can be put back as well"
    )]
    Unversioned(String),
    #[error("there is no version to go back to")]
    NoVersionBefore,
    #[error("there is no variable {0}")]
    NoVariable(String),
    #[error(transparent)]
    Deploy(#[from] DeployError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl SiteError {
    /// Returns true if the disk is full.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::File(error) | Self::Blob(BlobError::File(error)) => error.is_full(),
            Self::Keep(error) => error.is_full(),
            Self::Open(OpenError::Store(error))
            | Self::Deploy(
                DeployError::Store(error) | DeployError::Rename(RenameError::Store(error)),
            ) => error.is_full(),
            _ => false,
        }
    }
}

impl Site {
    /// Opens a project with these records, and serves the version that was served last.
    ///
    /// # Errors
    /// [`SiteError`]: nothing runs.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn open(
        folder: ProjectFolder,
        name: &str,
        shared: &SharedByProjects,
        catalog: Catalog,
    ) -> Result<Self, SiteError> {
        let Some(version) = catalog.current().cloned() else {
            return Err(SiteError::Unversioned(name.to_owned()));
        };
        let reserved = reserve(&shared.hosts, name, &version.release)?;
        let variables = catalog.variables().clone();
        let site = Self::with_node(folder, name, shared, (catalog, &version.release)).await?;
        if let Err(error) = site.activate(&version, variables).await {
            site.close().await;
            return Err(error);
        }
        site.answer_to(reserved, version.release.hosts);
        blocking(|| site.folder.settle());
        Ok(site)
    }

    /// Opens a project that serves nothing yet, with the limits of the release that is deployed next.
    ///
    /// # Errors
    /// [`SiteError`]: nothing runs.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn create(
        folder: ProjectFolder,
        name: &str,
        shared: &SharedByProjects,
        (catalog, release): (Catalog, &Release),
    ) -> Result<Self, SiteError> {
        Self::with_node(folder, name, shared, (catalog, release)).await
    }

    async fn with_node(
        folder: ProjectFolder,
        name: &str,
        shared: &SharedByProjects,
        (catalog, release): (Catalog, &Release),
    ) -> Result<Self, SiteError> {
        let limits = release.limits.clone();
        let values = release.limits().map_err(|problem| SiteError::Wrong(vec![problem]))?;
        let values = Limits { drain_spread_ms: shared.drain_spread_ms, ..values };
        let storage = StorageConfig::Disk(folder.path().join("rooms"));
        let (guests, forwarder) = (shared.guests.clone(), shared.forwarder.clone());
        let (own, cluster) = (name.to_owned(), shared.cluster.clone());
        let opening = move || {
            let share =
                NodeShare { project: &own, forwarder: &forwarder, cluster: cluster.as_ref() };
            Node::open(&storage, &guests, &values, Audience::Public, share)
        };
        let node = tokio::runtime::Handle::current();
        let node = tokio::task::spawn_blocking(move || {
            // A node starts its tasks on the caller's runtime.
            let _runtime = node.enter();
            opening()
        });
        let node = node.await.unwrap_or(Err(OpenError::Store(StoreError::Closed)))?;
        Ok(Self {
            name: name.to_owned(),
            folder,
            blobs: shared.blobs.clone(),
            hosts: shared.hosts.clone(),
            guests: shared.guests.clone(),
            node,
            limits,
            catalog: Mutex::new(Arc::new(catalog)),
            behind: Mutex::default(),
        })
    }

    /// Returns the operator's access to the project's rooms.
    pub(super) fn operator(&self) -> Operator {
        self.node.operator().clone()
    }

    /// Returns the metrics of the project's node in Prometheus' text format.
    pub(super) fn metrics(&self) -> String {
        self.node.metrics()
    }

    /// Returns the project's catalog as it is now.
    pub(super) fn catalog(&self) -> Arc<Catalog> {
        lock(&self.catalog).clone()
    }

    /// Returns every blob that a version of the project may need.
    pub(super) fn needs(&self) -> HashSet<BlobId> {
        self.catalog().versions().iter().flat_map(|version| version.release.blobs()).collect()
    }

    /// Returns what a deployment of this release would do. Blocks.
    ///
    /// # Errors
    /// [`SiteError::Wrong`], [`SiteError::HostTaken`].
    pub(super) fn plan(&self, release: &Release) -> Result<Plan, SiteError> {
        check(release, &self.name, &self.hosts, &self.guests)?;
        let catalog = self.catalog();
        let current = catalog.current();
        let served = current.map(|version| (version.number, &version.release));
        Ok(Plan::of(served, release, &self.blobs)?)
    }

    /// Serves a release as a new version.
    ///
    /// # Errors
    /// [`SiteError`]: the version that was served before is still served.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn deploy(
        &self,
        release: Release,
        (by, now_ms): (&str, u64),
        claim: &ProjectClaim,
    ) -> Result<ChangedProject, SiteError> {
        // The current version was checked when it was deployed. If another node deployed it and it is not served here, the
        // caller learns why.
        let is_served = |current: &&Version| current.release == release && self.behind().is_none();
        if let Some(current) = self.catalog().current().filter(is_served) {
            // Deploying the same release again makes no new version, and no room has anything to take over.
            let waits = current.release.limits != self.limits;
            return Ok(ChangedProject {
                version: current.number,
                rooms: 0,
                connections: 0,
                limits_wait_for_restart: waits,
            });
        }
        self.deploy_first(release, (by, now_ms), claim).await
    }

    /// Serves a release as the first version of the project.
    ///
    /// # Errors
    /// As [`Site::deploy`].
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn deploy_first(
        &self,
        release: Release,
        (by, now_ms): (&str, u64),
        claim: &ProjectClaim,
    ) -> Result<ChangedProject, SiteError> {
        check(&release, &self.name, &self.hosts, &self.guests)?;
        let missing = blocking(|| self.blobs.missing(release.blobs()))?;
        if !missing.is_empty() {
            return Err(SiteError::Missing(missing));
        }
        let number = self.catalog().next();
        let version = Version { number, created_ms: now_ms, by: by.to_owned(), release };
        self.serve(version, claim).await
    }

    /// Serves an earlier version again: version `to`, or the one before the current one.
    ///
    /// # Errors
    /// [`SiteError`]: the version that was served before is still served.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn roll_back(
        &self,
        to: Option<u64>,
        claim: &ProjectClaim,
    ) -> Result<ChangedProject, SiteError> {
        let catalog = self.catalog();
        let version = match to {
            Some(number) => catalog.version(number).ok_or(SiteError::NoVersion(number))?,
            None => catalog.before().ok_or(SiteError::NoVersionBefore)?,
        };
        check(&version.release, &self.name, &self.hosts, &self.guests)?;
        self.serve(version.clone(), claim).await
    }

    /// Activates a version, records it as current, and then lets clients in by its hosts. In this order no client
    /// stores anything in a project whose first version is not recorded.
    async fn serve(
        &self,
        version: Version,
        claim: &ProjectClaim,
    ) -> Result<ChangedProject, SiteError> {
        let reserved = reserve(&self.hosts, &self.name, &version.release)?;
        let catalog = self.catalog();
        let variables = catalog.variables().clone();
        let done = self.activate(&version, variables.clone()).await?;
        let (number, limits) = (version.number, version.release.limits.clone());
        let hosts = version.release.hosts.clone();
        if let Err(error) = self.note(|catalog| catalog.serve(version, claim.right())) {
            // After a crash the server would serve the version before, so it is activated again now.
            if let Some(before) = catalog.current() {
                self.activate(before, variables).await?;
            }
            return Err(error.into());
        }
        self.answer_to(reserved, hosts);
        blocking(|| {
            self.folder.settle();
            layout::forget(&self.assets_dir(), number);
        });
        Ok(ChangedProject {
            version: number,
            rooms: done.rooms,
            connections: done.connections,
            limits_wait_for_restart: limits != self.limits,
        })
    }

    /// Sets or removes a variable, and restarts the rooms with it.
    ///
    /// # Errors
    /// [`SiteError`]: the variables are unchanged.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn set_variable(
        &self,
        name: &str,
        to: Option<Variable>,
        claim: &ProjectClaim,
    ) -> Result<Option<Deployed>, SiteError> {
        let catalog = self.catalog();
        let before = catalog.variables();
        let variables = changed(before, name, to)?;
        let done = match catalog.current() {
            Some(current) => Some(self.activate(current, variables.clone()).await?),
            None => None,
        };
        let noted = self.note(|catalog| catalog.set_variables(variables, claim.right()));
        if let Err(error) = noted {
            if let Some(current) = catalog.current() {
                self.activate(current, before.clone()).await?;
            }
            return Err(error.into());
        }
        Ok(done)
    }

    /// Serves what another node of the cluster has recorded. Running rooms take it over, and sockets stay.
    ///
    /// # Errors
    /// [`SiteError`]: these records are the project's, and what was served before is still served. The caller tries again.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn follow(&self, catalog: Catalog) -> Result<(), SiteError> {
        let before = self.catalog();
        let is_same = self.behind().is_none() && before.serves_as(&catalog);
        *lock(&self.catalog) = Arc::new(catalog);
        if is_same {
            return Ok(());
        }
        let followed = self.follow_current().await;
        *lock(&self.behind) = followed.as_ref().err().map(ToString::to_string);
        followed
    }

    async fn follow_current(&self) -> Result<(), SiteError> {
        let catalog = self.catalog();
        let current = catalog.current().ok_or_else(|| SiteError::Unversioned(self.name.clone()))?;
        let reserved = reserve(&self.hosts, &self.name, &current.release)?;
        let done = self.activate(current, catalog.variables().clone()).await?;
        self.answer_to(reserved, current.release.hosts.clone());
        blocking(|| layout::forget(&self.assets_dir(), current.number));
        let (version, rooms) = (current.number, done.rooms);
        tracing::info!(project = self.name, version, rooms, "follows another node's deployment");
        Ok(())
    }

    /// Returns why the current version is not served; `None` if it is.
    pub(super) fn behind(&self) -> Option<String> {
        lock(&self.behind).clone()
    }

    /// Changes the catalog and its records. They are written away from the threads that run rooms.
    fn note<T>(
        &self,
        change: impl FnOnce(&mut Catalog) -> Result<T, KeepError>,
    ) -> Result<T, KeepError> {
        let mut new = Catalog::clone(&self.catalog());
        let done = blocking(|| change(&mut new))?;
        *lock(&self.catalog) = Arc::new(new);
        *lock(&self.behind) = None;
        Ok(done)
    }

    /// Lets clients in by these hosts, and by no others.
    fn answer_to(&self, reserved: HostReservation, hosts: Vec<String>) {
        self.hosts.put(&self.name, hosts, self.node.client_routes());
        drop(reserved);
    }

    fn assets_dir(&self) -> PathBuf {
        self.folder.path().join("assets")
    }

    /// Returns how many rooms and clients the project has on this node.
    pub(super) fn figures(&self) -> NodeFigures {
        self.node.figures()
    }

    /// Stops serving. The data on disk stays.
    ///
    /// # Cancel safety
    /// As [`Node::drain`].
    pub(super) async fn close(&self) {
        self.hosts.remove(&self.name);
        self.node.drain(async {}).await;
    }
}

/// Returns the variables with one of them set or removed.
fn changed(
    before: &BTreeMap<String, Variable>,
    name: &str,
    to: Option<Variable>,
) -> Result<BTreeMap<String, Variable>, SiteError> {
    let problem = var_problem(name).map(str::to_owned).or_else(|| {
        let too_long = to.as_ref().is_some_and(|to| to.value.len() > VARIABLE_BYTES_MAX);
        too_long.then(|| format!("has a value of more than {VARIABLE_BYTES_MAX} bytes"))
    });
    if let Some(problem) = problem {
        return Err(SiteError::Wrong(vec![format!("the variable {name:?} {problem}")]));
    }
    let mut variables = before.clone();
    match to {
        Some(to) => drop(variables.insert(name.to_owned(), to)),
        None if variables.remove(name).is_none() => {
            return Err(SiteError::NoVariable(name.to_owned()));
        }
        None => {}
    }
    if variables.len() > VARIABLES_MAX {
        let problem = format!("there are more than {VARIABLES_MAX} variables");
        return Err(SiteError::Wrong(vec![problem]));
    }
    Ok(variables)
}

fn reserve(hosts: &Hosts, project: &str, release: &Release) -> Result<HostReservation, SiteError> {
    hosts.reserve(project, &release.hosts).map_err(SiteError::HostTaken)
}

/// What all projects of a server share. Cheap to clone.
#[derive(Clone)]
pub(super) struct SharedByProjects {
    pub(super) blobs: Blobs,
    pub(super) hosts: Hosts,
    /// The engine that runs the projects' guests.
    pub(super) guests: GuestHost,
    /// The way to the rooms of other nodes.
    pub(super) forwarder: Forwarder,
    /// The database for the stores of a cluster's projects.
    pub(super) cluster: Option<NodePlace>,
    /// In a cluster, its records.
    pub(super) records: Option<RecordHome>,
    /// The time over which sockets are closed when the server stops. The person who starts the server chooses it, so a
    /// project's own value is ignored.
    pub(super) drain_spread_ms: u64,
}

/// Checks a release, and refuses one that cannot be served.
pub(super) fn check(
    release: &Release,
    project: &str,
    hosts: &Hosts,
    guests: &GuestHost,
) -> Result<(), SiteError> {
    let mut problems = release.problems();
    if problems.is_empty() {
        let misfit = release.limits().ok().and_then(|limits| guests.fitting(&limits).err());
        problems.extend(misfit.map(|misfit| misfit.to_string()));
    }
    if !problems.is_empty() {
        return Err(SiteError::Wrong(problems));
    }
    hosts.taken(project, &release.hosts).map_or(Ok(()), |other| Err(SiteError::HostTaken(other)))
}
