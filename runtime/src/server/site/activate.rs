//! A version of a project as its node runs it. Owns how a release and the variables become a [`Project`].
//!
//! Invariant: every module and every file has the hash that the release names. It does not know which version is current,
//! nor who may reach it.

use super::super::catalog::{Variable, Version};
use super::super::file::FileError;
use super::super::layout;
use super::super::release::BlobId;
use super::{Site, SiteError};
use crate::node::Deployed;
use room_core::config::{ModuleSource, PartyConfig, Project, RetentionSettings, WhenQuiet};
use room_store::blocking;
use std::collections::BTreeMap;

impl Site {
    /// Puts a version in place of the one that runs. In a cluster this fetches the blobs that the folder lacks.
    ///
    /// # Errors
    /// [`SiteError`]: the version that ran still runs.
    ///
    /// # Cancel safety
    /// Must not be dropped before it returns.
    pub(super) async fn activate(
        &self,
        version: &Version,
        variables: BTreeMap<String, Variable>,
    ) -> Result<Deployed, SiteError> {
        let release = &version.release;
        self.blobs.fetch(release.blobs()).await?;
        let mut vars = release.vars.clone();
        vars.extend(variables.into_iter().map(|(name, variable)| (name, variable.value)));
        let vars: Vec<_> = vars.into_iter().collect();
        let read = || {
            let assets = layout::lay_out(&self.assets_dir(), version, &self.blobs)?;
            let mut parties = Vec::with_capacity(release.parties.len());
            for party in &release.parties {
                let module = self.module(party.module)?;
                parties.push(PartyConfig {
                    name: party.name.clone(),
                    was: party.was.clone(),
                    module,
                    vars: vars.clone(),
                    when_quiet: if party.hibernate {
                        WhenQuiet::Hibernate
                    } else {
                        WhenQuiet::Stay
                    },
                    auto_response: party.auto_response.clone(),
                    ttl: party.ttl,
                    cors: party.cors.clone(),
                    request_bodies: party.request_bodies,
                    retention: RetentionSettings { resume: party.resume, history: party.history },
                    presence: party.presence,
                    auth: party.auth,
                    sse: party.sse,
                });
            }
            Ok::<_, FileError>((assets, parties))
        };
        let (assets, parties) = blocking(read)?;
        let project = Project {
            parties,
            assets,
            asset_settings: release.asset_settings.clone(),
            origins: release.origins.clone(),
            prefix: release.prefix.clone(),
            fetch: release.fetch.clone(),
            crons: release.crons.clone(),
            webhooks: release.webhooks.clone(),
            auth: release.auth.clone(),
            publish: release.publish.clone(),
        };
        Ok(self.node.deploy(project).await?)
    }

    /// Returns a module whose blob is whole. Blocks.
    fn module(&self, id: BlobId) -> Result<ModuleSource, FileError> {
        let (bytes, blobs) = (self.blobs.check(id)?, self.blobs.clone());
        let read = move || blobs.read(id).map(Into::into).map_err(|error| error.to_string());
        Ok(ModuleSource::stored(id.of_module(), bytes, read))
    }
}
