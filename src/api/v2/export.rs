//! All links of an officer as a file, streamed: some hundreds are in memory at a time.

use actix_web::{
    Error, HttpResponse,
    error::ErrorInternalServerError,
    http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE},
    web::Bytes,
};
use futures_util::{StreamExt as _, stream};

use super::{call::Call, fields::Parameters, problem::Problem};
use crate::{
    auth::LinksRead,
    rows::write::{Form, Writer},
    store::{LinkWalk, ListedLink, Reach, StoreError},
};

/// Export links.
///
/// All of yours, or with the scope `admin` everybody's, from the oldest on, in the columns that a batch takes. As CSV, cells that a
/// spreadsheet would take for a formula have an apostrophe before them, which the batch takes off. An export that breaks off ends without
/// its last chunk, which HTTP clients report.
#[utoipa::path(
    get, path = "/export", operation_id = "export_links", tag = "bulk", security(("key" = ["links:read"])),
    params(("Accept" = Option<String>, Header, description = "text/csv, or else application/x-ndjson")),
    responses((status = 200, description = "The links", content((String = "application/x-ndjson"), (String = "text/csv"))))
)]
pub async fn export(call: Call<LinksRead>) -> Result<HttpResponse, Problem> {
    Parameters::of(call.request.query_string()).finish(())?;
    let form = preferred(call.header(ACCEPT).unwrap_or_default());
    let owner = match call.officer().reach() {
        Reach::Own(owner) => Some(owner),
        Reach::Everybodys => None,
    };
    let mut walk = call.app.store.walk_links(owner);
    let mut writer = Writer::new(form);
    // An outage can be told only before the answer has begun.
    let first = written(&mut writer, &walk.next().await?);
    let rest = stream::unfold(Some((walk, writer)), next);
    let (media_type, file) = match form {
        Form::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"links.csv\""),
        Form::Json => ("application/x-ndjson", "attachment; filename=\"links.ndjson\""),
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, media_type))
        .insert_header((CONTENT_DISPOSITION, file))
        .streaming(stream::once(async { Ok(first) }).chain(rest)))
}

type State = Option<(LinkWalk, Writer)>;

async fn next(state: State) -> Option<(Result<Bytes, Error>, State)> {
    let (mut walk, mut writer) = state?;
    match walk.next().await {
        Ok(links) if links.is_empty() => None,
        Ok(links) => Some((Ok(written(&mut writer, &links)), Some((walk, writer)))),
        Err(error) => {
            match &error {
                StoreError::Unavailable(_) => tracing::debug!("an export broke off: {error}"),
                StoreError::Corrupt(_) => tracing::error!("an export broke off: {error}"),
            }
            Some((Err(ErrorInternalServerError(error)), None))
        }
    }
}

fn written(writer: &mut Writer, links: &[ListedLink]) -> Bytes {
    for listed in links {
        writer.push(&listed.link, listed.clicks);
    }
    writer.take().into()
}

/// What an `Accept` header likes best (RFC 9110, 12.5.1); NDJSON when it is all the same.
fn preferred(accept: &str) -> Form {
    let quality = |wanted: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next()?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            name.eq_ignore_ascii_case(wanted).then_some(weight)
        });
        ranges.fold(0.0_f32, f32::max)
    };
    if quality("text/csv") > quality("application/x-ndjson") { Form::Csv } else { Form::Json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_liked_best() {
        for (accept, form) in [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("text/csv", Form::Csv),
            ("Text/CSV; charset=utf-8", Form::Csv),
            ("application/x-ndjson;q=0.5, text/csv;q=0.9", Form::Csv),
            ("text/csv;q=0.1, application/x-ndjson", Form::Json),
            ("text/csv;q=0", Form::Json),
        ] {
            assert_eq!(preferred(accept), form, "{accept}");
        }
    }
}
