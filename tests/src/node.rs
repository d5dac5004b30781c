//! A node in this process. Owns its folders, and the settings that a test changes.
//!
//! Invariant: two nodes share nothing but compiled code, and a node's folder is removed with it.

use crate::{Requests, TestClient, guest, within};
use room_runtime::{
    AssetSettings, Audience, AuthMode, AuthSettings, AutoResponse, BodyDelivery, Config,
    CorsSetting, CronSetting, DeployError, Deployed, FetchSettings, Limits, PartyConfig, Preamble,
    PresenceSetting, Project, Proxies, PublishKeySetting, PublishSettings, RetentionSettings,
    Runtime, SseAccess, StartError, StorageConfig, Tls, Ttl, WebhookSettings, WhenQuiet,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// The settings of a node. Start from [`Setup::memory`] or [`Setup::disk`].
pub struct Setup {
    limits: Limits,
    audience: Audience,
    disk: Option<TempDir>,
    when_quiet: WhenQuiet,
    auto_response: Option<AutoResponse>,
    ttl: Option<Ttl>,
    assets: Option<PathBuf>,
    asset_settings: AssetSettings,
    cors: Option<CorsSetting>,
    request_bodies: BodyDelivery,
    retention: RetentionSettings,
    presence: Option<PresenceSetting>,
    sse: SseAccess,
    prefix: Option<String>,
    fetch: FetchSettings,
    crons: Vec<CronSetting>,
    webhooks: Option<WebhookSettings>,
    auth: Option<AuthSettings>,
    auth_mode: Option<AuthMode>,
    publish: Option<PublishSettings>,
    origins: Vec<String>,
    tls: Option<Tls>,
    proxies: Proxies,
}

/// A node that listens on loopback and serves the puppet as party `main`.
pub struct TestNode {
    runtime: Runtime,
    setup: Setup,
}

impl Setup {
    /// Returns a node that forgets everything when it stops, and whose errors are for developers.
    pub fn memory() -> Self {
        // Each place for a room reserves address space, and many nodes run in one test process.
        let limits = Limits {
            rooms_active_max: 64,
            door_instances_max: 8,
            alarm_retry_ms_min: 20,
            ..Limits::default()
        };
        let (audience, when_quiet) = (Audience::Developer, WhenQuiet::Stay);
        Self {
            limits,
            audience,
            disk: None,
            when_quiet,
            auto_response: None,
            ttl: None,
            assets: None,
            asset_settings: AssetSettings::default(),
            cors: None,
            request_bodies: BodyDelivery::Whole,
            retention: RetentionSettings::default(),
            presence: None,
            sse: SseAccess::Off,
            prefix: None,
            fetch: FetchSettings::default(),
            crons: Vec::new(),
            webhooks: None,
            auth: None,
            auth_mode: None,
            publish: None,
            origins: Vec::new(),
            tls: None,
            proxies: Proxies::default(),
        }
    }

    /// Returns a node with a folder of its own on disk.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn disk() -> Self {
        let dir = tempfile::tempdir().expect("a folder for temporary files");
        Self { disk: Some(dir), ..Self::memory() }
    }

    /// With other limits.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// With errors for the public.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.audience = Audience::Public;
        self
    }

    /// With rooms that hibernate.
    #[must_use]
    pub fn hibernate(mut self) -> Self {
        self.when_quiet = WhenQuiet::Hibernate;
        self
    }

    /// With a text that is answered without the room.
    #[must_use]
    pub fn auto_response(mut self, request: &str, response: &str) -> Self {
        self.auto_response = Some(auto_response(request, response));
        self
    }

    /// With rooms that expire when nobody uses them for so long.
    ///
    /// # Panics
    /// When the text is not a ttl.
    #[must_use]
    pub fn ttl(mut self, ttl: &str) -> Self {
        self.ttl = Some(ttl.parse().expect("a ttl"));
        self
    }

    /// With rooms that are kept forever.
    #[must_use]
    pub fn no_ttl(mut self) -> Self {
        self.ttl = None;
        self
    }

    /// With static files.
    #[must_use]
    pub fn assets(mut self, dir: impl Into<PathBuf>) -> Self {
        self.assets = Some(dir.into());
        self
    }

    /// With static files that are answered in this way.
    #[must_use]
    pub fn asset_settings(mut self, settings: AssetSettings) -> Self {
        self.asset_settings = settings;
        self
    }

    /// Lets rooms fetch from these hosts.
    pub fn fetch_hosts(mut self, hosts: &[String]) -> Self {
        self.fetch.hosts = hosts.to_vec();
        self
    }

    /// With rooms at this path, too.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// With rooms that remember what they sent.
    #[must_use]
    pub fn remembering(mut self, retention: RetentionSettings) -> Self {
        self.retention = retention;
        self
    }

    /// With rooms that show who is there.
    #[must_use]
    pub fn present(mut self, presence: PresenceSetting) -> Self {
        self.presence = Some(presence);
        self
    }

    /// With request bodies that come in pieces.
    #[must_use]
    pub fn pieces(mut self) -> Self {
        self.request_bodies = BodyDelivery::Pieces;
        self
    }

    /// With clients that connect by server-sent events.
    #[must_use]
    pub fn sse(mut self) -> Self {
        self.sse = SseAccess::On;
        self
    }

    /// With these crons, and no others.
    #[must_use]
    pub fn crons(mut self, crons: &[CronSetting]) -> Self {
        self.crons = crons.to_vec();
        self
    }

    /// With these keys of publishers.
    #[must_use]
    pub fn publish(mut self, keys: Vec<PublishKeySetting>) -> Self {
        self.publish = Some(PublishSettings { keys });
        self
    }

    /// With these webhooks, or none.
    #[must_use]
    pub fn webhooks(mut self, webhooks: Option<WebhookSettings>) -> Self {
        self.webhooks = webhooks;
        self
    }

    /// With this section `[auth]`, or none.
    ///
    /// # Panics
    /// When the text is no section.
    #[must_use]
    pub fn auth(mut self, section: &serde_json::Value) -> Self {
        let section = serde_json::from_value(section.clone());
        self.auth = section.expect("a section");
        self
    }

    /// With a party that asks for this itself.
    #[must_use]
    pub fn auth_mode(mut self, mode: AuthMode) -> Self {
        self.auth_mode = Some(mode);
        self
    }

    /// With responses that pages of other sites may read.
    #[must_use]
    pub fn cors(mut self, cors: CorsSetting) -> Self {
        self.cors = Some(cors);
        self
    }

    /// Lets in pages of these origins, and of no others.
    #[must_use]
    pub fn origins(mut self, origins: &[&str]) -> Self {
        self.origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        self
    }

    /// With TLS, from these files.
    #[must_use]
    pub fn tls(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = Some(Tls { cert: cert.into(), key: key.into() });
        self
    }

    /// With these proxies before it.
    ///
    /// # Panics
    /// When one is not a network.
    #[must_use]
    pub fn proxies(mut self, trusted: &[&str], preamble: Preamble) -> Self {
        let trusted = trusted.iter().map(|text| text.parse().expect("a network")).collect();
        self.proxies = Proxies { trusted, preamble };
        self
    }

    /// Starts a node and deploys the puppet to it.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(self) -> TestNode {
        let node = self.start_empty().await;
        node.deploy(guest("puppet"), &[]).await.expect("the puppet is a good guest");
        node
    }

    /// Starts a node without parties.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_empty(self) -> TestNode {
        self.try_start_empty().await.expect("a node starts")
    }

    /// Starts a node without parties, if it starts.
    ///
    /// # Errors
    /// As [`Runtime::start`].
    pub async fn try_start_empty(self) -> Result<TestNode, StartError> {
        let storage = match &self.disk {
            Some(dir) => StorageConfig::Disk(dir.path().join("data")),
            None => StorageConfig::Memory,
        };
        let config = Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            storage,
            cache_dir: Some(room_test_guest::target_dir().join("guests/compiled")),
            tls: self.tls.clone(),
            proxies: self.proxies.clone(),
            limits: self.limits.clone(),
            audience: self.audience,
        };
        let runtime = within("a node to start", Runtime::start(config)).await?;
        Ok(TestNode { runtime, setup: self })
    }
}

