//! The storage as a room's author uses it.

use std::cell::RefCell;
use std::ops::Range;

use room_sdk::prelude::*;
use room_sdk::test::TestRoom;
use room_sdk::{Storage, StorageError};

type Act = Box<dyn FnOnce(&Context) -> Result>;

thread_local! {
    /// What the room does with its next request.
    static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
}

/// Does what the test that runs in its thread says.
#[derive(Default)]
struct Keeper;

impl Room for Keeper {
    fn on_request(&mut self, ctx: &Context, _: Request) -> Result<Response> {
        ACT.take().ok_or_else(|| anyhow!("nothing to do"))?(ctx)?;
        Ok(Response::status(204))
    }
}

/// Does this in one turn of the room, which must not fail.
#[track_caller]
fn turn(room: &TestRoom<Keeper>, act: impl FnOnce(&Context) -> Result + 'static) {
    ACT.set(Some(Box::new(act)));
    let status = room.request(Request::get("/")).status_code();
    assert_eq!((status, room.take_errors()), (204, vec![]));
}

fn room() -> TestRoom<Keeper> {
    TestRoom::new("lobby")
}

fn numbered(storage: &Storage, numbers: Range<u32>) -> Result {
    numbers.into_iter().try_for_each(|n| storage.put(format!("n:{n:04}"), &n))
}

