//! `[assets]` of a manifest. Owns the messages about its mistakes.
//!
//! Invariant: as of the reader whose part it is. It does not know which files the folder has.

use super::{ASSETS, ManifestReader, Value};
use crate::codes::Code;
use room_runtime::limits::fixed::ASSET_CACHE_MAX;
use room_runtime::{AssetCache, AssetSettings};
use std::path::PathBuf;
use toml::Spanned;

/// The content of `[assets]`, as far as it can be read.
#[derive(Default)]
pub(super) struct AssetSection {
    pub(super) dir: Option<Spanned<PathBuf>>,
    pub(super) settings: AssetSettings,
}

impl ManifestReader<'_> {
    pub(super) fn assets(&mut self, value: &Value<'_>) -> AssetSection {
        let (mut dir, mut settings) = (None, AssetSettings::default());
        let Some(table) = self.table("assets", value) else {
            return AssetSection::default();
        };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "dir" => dir = Some((self.string("assets.dir", value), value.span())),
                "single_page" => match value.get_ref().as_bool() {
                    Some(own) => settings.single_page = own,
                    None => self.wrong_type("assets.single_page", "true or false", value),
                },
                "cache" => settings.cache = self.asset_cache(value),
                _ => self.unknown(key, "[assets]", ASSETS),
            }
        }
        let Some((dir, span)) = dir else {
            self.complain(
                Code::BadAssets,
                "[assets] names no folder",
                value.span(),
                "this section",
            )
            .help_last("add `dir = \"web\"`, or remove the section");
            return AssetSection::default();
        };
        AssetSection { dir: dir.map(|dir| Spanned::new(span, PathBuf::from(dir))), settings }
    }

    /// Returns the patterns with their `Cache-Control`, in the order of the file.
    fn asset_cache(&mut self, value: &Value<'_>) -> Vec<AssetCache> {
        let mut found = Vec::new();
        let Some(table) = self.table("assets.cache", value) else {
            return found;
        };
        for (key, value) in table {
            let files = key.get_ref().to_string();
            let Some(text) = self.string(&format!("assets.cache.\"{files}\""), value) else {
                continue;
            };
            let own = AssetCache { files, value: text };
            if let Err(error) = own.check() {
                self.complain(Code::BadAssetCache, &error.to_string(), key.span(), "this pattern");
            }
            if found.len() == ASSET_CACHE_MAX {
                let message = format!("[assets.cache] has more than {} patterns", found.len());
                self.complain(
                    Code::BadAssetCache,
                    &message,
                    key.span(),
                    "the first that is too many",
                )
                .help_last("one pattern may match many files: `\"img/**\" = \"max-age=60\"`");
            }
            found.push(own);
        }
        found
    }
}
