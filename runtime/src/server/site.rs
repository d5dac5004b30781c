//! One project on the server: what serves its rooms, and what is known of it on disk. Owns that both agree.
//!
//! Invariant: the version that is served is the one that is noted as current, also after a crash; a change
//! that failed leaves the version before it serving. It does not know who asks.

use super::blobs::Blobs;
use super::catalog::{Catalog, Variable, Version};
use super::file::{self, FileError};
use super::hosts::Hosts;
use super::plan::{Plan, missing};
use super::release::{BlobId, Release, var_problem};
use crate::config::{Audience, PartyConfig, Project, StorageConfig, WhenQuiet};
use crate::door::Routes;
use crate::limits::Limits;
use crate::node::{DeployError, Deployed, Node, OpenError};
use crate::rooms::GuestHost;
use crate::store::StoreError;
use hashbrown::HashSet;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as Turn, MutexGuard as MyTurn};

/// Most variables of a project.
const VARIABLES_MAX: usize = 1_000;
/// Longest value of a variable, in bytes.
const VARIABLE_BYTES_MAX: usize = 64 * 1024;

/// A project that is served, or was opened to be.
pub(super) struct Site {
    name: String,
    dir: PathBuf,
    blobs: Blobs,
    hosts: Hosts,
    node: Node,
    /// The limits that the node runs with; others apply at the next start.
    limits: BTreeMap<String, u64>,
    catalog: Mutex<Catalog>,
    /// One change at a time.
    changing: Turn<()>,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Changed {
    /// The version that is served now.
    pub(super) version: u64,
    /// Rooms that took it over.
    pub(super) rooms: usize,
    /// Connections that stayed open meanwhile.
    pub(super) connections: usize,
    /// Whether `limits` differ from those that the project was opened with: they apply at the next start.
    pub(super) limits_wait_for_restart: bool,
}

/// Why a project is served as before.
#[derive(Debug, thiserror::Error)]
pub(super) enum SiteError {
    #[error("another change of this project is under way")]
    Busy,
    #[error("{}", .0.join("; "))]
    Wrong(Vec<String>),
    #[error("what it needs is not all there, upload it first: {}", .0.len())]
    Missing(Vec<BlobId>),
    #[error("the project {0} answers to the same hosts; give each its own under [serve] hosts")]
    HostTaken(String),
    #[error("there is no version {0}")]
    NoVersion(u64),
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
}

impl SiteError {
    /// True if the disk has no space.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::File(error) => error.is_full(),
            Self::Open(OpenError::Store(error)) | Self::Deploy(DeployError::Store(error)) => {
                error.is_full()
            }
            _ => false,
        }
    }
}

impl Site {
    /// Opens a project's folder, which is made if it is not there, and serves what was served last.
    /// `release` is what is about to be deployed, if the folder is new.
    ///
    /// # Errors
    /// [`SiteError`]: nothing runs.
    pub(super) async fn open(
        name: &str,
        dir: PathBuf,
        shared: &Shared,
        release: Option<&Release>,
    ) -> Result<Self, SiteError> {
        fs::create_dir_all(&dir).map_err(|error| FileError::new(&dir, error))?;
        let catalog = Catalog::open(&dir)?;
        let release = catalog.current().map(|version| &version.release).or(release);
        let limits = release.map(|release| release.limits.clone()).unwrap_or_default();
        let values = release.map_or_else(|| Ok(Limits::default()), Release::limits);
        let values = values.map_err(|problem| SiteError::Wrong(vec![problem]))?;
        let values = Limits { drain_spread_ms: shared.drain_spread_ms, ..values };
        let storage = StorageConfig::Disk(dir.join("rooms"));
        let (guests, own) = (shared.guests.clone(), name.to_owned());
        let opening = move || Node::open(&storage, &guests, &values, Audience::Public, &own);
        let node = tokio::runtime::Handle::current();
        let node = tokio::task::spawn_blocking(move || {
            // What a node starts runs on the same threads as everything.
            let _runtime = node.enter();
            opening()
        });
        let node = node.await.unwrap_or(Err(OpenError::Store(StoreError::Closed)))?;
        let site = Self {
            name: name.to_owned(),
            dir,
            blobs: shared.blobs.clone(),
            hosts: shared.hosts.clone(),
            node,
            limits,
            catalog: Mutex::new(catalog),
            changing: Turn::default(),
        };
        let current = site.catalog().current().cloned();
        let variables = site.catalog().variables().clone();
        if let Some(version) = current {
            site.activate(&version, variables).await?;
        }
        Ok(site)
    }

    /// Every route of its node, for the operator.
    pub(super) fn router(&self) -> Routes {
        self.node.router()
    }

