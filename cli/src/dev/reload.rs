//! The deployments of `room dev`. Owns the server, and the last deployment.
//!
//! Invariant: a failed deployment leaves the one before it serving, and one that changes nothing is not made. It does
//! not know where modules come from.

use super::node::Node;
use crate::building::Component;
use crate::project::Project;
use room_runtime::{
    AssetSettings, AuthSettings, CronSetting, Deployed, FetchSettings, Notice, PartyConfig,
    PublishSettings, WebhookSettings,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A deployment.
#[derive(Debug, Clone)]
pub(super) struct Deployment {
    parties: Vec<PartyConfig>,
    assets: Option<PathBuf>,
    asset_settings: AssetSettings,
    origins: Vec<String>,
    prefix: Option<String>,
    fetch: FetchSettings,
    crons: Vec<CronSetting>,
    webhooks: Option<WebhookSettings>,
    auth: Option<AuthSettings>,
    publish: Option<PublishSettings>,
}

/// The result of a deployment.
#[derive(Debug)]
pub(super) enum Served {
    /// It is the first one.
    First,
    /// It took over from the one before.
    Reloaded(Deployed),
    /// It is the one that serves already.
    Same,
}

/// Puts deployments into service.
pub(super) struct Reloader {
    node: Node,
    last: Option<Deployment>,
    /// The notice that pages show.
    notice: Option<Notice>,
}

impl Deployment {
    /// Returns a deployment of a project with its components and its rooms' environment.
    pub(super) fn of(
        project: &Project,
        made: &[Component],
        vars: BTreeMap<String, String>,
    ) -> Self {
        let vars: Vec<_> = vars.into_iter().collect();
        let parties = project.manifest.parties.iter().filter_map(|party| {
            let component = made.iter().find(|component| component.party == party.name)?;
            Some(PartyConfig {
                name: party.name.to_string(),
                was: party.was.as_ref().map(|own| own.get_ref().clone()),
                module: component.bytes.clone().into(),
                vars: vars.clone(),
                when_quiet: party.when_quiet,
                auto_response: party.auto_response.as_ref().map(|own| own.get_ref().clone()),
                ttl: party.ttl,
                cors: party.cors.as_ref().map(|own| own.get_ref().clone()),
                request_bodies: party.request_bodies,
                retention: party.retention,
                presence: party.presence.as_ref().map(|own| *own.get_ref()),
                auth: party.auth.as_ref().map(|own| *own.get_ref()),
                sse: party.sse,
            })
        });
        let origins = project.manifest.origins.clone();
        let asset_settings = project.manifest.asset_settings.clone();
        let prefix = project.manifest.prefix.as_ref().map(|own| own.get_ref().clone());
        let (assets, fetch) = (project.assets(), project.manifest.fetch.clone());
        let (parties, crons) = (parties.collect(), project.manifest.crons.clone());
        let (webhooks, auth) = (project.manifest.webhooks.clone(), project.manifest.auth.clone());
        let publish = project.manifest.publish.clone();
        Self {
            parties,
            assets,
            asset_settings,
            origins,
            prefix,
            fetch,
            crons,
            webhooks,
            auth,
            publish,
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        let key = |party: &PartyConfig| {
            let PartyConfig {
                name,
                was,
                vars,
                when_quiet,
                auto_response,
                ttl,
                cors,
                request_bodies,
                retention,
                presence,
                auth,
                sse,
                module: _,
            } = party.clone();
            let answers = (auto_response, ttl, cors, request_bodies);
            (name, was, vars, when_quiet, answers, (retention, presence, sse), auth)
        };
        self.assets == other.assets
            && self.asset_settings == other.asset_settings
            && self.origins == other.origins
            && self.prefix == other.prefix
            && self.fetch == other.fetch
            && self.crons == other.crons
            && self.webhooks == other.webhooks
            && self.auth == other.auth
            && self.publish == other.publish
            && self.parties.len() == other.parties.len()
            && self
                .parties
                .iter()
                .zip(&other.parties)
                .all(|(a, b)| key(a) == key(b) && a.module.hash() == b.module.hash())
    }
}

impl Reloader {
    /// Returns a reloader whose server has no deployment.
    pub(super) fn new(node: Node) -> Self {
        Self { node, last: None, notice: None }
    }

    /// Deploys. Rooms take it over between two events, and sockets stay.
    ///
    /// # Errors
    /// The runtime refuses it; the one before keeps serving.
    ///
    /// # Cancel safety
    /// Dropping it leaves open which deployment serves: do so only when the runtime is about to stop.
    pub(super) async fn serve(&mut self, deployment: Deployment) -> anyhow::Result<Served> {
        if self.last.as_ref().is_some_and(|last| last.same_as(&deployment)) {
            return Ok(Served::Same);
        }
        let project = room_runtime::Project {
            parties: deployment.parties.clone(),
            assets: deployment.assets.clone(),
            asset_settings: deployment.asset_settings.clone(),
            origins: deployment.origins.clone(),
            prefix: deployment.prefix.clone(),
            fetch: deployment.fetch.clone(),
            crons: deployment.crons.clone(),
            webhooks: deployment.webhooks.clone(),
            auth: deployment.auth.clone(),
            publish: deployment.publish.clone(),
        };
        let deployed = self.node.runtime().deploy(project).await?;
        Ok(match self.last.replace(deployment) {
            Some(_) => Served::Reloaded(deployed),
            None => Served::First,
        })
    }

    /// Shows a notice on pages, or removes it.
    pub(super) fn show(&mut self, notice: Option<Notice>) {
        self.notice.clone_from(&notice);
        self.node.runtime().set_notice(notice);
    }

    /// Makes open pages load again.
    pub(super) fn reload_pages(&self) {
        self.node.runtime().reload_pages();
    }

    /// Returns true if something was deployed.
    pub(super) fn is_serving(&self) -> bool {
        self.last.is_some()
    }

    /// Returns the server's address.
    pub(super) fn addr(&self) -> SocketAddr {
        self.node.runtime().addr()
    }

    /// Makes a code by which one browser signs in to the dashboard, once.
    pub(super) fn sign_in_code(&self) -> String {
        self.node.runtime().sign_in_code()
    }

    /// Ends the server.
    ///
    /// # Cancel safety
    /// See [`Node::stop`].
    pub(super) async fn stop(self) {
        self.node.stop().await;
    }

    /// Starts the server again without its rooms' data, and deploys the last deployment again.
    ///
    /// # Errors
    /// It does not start, or refuses the deployment: nothing runs.
    ///
    /// # Cancel safety
    /// See [`Node::forget`].
    pub(super) async fn forget(self) -> anyhow::Result<Self> {
        let mut new = Self::new(self.node.forget().await?);
        new.show(self.notice);
        if let Some(last) = self.last {
            new.serve(last).await?;
        }
        Ok(new)
    }
}
