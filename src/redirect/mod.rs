//! What citizens meet: the redirect, and the few pages around it.
//!
//! `follow.rs` is the hot path: from a path to one of a handful of answers, top to bottom.

pub mod deny;
pub mod fixed;
pub mod follow;
pub mod front;
pub mod gone;
pub mod pages;
pub mod preview;
mod query;
mod transition;
pub mod visitor;
