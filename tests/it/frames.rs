//! Frames of every kind, made by rule, against an oracle that follows RFC 6455 and not this server.
//!
//! Invariant: for every sequence the server answers as the RFC asks: the messages, the pongs, the close code, and a
//! clean end. Nothing else is a pass.

use futures_util::stream::{self, StreamExt};
use room_tests::{Dice, RawClient, Setup, seed};
use std::net::SocketAddr;

/// The largest message of these tests.
const MESSAGE_MAX: usize = 70_000;
/// The number of sequences that run at the same time.
const AT_ONCE: usize = 16;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// How the length of a frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Shortest,
    TwoBytes,
    EightBytes,
}

/// A frame of a client, valid or not.
#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    masked: bool,
    form: Form,
    payload: Vec<u8>,
}

/// One sequence of frames.
#[derive(Debug)]
struct Case {
    name: String,
    frames: Vec<Frame>,
    /// The places where the bytes are cut into writes.
    cut: Cut,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Nowhere,
    Frames,
    Every(usize),
}

/// The behaviour that the RFC requires.
#[derive(Debug, Default)]
struct Expected {
    messages: Vec<(u8, Vec<u8>)>,
    pings: Vec<Vec<u8>>,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    /// The connection fails, with one of these codes.
    Fails(Vec<u16>),
    /// The client closes; its code comes back. Answers may be missing, as RFC 6455 section 5.5.1 lets a server
    /// answer a close at once.
    Closes(Option<u16>),
}

fn frame(first: u8, payload: impl Into<Vec<u8>>) -> Frame {
    Frame { first, masked: true, form: Form::Shortest, payload: payload.into() }
}

impl Frame {
    fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    fn is_final(&self) -> bool {
        self.first & 0x80 != 0
    }

