//! A link's QR code, to look at and to download; and how the console draws codes, one or many.

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    web::{Data, Query},
};
use serde::Deserialize;

use super::OwnLink;
use crate::{
    console::page::Error,
    domain::Link,
    qr::{self, Correction, Format, Look, MARGIN_DEFAULT, QrError},
    state::App,
};

/// Pixels of the picture on a page.
const SIZE_DEFAULT: u32 = 400;

#[derive(Deserialize)]
pub struct Asked {
    size: Option<u32>,
    /// 1: with the service's logo in the middle, if it has one.
    logo: Option<u8>,
    download: Option<u8>,
}

/// `GET /console/links/{code}/qr.svg`.
pub async fn svg(app: Data<App>, own: OwnLink, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    draw(&app, &own.link, &asked, Format::Svg).await
}

/// `GET /console/links/{code}/qr.png`.
pub async fn png(app: Data<App>, own: OwnLink, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    draw(&app, &own.link, &asked, Format::Png).await
}

async fn draw(app: &Data<App>, link: &Link, asked: &Asked, format: Format) -> Result<HttpResponse, Error> {
    let size = asked.size.unwrap_or(SIZE_DEFAULT).clamp(qr::SIZE_MIN, qr::SIZE_MAX);
    // A large picture takes tens of milliseconds to draw: aside, so that nobody's redirect waits for it.
    let (app, with_logo, drawn) = (app.clone(), asked.logo == Some(1), link.code.clone());
    let drawn = actix_web::web::block(move || picture(&app, drawn.as_str(), format, size, with_logo)).await;
    // The smallest size that a code needs may be above what was asked for: then it is no picture that we have.
    let picture = drawn.map_err(|_| Error::NotFound)?.map_err(|_| Error::NotFound)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, format.media_type()));
    if asked.download.is_some() {
        let name = format!("attachment; filename=\"{}.{}\"", link.code, format.extension());
        response.insert_header((CONTENT_DISPOSITION, name));
    }
    Ok(response.body(picture))
}

/// Draws the code of a short link: with the short link under it, and to be read through dirt. The logo only if the service has one.
///
/// # Errors
///
/// When it can't be drawn in this size.
pub fn picture(app: &App, code: &str, format: Format, size: u32, with_logo: bool) -> Result<Vec<u8>, QrError> {
    let look = Look { size, margin: MARGIN_DEFAULT, correction: Correction::H, label: true };
    qr::draw(&app.short_url(code), format, look, app.site.qr_logo.as_ref().filter(|_| with_logo))
}
