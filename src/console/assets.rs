//! The console's style and script: named by what they contain, so that browsers may keep them for a year.

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    web::{Data, Path},
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::page::Error;
use crate::{site::Site, state::App};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The style sheet in the operator's colours.
pub struct Style {
    pub name: String,
    content: Bytes,
}

impl Style {
    pub fn new(site: &Site) -> Self {
        let content = format!("{}{}\n{STYLE}", site.theme, site.console_theme);
        Self { name: fingerprinted("console", &content, "css"), content: content.into() }
    }
}

/// `/console/assets/{name}`.
pub async fn asset(app: Data<App>, name: Path<String>) -> Result<HttpResponse, Error> {
    let (content_type, content) = if *name == app.console_style.name {
        ("text/css; charset=utf-8", app.console_style.content.clone())
    } else if *name == script_name() {
        ("text/javascript; charset=utf-8", Bytes::from_static(SCRIPT.as_bytes()))
    } else {
        return Err(Error::NotFound);
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(content))
}

pub fn script_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| fingerprinted("console", SCRIPT, "js"));
    &NAME
}

fn fingerprinted(name: &str, content: &str, extension: &str) -> String {
    let digest = Sha256::digest(content);
    format!("{name}-{:02x}{:02x}{:02x}{:02x}.{extension}", digest[0], digest[1], digest[2], digest[3])
}
