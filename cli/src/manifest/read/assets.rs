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
    pub(super) page_scripts: Vec<Spanned<PathBuf>>,
    pub(super) settings: AssetSettings,
}

impl ManifestReader<'_> {
    pub(super) fn assets(&mut self, value: &Value<'_>) -> AssetSection {
        let (mut dir, mut settings) = (None, AssetSettings::default());
        let mut page_scripts = Vec::new();
        let Some(table) = self.table("assets", value) else {
            return AssetSection::default();
        };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "dir" => dir = Some((self.string("assets.dir", value), value.span())),
                "build" => page_scripts = self.page_scripts(value),
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
        let dir = dir.map(|dir| Spanned::new(span, PathBuf::from(dir)));
        AssetSection { dir, page_scripts, settings }
    }

    /// Returns the scripts of pages: one, or a list.
    fn page_scripts(&mut self, value: &Value<'_>) -> Vec<Spanned<PathBuf>> {
        let values = match value.get_ref().as_array() {
            Some(values) => values.iter().collect(),
            None => vec![value],
        };
        let mut files = Vec::new();
        for value in values {
            match value.get_ref().as_str() {
                Some(file) => files.push(Spanned::new(value.span(), PathBuf::from(file))),
                None => {
                    self.wrong_type("assets.build", "the name of a file, or a list of names", value)
                }
            }
        }
        files
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
