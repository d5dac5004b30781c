use super::*;
use proptest::prelude::*;

fn party(text: &str) -> PartyName {
    PartyName::parse(text).unwrap()
}

#[test]
fn spellings_of_the_same_words_are_one_party() {
    for spelling in ["chat-room", "chat_room", "ChatRoom", "chatRoom", "CHAT_ROOM"] {
        assert_eq!(party(spelling).as_str(), "chat-room");
    }
    assert_eq!(party("YDoc").as_str(), "y-doc");
    assert_eq!(party("main").as_str(), "main");
}

#[test]
fn a_party_is_a_plain_word() {
    assert_eq!(PartyName::parse(""), Err(NameError::Empty("party")));
    assert_eq!(PartyName::parse("a/b"), Err(NameError::Character { what: "party", found: '/' }));
    assert!(PartyName::parse(&"a".repeat(65)).is_err());
}

#[test]
fn a_room_name_is_decoded_once() {
    let room = |segment| RoomId::from_segment(party("main"), segment, 256);
    assert_eq!(room("a%20b").unwrap().name(), "a b");
    assert_eq!(room("%C3%A9").unwrap().name(), "é");
    assert_eq!(room("%2541").unwrap().name(), "%41");
    assert_eq!(room("a%2Fb").unwrap().name(), "a/b");
    assert_eq!(room("100%").unwrap().name(), "100%");
    assert_eq!(room("%FF"), Err(NameError::NotUtf8));
    assert_eq!(room("%00"), Err(NameError::Character { what: "room", found: '\0' }));
    assert_eq!(room(""), Err(NameError::Empty("room")));
}

proptest! {
    #[test]
    fn any_segment_is_a_room_or_an_error(segment in ".{0,300}") {
        if let Ok(room) = RoomId::from_segment(party("main"), &segment, 256) {
            prop_assert!((1..=256).contains(&room.name().len()));
            prop_assert!(!room.name().chars().any(char::is_control));
        }
    }

    #[test]
    fn an_encoded_room_name_decodes_to_itself(name in "[^\\p{Cc}]{1,60}") {
        let segment: String =
            percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).collect();
        let room = RoomId::from_segment(party("main"), &segment, 256).unwrap();
        prop_assert_eq!(room.name(), name);
    }

    #[test]
    fn kebab_is_stable(name in "[A-Za-z0-9_-]{1,32}") {
        let once = party(&name);
        prop_assert_eq!(PartyName::parse(once.as_str()).map(|p| p == once), Ok(true));
    }
}
