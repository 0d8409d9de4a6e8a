//! Styles, scripts and the icon, compiled in. Their URLs carry a digest of their content, so browsers may keep them for
//! ever and never show an old one.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::problem::Problem;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static [u8],
}

const STYLE: Asset =
    Asset { name: "console.css", media_type: "text/css; charset=utf-8", content: include_bytes!("assets/console.css") };
const SCRIPT: Asset = Asset {
    name: "console.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_bytes!("assets/console.js"),
};
const HTMX: Asset = Asset {
    name: "htmx.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_bytes!("assets/htmx-4.0.1/htmx.min.js"),
};
const ICON: Asset = Asset { name: "icon.svg", media_type: "image/svg+xml", content: include_bytes!("assets/icon.svg") };

/// Where the assets are.
#[derive(Debug)]
pub struct Links {
    /// The style sheet.
    pub style: String,
    /// Our script.
    pub script: String,
    /// htmx.
    pub htmx: String,
    /// The icon.
    pub icon: String,
}

/// Where the assets are.
#[must_use]
pub fn links() -> &'static Links {
    static LINKS: LazyLock<Links> =
        LazyLock::new(|| Links { style: url(&STYLE), script: url(&SCRIPT), htmx: url(&HTMX), icon: url(&ICON) });
    &LINKS
}

fn url(asset: &Asset) -> String {
    let digest = digest(&SHA256, asset.content);
    let short: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("/assets/{short}/{}", asset.name)
}

/// Answers `/assets/{digest}/{name}`.
pub async fn serve(Path((digest, name)): Path<(String, String)>) -> Response {
    let asked = format!("/assets/{digest}/{name}");
    let all = [STYLE, SCRIPT, HTMX, ICON];
    let Some(asset) = all.into_iter().find(|asset| asset.name == name && url(asset) == asked) else {
        return Problem::NotFound.into_response();
    };
    let headers = [(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.content).into_response()
}
