//! Operations on whole projects: opening all, the first deployment, deletion. Owns the order of their steps.
//!
//! Invariant: a first deployment that fails leaves nothing behind. A deletion that has started is finished by the next
//! start at the latest. While a project is being opened, only a change of the same project waits. It does not know how
//! a project is served.

use super::ServerCore;
use super::catalog::Catalog;
use super::failure::ApiError;
use super::file::FileError;
use super::folder::{FolderCreation, FoundProject, GONE, ProjectFolder, remove_all};
use super::records::{KeepError, RecordHome};
use super::release::Release;
use super::site::{self, ChangedProject, Site, SiteError};
use super::slots::{Changer, ClaimError, ProjectClaim, SlotState};
use room_core::limits::fixed::PROJECTS_MAX;
use room_core::limits::{ms, size};
use room_database::{ProjectRecord, RecordState};
use room_store::blocking;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

impl ServerCore {
    /// Opens every project, of the data folder or of the cluster. Removes the remains of deletions and of first deployments
    /// that the last run did not finish.
    ///
    /// # Errors
    /// [`KeepError`]: the projects cannot be listed.
    pub(super) async fn open_all(&self) -> Result<(), KeepError> {
        let together = size(self.0.limits.projects_opening_max);
        let mut opening = JoinSet::new();
        for name in self.names().await? {
            if opening.len() >= together {
                // A task that panicked has been logged, and its project is not served.
                drop(opening.join_next().await);
            }
            let core = self.clone();
            opening.spawn(async move { core.open_one(name).await });
        }
        while opening.join_next().await.is_some() {}
        Ok(())
    }

    /// Returns the names of all projects.
    async fn names(&self) -> Result<Vec<String>, KeepError> {
        let Some(home) = self.records() else {
            return Ok(blocking(|| names(&self.projects_dir()))?);
        };
        let kept = home.records().projects().await?;
        let kept: Vec<String> = kept.into_iter().map(|(name, ..)| name).collect();
        let dir = self.projects_dir();
        let made = blocking(|| fs::create_dir_all(&dir));
        made.map_err(|error| FileError::new(&dir, error))?;
        let cached = blocking(|| names(&dir))?;
        // The folder of a cluster's project is a cache.
        for name in cached.into_iter().filter(|name| !kept.contains(name)) {
            blocking(|| ProjectFolder::of(&self.projects_dir(), &name).remove())?;
        }
        Ok(kept)
    }

    /// Opens a project, or removes it if its deletion or its first deployment was not finished.
    async fn open_one(&self, name: String) {
        self.0
            .slots
            .insert(name.clone(), SlotState::Broken("it panicked while it was opened".to_owned()));
        let held = match self.opened(&name).await {
            Ok(SlotState::Nothing) => return self.0.slots.remove(&name),
            Ok(held) => held,
            Err(error) => SlotState::Broken(error.to_string()),
        };
        if let SlotState::Broken(why) = &held {
            tracing::error!(project = name, why, "the project cannot be served");
        }
        self.0.slots.insert(name, held);
    }

    async fn opened(&self, name: &str) -> Result<SlotState, SiteError> {
        let folder = ProjectFolder::of(&self.projects_dir(), name);
        let catalog = match self.records() {
            None => match blocking(|| finish(&folder))? {
                FoundProject::Remains => return Ok(SlotState::Nothing),
                FoundProject::Project => blocking(|| Catalog::open(folder.path(), name))?,
            },
            Some(home) => match home.records().project(name).await.map_err(KeepError::from)? {
                None => return Ok(SlotState::Nothing),
                Some(record) if record.state == RecordState::Deleted => {
                    home.records()
                        .purge(name, record.mark.project)
                        .await
                        .map_err(KeepError::from)?;
                    return Ok(SlotState::Nothing);
                }
                Some(record) => Catalog::of_record(home, name, Some(&record))?,
            },
        };
        self.open_site(name, catalog).await
    }

    async fn open_site(&self, name: &str, catalog: Catalog) -> Result<SlotState, SiteError> {
        let folder = ProjectFolder::of(&self.projects_dir(), name);
        if self.records().is_some() {
            blocking(|| folder.cache())?;
        }
        let site = Site::open(folder, name, &self.0.shared, catalog).await?;
        Ok(SlotState::Open(Arc::new(site)))
    }

    /// Brings a claimed project to the state of a cluster's records. What it was before is served if it does not get there.
    ///
    /// # Errors
    /// [`SiteError`].
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn catch_up(
        &self,
        (claim, home): (&ProjectClaim, &RecordHome),
        name: &str,
        record: Option<&ProjectRecord>,
    ) -> Result<(), SiteError> {
        let record = record.filter(|record| record.state == RecordState::Served);
        let held = claim.held();
        let Some(record) = record else {
            // Another node deleted it.
            claim.put(SlotState::Nothing);
            if let SlotState::Open(site) = held {
                site.close().await;
                blocking(|| ProjectFolder::of(&self.projects_dir(), name).remove())?;
            }
            return Ok(());
        };
        if let SlotState::Open(site) = &held {
            let mark = site.catalog().mark();
            if mark == Some(record.mark) && site.behind().is_none() {
                return Ok(());
            }
            if mark.is_some_and(|mark| mark.project == record.mark.project) {
                return site.follow(Catalog::of_record(home, name, Some(record))?).await;
            }
            // It was deleted and deployed again: these are other rooms.
            claim.put(SlotState::Nothing);
            site.close().await;
        }
        let opened = match Catalog::of_record(home, name, Some(record)) {
            Ok(catalog) => self.open_site(name, catalog).await,
            Err(error) => Err(error.into()),
        };
        let (held, caught_up) = match opened {
            Ok(held) => (held, Ok(())),
            Err(error) => (SlotState::Broken(error.to_string()), Err(error)),
        };
        claim.put(held);
        caught_up
    }

