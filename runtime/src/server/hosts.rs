//! Which project a client means. Owns the hosts by which projects are called.
//!
//! Invariant: a request reaches the project that its host names, or no project. It does not know what a project
//! answers.

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, header};
use room_core::lock::unpoisoned;
use room_door::{HostMismatch, Porter};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tower::ServiceExt;

/// The projects of a server by their hosts. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub(super) struct Hosts(Arc<RwLock<HostTable>>);

#[derive(Default)]
struct HostTable {
    served: Vec<ProjectHosts>,
    /// The hosts of projects that are about to be served.
    reserved: Vec<(String, Vec<String>)>,
}

#[derive(Clone)]
struct ProjectHosts {
    project: String,
    /// `chat.example.com`, `*.example.com`; empty if the project answers to every host that no other project lists.
    hosts: Vec<String>,
    router: Router,
}

impl Hosts {
    /// Returns the other project that answers to one of these hosts, or is about to.
    pub(super) fn taken(&self, project: &str, hosts: &[String]) -> Option<String> {
        self.read().taken(project, hosts)
    }

    /// Reserves these hosts for a project, until it is served or the reservation is dropped.
    ///
    /// # Errors
    /// The project that has one of them.
    pub(super) fn reserve(
        &self,
        project: &str,
        hosts: &[String],
    ) -> Result<HostReservation, String> {
        let mut names = self.write();
        if let Some(other) = names.taken(project, hosts) {
            return Err(other);
        }
        names.reserved.push((project.to_owned(), hosts.to_vec()));
        Ok(HostReservation { hosts: self.clone(), project: project.to_owned() })
    }

    /// Routes clients that use these hosts to a project from now on.
    pub(super) fn put(&self, project: &str, hosts: Vec<String>, router: Router) {
        let served = &mut self.write().served;
        served.retain(|named| named.project != project);
        served.push(ProjectHosts { project: project.to_owned(), hosts, router });
    }

    /// Stops routing clients to a project.
    pub(super) fn remove(&self, project: &str) {
        self.write().served.retain(|named| named.project != project);
    }

    fn read(&self) -> RwLockReadGuard<'_, HostTable> {
        unpoisoned(self.0.read())
    }

    fn write(&self) -> RwLockWriteGuard<'_, HostTable> {
        unpoisoned(self.0.write())
    }

    /// Returns the routes of the project with this host. The most specific listed name wins.
    fn find(&self, host: &str) -> Option<Router> {
        let all = &self.read().served;
        let of = |named: &ProjectHosts| match named.hosts.is_empty() {
            true => Some(0),
            false => named.hosts.iter().filter_map(|name| matches(name, host)).max(),
        };
        let best = all.iter().filter_map(|named| Some((of(named)?, named)));
        best.max_by_key(|(length, _)| *length).map(|(_, named)| named.router.clone())
    }

    /// Returns true if a project lists this host. A project without hosts does not count.
    pub(super) fn are_named(&self, host: &str) -> bool {
        self.read()
            .served
            .iter()
            .flat_map(|named| &named.hosts)
            .any(|name| matches(name, host).is_some())
    }

    /// Returns the routes for clients. The porter answers clients of no project.
    pub(super) fn router(&self, porter: Porter) -> Router {
        let hosts = self.clone();
        Router::new()
            .fallback(move |request: Request| async move { hosts.answer(request, &porter).await })
    }

    async fn answer(&self, request: Request, porter: &Porter) -> Response {
        match self.find(&host_of(request.headers())) {
            Some(router) => {
                let Ok(response) = router.oneshot(request).await;
                response
            }
            None if self.is_empty() => porter.answer(request, HostMismatch::NoProject),
            None => porter.answer(request, HostMismatch::Host),
        }
    }

    fn is_empty(&self) -> bool {
        self.read().served.is_empty()
    }
}

impl HostTable {
    fn taken(&self, project: &str, hosts: &[String]) -> Option<String> {
        let served = self.served.iter().map(|named| (&named.project, &named.hosts));
        let reserved = self.reserved.iter().map(|(project, hosts)| (project, hosts));
        let same = |(_, other): &(&String, &Vec<String>)| {
            let both_any = hosts.is_empty() && other.is_empty();
            both_any || other.iter().any(|host| hosts.contains(host))
        };
        let mut others = served.chain(reserved).filter(|(other, _)| *other != project);
        others.find(same).map(|(other, _)| other.clone())
    }
}

/// A reservation of hosts. No other project gets them until this is dropped.
#[must_use]
pub(super) struct HostReservation {
    hosts: Hosts,
    project: String,
}

impl Drop for HostReservation {
    fn drop(&mut self) {
        self.hosts.write().reserved.retain(|(project, _)| *project != self.project);
    }
}

/// Returns the host by which a client calls the server, in lower case and without a port.
fn host_of(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Returns how specific a listed name is, if it matches the host.
fn matches(name: &str, host: &str) -> Option<usize> {
    let is_it = match name.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => name == host,
    };
    // A plain name is more specific than a name of the same length with a star.
    is_it.then_some(name.len() * 2 + usize::from(!name.starts_with('*')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use room_core::byte_budget::ByteBudget;

    async fn asked(hosts: &Hosts, host: &str) -> String {
        let request = Request::builder().uri("/").header(header::HOST, host);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let porter = Porter::new(Arc::default(), ByteBudget::new(1));
        let response = hosts.answer(request, &porter).await;
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn says(text: &'static str) -> Router {
        Router::new().fallback(move || async move { text })
    }

    #[tokio::test]
    async fn the_most_specific_host_name_wins() {
        let hosts = Hosts::default();
        assert_eq!(asked(&hosts, "a.example.com").await, "no project is served yet");
        hosts.put("any", Vec::new(), says("any"));
        hosts.put("star", vec!["*.example.com".into()], says("star"));
        hosts.put("one", vec!["one.example.com".into(), "one.org".into()], says("one"));
        for (host, project) in [
            ("one.example.com", "one"),
            ("ONE.example.com:1999", "one"),
            ("one.org.", "one"),
            ("two.example.com", "star"),
            ("example.com", "any"),
            ("127.0.0.1:8080", "any"),
            ("[::1]:8080", "any"),
            ("", "any"),
        ] {
            assert_eq!(asked(&hosts, host).await, project, "{host}");
        }
        assert!(hosts.are_named("one.org") && hosts.are_named("x.example.com"));
        assert!(!hosts.are_named("example.com") && !hosts.are_named("evil.org"));
        assert_eq!(hosts.taken("new", &[]), Some("any".into()));
        assert_eq!(hosts.taken("new", &["one.org".into()]), Some("one".into()));
        assert_eq!(hosts.taken("one", &["one.org".into()]), None);
        // Reserved hosts belong to no other project until the reservation is dropped.
        let reserved = hosts.reserve("new", &["new.org".into()]).unwrap();
        assert_eq!(hosts.reserve("other", &["new.org".into()]).err(), Some("new".into()));
        assert_eq!(hosts.taken("new", &["new.org".into()]), None);
        drop(reserved);
        assert!(hosts.reserve("other", &["new.org".into()]).is_ok());
        hosts.remove("any");
        assert_eq!(asked(&hosts, "example.com").await, "no project has this host");
    }
}
