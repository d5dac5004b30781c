//! Tells cargo about the embedded folders: a file that comes into one must be embedded too.

fn main() {
    let embedded = [
        "templates",
        "../sdk/src",
        "../sdk/wit",
        "../rooms-examples/chat/src",
        "../rooms-examples/chat/tests",
        "../rooms-examples/chat/web",
        "../rooms-examples/counter/src",
        "../rooms-examples/counter/tests",
        "../rooms-examples/counter/web",
    ];
    for folder in embedded {
        println!("cargo:rerun-if-changed={folder}");
    }
}