    /// Returns the records of the cluster, if this is a node of one.
    pub(super) fn records(&self) -> Option<&RecordHome> {
        self.0.shared.records.as_ref()
    }

    /// Returns the project of this name.
    ///
    /// # Errors
    /// [`ApiError`]: it does not exist, or is not served.
    pub(super) fn found(&self, project: &str) -> Result<Arc<Site>, ApiError> {
        match self.0.slots.get(project) {
            SlotState::Open(site) => Ok(site),
            SlotState::Broken(why) => Err(ApiError::Broken(why)),
            SlotState::Nothing => Err(ApiError::NoProject(project.to_owned())),
        }
    }

    /// Returns the project of this name, and the right to change it.
    ///
    /// # Errors
    /// As [`ServerCore::found`], or another change is under way.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn claimed(
        &self,
        project: &str,
    ) -> Result<(ProjectClaim, Arc<Site>), ApiError> {
        let claim = self.claim(project, usize::MAX).await?;
        Ok((claim, self.found(project)?))
    }

    /// Takes the right to change a project, in a cluster on all nodes, and brings it to the state of the records.
    async fn claim(&self, project: &str, max: usize) -> Result<ProjectClaim, ApiError> {
        let patience = ms(self.0.limits.project_claim_ms_max);
        let claimed = tokio::time::timeout(patience, self.0.slots.claim_soon(project, max)).await;
        let busy = ClaimError::Busy(Changer::Follower);
        let claim = claimed.unwrap_or(Err(busy)).map_err(|error| match error {
            ClaimError::Busy(_) => ApiError::from(SiteError::Busy),
            ClaimError::Full => {
                let problem = format!("there are {PROJECTS_MAX} projects already");
                SiteError::Wrong(vec![problem]).into()
            }
        })?;
        let Some(home) = self.records() else { return Ok(claim) };
        let right = home.records().begin(project).await.map_err(KeepError::from)?;
        let caught_up = self.catch_up((&claim, home), project, right.found()).await;
        if let Err(error) = caught_up {
            // The change may be what repairs it. It starts from the newest records in any case.
            tracing::warn!(project, %error, "the newest version is not served here");
        }
        claim.hold(right);
        Ok(claim)
    }

    /// Serves a release as a new version of a project, and creates the project if it does not exist. A project that
    /// could not be served is opened again, in case the release supplies what it lacked.
    ///
    /// # Errors
    /// [`ApiError`]: the version before is still served. If there was no project, none is created.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn deploy(
        &self,
        project: &str,
        release: Release,
        by: &str,
    ) -> Result<ChangedProject, ApiError> {
        let claim = self.claim(project, PROJECTS_MAX).await?;
        let now_ms = self.0.clock.wall_ms();
        let done = match claim.held() {
            SlotState::Open(site) => {
                site.deploy(release, (by, now_ms), &claim).await.map_err(ApiError::from)
            }
            SlotState::Nothing | SlotState::Broken(_) => {
                self.deploy_first(project, release, (by, now_ms), &claim).await
            }
        };
        if done.is_ok() {
            self.collect(&claim);
            blocking(|| self.0.compiled.note());
        }
        claim.end().await;
        done
    }

    /// Serves a release for a project that serves nothing.
    async fn deploy_first(
        &self,
        project: &str,
        release: Release,
        by: (&str, u64),
        claim: &ProjectClaim,
    ) -> Result<ChangedProject, ApiError> {
        let shared = &self.0.shared;
        site::check(&release, project, &shared.hosts, &shared.guests)?;
        let folder = ProjectFolder::of(&self.projects_dir(), project);
        let (made, catalog) = self.first_catalog(project, &folder, claim).await?;
        let served = async {
            let site = Site::create(folder.clone(), project, shared, (catalog, &release)).await?;
            match site.deploy_first(release, by, claim).await {
                Ok(done) => Ok((Arc::new(site), done)),
                Err(error) => {
                    site.close().await;
                    Err(error)
                }
            }
        };
        match served.await {
            Ok((site, done)) => {
                claim.put(SlotState::Open(site));
                Ok(done)
            }
            Err(error) => {
                if made == FolderCreation::Now {
                    self.undo_first(project, &folder).await;
                }
                Err(error.into())
            }
        }
    }

    /// Makes the folder of a project that serves nothing, and returns its records.
    async fn first_catalog(
        &self,
        project: &str,
        folder: &ProjectFolder,
        claim: &ProjectClaim,
    ) -> Result<(FolderCreation, Catalog), ApiError> {
        let Some(home) = self.records() else {
            let made = blocking(|| folder.make())?;
            return Ok((made, blocking(|| Catalog::open(folder.path(), project))?));
        };
        let right = claim.right();
        let found = right.as_ref().and_then(|right| right.found());
        if found.is_some_and(|record| record.state == RecordState::Deleted) {
            return Err(ApiError::Deleted(project.to_owned()));
        }
        let made = if found.is_some() { FolderCreation::Before } else { FolderCreation::Now };
        let catalog = Catalog::of_record(home, project, found)?;
        blocking(|| folder.cache())?;
        if let Some(right) = right {
            claim.hold(right);
        }
        Ok((made, catalog))
    }

    /// Removes what a first deployment that failed has left.
    async fn undo_first(&self, project: &str, folder: &ProjectFolder) {
        if let Err(error) = blocking(|| folder.remove()) {
            tracing::error!(%error, "what a failed deployment left is removed at the next start");
        }
        if let Some(home) = self.records()
            && let Err(error) = home.records().forget(project).await
        {
            tracing::error!(%error, "what a failed deployment left in the database stays for the next one");
        }
    }

    /// Stops serving a project, and removes all its files from disk.
    ///
    /// # Errors
    /// [`ApiError`]: if its deletion could not be recorded, the project is served as before. If it was recorded, the
    /// project is not served any more, and another deletion or the next start removes the remaining files.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn delete(&self, project: &str) -> Result<(), ApiError> {
        let claim = self.claim(project, usize::MAX).await?;
        let (held, folder) = (claim.held(), ProjectFolder::of(&self.projects_dir(), project));
        let mut number = 0;
        match self.records() {
            None if matches!(held, SlotState::Nothing) => {
                return Err(ApiError::NoProject(project.to_owned()));
            }
            None => blocking(|| folder.begin_deletion())?,
            Some(_) => number = delete_record(project, &claim).await?,
        }
        claim.put(SlotState::Nothing);
        if let SlotState::Open(site) = held {
            site.close().await;
        }
        if let Some(home) = self.records() {
            let purged = home.records().purge(project, number).await;
            purged.map_err(|error| ApiError::HalfDeleted(project.to_owned(), error))?;
        }
        blocking(|| folder.remove()).map_err(|error| {
            claim.put(SlotState::Broken(format!(
                "it is deleted, but for what cannot be removed: {error}"
            )));
            error.into()
        })
    }

    /// Removes the blobs that no version of any project needs.
    fn collect(&self, claim: &ProjectClaim) {
        let all = self.0.slots.all();
        // The needs of a project that is not open, or that is being changed, are unknown.
        if !claim.is_alone() || all.iter().any(|(_, site)| site.is_err()) {
            return;
        }
        let needed = all.iter().filter_map(|(_, site)| site.as_ref().ok());
        let needed = needed.flat_map(|site| site.needs()).collect();
        if let Err(error) = blocking(|| self.0.shared.blobs.collect(&needed)) {
            tracing::warn!(%error, "old blobs stay");
        }
    }

    /// Returns the folder of all projects. A cluster's are not where the data of a server without a cluster is.
    fn projects_dir(&self) -> PathBuf {
        let name = if self.records().is_some() { "cluster" } else { "projects" };
        self.0.data.join(name)
    }
}

