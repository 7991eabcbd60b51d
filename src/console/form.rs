//! Forms: the one way into the console for whatever changes something.
//!
//! Two checks, each enough by itself. The browser says where the form comes from (`Origin`, which a page can't forge): it must be here.
//! And the form carries a token made of the browser's secret, which only our own pages know.

use std::{future::Future, pin::Pin, time::Duration};

use actix_multipart::Multipart;
use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_TYPE, HOST, ORIGIN},
    web::{BytesMut, Data},
};
use futures_util::StreamExt as _;
use tokio::time::timeout;
use url::form_urlencoded;

use super::{
    page::Error,
    session::{Visitor, app},
};
use crate::{
    admission::{Arrival, STRANGER_BODY_BYTES_MAX, is_encoded},
    metrics::AuthFailure,
    state::App,
    uploads::FILE_BYTES_MAX,
};

/// The name of the field with the token.
pub const TOKEN: &str = "form_token";

/// The name of the field with a file.
pub const FILE: &str = "file";
/// Far above the token's own length.
const TOKEN_BYTES_MAX: usize = 1024;
/// A file of the greatest size takes 84 s over a line of 200 kbit/s.
const FILE_TIME_MAX: Duration = Duration::from_secs(120);
/// What is read of a form whose file is too large, before it is refused without a page.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// All fields of the largest form, percent-encoded, many times over. A stranger's form is a login, of one address or one password:
/// [`STRANGER_BODY_BYTES_MAX`].
const FORM_BYTES_MAX: usize = 64 * 1024;
/// A form of 64 kB takes 3 s over a line of 200 kbit/s.
const FORM_TIME_MAX: Duration = Duration::from_secs(10);

/// A form that came from one of our own pages, and who sent it.
pub struct Posted<V> {
    pub by: V,
    pub fields: Fields,
}

/// As [`Posted`], with a file.
pub struct PostedFile<V> {
    pub by: V,
    /// `None`: it is larger than [`FILE_BYTES_MAX`].
    pub file: Option<File>,
}

/// A file as the browser sent it.
pub struct File {
    /// On the officer's computer. Anything, and perhaps nothing.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What was filled in, in the form's order.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    pub fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first value of this name, without spaces around it; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.trim())
    }

    /// All boxes of this name that were ticked.
    pub fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.trim())
    }

    /// A box that was ticked.
    pub fn is_ticked(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }
}

impl<V: Visitor + 'static> FromRequest for Posted<V> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (app, by) = sender::<V>(&request).await?;
            let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            if !content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded")) {
                return Err(Error::Malformed);
            }
            let bytes_max = by.officer().map_or(STRANGER_BODY_BYTES_MAX, |_| FORM_BYTES_MAX);
            let mut arrival = Arrival::begin(&request, by.officer());
            let reading = read(payload, bytes_max, &mut arrival);
            let body = timeout(FORM_TIME_MAX, reading).await.map_err(|_| Error::TooSlow)??;
            arrival.end().await?;
            let fields = Fields::parse(&body);
            check_token(&app, &by, fields.text(TOKEN))?;
            Ok(Self { by, fields })
        })
    }
}

impl<V: Visitor + 'static> FromRequest for PostedFile<V> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (app, by) = sender::<V>(&request).await?;
            let parts = Multipart::new(request.headers(), payload);
            let mut arrival = Arrival::begin(&request, by.officer());
            let reading = read_parts(parts, &mut arrival);
            let (token, file) = timeout(FILE_TIME_MAX, reading).await.map_err(|_| Error::TooSlow)??;
            arrival.end().await?;
            check_token(&app, &by, &token)?;
            Ok(Self { by, file })
        })
    }
}

/// Who sends a form, from a page of ours as far as the browser says.
async fn sender<V: Visitor>(request: &HttpRequest) -> Result<(Data<App>, V), Error> {
    let app = app(request);
    check_origin(&app, request)?;
    if is_encoded(request) {
        return Err(Error::Encoded);
    }
    let by = V::recognise(&app, request).await?;
    Ok((app, by))
}

/// The token and the file of a form with both. What is too large is read and thrown away: a browser that is refused before it has sent all
/// shows its own page about a broken connection instead of ours.
async fn read_parts(mut parts: Multipart, arrival: &mut Arrival) -> Result<(String, Option<File>), Error> {
    let (mut token, mut name, mut bytes) = (Vec::new(), String::new(), Vec::new());
    let (mut read, mut is_too_large) = (0, false);
    while let Some(part) = parts.next().await {
        let mut part = part.map_err(|_| Error::Malformed)?;
        let (is_token, is_file) = (part.name() == Some(TOKEN), part.name() == Some(FILE));
        if let Some(given) = part.content_disposition().and_then(|about| about.get_filename()).filter(|_| is_file) {
            given.clone_into(&mut name);
        }
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|_| Error::Malformed)?;
            read += chunk.len();
            if read > DISCARDED_BYTES_MAX {
                return Err(Error::TooLarge);
            }
            if is_token && token.len() + chunk.len() <= TOKEN_BYTES_MAX {
                token.extend_from_slice(&chunk);
            } else if is_file && bytes.len() + chunk.len() <= FILE_BYTES_MAX {
                arrival.takes(chunk.len())?;
                bytes.extend_from_slice(&chunk);
            } else {
                is_too_large |= is_file;
            }
        }
    }
    let file = (!is_too_large).then_some(File { name, bytes });
    Ok((String::from_utf8(token).map_err(|_| Error::Malformed)?, file))
}

/// A program other than a browser may send no origin; then the token has to do.
fn check_origin(app: &App, request: &HttpRequest) -> Result<(), Error> {
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let base_url = &app.config.public.base_url;
    // By its other names too, as 127.0.0.1 for localhost. A browser tells the host that it really asked.
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_host = |scheme: &str| origin.strip_prefix(scheme).is_some_and(|rest| !host.is_empty() && rest == host);
    if origin == base_url.as_str() || is_host("https://") || (!base_url.is_https() && is_host("http://")) {
        return Ok(());
    }
    app.metrics.auth_failure(AuthFailure::ForeignOrigin);
    Err(Error::ForeignForm)
}

fn check_token(app: &App, by: &impl Visitor, token: &str) -> Result<(), Error> {
    if by.secret().gave(token) {
        return Ok(());
    }
    app.metrics.auth_failure(AuthFailure::FormToken);
    Err(Error::ForeignForm)
}

async fn read(mut payload: Payload, bytes_max: usize, arrival: &mut Arrival) -> Result<BytesMut, Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Error::Malformed)?;
        if body.len() + chunk.len() > bytes_max {
            return Err(Error::TooLarge);
        }
        arrival.takes(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
