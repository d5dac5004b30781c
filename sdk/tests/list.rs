//! Listing the storage, across the pages of the host.

use room_sdk::prelude::*;
use room_sdk::test::TestRoom;

/// Lists what it stored, in every way.
#[derive(Default)]
struct Lister;

impl Room for Lister {
    fn on_request(&mut self, ctx: &Context, request: Request) -> Result<Response> {
        let mut list = ctx.storage().list::<u32>();
        if let Some(prefix) = request.query("prefix") {
            list = list.prefix(prefix);
        }
        if let Some(start) = request.query("start") {
            list = list.start(start);
        }
        if let Some(after) = request.query("after") {
            list = list.start_after(after);
        }
        if let Some(end) = request.query("end") {
            list = list.end(end);
        }
        if request.query("reverse").is_some() {
            list = list.reverse();
        }
        if let Some(limit) = request.query("limit") {
            list = list.limit(limit.parse()?);
        }
        Response::json(&list.values()?)
    }
}

#[test]
fn lists_cross_pages_in_order() {
    let mut builder = TestRoom::<Lister>::builder("lobby");
    for n in 0..200_u32 {
        builder = builder.stored(format!("n:{n:03}"), &n);
    }
    let room = builder.stored("z", &999).build();
    let list = |query: &str| {
        let response = room.request(Request::get(format!("/?{query}")));
        response.body_json::<Vec<u32>>().unwrap_or_default()
    };
    let all: Vec<u32> = (0..200).collect();
    assert_eq!(list("prefix=n:"), all);
    assert_eq!(list("prefix=n:&reverse"), all.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(list("prefix=n:&reverse&limit=70"), (130..200).rev().collect::<Vec<_>>());
    assert_eq!(list("limit=130"), all[..130]);
    assert_eq!(list("limit=0"), all[..0]);
    assert_eq!(list("start=n:010&end=n:110"), all[10..110]);
    assert_eq!(list("after=n:010&end=n:110&reverse&limit=80").last(), Some(&30));
    assert_eq!(list("start=n:198"), [198, 199, 999]);
    assert_eq!(room.request(Request::get("/?start=a&after=b")).status_code(), 500);
}
