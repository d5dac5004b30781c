//! How static files are answered. Owns the settings of `[assets]` besides the folder, and the `Cache-Control` of a file.
//!
//! Invariant: a [`CacheControl`] has only values that are valid in a header. A file may be kept without asking only if
//! its name changes with its content, or if the project says so. Pure: it does not know files, only their paths.

use crate::limits::fixed::ASSET_CACHE_MAX;
use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The settings of a project's static files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetSettings {
    /// Whether a page that does not exist is answered with `index.html`, for applications that read the URL themselves.
    #[serde(default)]
    pub single_page: bool,
    /// The files with a `Cache-Control` of their own. The first that matches a file applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<AssetCache>,
}

/// Files with a `Cache-Control` of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetCache {
    /// A pattern of their paths, such as `img/**`. One without a slash, such as `*.woff2`, matches in every folder.
    pub files: String,
    /// The whole value of the header, such as `public, max-age=86400`.
    pub value: String,
}

/// Why a setting of `[assets]` cannot be used, as a sentence that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AssetError(String);

/// The header of files whose content may change at any time: browsers keep them, and ask each time whether they are
/// current.
const ASK_EACH_TIME: &str = "no-cache";
/// The header of files whose names change with their content. A year is the longest time that RFC 9111 caches respect.
const KEEP: &str = "public, max-age=31536000, immutable";

/// The `Cache-Control` of each file. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CacheControl(Arc<[(GlobMatcher, String)]>);

impl AssetCache {
    /// Parses the pattern, and checks the value.
    ///
    /// # Errors
    /// [`AssetError`].
    pub fn check(&self) -> Result<(), AssetError> {
        self.matcher().map(drop)
    }

    fn matcher(&self) -> Result<GlobMatcher, AssetError> {
        let Self { files, value } = self;
        if value.trim().is_empty() || !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(AssetError(format!(
                "the cache of {files:?} must be the value of a Cache-Control header, such as \"public, max-age=3600\""
            )));
        }
        let pattern = files.trim_start_matches('/');
        let pattern = match pattern.contains('/') {
            true => pattern.to_owned(),
            false => format!("**/{pattern}"),
        };
        match GlobBuilder::new(&pattern).literal_separator(true).build() {
            Ok(glob) if !files.is_empty() => Ok(glob.compile_matcher()),
            _ => Err(AssetError(format!(
                "{files:?} is not a pattern of files: write it as \"*.woff2\" or \"img/**\""
            ))),
        }
    }
}

impl CacheControl {
    /// Parses the patterns of a project.
    ///
    /// # Errors
    /// [`AssetError`]: a pattern or a value is invalid, or there are more than [`ASSET_CACHE_MAX`].
    pub fn parse(settings: &AssetSettings) -> Result<Self, AssetError> {
        let count = settings.cache.len();
        if count > ASSET_CACHE_MAX {
            let text = format!("{count} patterns in [assets.cache], at most {ASSET_CACHE_MAX}");
            return Err(AssetError(text));
        }
        let parsed = settings.cache.iter().map(|own| Ok((own.matcher()?, own.value.clone())));
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the header of a file, whose path is relative to the folder, with `/` between its parts.
    pub fn of(&self, path: &str) -> &str {
        let own = self.0.iter().find(|(files, _)| files.is_match(path));
        let name = path.rsplit('/').next().unwrap_or(path);
        match own {
            Some((_, value)) => value,
            None if is_hashed(name) => KEEP,
            None => ASK_EACH_TIME,
        }
    }
}

/// Returns true for a name with a hash of the file's content in it, as bundlers make them: `index-BpQ3kZ1x.js`,
/// `main.3f2a1bc4.chunk.css`, `app-5MTDZ2QY.js`. A browser that keeps a file for too long shows an old page, and one
/// that asks too often only waits. So a name that may be a word is not taken for a hash.
fn is_hashed(name: &str) -> bool {
    let Some((stem, _)) = name.rsplit_once('.') else { return false };
    let mut parts = stem.split(['-', '.']);
    // The first part is the name that the author gave.
    parts.next().is_some_and(|first| !first.is_empty()) && parts.any(is_hash)
}

fn is_hash(part: &str) -> bool {
    let bytes = part.as_bytes();
    let has = |of: fn(&u8) -> bool| bytes.iter().any(of);
    let all = |of: fn(&u8) -> bool| bytes.iter().all(of);
    let (upper, lower, digit) =
        (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase), has(u8::is_ascii_digit));
    let hex = all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) && lower;
    let base32 = all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) && upper;
    let kind = |byte: &u8| (byte.is_ascii_uppercase(), byte.is_ascii_digit());
    let turns = bytes.windows(2).filter(|two| kind(&two[0]) != kind(&two[1])).count();
    let base64 = all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') && upper && lower;
    (8..=64).contains(&part.len()) && digit && (hex || base32 || (base64 && turns >= 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(cache: &[(&str, &str)]) -> AssetSettings {
        let own = |(files, value): &(&str, &str)| AssetCache {
            files: (*files).to_owned(),
            value: (*value).to_owned(),
        };
        AssetSettings { cache: cache.iter().map(own).collect(), ..AssetSettings::default() }
    }

    #[test]
    fn hashed_names_are_kept_and_words_are_not_taken_for_hashes() {
        let cache = CacheControl::default();
        for path in [
            "assets/index-BpQ3kZ1x.js",
            "main.3f2a1bc4.css",
            "main.3f2a1bc4.chunk.js.map",
            "app-5MTDZ2QY.js",
            "a/framework-0a1b2c3d4e5f6a7b.js",
        ] {
            assert_eq!(cache.of(path), KEEP, "{path}");
        }
        for path in [
            "index.html",
            "report-20240101.pdf",
            "photo-Version2.png",
            "a-MacBook2.svg",
            "x-iPhone15.jpg",
            "user-deadbeef",
            "some-thing-interesting.js",
            "3f2a1bc4.js",
            "-3f2a1bc4.js",
            "jquery-3.7.1.min.js",
            "",
        ] {
            assert_eq!(cache.of(path), ASK_EACH_TIME, "{path}");
        }
    }

    #[test]
    fn the_first_pattern_that_matches_applies() {
        let cache = CacheControl::parse(&settings(&[
            ("img/**", "max-age=60"),
            ("*.png", "max-age=5"),
            ("app-*", "no-store"),
        ]))
        .unwrap();
        assert_eq!(cache.of("img/a/b.png"), "max-age=60");
        assert_eq!(cache.of("other/b.png"), "max-age=5");
        assert_eq!(cache.of("b.png"), "max-age=5");
        assert_eq!(cache.of("app-5MTDZ2QY.js"), "no-store");
        assert_eq!(cache.of("b.css"), ASK_EACH_TIME);
    }

    #[test]
    fn invalid_cache_settings_are_refused() {
        for (files, value) in [("", "no-cache"), ("[", "no-cache"), ("*", ""), ("*", "a\r\nb: c")] {
            assert!(CacheControl::parse(&settings(&[(files, value)])).is_err(), "{files} {value}");
        }
        let many = vec![("*", "no-cache"); ASSET_CACHE_MAX + 1];
        assert!(CacheControl::parse(&settings(&many)).is_err());
    }
}
