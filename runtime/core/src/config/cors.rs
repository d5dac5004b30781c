//! Which pages of other sites may read a party's responses. Owns the setting `cors`, and the rule about credentials.
//!
//! Invariant: a page may send cookies only if its origin is listed: `true` lets every page read, and no page with the
//! user's cookies. Pure: it does not know headers, only the text of an origin.

use super::origin::{Origin, OriginError, Origins};
use crate::limits::Limits;
use serde::{Deserialize, Serialize};

/// The setting, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CorsSetting {
    /// `true`: every page may read. `false`: no page of another site may, as without the setting.
    Every(bool),
    /// The pages of these origins may, with the user's cookies.
    Origins(Vec<String>),
}

/// The setting, checked. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// The server adds no headers. A room may.
    #[default]
    Off,
    /// Every page may read, without the user's cookies.
    Every,
    /// Pages of these origins may read, with the user's cookies.
    Origins(Origins),
}

/// What a page of an origin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorsRight {
    /// It must not read.
    Nothing,
    /// It may read responses to requests without cookies.
    Read,
    /// It may read, and its requests may carry cookies.
    ReadWithCookies,
}

impl CorsSetting {
    /// Parses one origin of the list.
    ///
    /// # Errors
    /// [`OriginError`]. `null` is invalid here: any site can make a page with that origin.
    pub fn origin(text: &str) -> Result<Origin, OriginError> {
        match text {
            "null" => Err(OriginError::of(
                "\"null\" cannot be listed in cors: every site can make a page with that origin",
            )),
            "*" => Err(OriginError::of(
                "\"*\" cannot be listed in cors: write `cors = true` to let every page read",
            )),
            text => Origin::parse(text),
        }
    }
}

impl Cors {
    /// Checks a setting.
    ///
    /// # Errors
    /// [`OriginError`]: an origin is invalid, there are more than [`Limits::origins_max`], or none.
    pub fn parse(setting: Option<&CorsSetting>, limits: &Limits) -> Result<Self, OriginError> {
        match setting {
            None | Some(CorsSetting::Every(false)) => Ok(Self::Off),
            Some(CorsSetting::Every(true)) => Ok(Self::Every),
            Some(CorsSetting::Origins(list)) if list.is_empty() => Err(OriginError::of(
                "cors lists no origins: write `cors = true` to let every page read, or remove it",
            )),
            Some(CorsSetting::Origins(list)) => {
                list.iter().try_for_each(|text| CorsSetting::origin(text).map(drop))?;
                Origins::parse(list, limits).map(Self::Origins)
            }
        }
    }

    /// Returns what a page of this origin may do.
    pub fn right_of(&self, origin: &str) -> CorsRight {
        match self {
            Self::Off => CorsRight::Nothing,
            Self::Every => CorsRight::Read,
            // The server's own pages need no permission, so its host does not count.
            Self::Origins(origins) if origins.let_in(origin, None) => CorsRight::ReadWithCookies,
            Self::Origins(_) => CorsRight::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[&str]) -> Result<Cors, OriginError> {
        let list = list.iter().map(|text| (*text).to_owned()).collect();
        Cors::parse(Some(&CorsSetting::Origins(list)), &Limits::default())
    }

    #[test]
    fn only_listed_origins_may_send_cookies() {
        let cors = of(&["https://a.example", "https://*.b.example"]).unwrap();
        for origin in ["https://a.example", "https://x.b.example"] {
            assert_eq!(cors.right_of(origin), CorsRight::ReadWithCookies, "{origin}");
        }
        for origin in ["https://b.example", "http://a.example", "null", "", "https://*.b.example"] {
            assert_eq!(cors.right_of(origin), CorsRight::Nothing, "{origin}");
        }
        assert_eq!(Cors::Every.right_of("https://a.example"), CorsRight::Read);
        assert_eq!(Cors::Off.right_of("https://a.example"), CorsRight::Nothing);
    }

    #[test]
    fn invalid_lists_are_refused_with_advice() {
        for (list, advice) in [
            (&["a.example"][..], "https://"),
            (&["*"], "cors = true"),
            (&["null"], "every site"),
            (&[], "cors = true"),
            (&["https://a.example/"], "without a path"),
        ] {
            let error = of(list).unwrap_err().to_string();
            assert!(error.contains(advice), "{list:?}: {error}");
        }
    }

    #[test]
    fn the_setting_reads_as_it_is_written() {
        for text in ["true", "false", "[\"https://a.example\"]"] {
            let setting: CorsSetting = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&setting).unwrap(), text);
        }
        assert!(serde_json::from_str::<CorsSetting>("\"*\"").is_err());
    }
}
