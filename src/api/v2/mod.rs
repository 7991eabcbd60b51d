//! API v2, the officers' API. Contract: `api-v2.md`; its details are the `OpenAPI` document that is made of the types and handlers here.
//!
//! One file a resource: its wire types, which are never those of the store, and its handlers. What comes before each of them is in
//! `call.rs`, how requests are read in `fields.rs`, how a refusal looks in `problem.rs`.

pub mod batch;
pub mod call;
pub mod clicks;
pub mod docs;
pub mod export;
pub mod fields;
pub mod idempotency;
pub mod keys;
pub mod kind;
pub mod link;
pub mod links;
pub mod me;
pub mod openapi;
pub mod problem;
pub mod qr;
pub mod texts;