#[test]
fn values_of_any_type_are_read_back_unchanged() {
    let room = room();
    turn(&room, |ctx| {
        let storage = ctx.storage();
        storage.put("text", "é")?;
        storage.put("pair", &(1, Some(2.5)))?;
        storage.put(String::from("owned"), &vec!["a"])?;
        storage.put([0xff], &true)?;
        storage.put("none", &None::<u8>)
    });
    room.hibernate();
    turn(&room, |ctx| {
        let storage = ctx.storage();
        assert_eq!(storage.get::<String>("text")?.as_deref(), Some("é"));
        assert_eq!(storage.get("pair")?, Some((1, Some(2.5))));
        assert_eq!(storage.get("owned")?, Some(vec!["a".to_owned()]));
        assert_eq!(storage.get([0xff])?, Some(true));
        assert_eq!(storage.get::<Option<u8>>("none")?, Some(None));
        assert_eq!(storage.get::<u8>("absent")?, None);
        let wrong = storage.get::<u8>("text").unwrap_err().to_string();
        assert_eq!(wrong, r#"the value of key "text" is not the expected type"#);
        Ok(())
    });
}

#[test]
fn reading_many_keys_is_one_host_call() {
    let room = room();
    turn(&room, |ctx| {
        let storage = ctx.storage();
        storage.put_many([("a", &1), ("b", &2), ("a", &3)])?;
        assert_eq!(
            storage.get_many::<u8>(["b", "x", "a", "b"])?,
            [Some(2), None, Some(3), Some(2)]
        );
        let refused = storage.put_many([("c", &1), ("", &2)]).unwrap_err();
        assert_eq!(refused.downcast_ref(), Some(&StorageError::InvalidKey(2_048)));
        assert_eq!(storage.get::<u8>("c")?, None, "all or none");
        assert_eq!(storage.delete_many(["a", "x", "a"])?, 1);
        assert!(storage.delete("b")?);
        assert!(!storage.delete("b")?);
        let raw = storage.raw();
        raw.put_many([(b"k", b"1"), (b"l", b"2")])?;
        assert_eq!(raw.get_many(["l", "x"])?, [Some(b"2".to_vec()), None]);
        assert_eq!((raw.delete("k")?, raw.delete_many(["k", "l"])?), (true, 1));
        Ok(())
    });
    assert!(room.storage().is_empty());
}

#[test]
fn keys_are_listed_in_byte_order() {
    let room = room();
    turn(&room, |ctx| {
        let raw = ctx.storage().raw();
        let sorted: [&[u8]; 8] =
            [b"\x00", b"\x00\x00", b"A", b"B", b"a", b"aa", "é".as_bytes(), b"\xff\xff"];
        for key in sorted.into_iter().rev() {
            raw.put(key, b"")?;
        }
        assert_eq!(raw.list().keys()?, sorted);
        assert_eq!(raw.list().prefix(b"\xff").keys()?, [b"\xff\xff"]);
        assert_eq!(raw.list().prefix(b"a").keys()?, [&b"a"[..], b"aa"]);
        assert_eq!(raw.list().start(b"B").end(b"aa").keys()?, [b"B", b"a"]);
        assert!(raw.list().start(b"b").end(b"a").keys()?.is_empty());
        // A typed list takes keys for text.
        let error = ctx.storage().list::<u8>().start(b"\xff").entries().unwrap_err();
        assert!(error.to_string().contains("is not the expected type"), "{error:#}");
        ctx.storage().put(b"\xff\xff", &1)?;
        let error = ctx.storage().list::<u8>().start(b"\xff").entries().unwrap_err();
        assert!(error.to_string().contains("list it raw"), "{error:#}");
        Ok(())
    });
}

#[test]
fn a_list_shows_the_turns_own_writes() {
    let room = room();
    turn(&room, |ctx| numbered(&ctx.storage(), 0..200));
    turn(&room, |ctx| {
        let storage = ctx.storage();
        let keys = || storage.list::<u32>().keys();
        storage.delete("n:0000")?;
        storage.put("n:0001a", &0)?;
        storage.put("n:0199", &7)?;
        let seen = storage.list::<u32>().limit(3).entries()?;
        let wanted = [("n:0001", 1), ("n:0001a", 0), ("n:0002", 2)];
        assert_eq!(seen, wanted.map(|(key, n)| (key.to_owned(), n)));
        assert_eq!(storage.list::<u32>().reverse().limit(1).values()?, [7]);
        assert_eq!(keys()?.len(), 200);
        storage.delete_all()?;
        assert!(keys()?.is_empty());
        storage.put("new", &1)?;
        assert_eq!(keys()?, ["new"]);
        Ok(())
    });
    assert_eq!(room.storage().list::<u32>(""), [("new".to_owned(), 1)]);
}

#[test]
fn a_long_list_may_be_changed_while_it_is_read() {
    let room = room();
    turn(&room, |ctx| numbered(&ctx.storage(), 0..500));
    turn(&room, |ctx| {
        let storage = ctx.storage();
        let mut seen = 0;
        for entry in storage.list::<u32>().prefix("n:") {
            let (key, n) = entry?;
            assert_eq!(n, seen, "none twice, none left out");
            seen += 1;
            // Passed entries may be removed. Entries written before the position are not visited.
            storage.delete(key)?;
            storage.put(format!("m:{n:04}"), &n)?;
        }
        assert_eq!(seen, 500);
        let mut backwards = storage.list::<u32>().reverse().limit(150).into_iter();
        for n in (350..500).rev() {
            let (key, value) = backwards.next().ok_or_else(|| anyhow!("it ended early"))??;
            assert_eq!(value, n);
            storage.delete(key)?;
        }
        assert!(backwards.next().is_none(), "the limit holds over all pages");
        Ok(())
    });
    assert_eq!(room.storage().len(), 350);
}

#[test]
fn a_list_ends_after_its_first_error() {
    let room = TestRoom::<Keeper>::builder("lobby")
        .stored("a", &1)
        .stored("b", "no number")
        .stored("c", &3)
        .build();
    turn(&room, |ctx| {
        let mut list = ctx.storage().list::<u32>().into_iter();
        assert_eq!(list.next().and_then(Result::ok), Some(("a".to_owned(), 1)));
        assert!(list.next().is_some_and(|entry| entry.is_err()));
        assert!(list.next().is_none());
        let mut list = ctx.storage().list::<u32>().start("a").start_after("b").into_iter();
        let error = list.next().and_then(Result::err).ok_or_else(|| anyhow!("no error"))?;
        assert!(matches!(error.downcast_ref(), Some(StorageError::InvalidRange(_))), "{error:#}");
        assert!(list.next().is_none());
        Ok(())
    });
}

#[test]
fn delete_all_also_removes_the_alarm() {
    let room = room();
    turn(&room, |ctx| {
        ctx.storage().put("k", &1)?;
        ctx.alarm().set_in(std::time::Duration::from_secs(1));
        Ok(())
    });
    assert!(room.alarm().is_some());
    turn(&room, |ctx| ctx.storage().delete_all());
    assert_eq!((room.alarm(), room.storage().len()), (None, 0));
}