/// Records in the cluster's database that the deletion of a claimed project has begun. Returns the project's number.
async fn delete_record(project: &str, claim: &ProjectClaim) -> Result<i64, ApiError> {
    let right = claim.right().ok_or(SiteError::Busy)?;
    let Some(record) = right.found() else { return Err(ApiError::NoProject(project.to_owned())) };
    let (number, state) = (record.mark.project, record.state);
    match state {
        RecordState::Served => right.delete().await.map_err(KeepError::from)?,
        // It has begun already, and goes on.
        RecordState::Deleted => right.leave().await,
    }
    Ok(number)
}

/// Returns the names of the projects on disk. Remains of deleted projects are removed.
fn names(projects: &Path) -> Result<Vec<String>, FileError> {
    let listed = || {
        let mut names = Vec::new();
        for entry in fs::read_dir(projects)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if Path::new(&name).extension().is_some_and(|end| end == GONE) {
                if let Err(error) = remove_all(&entry.path()) {
                    tracing::warn!(%error, "{} stays", entry.path().display());
                }
            } else if entry.file_type()?.is_dir() {
                names.push(name);
            }
        }
        // Sorted, so that the same project wins at each start if two claim one host.
        names.sort();
        Ok(names)
    };
    listed().map_err(|error| FileError::new(projects, error))
}

/// Removes a folder whose deletion or first deployment was not finished before this start.
fn finish(folder: &ProjectFolder) -> Result<FoundProject, FileError> {
    let found = folder.look()?;
    if found == FoundProject::Remains {
        folder.remove()?;
        tracing::info!("{} is removed: it was begun before this start", folder.path().display());
    }
    Ok(found)
}
