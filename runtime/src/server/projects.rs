//! Operations on whole projects: opening all, the first deployment, deletion. Owns the order of their steps.
//!
//! Invariant: a first deployment that fails leaves nothing behind. A deletion that has started is finished by the next
//! start at the latest. While a project is being opened, only a change of the same project waits. It does not know how
//! a project is served.

use super::ServerCore;
use super::failure::ApiError;
use super::file::FileError;
use super::folder::{FolderCreation, FoundProject, GONE, ProjectFolder, remove_all};
use super::release::Release;
use super::site::{self, ChangedProject, Site, SiteError};
use super::slots::{ClaimError, ProjectClaim, SlotState};
use room_core::limits::fixed::PROJECTS_MAX;
use room_core::limits::size;
use room_store::blocking;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

impl ServerCore {
    /// Opens every project on disk. Removes the remains of deletions and of first deployments that the last run did not
    /// finish.
    ///
    /// # Errors
    /// [`FileError`]: the folder of all projects cannot be read.
    pub(super) async fn open_all(&self) -> Result<(), FileError> {
        let together = size(self.0.limits.projects_opening_max);
        let mut opening = JoinSet::new();
        for name in blocking(|| names(&self.projects_dir()))? {
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

    /// Opens a project on disk, or removes it if its deletion or its first deployment was not finished.
    async fn open_one(&self, name: String) {
        self.0
            .slots
            .insert(name.clone(), SlotState::Broken("it panicked while it was opened".to_owned()));
        let folder = ProjectFolder::of(&self.projects_dir(), &name);
        let held = match blocking(|| finish(&folder)) {
            Ok(FoundProject::Remains) => return self.0.slots.remove(&name),
            Ok(FoundProject::Project) => match Site::open(folder, &name, &self.0.shared).await {
                Ok(site) => SlotState::Open(Arc::new(site)),
                Err(error) => SlotState::Broken(error.to_string()),
            },
            Err(error) => SlotState::Broken(error.to_string()),
        };
        if let SlotState::Broken(why) = &held {
            tracing::error!(project = name, why, "the project cannot be served");
        }
        self.0.slots.insert(name, held);
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
    pub(super) fn claimed(&self, project: &str) -> Result<(ProjectClaim, Arc<Site>), ApiError> {
        let claim = self.claim(project, usize::MAX)?;
        Ok((claim, self.found(project)?))
    }

    fn claim(&self, project: &str, max: usize) -> Result<ProjectClaim, ApiError> {
        self.0.slots.claim(project, max).map_err(|error| match error {
            ClaimError::Busy => SiteError::Busy.into(),
            ClaimError::Full => {
                let problem = format!("there are {PROJECTS_MAX} projects already");
                SiteError::Wrong(vec![problem]).into()
            }
        })
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
        let claim = self.claim(project, PROJECTS_MAX)?;
        let now_ms = self.0.clock.wall_ms();
        let done = match claim.held() {
            SlotState::Open(site) => site.deploy(release, by, now_ms).await?,
            SlotState::Nothing | SlotState::Broken(_) => {
                let (site, done) = self.deploy_first(project, release, by).await?;
                claim.put(SlotState::Open(site));
                done
            }
        };
        self.collect(&claim);
        blocking(|| self.0.compiled.note());
        Ok(done)
    }

    /// Serves a release for a project that serves nothing.
    async fn deploy_first(
        &self,
        project: &str,
        release: Release,
        by: &str,
    ) -> Result<(Arc<Site>, ChangedProject), ApiError> {
        let shared = &self.0.shared;
        site::check(&release, project, &shared.hosts, &shared.guests)?;
        let folder = ProjectFolder::of(&self.projects_dir(), project);
        let made = blocking(|| folder.make())?;
        let served = async {
            let site = Site::create(folder.clone(), project, shared, &release).await?;
            match site.deploy_first(release, by, self.0.clock.wall_ms()).await {
                Ok(done) => Ok((Arc::new(site), done)),
                Err(error) => {
                    site.close().await;
                    Err(error)
                }
            }
        };
        let served = served.await;
        if served.is_err()
            && made == FolderCreation::Now
            && let Err(error) = blocking(|| folder.remove())
        {
            tracing::error!(%error, "what a failed deployment left is removed at the next start");
        }
        Ok(served?)
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
        let claim = self.claim(project, usize::MAX)?;
        let held = claim.held();
        if matches!(held, SlotState::Nothing) {
            return Err(ApiError::NoProject(project.to_owned()));
        }
        let folder = ProjectFolder::of(&self.projects_dir(), project);
        blocking(|| folder.begin_deletion())?;
        claim.put(SlotState::Nothing);
        if let SlotState::Open(site) = held {
            site.close().await;
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

    fn projects_dir(&self) -> PathBuf {
        self.0.data.join("projects")
    }
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
