//! Loads of servers in this process that answer correctly, and of some that do not.

use super::check::Check;
use super::*;
use crate::args::bench::Scenario;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
/// The message with which a server goes wrong.
const WRONG_AT: u64 = 20;

/// How a server treats a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Keeps,
    Drops,
    Doubles,
    Swaps,
    Alters,
    HangsUp,
    /// As a counter that forgets: the same count again.
    CountsBack,
    /// As a counter that leaves one out.
    Skips,
}

/// Serves one connection by hand, as `rooms-examples/bench` would with one client in each room.
async fn serve(mut tcp: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        tcp.read_buf(&mut bytes).await?;
    }
    bytes.clear();
    tcp.write_all(UPGRADED).await?;
    tcp.write_all(&[&[0x81, 13][..], message::HELLO].concat()).await?;
    let (mut number, mut count, mut held) = (0, 0, Vec::new());
    while tcp.read_buf(&mut bytes).await? > 0 {
        // A client's frame is short here, and masked with zeros.
        while let Some(length) = bytes.get(1).map(|length| usize::from(length & 0x7f)) {
            if bytes.len() < 6 + length {
                break;
            }
            let frame: Vec<u8> = bytes.drain(..6 + length).collect();
            if frame[0] == 0x88 {
                return tcp.write_all(&[0x88, 2, 3, 232]).await;
            }
            let mut body = frame[6..].to_vec();
            if body.starts_with(br#"{"t":"incr""#) {
                count += match manner {
                    Manner::CountsBack if number == WRONG_AT => 0,
                    Manner::Skips if number == WRONG_AT => 2,
                    _ => 1,
                };
                let asked: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let asked = &asked["s"];
                body = format!(r#"{{"t":"count","s":{asked},"n":{count}}}"#).into_bytes();
            }
            let wrong = number == WRONG_AT;
            if wrong && manner == Manner::Alters {
                *body.last_mut().unwrap() = b'!';
            }
            let answer = [&[0x81, u8::try_from(body.len()).unwrap()][..], &body].concat();
            number += 1;
            match manner {
                Manner::Drops if wrong => {}
                Manner::Doubles if wrong => tcp.write_all(&answer.repeat(2)).await?,
                Manner::Swaps if wrong => held = answer,
                Manner::HangsUp if wrong => return Ok(()),
                _ => {
                    tcp.write_all(&answer).await?;
                    tcp.write_all(&std::mem::take(&mut held)).await?;
                }
            }
        }
    }
    Ok(())
}

/// Loads a server of this manner for a moment, and returns the result of the checks.
async fn load(
    scenario: Scenario,
    manner: Manner,
    in_flight: usize,
    rate: Option<u64>,
) -> LoadOutcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp, manner));
        }
    });
    let target = Rc::new(Target::of(&url, "main").unwrap());
    let (clients, rooms) = (2, 2);
    let plan = LoadPlan { scenario, clients, rooms, in_flight, rate, payload_bytes: 64, pid: None };
    let length = RunLength {
        warm_up: Duration::from_millis(1),
        measured: Duration::from_millis(500),
        // As long as it takes on a busy machine, unless a message never comes.
        patience: match manner {
            Manner::Drops | Manner::Alters => Duration::from_secs(3),
            _ => Duration::from_secs(60),
        },
    };
    let mut stop = Stop::listen().unwrap();
    probe(&target).await.unwrap();
    let (mut outcomes, ended) = measure(&target, &[plan], length, &mut stop).await.unwrap();
    assert_eq!((outcomes.len(), ended), (1, Ended::InTime));
    outcomes.remove(0)
}

/// Returns the result of the checks, with messages that are due whatever the server does.
async fn found(scenario: Scenario, manner: Manner) -> Check {
    load(scenario, manner, 1, Some(2_000)).await.check
}

