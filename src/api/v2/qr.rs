//! A link as a QR code.

use actix_web::{HttpResponse, http::header::CONTENT_TYPE, web::Path};

use super::{
    call::Call,
    fields::{Parameters, choice, number},
    links::find,
    problem::{Mistake, Problem},
    texts::PictureBytes,
};
use crate::{
    auth::LinksRead,
    qr::{self, Correction, Format, Look, MARGIN_DEFAULT, MARGIN_MAX, SIZE_DEFAULT, SIZE_MAX, SIZE_MIN},
};

const FORMATS: [(&str, Format); 2] = [("svg", Format::Svg), ("png", Format::Png)];
const CORRECTIONS: [(&str, Correction); 4] =
    [("L", Correction::L), ("M", Correction::M), ("Q", Correction::Q), ("H", Correction::H)];
const FLAGS: [(&str, bool); 2] = [("true", true), ("false", false)];

/// Read a link's QR code.
///
/// It encodes `short_url`. With a label the short link is printed under it, for people without a camera.
#[utoipa::path(
    get, path = "/links/{code}/qr", tag = "links", security(("key" = ["links:read"])),
    params(
        ("code" = String, Path, description = "The link's code"),
        ("format" = Option<String>, Query, description = "`svg` (the default) or `png`", pattern = "^(svg|png)$"),
        ("size" = Option<u32>, Query, description = "Width in pixels, 512 when it isn't said", minimum = 32, maximum = 2048),
        ("margin" = Option<u32>, Query, description = "Modules around the code, 4 when it isn't said", minimum = 0, maximum = 32),
        ("ecc" = Option<String>, Query, description = "Error correction: `L`, `M`, `Q` or `H` (the default), with which a fifth of the code may be dirty", pattern = "^[LMQH]$"),
        ("label" = Option<bool>, Query, description = "Whether the short link is printed under the code"),
        ("logo" = Option<bool>, Query, description = "Whether the service's logo stands in its middle; then `ecc` is `H`"),
    ),
    responses((status = 200, description = "The code", content((String = "image/svg+xml"), (inline(PictureBytes) = "image/png"))))
)]
pub async fn read(call: Call<LinksRead>, code: Path<String>) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::of(call.request.query_string());
    let format = parameters.one("format", choice(&FORMATS)).unwrap_or(Format::Svg);
    let size = parameters.one("size", number(SIZE_MIN as usize, SIZE_MAX as usize));
    let margin = parameters.one("margin", number(0, MARGIN_MAX as usize));
    let correction = parameters.one("ecc", choice(&CORRECTIONS)).unwrap_or(Correction::H);
    let label = parameters.one("label", choice(&FLAGS)).unwrap_or(false);
    let wants_logo = parameters.one("logo", choice(&FLAGS)).unwrap_or(false);
    let logo = call.app.site.qr_logo.as_ref().filter(|_| wants_logo);
    if wants_logo && logo.is_none() {
        parameters.mistake("logo", "this service has none (site.logo)");
    }
    parameters.finish(())?;
    let pixels = |given: Option<usize>, default| given.and_then(|given| u32::try_from(given).ok()).unwrap_or(default);
    let look = Look { size: pixels(size, SIZE_DEFAULT), margin: pixels(margin, MARGIN_DEFAULT), correction, label };
    let listed = find(&call, &code).await?;
    let short_url = call.short_url(listed.link.code.as_str());
    let picture = qr::draw(&short_url, format, look, logo)
        .map_err(|error| Problem::mistakes(vec![Mistake::of("size", error)]))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, format.media_type())).body(picture))
}