impl TestNode {
    /// Returns its address.
    pub fn addr(&self) -> SocketAddr {
        self.runtime.addr()
    }

    /// Lets in pages of these origins alone, from the next deployment on.
    pub fn set_origins(&mut self, origins: &[&str]) {
        self.setup.origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    }

    /// Listens at another address of this machine, too.
    ///
    /// # Panics
    /// When the address is not available.
    pub async fn listen_too(&mut self, addr: SocketAddr) {
        self.runtime.listen_too(addr).await.expect("the address is free");
    }

    /// Returns its limits.
    pub fn limits(&self) -> &Limits {
        &self.setup.limits
    }

    /// Returns the folder of its data, if it is on disk.
    pub fn data_dir(&self) -> Option<PathBuf> {
        self.setup.disk.as_ref().map(|dir| dir.path().join("data"))
    }

    /// Returns the secret of its operator.
    pub fn secret(&self) -> String {
        self.runtime.admin_token().secret().to_owned()
    }

    /// Returns a code by which one browser signs in to the dashboard, once.
    pub fn sign_in_code(&self) -> String {
        self.runtime.sign_in_code()
    }

    /// Returns the number of rooms in memory, as the node reports it to its operator.
    pub async fn running(&self) -> u64 {
        self.counted("running").await
    }

