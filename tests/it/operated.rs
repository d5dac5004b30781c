//! A server with its operator, for the tests of both. Owns its start and the operator's requests.

use room_runtime::server::{BlobId, NewToken, ServeError};
use room_runtime::{Limits, Proxies, Server, ServerConfig, Space};
use room_tests::{RawClient, Reply, Requests, within};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// A server, and its operator's token.
pub(crate) struct Operated {
    pub(crate) server: Server,
    pub(crate) token: String,
}

impl Operated {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_draining_for(data, 1).await
    }

    pub(crate) async fn start_draining_for(data: &Path, drain_spread_ms: u64) -> Self {
        Self::start_with(data, Limits { drain_spread_ms, ..Limits::default() }).await
    }

    /// Starts it with other limits, and space for few rooms, as many servers run beside each other here.
    pub(crate) async fn start_with(data: &Path, limits: Limits) -> Self {
        Self::try_start(data, limits).await.unwrap()
    }

    /// Starts it, if it starts.
    pub(crate) async fn try_start(data: &Path, limits: Limits) -> Result<Self, ServeError> {
        let limits = Limits { rooms_active_max: 32, door_instances_max: 1, ..limits };
        Self::try_start_as_shipped(data, limits).await
    }

    /// Starts it with these limits, and no others.
    pub(crate) async fn start_as_shipped(data: &Path, limits: Limits) -> Self {
        Self::try_start_as_shipped(data, limits).await.unwrap()
    }

    /// Starts it as a node of a space behind these proxies.
    pub(crate) async fn start_in(
        data: &Path,
        space: Space,
        proxies: Proxies,
        limits: Limits,
    ) -> Self {
        Self::try_start_in(data, space, proxies, limits).await.unwrap()
    }

    /// Starts it as a node of a space, if it starts.
    pub(crate) async fn try_start_in(
        data: &Path,
        space: Space,
        proxies: Proxies,
        limits: Limits,
    ) -> Result<Self, ServeError> {
        let limits = Limits { rooms_active_max: 32, door_instances_max: 1, ..limits };
        Self::try_start_at(data, space, proxies, limits).await
    }

    async fn try_start_as_shipped(data: &Path, limits: Limits) -> Result<Self, ServeError> {
        Self::try_start_at(data, Space::default(), Proxies::default(), limits).await
    }

    async fn try_start_at(
        data: &Path,
        space: Space,
        proxies: Proxies,
        limits: Limits,
    ) -> Result<Self, ServeError> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = ServerConfig {
            data: data.to_owned(),
            listen: any,
            admin: any,
            tls: None,
            admin_tls: None,
            proxies,
            space,
            cluster: None,
            limits,
        };
        let server = within("a server to start", Server::start(config)).await?;
        let token = server.first_token().map(|NewToken { secret, .. }| secret.clone());
        Ok(Self { server, token: token.unwrap_or_default() })
    }

    /// Starts it again on the same data, with the same token.
    pub(crate) async fn restart(self, data: &Path) -> Self {
        let Self { server, token } = self;
        within("a server to stop", server.drain()).await;
        Self { token, ..Self::start(data).await }
    }

    /// Sends a request as the operator. A path without a leading slash is relative to `/_room/admin/`.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        ask(self.server.admin_addr(), &self.token, method, path, body).await
    }

    /// Sends a request that must succeed.
    pub(crate) async fn good(&self, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.ask(method, path, &body).await;
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
        reply.json()
    }

    /// Sends a request that the server must refuse with this status, and returns its text.
    pub(crate) async fn refused(
        &self,
        status: u16,
        method: &str,
        path: &str,
        body: &Value,
    ) -> String {
        let reply = self.ask(method, path, body.to_string().as_bytes()).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        reply.json()["error"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn upload(&self, bytes: &[u8]) -> String {
        let id = BlobId::of(bytes).to_string();
        let reply = self.ask("PUT", &format!("blobs/{id}"), bytes).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        id
    }

    /// Deploys a module as the party `main` of a project, with one variable and one file.
    pub(crate) async fn deploy(&self, project: &str, module: &[u8], version: &str) -> Value {
        let release = self.release(module, version).await;
        self.good("POST", &format!("projects/{project}/deploy"), release).await
    }

    pub(crate) async fn release(&self, module: &[u8], version: &str) -> Value {
        let (module, page) = (self.upload(module).await, self.upload(version.as_bytes()).await);
        json!({
            "parties": [{"name": "main", "module": module}],
            "assets": [{"path": "index.html", "blob": page}],
            "vars": {"VERSION": version},
        })
    }

    /// As [`Operated::release`], for one of several projects: it is called `PROJECT.example.com`, and has few
    /// places for rooms.
    pub(crate) async fn named_release(&self, project: &str, module: &[u8], version: &str) -> Value {
        let mut release = self.release(module, version).await;
        release["hosts"] = json!([format!("{project}.example.com")]);
        release["limits"] = json!({"rooms_active_max": 8, "door_instances_max": 1});
        release
    }

    /// Returns the answer to a client that calls a project by its name; `None` if there is no such project.
    pub(crate) async fn asked(&self, project: &str, path: &str) -> Option<Vec<u8>> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {project}.example.com\r\nConnection: close\r\n\r\n"
        );
        let mut client = RawClient::open(self.server.addr()).await;
        client.write(head.as_bytes()).await;
        let head = client.head().await;
        let body = client.rest().await;
        head.starts_with("HTTP/1.1 200").then_some(body)
    }

    pub(crate) async fn report(&self, room: &str) -> Value {
        self.server.addr().get(&format!("/parties/main/{room}")).await.json()
    }

    pub(crate) async fn page(&self) -> String {
        self.server.addr().get("/").await.text()
    }
}

pub(crate) async fn ask(
    addr: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: &[u8],
) -> Reply {
    let bearer = format!("Bearer {token}");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/_room/admin/{path}") };
    addr.request(method, &path, &[("authorization", &bearer)], body).await
}
