//! Any bytes that come as a module give a module, or an error in words.

use super::*;
use crate::{CodeCaches, SharedEngine};
use proptest::prelude::*;
use room_core::clock::Clock;
use room_core::limits::Limits;
use room_core::logs::Logs;

fn engine() -> Engine {
    let limits = Limits { rooms_active_max: 1, door_instances_max: 1, ..Limits::default() };
    let logs = Logs::new(&limits, Clock::system());
    SharedEngine::new(&limits, CodeCaches::default()).unwrap().for_project(Arc::new(limits), logs)
}

/// Makes the smallest thing that compiles: a component with a module in it that has some code.
fn component() -> Vec<u8> {
    let text = r#"(component (core module (memory 1) (table 3 funcref)
        (func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))))"#;
    wat::parse_str(text).unwrap()
}

#[test]
fn a_core_module_is_refused_as_not_a_component() {
    let engine = engine();
    let error = |bytes: &[u8]| engine.load(&bytes.to_vec().into()).unwrap_err().to_string();
    assert!(error(b"").contains("not WebAssembly"));
    assert!(error(b"\0asm\x01\0\0\0").contains("core WebAssembly module"));
    assert!(error(b"\0asm\x0d\0\x01\0\xff").contains("does not compile"));
    assert_eq!(
        engine.load(&component().into()).unwrap_err(),
        LoadError::MissingExport("room:runtime/events@0.1.0")
    );
}

#[test]
fn bytes_are_read_only_for_a_module_that_no_project_holds() {
    let engine = engine();
    let puppet = room_test_guest::guest("puppet");
    let (hash, length) = (ModuleHash::of(&puppet), puppet.len() as u64);
    let gone = || ModuleSource::stored(hash, length, || Err("it is gone".to_owned()));
    let unreadable = LoadError::Unreadable("it is gone".to_owned());
    assert_eq!(engine.load(&gone()).unwrap_err(), unreadable);
    let held = engine.load(&puppet.into()).unwrap();
    assert_eq!(engine.load(&gone()).unwrap().hash(), held.hash());
    drop(held);
    assert_eq!(engine.load(&gone()).unwrap_err(), unreadable);
}

#[test]
fn modules_that_differ_in_their_attachments_alone_are_compiled_once() {
    let engine = engine();
    let plain = room_test_guest::guest("puppet");
    let attached = |data: &str| {
        let mut bytes = plain.to_vec();
        let size = u8::try_from(1 + "room:attachment".len() + data.len()).unwrap();
        bytes.extend([0, size, 15]);
        bytes.extend(b"room:attachment");
        bytes.extend(data.as_bytes());
        engine.load(&bytes.into()).unwrap()
    };
    let (first, second) = (attached("one"), attached("another"));
    assert_ne!(first.hash(), second.hash());
    assert!(Arc::ptr_eq(&first.compiled.code, &second.compiled.code));
    assert_eq!(&*first.compiled.attachment, b"one");
    assert_eq!(&*second.compiled.attachment, b"another");
    let alone = engine.load(&plain.clone().into()).unwrap();
    assert!(Arc::ptr_eq(&first.compiled.code, &alone.compiled.code));
    assert!(alone.compiled.attachment.is_empty());
}

/// A module that was built before a function was added to the contract does not import it.
#[test]
fn a_module_that_imports_fewer_functions_of_an_interface_links() {
    let engine = engine();
    let links = |text: &str| {
        let bytes = wat::parse_str(text).unwrap();
        let component = Component::from_binary(engine.inner(), &bytes).unwrap();
        engine.linker().instantiate_pre(&component).map(drop)
    };
    let before = r#"(component
        (import "room:runtime/room@0.1.0" (instance (export "flush" (func))))
        (import "room:runtime/alarm@0.1.0" (instance (export "set" (func (param "at" u64)))))
        (import "room:runtime/storage@0.1.0" (instance)))"#;
    links(before).unwrap();
    let unknown = links(&before.replace("flush", "flash")).unwrap_err();
    assert!(format!("{unknown:#}").contains("flash"), "{unknown:#}");
}

#[test]
fn a_forbidden_import_is_named() {
    for (import, given) in [
        ("wasi:clocks/wall-clock@0.2.6", true),
        ("wasi:io/streams@0.2.0", true),
        ("room:runtime/storage@0.1.0", true),
        ("wasi:sockets/tcp@0.2.6", false),
        ("wasi:http/types@0.2.6", false),
        ("wasi:clocks/wall-clock@0.3.0", false),
        ("room:other/storage@0.1.0", false),
        ("wasi:clocks-evil/x@0.2.0", false),
    ] {
        assert_eq!(check_import(import).is_ok(), given, "{import}");
    }
    let newer = check_import("room:runtime/storage@0.2.0").unwrap_err();
    assert_eq!(newer, LoadError::WorldVersion { found: "0.2.0".to_owned(), wanted: VERSION });
}

#[test]
fn compiling_any_bytes_never_panics() {
    let engine = engine();
    let good = component();
    let mutated = (0..good.len(), any::<u8>(), 0..good.len()).prop_map(|(at, byte, keep)| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - keep / 4);
        bytes
    });
    let header = prop::collection::vec(any::<u8>(), 0..60)
        .prop_map(|rest| [&b"\0asm\x0d\0\x01\0"[..], &rest].concat());
    let noise = prop::collection::vec(any::<u8>(), 0..60);
    proptest!(|(bytes in prop_oneof![mutated, header, noise])| {
        // It exports nothing, so it is never a room.
        prop_assert!(engine.load(&bytes.into()).is_err());
    });
}