    /// Returns the number of rooms with an instance, as the node reports it to its operator.
    pub async fn live(&self) -> u64 {
        self.counted("live").await
    }

    async fn counted(&self, what: &str) -> u64 {
        let bearer = format!("Bearer {}", self.secret());
        let headers = [("authorization", bearer.as_str())];
        let reply = self.request("GET", "/_room/admin/overview", &headers, &[]).await;
        reply.json()["rooms"][what].as_u64().expect("the overview counts rooms")
    }

    /// Connects a client to a room of the party `main`: `lobby?_pk=alice`.
    ///
    /// # Panics
    /// When the handshake is not answered with 101.
    pub async fn connect(&self, room: &str) -> TestClient {
        TestClient::connect(self.addr(), &format!("/parties/main/{room}")).await
    }

    /// Puts a module in place as party `main`, with these variables.
    ///
    /// # Errors
    /// As [`Runtime::deploy`].
    pub async fn deploy(
        &self,
        module: Arc<[u8]>,
        vars: &[(&str, &str)],
    ) -> Result<Deployed, DeployError> {
        self.deploy_project(vec![self.party(module, vars)]).await
    }

    /// Returns the party `main` as [`TestNode::deploy`] puts it in place.
    pub fn party(&self, module: Arc<[u8]>, vars: &[(&str, &str)]) -> PartyConfig {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        PartyConfig {
            name: "main".to_owned(),
            was: None,
            module: module.into(),
            vars: vars.collect(),
            when_quiet: self.setup.when_quiet,
            auto_response: self.setup.auto_response.clone(),
            ttl: self.setup.ttl,
            cors: self.setup.cors.clone(),
            request_bodies: self.setup.request_bodies,
            retention: self.setup.retention,
            presence: self.setup.presence,
            auth: self.setup.auth_mode,
            sse: self.setup.sse,
        }
    }

    /// Puts these parties in place.
    ///
    /// # Errors
    /// As [`Runtime::deploy`].
    pub async fn deploy_project(&self, parties: Vec<PartyConfig>) -> Result<Deployed, DeployError> {
        let Setup { assets, asset_settings, origins, prefix, fetch, crons, .. } = &self.setup;
        let Setup { webhooks, auth, publish, .. } = &self.setup;
        let project = Project {
            parties,
            assets: assets.clone(),
            asset_settings: asset_settings.clone(),
            origins: origins.clone(),
            prefix: prefix.clone(),
            fetch: fetch.clone(),
            crons: crons.clone(),
            webhooks: webhooks.clone(),
            auth: auth.clone(),
            publish: publish.clone(),
        };
        within("a deployment", self.runtime.deploy(project)).await
    }

    /// Stops the node as an operator does, and leaves its folder.
    pub async fn stop(self) -> Setup {
        within("a node to drain", self.runtime.drain()).await;
        self.setup
    }

    /// Stops the node and starts it again on the same folder.
    pub async fn restart(self) -> Self {
        self.stop().await.start().await
    }
}

/// Returns an auto-response.
pub fn auto_response(request: &str, response: &str) -> AutoResponse {
    AutoResponse { request: request.to_owned(), response: response.to_owned() }
}

/// Returns the same module with other bytes: an additional custom section, which nothing reads.
pub fn variant(module: &[u8], mark: u8) -> Arc<[u8]> {
    // Section 0, three bytes long, with a name of one byte and one byte in it.
    [module, &[0, 3, 1, b'v', mark]].concat().into()
}
