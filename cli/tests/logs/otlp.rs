//! Spans, as a collector of OpenTelemetry gets them.

use crate::dev::{Dev, STEP_MAX, room};
use crate::project::Project;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

/// Starts a collector that accepts everything, and returns its address and the received request lines and bodies.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let (send, posts) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let send = send.clone();
            std::thread::spawn(move || {
                while let Some(post) = take(&stream) {
                    drop(send.send(post));
                }
            });
        }
    });
    (format!("http://{address}"), posts)
}

/// Reads one request with a body and a known length, and answers it.
fn take(mut stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    Some((first.trim().to_owned(), body))
}

/// True if these bytes have the text in them, as protobuf's strings are.
fn has(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_turn_is_a_span_that_names_room_event_and_code() {
    let (address, posts) = collector();
    let project = Project::copy("rooms-examples/counter", "spans");
    let mut command = room(project.root(), &["dev", "--port", "0", "--ephemeral"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut dev =
        Dev::run(command, |child| vec![Box::new(child.stderr.take().expect("it was asked for"))]);
    dev.ready();
    let (status, body) = dev.http("POST", "/parties/main/lobby");
    assert_eq!(status, 200, "{body}");
    // The last spans are sent at the end, long before their next turn would come.
    assert_eq!(dev.stop().0, Some(0));
    let (first, body) = posts.recv_timeout(STEP_MAX).expect("spans come");
    assert_eq!(first, "POST /v1/traces HTTP/1.1");
    for part in ["service.name", "room", "turn", "request", "main/lobby", "module"] {
        assert!(has(&body, part), "{part} is not in {}", String::from_utf8_lossy(&body));
    }
}
