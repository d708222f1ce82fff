//! The page's files, which are part of the program: `crates/observe/page/dist`, made of the sources beside it.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// A file that a browser asks for.
struct File {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const FILES: &[File] = &[
    File { path: "/", kind: "text/html; charset=utf-8", bytes: include_bytes!("../page/dist/index.html") },
    File {
        path: "/page.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../page/dist/page.js"),
    },
    File {
        path: "/page.css",
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("../page/dist/page.css"),
    },
    File { path: "/icon.svg", kind: "image/svg+xml", bytes: include_bytes!("../page/dist/icon.svg") },
];

/// The file at this path, if there is one.
pub(crate) fn file(path: &str) -> Option<Response> {
    let file = FILES.iter().find(|file| file.path == path)?;
    let headers = [(CONTENT_TYPE, file.kind), (CACHE_CONTROL, "no-cache")];
    Some((headers, file.bytes).into_response())
}
