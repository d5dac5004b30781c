//! What a client asks of its query when it opens a WebSocket: the connection that it had, or what was sent before.
//!
//! Owns the parameters `_since`, `_resume` and `_rewind`. Invariant: they are taken out of the URL before anything else
//! reads it, as `_resume` is a secret, and any text is read or refused by a name. Pure: it does not know rooms.

use crate::address::{query_value, with_query};
use crate::status::DoorError;
use ::http::Uri;
use room_core::id::{ConnectionSecret, SequenceNumber};
use room_core::ttl::Ttl;
use room_rooms::room::{ReturningClient, Rewind};

/// The id of the last message that a client got.
const SINCE: &str = "_since";
/// The secret of its connection.
const RESUME: &str = "_resume";
/// How much it asks for of what was sent before: a number of messages, or a time.
const REWIND: &str = "_rewind";

/// What a client asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReturnQuery {
    pub(super) returning: Option<ReturningClient>,
    pub(super) rewind: Option<Rewind>,
}

/// Takes the parameters out of a URL.
///
/// # Errors
/// [`DoorError::Query`] names the parameter that is invalid.
pub(super) fn take(uri: &mut Uri) -> Result<ReturnQuery, DoorError> {
    let Some(query) = uri.query() else { return Ok(ReturnQuery::default()) };
    let value = |name| query_value(query, name).filter(|value| !value.is_empty());
    let (since, resume, rewind) = (value(SINCE), value(RESUME), value(REWIND));
    let is_own = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        [SINCE, RESUME, REWIND].contains(&name)
    };
    if query.split('&').any(is_own) {
        let rest: Vec<_> = query.split('&').filter(|pair| !is_own(pair)).collect();
        *uri = with_query(uri, &rest.join("&"));
    }
    let since = since.as_deref().map(since_of).transpose()?;
    let rewind = rewind.as_deref().map(rewind_of).transpose()?;
    Ok(match (since, resume) {
        (Some(since), Some(secret)) => {
            let secret = ConnectionSecret::parse(&secret);
            ReturnQuery { returning: Some(ReturningClient { secret, since }), rewind }
        }
        (Some(since), None) => {
            ReturnQuery { returning: None, rewind: rewind.or(Some(Rewind::Since(since))) }
        }
        // Without an id there is nothing to continue after.
        (None, _) => ReturnQuery { returning: None, rewind },
    })
}

fn since_of(text: &str) -> Result<SequenceNumber, DoorError> {
    text.parse().map_err(|error: room_core::id::CursorError| refused(SINCE, error.to_string()))
}

fn rewind_of(text: &str) -> Result<Rewind, DoorError> {
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(count) = text.parse()
    {
        return Ok(Rewind::Messages(count));
    }
    let time: Result<Ttl, _> = text.parse();
    time.map(|time| Rewind::Ms(time.as_millis())).map_err(|_| {
        let problem = "it is a number of messages, or a time such as 30s or 5m";
        refused(REWIND, problem.to_owned())
    })
}

fn refused(name: &'static str, problem: String) -> DoorError {
    DoorError::Query { name, problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(uri: &str) -> (Result<ReturnQuery, DoorError>, String) {
        let mut uri: Uri = uri.parse().unwrap();
        (take(&mut uri), uri.to_string())
    }

    #[test]
    fn the_url_of_a_client_keeps_no_secret() {
        let secret = ConnectionSecret::random();
        let url = format!("/party/a?_pk=me&_since=7-42&x=1&_resume={}&_rewind=5", secret.reveal());
        let (asked, left) = taken(&url);
        let ReturnQuery { returning, rewind } = asked.unwrap();
        let returning = returning.unwrap();
        assert!(returning.secret.is_some_and(|own| own.is(secret)));
        assert_eq!(returning.since, SequenceNumber { epoch: 7, seq: 42 });
        assert_eq!((rewind, &*left), (Some(Rewind::Messages(5)), "/party/a?_pk=me&x=1"));
        assert_eq!(taken("/party/a?_resume=x").1, "/party/a");
        assert_eq!(taken("/party/a?_pk=1&x").1, "/party/a?_pk=1&x");
        assert_eq!(taken("http://h:1/party/a?_since=").1, "http://h:1/party/a");
    }

    #[test]
    fn an_id_alone_asks_for_what_all_were_sent_since() {
        let rewind = |query| taken(query).0.unwrap().rewind;
        let since = SequenceNumber { epoch: 7, seq: 42 };
        assert_eq!(rewind("/a?_since=7-42"), Some(Rewind::Since(since)));
        assert_eq!(rewind("/a?_rewind=30s"), Some(Rewind::Ms(30_000)));
        assert_eq!(rewind("/a"), None);
        assert!(taken("/a?_resume=0123").0.unwrap().returning.is_none());
        let shown = taken("/a?_since=7-42&_resume=no").0.unwrap().returning.unwrap();
        assert!(shown.secret.is_none(), "a text that no server made is nobody's secret");
    }

    #[test]
    fn parameters_that_cannot_be_read_are_refused_by_name() {
        let problem = |query| taken(query).0.unwrap_err().to_string();
        assert_eq!(
            problem("/a?_since=yesterday"),
            "_since is invalid: an id is two numbers with a dash between, such as 7-42"
        );
        assert_eq!(
            problem("/a?_rewind=all"),
            "_rewind is invalid: it is a number of messages, or a time such as 30s or 5m"
        );
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused_and_keeps_no_secret(query in "([&=]?(_since|_resume|_rewind|x|[0-9a-f%-]{0,6})){0,8}") {
            let mut uri: Uri = format!("/party/a?{query}").parse().unwrap();
            let _ = take(&mut uri);
            let left = uri.query().unwrap_or_default();
            prop_assert!(!left.split('&').any(|pair| pair.split('=').next() == Some("_resume")));
        }
    }
}
