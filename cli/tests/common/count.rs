//! A room for tests of the command. Owns its source.
//!
//! Invariant: what is posted counts one more, which is answered and stored under `count`. It does not know who
//! posts.

/// A room that counts its POST requests.
pub(crate) const COUNT: &str = r#"//! Counts.
use room_sdk::prelude::*;

/// Keeps its count in the storage.
#[derive(Default)]
pub struct Count;

impl Room for Count {
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        let mut count: u64 = ctx.storage().get("count")?.unwrap_or_default();
        if request.method() == "POST" {
            count += 1;
            ctx.storage().put("count", &count)?;
        }
        Ok(Response::text(count.to_string()))
    }
}

room_sdk::export!(Count);
"#;
