//! Files that pages load from us: each below `/assets/` under a name with a fingerprint of what it holds, so that browsers keep it for
//! ever, and a changed one is another.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// By name, as `icon-0a1b2c3d.svg`.
#[derive(Debug, Default)]
pub struct Assets(BTreeMap<String, Asset>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    pub kind: Kind,
    pub content: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Svg,
    Png,
}

impl Kind {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Svg => "image/svg+xml",
            Self::Png => "image/png",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

impl Asset {
    pub fn new(kind: Kind, content: impl Into<Bytes>) -> Self {
        Self { kind, content: content.into() }
    }

    /// What this file may do when it is opened by itself: nothing, but an image with styles in it may use them.
    pub fn content_security_policy(&self) -> &'static str {
        let has_style = |text: &[u8]| text.windows(6).any(|window| window == b"<style" || window == b"style=");
        match self.kind {
            Kind::Svg if has_style(&self.content) => {
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
            }
            Kind::Svg | Kind::Png => "default-src 'none'; frame-ancestors 'none'; sandbox",
        }
    }
}

impl Assets {
    /// Takes a file in and answers the path that pages load it from.
    pub fn add(&mut self, stem: &str, asset: Asset) -> String {
        let digest = Sha256::digest(&asset.content);
        let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
        let name = format!("{stem}-{a:02x}{b:02x}{c:02x}{d:02x}.{}", asset.kind.extension());
        let path = format!("/assets/{name}");
        self.0.insert(name, asset);
        path
    }

    pub fn get(&self, name: &str) -> Option<&Asset> {
        self.0.get(name)
    }
}
