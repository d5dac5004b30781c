use super::*;
use crate::identity::Capabilities;
use proptest::prelude::*;

fn user(name: &str) -> PresenceUser {
    PresenceUser { name: name.to_owned(), proof: UserProof::Client }
}

fn entered(names: &[&str]) -> Arc<PresentUsers> {
    let mut users = PresentUsers::default();
    names.iter().for_each(|name| drop(users.enter(&user(name))));
    Arc::new(users)
}

/// Carries out a draft, as a room does.
fn commit(users: &mut Arc<PresentUsers>, draft: PresenceDraft) {
    let edits = draft.into_edits();
    let users = Arc::make_mut(users);
    for (name, edit) in edits {
        let shown = edit.over(users.get(&name).and_then(|record| record.shown.as_ref()));
        users.show(&name, shown);
    }
}

#[test]
fn a_user_is_the_subject_of_its_claims_or_the_id_of_its_connection() {
    let id = ConnectionId::parse("tab-1", 9).unwrap();
    let of = |claims: &str| {
        let identity = Identity::new(claims.to_owned(), Capabilities::ALL, None);
        let PresenceUser { name, proof } = PresenceUser::of(&id, Some(&identity));
        (name, proof)
    };
    assert_eq!(of(r#"{"sub":"a\"da"}"#), ("a\"da".to_owned(), UserProof::Claim));
    assert_eq!(of(r#"{"sub":7}"#), ("7".to_owned(), UserProof::Claim));
    assert_eq!(of("{}"), ("tab-1".to_owned(), UserProof::Client));
    assert_eq!(PresenceUser::of(&id, None), user("tab-1"));
}

#[test]
fn a_change_is_made_as_a_whole_or_refused() {
    let limits = Limits {
        presence_users_max: 2,
        presence_data_bytes_max: 8,
        presence_flags_max: 1,
        presence_flag_ms_max: 9,
        ..Limits::default()
    };
    let mut draft = PresenceDraft::new(entered(&["ada", "bob", "eve"]));
    let (ada, bob, eve) = (user("ada"), user("bob"), user("eve"));
    assert_eq!(draft.flag(&ada, ("typing", 5), &limits), Err(PresenceRefusal::NotPresent));
    draft.set(&ada, " {\"b\": 1 } ", &limits).unwrap();
    assert_eq!(&*draft.get("ada").unwrap().shown.data, r#"{"b":1}"#);
    let large = draft.set(&ada, "123456789", &limits);
    assert_eq!(large, Err(PresenceRefusal::TooLarge { bytes: 9, max: 8 }));
    for text in ["", "{", "1 2", "nul", "\"\u{1}\"", "\"\\ud800\"", "1e999"] {
        let refused = draft.set(&ada, text, &limits);
        assert!(matches!(refused, Err(PresenceRefusal::Invalid(_))), "{text}");
    }
    draft.flag(&ada, ("typing", 9), &limits).unwrap();
    draft.flag(&ada, ("typing", 5), &limits).unwrap();
    let full = PresenceRefusal::Full { limit: "presence_flags_max", max: 1 };
    assert_eq!(draft.flag(&ada, ("away", 1), &limits), Err(full));
    let long = "x".repeat(33);
    for flag in [("typing", 10), ("", 1), (long.as_str(), 1)] {
        let refused = draft.flag(&ada, flag, &limits);
        assert!(matches!(refused, Err(PresenceRefusal::Invalid(_))), "{flag:?}");
    }
    draft.set(&bob, "1", &limits).unwrap();
    let full = PresenceRefusal::Full { limit: "presence_users_max", max: 2 };
    assert_eq!(draft.set(&eve, "1", &limits), Err(full));
    assert_eq!(draft.get("eve"), None);
    draft.clear(&bob, &limits).unwrap();
    draft.set(&eve, "1", &limits).unwrap();
    assert_eq!(draft.set(&user("nobody"), "1", &limits), Err(PresenceRefusal::Forbidden));
    let claimed = PresenceUser { proof: UserProof::Claim, ..ada };
    assert_eq!(draft.set(&claimed, "1", &limits), Err(PresenceRefusal::Forbidden));
}

#[test]
fn the_users_of_a_room_have_so_many_bytes_together() {
    let limits = Limits { presence_room_bytes_max: 150, ..Limits::default() };
    let mut draft = PresenceDraft::new(entered(&["ada", "bob"]));
    draft.set(&user("ada"), "123456", &limits).unwrap();
    let full = PresenceRefusal::Full { limit: "presence_room_bytes_max", max: 150 };
    let long = "9".repeat(12);
    assert_eq!(draft.set(&user("bob"), &long, &limits), Err(full.clone()));
    draft.set(&user("bob"), "1", &limits).unwrap();
    assert_eq!(draft.flag(&user("bob"), ("typing", 1), &limits), Ok(()));
    assert_eq!(draft.flag(&user("bob"), ("far-away", 1), &limits), Err(full));
    // A clear frees what was counted.
    draft.clear(&user("ada"), &limits).unwrap();
    draft.set(&user("bob"), &long, &limits).unwrap();
}

#[test]
fn a_clear_ends_data_and_flags_that_were_there_before() {
    let (mut users, limits) = (entered(&["ada"]), Limits::default());
    let mut draft = PresenceDraft::new(users.clone());
    draft.set(&user("ada"), "1", &limits).unwrap();
    draft.flag(&user("ada"), ("typing", 5), &limits).unwrap();
    commit(&mut users, draft);
    assert_eq!(users.entry("ada").unwrap().shown.flags.len(), 1);
    let mut draft = PresenceDraft::new(users.clone());
    draft.clear(&user("ada"), &limits).unwrap();
    assert_eq!(draft.get("ada"), None);
    draft.set(&user("ada"), "2", &limits).unwrap();
    commit(&mut users, draft);
    let ada = users.entry("ada").unwrap();
    assert_eq!((&*ada.shown.data, ada.shown.flags.len(), ada.connections), ("2", 0, 1));
}

#[test]
fn an_event_has_the_keys_that_are_not_empty() {
    let mut entries = BTreeMap::new();
    let entry = |data: &str, connections, flags: &[&str]| {
        let flags = flags.iter().map(|flag| Arc::from(*flag)).collect();
        Some(PresenceEntry { shown: ShownPresence { data: data.into(), flags }, connections })
    };
    assert_eq!(sync_of(&entries), r#"{"sync":[]}"#);
    let came =
        [(Arc::from("ada"), entry("1", 1, &[])), (Arc::from("b\"b"), entry("null", 2, &["t"]))];
    let diff = PresenceDiff::apply(&mut entries, came);
    assert_eq!(
        diff.json(),
        r#"{"joined":[{"user":"ada","data":1,"connections":1},{"user":"b\"b","data":null,"connections":2,"flags":["t"]}]}"#
    );
    let changes = [(Arc::from("ada"), entry("2", 1, &[])), (Arc::from("b\"b"), None)];
    let diff = PresenceDiff::apply(&mut entries, changes);
    assert_eq!(
        diff.json(),
        r#"{"updated":[{"user":"ada","data":2,"connections":1}],"left":["b\"b"]}"#
    );
    let same = [(Arc::from("ada"), entry("2", 1, &[])), (Arc::from("eve"), None)];
    assert!(PresenceDiff::apply(&mut entries, same).is_empty());
    assert_eq!(users_of(&entries), r#"{"users":[{"user":"ada","data":2,"connections":1}]}"#);
}

#[derive(Clone, Debug)]
enum Change {
    Set(usize, String),
    Clear(usize),
    Flag(usize, u8, bool),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..4_usize, "[0-9]{1,6}").prop_map(|(who, data)| Change::Set(who, data)),
        (0..4_usize).prop_map(Change::Clear),
        (0..4_usize, 0..4_u8, any::<bool>())
            .prop_map(|(who, flag, on)| Change::Flag(who, flag, on)),
    ]
}

proptest! {
    #[test]
    fn tallies_are_what_a_count_of_all_users_yields(
        turns in prop::collection::vec(prop::collection::vec(change(), 0..8), 0..8),
    ) {
        let names = ["a", "b", "c", "d"];
        let limits = Limits {
            presence_users_max: 3,
            presence_room_bytes_max: 230,
            presence_flags_max: 2,
            ..Limits::default()
        };
        let mut users = entered(&names);
        for turn in turns {
            let mut draft = PresenceDraft::new(users.clone());
            for change in turn {
                let before = draft.all();
                let outcome = match change {
                    Change::Set(who, data) => draft.set(&user(names[who]), &data, &limits),
                    Change::Clear(who) => draft.clear(&user(names[who]), &limits),
                    Change::Flag(who, flag, on) => {
                        let flag = flag.to_string();
                        draft.flag(&user(names[who]), (&flag, u64::from(on)), &limits)
                    }
                };
                if outcome.is_err() {
                    prop_assert_eq!(before, draft.all());
                }
            }
            let drafted = draft.all();
            commit(&mut users, draft);
            let entries: Vec<_> =
                users.entries().map(|(name, entry)| (name.clone(), entry)).collect();
            prop_assert_eq!(&drafted, &entries);
            let bytes: usize = entries.iter().map(|(name, entry)| entry.shown.bytes(name)).sum();
            prop_assert_eq!(users.tallies, PresenceTallies { users: entries.len(), bytes });
            prop_assert!(bytes <= 230 && entries.len() <= 3);
        }
    }
}
