//! The answers to clients of no project. Owns that a WebSocket among them gets the reason.
//!
//! Invariant: these clients are answered as a project's door would answer them. A WebSocket is accepted and closed with
//! a reason, unless trying again may help. It does not know which projects there are.

use crate::status::DoorError;
use crate::upgrade::{self, UpgradeHandshake};
use crate::{head, socket};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use room_core::byte_budget::ByteBudget;
use room_core::config::Audience;
use room_core::limits::Limits;
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// Answers clients of no project. Cheap to clone; clones share the sockets.
#[derive(Clone)]
pub struct Porter {
    limits: Arc<Limits>,
    bytes: ByteBudget,
    /// The WebSockets that are being closed.
    sockets: TaskTracker,
}

/// Why a client belongs to no project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMismatch {
    /// No project has the host in the request.
    Host,
    /// The server has no project yet.
    NoProject,
}

impl Porter {
    /// Returns a porter that draws on this budget.
    pub fn new(limits: Arc<Limits>, bytes: ByteBudget) -> Self {
        Self { limits, bytes, sockets: TaskTracker::new() }
    }

    /// Returns the answer to such a client.
    pub fn answer(&self, mut request: Request, why: HostMismatch) -> Response {
        if let Some(error) = head::problem(&request) {
            return error.show(Audience::Public).into_response();
        }
        let error = match why {
            HostMismatch::Host => DoorError::UnknownHost,
            HostMismatch::NoProject => DoorError::NoProject,
        };
        let shown = error.show(Audience::Public);
        if shown.retry_after.is_some() || !upgrade::is_asked_for(request.headers()) {
            return shown.into_response();
        }
        match UpgradeHandshake::of(&mut request, &self.limits, &self.bytes) {
            Ok(handshake) => socket::refuse(handshake, shown.frame, &self.limits, &self.sockets),
            Err(error) => error.show(Audience::Public).into_response(),
        }
    }

    /// Waits until the WebSockets are closed.
    ///
    /// # Cancel safety
    /// If dropped before it returns, they go on closing by themselves.
    pub async fn drain(&self) {
        self.sockets.close();
        self.sockets.wait().await;
    }
}
