//! The APIs for officers' programs.
//!
//! Each version is a thin adapter over the same domain functions (`links.rs`) and the same store.

pub mod body;
pub mod observe;
pub mod v1;
pub mod v2;

/// `Content-Security-Policy` of every answer: a browser that opens one by itself loads, runs and frames nothing.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox";
