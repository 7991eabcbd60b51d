//! API v1: `GoGovSG`'s external and admin API, answer for answer, so that programs written for it work by changing the host.
//!
//! Its status codes, field names, messages and quirks are a contract, not a model: what is better belongs in v2.

pub mod call;
pub mod error;
pub mod urls;
pub mod validate;