    /// What its node counts, in Prometheus' text format.
    pub(super) fn metrics(&self) -> String {
        self.node.metrics()
    }

    /// What an operator has to show to its node.
    pub(super) fn node_token(&self) -> String {
        self.node.admin_token().secret().to_owned()
    }

    /// The versions that are kept, and the number of the one that is served.
    pub(super) fn versions(&self) -> (Vec<Version>, Option<u64>) {
        let catalog = self.catalog();
        (catalog.versions().to_vec(), catalog.current().map(|version| version.number))
    }

    /// Everything that a version may need.
    pub(super) fn needs(&self) -> HashSet<BlobId> {
        self.catalog().versions().iter().flat_map(|version| version.release.blobs()).collect()
    }

    /// What a deployment of this release would do.
    ///
    /// # Errors
    /// [`SiteError::Wrong`], [`SiteError::HostTaken`].
    pub(super) fn plan(&self, release: &Release) -> Result<Plan, SiteError> {
        check(release, &self.name, &self.hosts)?;
        let catalog = self.catalog();
        let current = catalog.current();
        let served = current.map(|version| (version.number, &version.release));
        Ok(Plan::of(served, release, &self.blobs))
    }

    /// Serves a release as a new version.
    ///
    /// # Errors
    /// [`SiteError`]: what was served before goes on.
    ///
    /// # Cancel safety
    /// Not to be dropped before it returns.
    pub(super) async fn deploy(
        &self,
        release: Release,
        by: &str,
        now_ms: u64,
    ) -> Result<Changed, SiteError> {
        let _turn = self.turn()?;
        check(&release, &self.name, &self.hosts)?;
        if let Some(current) = self.catalog().current().filter(|current| current.release == release)
        {
            // The same again is no new version, and no room has anything to take over.
            let waits = current.release.limits != self.limits;
            return Ok(Changed {
                version: current.number,
                rooms: 0,
                connections: 0,
                limits_wait_for_restart: waits,
            });
        }
        let missing = missing(&release, &self.blobs);
        if !missing.is_empty() {
            return Err(SiteError::Missing(missing));
        }
        let number = self.catalog().next();
        let version = Version { number, created_ms: now_ms, by: by.to_owned(), release };
        self.serve(version).await
    }

    /// Serves a version that was deployed before: this one, or the one before the current one.
    ///
    /// # Errors
    /// [`SiteError`]: what was served before goes on.
    ///
    /// # Cancel safety
    /// Not to be dropped before it returns.
    pub(super) async fn roll_back(&self, to: Option<u64>) -> Result<Changed, SiteError> {
        let _turn = self.turn()?;
        let version = {
            let catalog = self.catalog();
            match to {
                Some(number) => {
                    catalog.version(number).cloned().ok_or(SiteError::NoVersion(number))
                }
                None => catalog.before().cloned().ok_or(SiteError::NoVersionBefore),
            }?
        };
        check(&version.release, &self.name, &self.hosts)?;
        self.serve(version).await
    }

    /// Puts a version in place of the current one, and notes it.
    async fn serve(&self, version: Version) -> Result<Changed, SiteError> {
        let before = self.catalog().current().cloned();
        let variables = self.catalog().variables().clone();
        let done = self.activate(&version, variables.clone()).await?;
        let (number, limits) = (version.number, version.release.limits.clone());
        let noted = self.catalog().serve(version);
        if let Err(error) = noted {
            // A crash would bring the version before back, so it is brought back now.
            if let Some(before) = before {
                self.activate(&before, variables).await?;
            } else {
                self.hosts.remove(&self.name);
            }
            return Err(error.into());
        }
        self.forget_assets(number);
        Ok(Changed {
            version: number,
            rooms: done.rooms,
            connections: done.connections,
            limits_wait_for_restart: limits != self.limits,
        })
    }

    /// The variables that were set, without the values of secrets.
    pub(super) fn variables(&self) -> BTreeMap<String, Variable> {
        let mut variables = self.catalog().variables().clone();
        for variable in variables.values_mut().filter(|variable| variable.secret) {
            variable.value.clear();
        }
        variables
    }

    /// Sets a variable, or removes it, and lets the rooms start anew with it.
    ///
    /// # Errors
    /// [`SiteError`]: the variables are what they were.
    ///
    /// # Cancel safety
    /// Not to be dropped before it returns.
    pub(super) async fn set_variable(
        &self,
        name: &str,
        to: Option<Variable>,
    ) -> Result<Option<Deployed>, SiteError> {
        let _turn = self.turn()?;
        let problem = var_problem(name).map(str::to_owned).or_else(|| {
            let too_long = to.as_ref().is_some_and(|to| to.value.len() > VARIABLE_BYTES_MAX);
            too_long.then(|| format!("has a value of more than {VARIABLE_BYTES_MAX} bytes"))
        });
        if let Some(problem) = problem {
            return Err(SiteError::Wrong(vec![format!("the variable {name:?} {problem}")]));
        }
        let mut variables = self.catalog().variables().clone();
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
        let current = self.catalog().current().cloned();
        let done = match &current {
            Some(current) => Some(self.activate(current, variables.clone()).await?),
            None => None,
        };
        let saved = self.catalog().set_variables(variables);
        if let Err(error) = saved {
            let before = self.catalog().variables().clone();
            if let Some(current) = &current {
                self.activate(current, before).await?;
            }
            return Err(error.into());
        }
        Ok(done)
    }