    /// Returns true if its length is written in as few bytes as may be.
    fn is_shortest(&self) -> bool {
        let length = self.payload.len();
        match self.form {
            Form::Shortest => true,
            Form::TwoBytes => length > 125,
            Form::EightBytes => length > 65_535,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = self.payload.len();
        let mask_bit = if self.masked { 0x80 } else { 0 };
        let form = match self.form {
            Form::Shortest if length > 65_535 => Form::EightBytes,
            Form::Shortest if length > 125 => Form::TwoBytes,
            form => form,
        };
        let mut bytes = vec![self.first];
        match form {
            Form::Shortest => bytes.push(mask_bit | u8::try_from(length).unwrap()),
            Form::TwoBytes => {
                bytes.push(mask_bit | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            Form::EightBytes => {
                bytes.push(mask_bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let mask = if self.masked { [0x3a, 0x00, 0xff, 0x5c] } else { [0; 4] };
        if self.masked {
            bytes.extend(mask);
        }
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}

/// Returns true if these bytes may still become UTF-8.
fn may_be_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Returns true for the codes of RFC 6455 section 7.4 and IANA's registry, except 1014, which only gateways send.
fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

/// Returns the close codes for an invalid frame after an unfinished message.
fn faults(frame: &Frame, unfinished: Option<&(u8, Vec<u8>)>) -> Vec<u16> {
    let (opcode, length) = (frame.opcode(), frame.payload.len());
    let mut codes = Vec::new();
    let is_control = opcode >= 8;
    let wrong = frame.first & 0x70 != 0
        || !frame.masked
        || !frame.is_shortest()
        || matches!(opcode, 3..=7 | 11..=15)
        || (is_control && (!frame.is_final() || length > 125))
        || (opcode == 0 && unfinished.is_none())
        || (matches!(opcode, 1 | 2) && unfinished.is_some());
    if wrong {
        codes.push(1002);
    }
    let so_far = unfinished.map_or(0, |(_, payload)| payload.len());
    if length > MESSAGE_MAX || (!is_control && so_far + length > MESSAGE_MAX) {
        codes.push(1009);
    }
    if opcode == 8 && !wrong {
        codes.extend(match frame.payload.split_first_chunk::<2>() {
            None if length == 1 => Some(1002),
            Some((code, _)) if !is_close_code(u16::from_be_bytes(*code)) => Some(1002),
            Some((_, reason)) if std::str::from_utf8(reason).is_err() => Some(1007),
            _ => None,
        });
    }
    let (kind, before) = unfinished.map_or((opcode, &[][..]), |(kind, bytes)| (*kind, &bytes[..]));
    if kind == 1 && !is_control {
        let text = [before, &frame.payload].concat();
        let bad = !may_be_text(&text) || (frame.is_final() && std::str::from_utf8(&text).is_err());
        codes.extend(bad.then_some(1007));
    }
    codes
}

/// Returns the behaviour that the RFC asks of a server that echoes messages.
fn oracle(frames: &[Frame]) -> Expected {
    let mut expected = Expected::default();
    let mut unfinished: Option<(u8, Vec<u8>)> = None;
    for frame in frames {
        let codes = faults(frame, unfinished.as_ref());
        if !codes.is_empty() {
            expected.end = Some(End::Fails(codes));
            return expected;
        }
        match frame.opcode() {
            8 => {
                let code = frame.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                expected.end = Some(End::Closes(code));
                return expected;
            }
            9 => expected.pings.push(frame.payload.clone()),
            10 => {}
            opcode => {
                let (kind, mut payload) = unfinished.take().unwrap_or((opcode, Vec::new()));
                payload.extend_from_slice(&frame.payload);
                match frame.is_final() {
                    true => expected.messages.push((kind, payload)),
                    false => unfinished = Some((kind, payload)),
                }
            }
        }
    }
    expected
}

/// The behaviour of a server.
#[derive(Debug, Default)]
struct Heard {
    messages: Vec<(u8, Vec<u8>)>,
    pongs: Vec<Vec<u8>>,
    close: Option<Option<u16>>,
}

impl Heard {
    /// Reads until the close frame, or until everything expected is there.
    async fn read(&mut self, client: &mut RawClient, until: Option<&Expected>) {
        let is_all = |heard: &Self| {
            until.is_some_and(|all| {
                heard.messages.len() >= all.messages.len()
                    && (all.pings.is_empty() || heard.pongs.last() == all.pings.last())
            })
        };
        while self.close.is_none() && !is_all(self) {
            let Some(frame) = client.frame().await else { return };
            match frame.opcode {
                8 => self.close = Some(frame.close_code()),
                10 => self.pongs.push(frame.payload),
                opcode => self.messages.push((opcode, frame.payload)),
            }
        }
    }

    /// Returns the difference from the expected behaviour, if there is one.
    fn problem(&self, expected: &Expected) -> Option<&'static str> {
        let may_be_short = matches!(expected.end, Some(End::Closes(_)));
        let messages = match may_be_short {
            true => expected.messages.starts_with(&self.messages),
            false => expected.messages == self.messages,
        };
        let mut pings = expected.pings.iter();
        let close = match &expected.end {
            None => self.close == Some(Some(1000)),
            Some(End::Closes(code)) => self.close == Some(*code),
            Some(End::Fails(codes)) => {
                self.close.flatten().is_some_and(|code| codes.contains(&code))
            }
        };
        let last = may_be_short || self.pongs.last() == expected.pings.last();
        match () {
            () if !messages => Some("the messages differ"),
            () if !self.pongs.iter().all(|pong| pings.any(|ping| ping == pong)) || !last => {
                Some("the pongs differ")
            }
            () if !close => Some("the close frame differs"),
            () => None,
        }
    }
}

/// Plays one sequence, and returns what went wrong.
async fn play(addr: SocketAddr, number: usize, case: Case) -> Option<String> {
    let expected = oracle(&case.frames);
    let mut client = RawClient::upgrade(addr, &format!("/party/frames-{}", number / 16)).await;
    let parts: Vec<Vec<u8>> = match case.cut {
        Cut::Frames => case.frames.iter().map(Frame::bytes).collect(),
        Cut::Nowhere => vec![case.frames.iter().flat_map(Frame::bytes).collect()],
        Cut::Every(size) => {
            let bytes: Vec<u8> = case.frames.iter().flat_map(Frame::bytes).collect();
            bytes.chunks(size).map(<[u8]>::to_vec).collect()
        }
    };
    let mut unclean = false;
    for part in parts {
        unclean |= client.try_write(&part).await.is_err();
    }
    let mut heard = Heard::default();
    heard.read(&mut client, expected.end.is_none().then_some(&expected)).await;
    if expected.end.is_none() {
        unclean |= client.try_write(&frame(CLOSE, 1000_u16.to_be_bytes()).bytes()).await.is_err();
        heard.read(&mut client, None).await;
    }
    unclean |= client.ended().await.is_err();
    let problem = heard.problem(&expected).or(unclean.then_some("the end is not clean"))?;
    let shown = |payload: &Vec<u8>| {
        format!("{} bytes {:02x?}", payload.len(), &payload[..payload.len().min(8)])
    };
    let brief =
        |all: &[(u8, Vec<u8>)]| all.iter().map(|(_, payload)| shown(payload)).collect::<Vec<_>>();
    Some(format!(
        "{} ({:?}): {problem}\n    expected {:?} {:?}\n    heard {:?} {:?}",
        case.name,
        case.cut,
        brief(&expected.messages),
        expected.end,
        brief(&heard.messages),
        heard.close,
    ))
}

/// Plays all of them, and fails with every one that went wrong.
async fn play_all(cases: Vec<Case>) {
    let count = cases.len();
    let node = Setup::memory().limits(|limits| {
        limits.message_bytes_max = MESSAGE_MAX as u64;
        // A sequence that takes so long is a failure.
        (limits.close_ms_max, limits.linger_ms_max) = (600_000, 600_000);
        (limits.linger_quiet_ms_max, limits.refused_quiet_ms) = (600_000, 1);
    });
    let node = node.start().await;
    let played = cases.into_iter().enumerate();
    let played = stream::iter(played.map(|(number, case)| play(node.addr(), number, case)));
    let failed: Vec<String> =
        played.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    assert!(failed.is_empty(), "{} of {count} fail:\n{}", failed.len(), failed.join("\n"));
}

/// Returns a case in the middle of a conversation: the server answers the messages before it, whatever this is.
fn case(name: String, frames: Vec<Frame>, cut: Cut) -> Case {
    let frames = [vec![frame(TEXT, "before")], frames, vec![frame(TEXT, "after")]].concat();
    Case { name, frames, cut }
}

/// Returns the payload of a close frame.
fn goodbye(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

#[tokio::test]
async fn every_first_byte_is_answered_as_rfc_6455_asks() {
    let mut cases = Vec::new();
    for first in 0..=255_u8 {
        for (masked, length) in [(true, 0), (true, 5), (false, 5)] {
            let one = Frame { masked, ..frame(first, vec![b'x'; length]) };
            let cut = if first % 2 == 0 { Cut::Nowhere } else { Cut::Every(1) };
            cases.push(case(format!("{first:#04x} masked {masked} of {length}"), vec![one], cut));
        }
        // The same after the first fragment of a message.
        let pieces = vec![frame(first & 0x70 | 0x01, "piece"), frame(first, "")];
        cases.push(case(format!("{first:#04x} after a fragment"), pieces, Cut::Frames));
    }
    play_all(cases).await;
}

#[tokio::test]
async fn every_form_of_length_is_answered_as_rfc_6455_asks() {
    let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, MESSAGE_MAX, MESSAGE_MAX + 1];
    let mut cases = Vec::new();
    for length in lengths {
        for form in [Form::Shortest, Form::TwoBytes, Form::EightBytes] {
            if form == Form::TwoBytes && length > 65_535 {
                continue;
            }
            for first in [TEXT, BINARY, CLOSE, PING, 0x8a] {
                let one = Frame { form, ..frame(first, vec![b'x'; length]) };
                cases.push(case(
                    format!("{first:#04x} of {length} as {form:?}"),
                    vec![one],
                    Cut::Nowhere,
                ));
            }
            let first = frame(0x02, vec![1; length / 2]);
            let last = Frame { form, ..frame(0x80, vec![2; length - length / 2]) };
            let pieces = vec![first, frame(PING, "between"), last];
            cases.push(case(format!("{length} in two as {form:?}"), pieces, Cut::Every(1_000)));
        }
    }
    play_all(cases).await;
}

#[tokio::test]
async fn every_close_code_is_answered_as_rfc_6455_asks() {
    let mut cases = Vec::new();
    let edges = [0, 1, 500, 999, 1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 32_768, 65_535];
    for code in edges.into_iter().chain(1000..=1020) {
        for reason in ["", "because"] {
            let bye = frame(CLOSE, goodbye(code, reason.as_bytes()));
            cases.push(case(format!("close {code} {reason}"), vec![bye], Cut::Nowhere));
        }
    }
    let odd: [(&str, Vec<u8>); 6] = [
        ("without a code", Vec::new()),
        ("with half a code", vec![3]),
        ("with the longest reason", goodbye(1000, &[b'x'; 123])),
        ("with too long a reason", goodbye(1000, &[b'x'; 124])),
        ("with a reason that is not UTF-8", goodbye(1000, &[0xff])),
        ("with a reason that is cut off", goodbye(1000, &[0xe2, 0x82])),
    ];
    for (what, payload) in odd {
        for cut in [Cut::Nowhere, Cut::Every(1)] {
            let frames = vec![frame(CLOSE, payload.clone())];
            cases.push(Case { name: format!("close {what}"), frames, cut });
            let behind = vec![frame(0x01, "piece"), frame(CLOSE, payload.clone())];
            cases.push(case(format!("close {what}, after a fragment"), behind, cut));
        }
    }
    play_all(cases).await;
}

/// The edges of UTF-8: the first and the last of each length, and their neighbours.
const TEXTS: [&[u8]; 32] = [
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbb\xbf",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf",
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc2",
    b"\xc2\x41",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xe2\x82",
    b"\xe2\x82\x41",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
];

#[tokio::test]
async fn every_edge_of_utf_8_is_answered_as_rfc_6455_asks() {
    let mut cases = Vec::new();
    for bytes in TEXTS {
        let text = [b"a", bytes, b"z"].concat();
        let name = |what: &str| format!("{bytes:02x?} {what}");
        cases.push(case(name("whole"), vec![frame(TEXT, text.clone())], Cut::Every(1)));
        cases.push(case(name("at the end"), vec![frame(TEXT, bytes)], Cut::Nowhere));
        cases.push(case(name("as bytes"), vec![frame(BINARY, bytes)], Cut::Nowhere));
        for at in 1..text.len() {
            let (first, last) = text.split_at(at);
            let two = vec![frame(0x01, first), frame(0x80, last)];
            cases.push(case(name(&format!("cut at {at}")), two, Cut::Nowhere));
            let three =
                vec![frame(0x01, first), frame(PING, "p"), frame(0x00, ""), frame(0x80, last)];
            cases.push(case(name(&format!("cut at {at} with a ping")), three, Cut::Frames));
        }
    }
    play_all(cases).await;
}

/// Returns a random frame: most are valid, so that a sequence continues.
fn any_frame(dice: &mut Dice, in_pieces: &mut bool) -> Frame {
    let payload = match dice.below(8) {
        0 => TEXTS[dice.below(TEXTS.len())].to_vec(),
        1 => vec![b'y'; dice.below(300)],
        2 => vec![b'y'; dice.below(MESSAGE_MAX)],
        _ => "xé€😀".repeat(dice.below(6)).into_bytes(),
    };
    let is_last = dice.below(2) == 0;
    let fin = if is_last { 0x80 } else { 0 };
    let mut one = match dice.below(12) {
        0 => frame(PING, &payload[..payload.len().min(dice.below(130))]),
        1 => frame(0x8a, &payload[..payload.len().min(125)]),
        2 => frame(u8::try_from(dice.below(256)).unwrap(), payload),
        3 => frame(CLOSE, goodbye(1000 + u16::try_from(dice.below(16)).unwrap(), b"")),
        _ => {
            let opcode = if *in_pieces { 0 } else { 1 + u8::try_from(dice.below(2)).unwrap() };
            *in_pieces = !is_last;
            frame(fin | opcode, payload)
        }
    };
    if dice.below(30) == 0 {
        one.masked = false;
    }
    if dice.below(30) == 0 && one.payload.len() < 65_536 {
        one.form = if dice.below(2) == 0 { Form::TwoBytes } else { Form::EightBytes };
    }
    one
}

#[tokio::test]
async fn sequences_at_random_are_answered_as_rfc_6455_asks() {
    let mut dice = Dice(seed());
    let mut cases = Vec::new();
    for number in 0..300 {
        let mut in_pieces = false;
        let frames =
            (0..1 + dice.below(12)).map(|_| any_frame(&mut dice, &mut in_pieces)).collect();
        let cut = match dice.below(3) {
            0 => Cut::Nowhere,
            1 => Cut::Frames,
            _ => Cut::Every(1 + dice.below(5_000)),
        };
        cases.push(Case { name: format!("sequence {number}"), frames, cut });
    }
    play_all(cases).await;
}