#[tokio::test]
async fn a_correct_server_passes_every_check() {
    let scenarios = [
        (Scenario::Echo, 2_000),
        (Scenario::Fanout, 2_000),
        (Scenario::Durable, 2_000),
        (Scenario::Connect, 500),
        (Scenario::Cold, 500),
    ];
    for (scenario, a_second) in scenarios {
        let outcome = load(scenario, Manner::Keeps, 1, Some(a_second)).await;
        assert_eq!(outcome.check.faults(), None, "{scenario:?}");
        // The run may have started a little after its first due time, and the warm-up has its messages, too.
        let looked_at = outcome.check.looked_at;
        assert!((1..a_second / 2 + 20).contains(&looked_at), "{scenario:?} {looked_at}");
        assert_eq!(outcome.not_sent, 0, "{scenario:?}");
    }
    for scenario in [Scenario::Echo, Scenario::Fanout, Scenario::Durable] {
        let outcome = load(scenario, Manner::Keeps, 8, None).await;
        assert_eq!(outcome.check.faults(), None, "{scenario:?}");
        assert!(outcome.check.looked_at >= 16, "{scenario:?}");
    }
    let idle = load(Scenario::Idle, Manner::Keeps, 1, None).await;
    assert_eq!((idle.check.faults(), idle.check.looked_at), (None, 2));
    assert!(idle.memory.is_some());
}

#[tokio::test]
async fn lost_messages_are_found() {
    for scenario in [Scenario::Echo, Scenario::Fanout, Scenario::Durable] {
        let check = found(scenario, Manner::Drops).await;
        assert_eq!((check.lost, check.twice, check.out_of_order), (2, 0, 0), "{scenario:?}");
        assert_eq!((check.altered, check.wrong_counts), (0, 0), "{scenario:?}");
    }
}

#[tokio::test]
async fn duplicated_messages_are_found() {
    for scenario in [Scenario::Echo, Scenario::Fanout, Scenario::Durable] {
        let check = found(scenario, Manner::Doubles).await;
        assert_eq!((check.lost, check.twice, check.out_of_order), (0, 2, 0), "{scenario:?}");
    }
}

#[tokio::test]
async fn reordered_messages_are_found() {
    for scenario in [Scenario::Echo, Scenario::Fanout, Scenario::Durable] {
        let check = found(scenario, Manner::Swaps).await;
        assert_eq!((check.lost, check.twice, check.out_of_order), (0, 0, 2), "{scenario:?}");
    }
}

#[tokio::test]
async fn an_altered_message_counts_as_altered_and_as_lost() {
    for scenario in [Scenario::Echo, Scenario::Fanout, Scenario::Durable] {
        let check = found(scenario, Manner::Alters).await;
        assert_eq!((check.lost, check.altered), (2, 2), "{scenario:?}");
    }
}

#[tokio::test]
async fn a_broken_connection_is_found_and_the_others_go_on() {
    for scenario in [Scenario::Echo, Scenario::Fanout, Scenario::Durable] {
        let check = found(scenario, Manner::HangsUp).await;
        assert_eq!(check.broken, 2, "{scenario:?}");
        assert!(check.lost >= 2 && !check.broken_by.is_empty(), "{scenario:?}");
    }
}

#[tokio::test]
async fn counts_that_go_back_or_skip_are_found() {
    let check = found(Scenario::Durable, Manner::CountsBack).await;
    assert_eq!((check.wrong_counts, check.lost), (2, 0));
    let check = found(Scenario::Durable, Manner::Skips).await;
    assert!(check.wrong_counts >= 2 && check.lost == 0, "{check:?}");
}

#[tokio::test]
async fn another_room_and_an_absent_server_are_reported_as_mistakes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let refusing = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await.unwrap();
        listener.accept().await.unwrap();
    });
    let target = Target::of(&url, "main").unwrap();
    let stranger = probe(&target).await.unwrap_err();
    assert_eq!(stranger.downcast_ref::<Mistake>().unwrap().code(), Some(Code::NotTheBench));
    assert!(stranger.to_string().contains("answered `HTTP/1.1 404 Not Found`"), "{stranger}");
    refusing.abort();
    assert!(refusing.await.unwrap_err().is_cancelled());
    let nobody = probe(&target).await.unwrap_err();
    assert_eq!(nobody.downcast_ref::<Mistake>().unwrap().code(), Some(Code::NoAnswer));
}
