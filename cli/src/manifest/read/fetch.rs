//! `[fetch]` of a manifest. Owns the messages about its mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know which hosts exist.

use super::{FETCH, ManifestReader, Value};
use crate::codes::Code;
use room_runtime::{FetchHost, FetchSettings, Limits};
use toml::Spanned;

impl ManifestReader<'_> {
    /// Returns the hosts, as they are written.
    pub(super) fn fetch(&mut self, value: &Value<'_>) -> Vec<Spanned<String>> {
        let mut hosts = Vec::new();
        for (key, value) in self.table("fetch", value).into_iter().flatten() {
            match key.get_ref().as_ref() {
                "hosts" => hosts = self.strings("fetch.hosts", value),
                _ => self.unknown(key, "[fetch]", FETCH),
            }
        }
        hosts
    }

    /// Reports invalid hosts, and too many of them, when all keys are read.
    pub(super) fn fetch_hosts(
        &mut self,
        hosts: Vec<Spanned<String>>,
        limits: &Limits,
    ) -> FetchSettings {
        for (count, host) in hosts.iter().enumerate() {
            if let Err(error) = FetchHost::parse(host.get_ref()) {
                self.complain(Code::BadFetchHost, &error.to_string(), host.span(), "this host");
            }
            if count as u64 == limits.fetch_hosts_max {
                let message = format!("more hosts than fetch_hosts_max allows ({count})");
                let label = "the first that is too many";
                self.complain(Code::BadFetchHost, &message, host.span(), label)
                    .help_last("remove some, or set `fetch_hosts_max` in `[limits]`");
            }
        }
        FetchSettings { hosts: hosts.into_iter().map(Spanned::into_inner).collect() }
    }
}
