//! All links of an officer as a file.

use actix_web::{
    HttpResponse,
    http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE},
};

use super::{call::Call, fields::Parameters, problem::Problem};
use crate::{
    auth::LinksRead,
    export,
    rows::write::{Form, Writer},
    store::{Filter, Reach},
};

/// Export links.
///
/// All of yours, or with the scope `admin` everybody's, from the oldest on, in the columns that a batch takes. As CSV, cells that a
/// spreadsheet would take for a formula have an apostrophe before them, which the batch takes off. An export that breaks off ends without
/// its last chunk, which HTTP clients report. A link that can't be read is a row with its code and the state `damaged`.
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
    let walk = call.app.store.walk_links(owner, Filter::default());
    let links = export::stream(call.app, walk, Writer::new(form)).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, form.media_type()))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"links.{}\"", form.extension())))
        .streaming(links))
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
