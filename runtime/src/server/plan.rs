//! What a deployment would change. Owns the comparison of the served release with the next one.
//!
//! Invariant: no value of a variable is in it. It does not know how a deployment is made.

use super::blobs::Blobs;
use super::records::KeepError;
use super::release::{BlobId, Release};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a deployment would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Plan {
    /// The version that is served.
    pub(super) current: Option<u64>,
    /// The blobs that must be uploaded before.
    pub(super) missing: Vec<BlobId>,
    /// The differences, one a line: `+` is added, `-` is removed, `~` changes.
    pub(super) changes: Vec<String>,
}

impl Plan {
    /// Returns what serving `to` would change. `served` is the current version, if there is one. Blocks.
    ///
    /// # Errors
    /// [`KeepError`]: the cluster's database failed.
    pub(super) fn of(
        served: Option<(u64, &Release)>,
        to: &Release,
        blobs: &Blobs,
    ) -> Result<Self, KeepError> {
        Ok(Self {
            current: served.map(|(number, _)| number),
            missing: blobs.missing(to.blobs())?,
            changes: difference(served.map(|(_, release)| release), to),
        })
    }
}

/// Returns the differences between two releases, one a line.
fn difference(from: Option<&Release>, to: &Release) -> Vec<String> {
    let nothing = Release::default();
    let from = from.unwrap_or(&nothing);
    let mut lines = Vec::new();
    let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
    let parties = |release: &Release| -> BTreeMap<String, String> {
        release.parties.iter().map(|party| (party.name.clone(), text(party))).collect()
    };
    compare("party", &parties(from), &parties(to), &mut lines);
    let assets = |release: &Release| -> BTreeMap<String, String> {
        release.assets.iter().map(|asset| (asset.path.clone(), asset.blob.to_string())).collect()
    };
    compare("file", &assets(from), &assets(to), &mut lines);
    if from.prefix != to.prefix {
        lines.push("~ prefix".to_owned());
    }
    if from.asset_settings != to.asset_settings {
        lines.push("~ [assets]".to_owned());
    }
    let crons = |release: &Release| -> BTreeMap<String, String> {
        release.crons.iter().map(|cron| (cron.name.clone(), text(cron))).collect()
    };
    compare("cron", &crons(from), &crons(to), &mut lines);
    if from.webhooks != to.webhooks {
        lines.push("~ [webhooks]".to_owned());
    }
    if from.auth != to.auth {
        lines.push("~ [auth]".to_owned());
    }
    if from.publish != to.publish {
        lines.push("~ [publish]".to_owned());
    }
    compare("variable", &from.vars, &to.vars, &mut lines);
    let limits = |release: &Release| -> BTreeMap<String, String> {
        release.limits.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
    };
    compare("limit", &limits(from), &limits(to), &mut lines);
    let hosts = |release: &Release| -> BTreeMap<String, String> {
        release.hosts.iter().map(|host| (host.clone(), String::new())).collect()
    };
    let origins = |release: &Release| -> BTreeMap<String, String> {
        release.origins.iter().map(|origin| (origin.clone(), String::new())).collect()
    };
    let fetched = |release: &Release| -> BTreeMap<String, String> {
        release.fetch.hosts.iter().map(|host| (host.clone(), String::new())).collect()
    };
    compare("fetch host", &fetched(from), &fetched(to), &mut lines);
    compare("origin", &origins(from), &origins(to), &mut lines);
    compare("host", &hosts(from), &hosts(to), &mut lines);
    lines
}

fn compare(
    what: &str,
    from: &BTreeMap<String, String>,
    to: &BTreeMap<String, String>,
    lines: &mut Vec<String>,
) {
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        lines.push(format!("- {what} {name}"));
    }
    for (name, value) in to {
        match from.get(name) {
            None => lines.push(format!("+ {what} {name}")),
            Some(before) if before != value => lines.push(format!("~ {what} {name}")),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::release::{ReleaseAsset, ReleaseParty};
    use super::*;
    use room_core::config::CronSetting;

    #[test]
    fn a_difference_names_everything_that_changes_and_no_value() {
        let party = |name: &str, module: &[u8]| ReleaseParty {
            name: name.to_owned(),
            was: None,
            module: BlobId::of(module),
            hibernate: false,
            auto_response: None,
            ttl: None,
            cors: None,
            request_bodies: Default::default(),
            resume: None,
            history: None,
            presence: None,
            auth: None,
            sse: Default::default(),
        };
        let asset = |path: &str| ReleaseAsset { path: path.to_owned(), blob: BlobId::of(b"") };
        let from = Release {
            parties: vec![party("main", b"1"), party("gone", b"1")],
            assets: vec![asset("a")],
            vars: [("KEY".to_owned(), "s3cret".to_owned())].into(),
            ..Release::default()
        };
        let to = Release {
            parties: vec![party("main", b"2"), party("new", b"1")],
            assets: vec![asset("a"), asset("b")],
            vars: [("KEY".to_owned(), "other".to_owned())].into(),
            limits: [("turn_ms_max".to_owned(), 5)].into(),
            hosts: vec!["a.org".to_owned()],
            crons: vec![CronSetting::new("prune", "0 3 * * *")],
            ..Release::default()
        };
        let lines = difference(Some(&from), &to);
        let wanted = [
            "- party gone",
            "~ party main",
            "+ party new",
            "+ file b",
            "+ cron prune",
            "~ variable KEY",
            "+ limit turn_ms_max",
            "+ host a.org",
        ];
        assert_eq!(lines, wanted);
        assert_eq!(difference(Some(&to), &to), Vec::<String>::new());
    }
}
