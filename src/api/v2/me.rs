//! Whose key this is.

use actix_web::{HttpResponse, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{BODY_BYTES_MAX, Call, json},
    keys::KeyBody,
    problem::Problem,
};
use crate::{auth::Anything, bulk};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub struct MeBody {
    #[schema(example = "amy@iras.gov.sg")]
    pub officer: String,
    /// Whether the officer is an administrator. What the key may do as such, its scope `admin` says.
    pub admin: bool,
    /// The key that the request came with.
    pub key: KeyBody,
    pub limits: LimitsBody,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
pub struct LimitsBody {
    /// Requests a minute with this key; null when there is no limit.
    #[schema(example = 600)]
    pub requests_per_minute: Option<u32>,
    /// Requests a minute with all keys of the officer together; null when there is no limit.
    #[schema(example = 1200)]
    pub requests_per_minute_of_officer: Option<u32>,
    /// Rows of a batch.
    #[schema(example = 1000)]
    pub batch_rows: usize,
    /// Bytes of a body that isn't a batch.
    #[schema(example = 102_400)]
    pub body_bytes: usize,
}

/// Who am I?
///
/// Whose key this is, its scopes and its limits.
#[utoipa::path(get, path = "/me", tag = "keys", responses((status = 200, description = "You", body = MeBody)))]
pub async fn read(call: Call<Anything>) -> Result<HttpResponse, Problem> {
    let officer = call.officer();
    let limits = &call.app.config.limits;
    let body = MeBody {
        officer: officer.email.to_string(),
        admin: officer.is_admin(),
        key: KeyBody::from(officer.key()),
        limits: LimitsBody {
            requests_per_minute: Some(limits.api_per_minute).filter(|limit| *limit > 0),
            requests_per_minute_of_officer: Some(limits.officer_per_minute).filter(|limit| *limit > 0),
            batch_rows: bulk::ROWS_MAX,
            body_bytes: BODY_BYTES_MAX,
        },
    };
    Ok(json(StatusCode::OK, &body))
}
