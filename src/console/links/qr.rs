//! A link's QR code, to look at and to download.

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::own_link;
use crate::{
    console::{page::Error, session::SignedIn},
    qr::{self, Correction, Format, Look},
    state::App,
};

/// Pixels of the picture on a page.
const SIZE_DEFAULT: u32 = 400;
/// ISO/IEC 18004 asks for a margin of four modules.
const MARGIN: u32 = 4;

#[derive(Deserialize)]
pub struct Asked {
    size: Option<u32>,
    /// 1: with the service's logo in the middle, if it has one.
    logo: Option<u8>,
    download: Option<u8>,
}

/// `GET /console/links/{code}/qr.svg`.
pub async fn svg(
    app: Data<App>,
    officer: SignedIn,
    code: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    draw(&app, &officer, &code, &asked, Format::Svg).await
}

/// `GET /console/links/{code}/qr.png`.
pub async fn png(
    app: Data<App>,
    officer: SignedIn,
    code: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    draw(&app, &officer, &code, &asked, Format::Png).await
}

async fn draw(
    app: &Data<App>,
    officer: &SignedIn,
    code: &Path<String>,
    asked: &Asked,
    format: Format,
) -> Result<HttpResponse, Error> {
    let link = own_link(app, officer, code).await?.link;
    let size = asked.size.unwrap_or(SIZE_DEFAULT).clamp(qr::SIZE_MIN, qr::SIZE_MAX);
    let look = Look { size, margin: MARGIN, correction: Correction::H, label: true };
    let short_url = app.short_url(link.code.as_str());
    // A large picture takes tens of milliseconds to draw: aside, so that nobody's redirect waits for it.
    let (app, wants_logo) = (app.clone(), asked.logo == Some(1));
    let drawn = actix_web::web::block(move || {
        qr::draw(&short_url, format, look, app.site.qr_logo.as_ref().filter(|_| wants_logo))
    })
    .await;
    // The smallest size that a code needs may be above what was asked for: then it is no picture that we have.
    let picture = drawn.map_err(|_| Error::NotFound)?.map_err(|_| Error::NotFound)?;
    let (content_type, extension) = match format {
        Format::Svg => ("image/svg+xml", "svg"),
        Format::Png => ("image/png", "png"),
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, content_type));
    if asked.download.is_some() {
        response.insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{}.{extension}\"", link.code)));
    }
    Ok(response.body(picture))
}