    /// Puts a version in place of what runs.
    async fn activate(
        &self,
        version: &Version,
        variables: BTreeMap<String, Variable>,
    ) -> Result<Deployed, SiteError> {
        let release = &version.release;
        let assets = self.lay_out(version)?;
        let mut vars = release.vars.clone();
        vars.extend(variables.into_iter().map(|(name, variable)| (name, variable.value)));
        let vars: Vec<_> = vars.into_iter().collect();
        let mut parties = Vec::with_capacity(release.parties.len());
        for party in &release.parties {
            parties.push(PartyConfig {
                name: party.name.clone(),
                module: self.blobs.read(party.module)?.into(),
                vars: vars.clone(),
                when_quiet: if party.hibernate { WhenQuiet::Hibernate } else { WhenQuiet::Stay },
                auto_response: party.auto_response.clone(),
                ttl: party.ttl,
            });
        }
        let done =
            self.node.deploy(Project { parties, assets, origins: release.origins.clone() }).await?;
        self.hosts.put(&self.name, release.hosts.clone(), self.node.router());
        Ok(done)
    }

    /// Lays out the static files of a version in a folder of its own, unless they are there. The folder;
    /// none if it has no files.
    fn lay_out(&self, version: &Version) -> Result<Option<PathBuf>, SiteError> {
        if version.release.assets.is_empty() {
            return Ok(None);
        }
        let dir = self.assets_dir().join(version.number.to_string());
        if dir.is_dir() {
            return Ok(Some(dir));
        }
        let new = dir.with_extension("new");
        let laid_out = || {
            match fs::remove_dir_all(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::create_dir_all(&new)?;
            for asset in &version.release.assets {
                let path = new.join(&asset.path);
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                let blob = self.blobs.path(asset.blob);
                // The same file under another name; where that is not possible, a copy.
                fs::hard_link(&blob, &path).or_else(|_| fs::copy(&blob, &path).map(drop))?;
            }
            fs::rename(&new, &dir)?;
            file::sync_folder(&self.assets_dir())
        };
        laid_out().map_err(|error| FileError::new(&dir, error))?;
        Ok(Some(dir))
    }

    /// Removes the static files of all versions but one: they can be laid out again.
    fn forget_assets(&self, but: u64) {
        let but = but.to_string();
        let entries = fs::read_dir(self.assets_dir()).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name() != but.as_str()) {
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "old files stay");
            }
        }
    }

    fn assets_dir(&self) -> PathBuf {
        self.dir.join("assets")
    }

    fn turn(&self) -> Result<MyTurn<'_, ()>, SiteError> {
        self.changing.try_lock().map_err(|_| SiteError::Busy)
    }

    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        // It is changed by moves that cannot panic, so what a panicking holder left is whole.
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops serving; what is on disk stays.
    ///
    /// # Cancel safety
    /// As [`Node::drain`].
    pub(super) async fn close(&self) {
        self.hosts.remove(&self.name);
        self.node.drain(async {}).await;
    }
}

/// What all projects of a server share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) blobs: Blobs,
    pub(super) hosts: Hosts,
    /// What runs their guests.
    pub(super) guests: GuestHost,
    /// Over how long sockets are closed when the server stops, whatever a project asks for: it is for whoever
    /// starts next.
    pub(super) drain_spread_ms: u64,
}

/// Refuses a release that cannot be served.
pub(super) fn check(release: &Release, project: &str, hosts: &Hosts) -> Result<(), SiteError> {
    let problems = release.problems();
    if !problems.is_empty() {
        return Err(SiteError::Wrong(problems));
    }
    hosts.taken(project, &release.hosts).map_or(Ok(()), |other| Err(SiteError::HostTaken(other)))
}

/// Removes everything that is on disk of a project that is not served.
pub(super) fn remove(dir: &Path) -> Result<(), FileError> {
    let gone = dir.with_extension("gone");
    // One move takes it off the list; what is slow comes after that.
    let removed = fs::rename(dir, &gone).and_then(|()| fs::remove_dir_all(&gone));
    removed.map_err(|error| FileError::new(dir, error))
}
