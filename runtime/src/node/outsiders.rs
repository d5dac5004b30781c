//! What a project has to do with other servers and with strangers: the receiver of its webhooks, the keys of its publishers,
//! and the key of its tickets.
//!
//! Owns how each is made of the project's settings. Invariant: a project whose settings cannot work is refused before any
//! part of it is in place. It does not know when it is deployed.

use super::DeployError;
use room_auth::TicketKey;
use room_core::config::{FetchHosts, Project, PublishKeys};
use room_core::id::PartyName;
use room_rooms::webhooks::WebhookReceiver;
use room_store::{Store, StoreError};

/// Returns the names of a project's parties.
fn party_names(project: &Project) -> Result<Vec<PartyName>, DeployError> {
    let names = project.parties.iter().map(|party| PartyName::parse(&party.name));
    Ok(names.collect::<Result<_, _>>()?)
}

/// Returns the key of the tickets of a store, and makes one if it has none.
pub(super) fn ticket_key(store: &Store) -> Result<TicketKey, StoreError> {
    if let Some(key) = store.ticket_key().and_then(|text| TicketKey::restore(&text)) {
        return Ok(key);
    }
    let key = TicketKey::random();
    store.keep_ticket_key(key.reveal())?;
    // Another node of the cluster may have been first.
    Ok(store.ticket_key().and_then(|text| TicketKey::restore(&text)).unwrap_or(key))
}

/// Returns the receiver of a project's webhooks, if it has one.
pub(super) fn receiver_of(
    project: &Project,
    hosts: &FetchHosts,
) -> Result<Option<WebhookReceiver>, DeployError> {
    let Some(settings) = &project.webhooks else { return Ok(None) };
    let names = party_names(project)?;
    // A project's variables are those of each of its parties.
    let variables = project.parties.iter().flat_map(|party| &party.vars);
    let variables = variables.map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(Some(WebhookReceiver::new(settings, &names, hosts, variables)?))
}

/// Returns the keys of those who may publish to the project's rooms.
pub(super) fn publishers_of(project: &Project) -> Result<PublishKeys, DeployError> {
    let Some(settings) = &project.publish else { return Ok(PublishKeys::default()) };
    let names = party_names(project)?;
    // A project's variables are those of each of its parties.
    let variables = project.parties.first().map_or(&[][..], |party| &party.vars);
    Ok(settings.keys_among(&names, variables)?)
}
