//! The APIs for officers' programs.
//!
//! Each version is a thin adapter over the same domain functions (`links.rs`) and the same store.

pub mod body;
pub mod observe;
pub mod v1;
pub mod v2;
