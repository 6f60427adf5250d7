//! Which part of the way of a request a source file belongs to.

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    EventLoop,
    Http,
    Routing,
    Decode,
    Prepare,
    Schedule,
    Engine,
    Encode,
    Observation,
    Memory,
    Other,
    Runtime,
}

impl Part {
    /// In the order of the table.
    pub(super) const ALL: [Self; 12] = [
        Self::EventLoop,
        Self::Http,
        Self::Routing,
        Self::Decode,
        Self::Prepare,
        Self::Schedule,
        Self::Engine,
        Self::Encode,
        Self::Observation,
        Self::Memory,
        Self::Other,
        Self::Runtime,
    ];

    /// As the table names it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::EventLoop => "event loop, sockets, timers (tokio, mio)",
            Self::Http => "HTTP (hyper, httparse, http)",
            Self::Routing => "routing, headers, bodies (server)",
            Self::Decode => "decode",
            Self::Prepare => "route, prepare, finish (serving)",
            Self::Schedule => "schedule, batch",
            Self::Engine => "engine call (engines, ort)",
            Self::Encode => "encode",
            Self::Observation => "observation and settling it",
            Self::Memory => "taking and giving back memory",
            Self::Other => "all else",
            Self::Runtime => "ONNX Runtime itself",
        }
    }

    /// The part of a source file's code. `None` for what serves whoever calls it: the standard
    /// library, the C library, tensors and byte buffers.
    pub(super) fn of(object: &str, file: &str) -> Option<Self> {
        match object.rsplit('/').next() {
            Some(name) if name.starts_with("libonnxruntime") => return Some(Self::Runtime),
            Some(name) if name.contains(".so") => return None,
            _ => {}
        }
        PLACES
            .iter()
            .find(|(place, _)| file.contains(place))
            .map(|(_, part)| *part)
    }
}

/// Pieces of paths, the more special first.
const PLACES: [(&str, Part); 42] = [
    ("crates/server/src/json/encode", Part::Encode),
    ("crates/server/src/json", Part::Decode),
    ("crates/server/src/parameters", Part::Decode),
    ("crates/server/src/history", Part::Observation),
    ("crates/server/src/objectives", Part::Observation),
    ("crates/server/src/traces", Part::Observation),
    ("crates/server/src/faults", Part::Observation),
    ("crates/server/src/cost", Part::Observation),
    ("crates/server/src/alerting", Part::Observation),
    ("crates/server/src/exposition", Part::Observation),
    ("crates/server", Part::Routing),
    ("crates/serving/src/observation", Part::Observation),
    ("crates/serving/src/metrics", Part::Observation),
    ("crates/serving/src/stats", Part::Observation),
    ("crates/serving/src/scheduler", Part::Schedule),
    ("crates/serving", Part::Prepare),
    ("crates/core/src/signature", Part::Prepare),
    ("crates/observe", Part::Observation),
    ("crates/traces", Part::Observation),
    ("crates/engines", Part::Engine),
    ("/ort-2", Part::Engine),
    ("/jiter-", Part::Decode),
    ("/lexical-", Part::Decode),
    ("/zmij-", Part::Encode),
    ("/itoa-", Part::Encode),
    ("/crossbeam-queue-", Part::Observation),
    ("/prometheus-", Part::Observation),
    ("/arc-swap-", Part::Prepare),
    ("/hyper-util-", Part::Http),
    ("/hyper-", Part::Http),
    ("/httparse-", Part::Http),
    ("/httpdate-", Part::Http),
    ("/http-body", Part::Http),
    ("/http-1", Part::Http),
    ("/axum", Part::Routing),
    ("/tower", Part::Routing),
    ("/tokio-", Part::EventLoop),
    ("/mio-", Part::EventLoop),
    ("/futures-", Part::EventLoop),
    ("mimalloc", Part::Memory),
    ("/bench/src", Part::Other),
    ("/tracing", Part::Other),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_special_place_wins_and_helpers_have_none() {
        let of = |file| Part::of("/bin/server", file);
        assert_eq!(
            of("/x/crates/server/src/json/encode.rs"),
            Some(Part::Encode)
        );
        assert_eq!(
            of("/x/crates/server/src/json/numbers.rs"),
            Some(Part::Decode)
        );
        assert_eq!(
            of("/registry/src/i/hyper-1.12.0/src/proto/h1/io.rs"),
            Some(Part::Http)
        );
        assert_eq!(
            of("/registry/src/i/hyper-util-0.1/src/rt/tokio.rs"),
            Some(Part::Http)
        );
        assert_eq!(of("/rustc/0/library/core/src/slice/mod.rs"), None);
        assert_eq!(
            Part::of("/lib/libonnxruntime.so", "???"),
            Some(Part::Runtime)
        );
        assert_eq!(Part::of("/lib/libc.so.6", "./malloc/malloc.c"), None);
    }
}
