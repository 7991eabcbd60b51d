//! Links as a file that is read while it is made: some hundreds are in memory at a time. API v2 and the console send it.

use actix_web::web::Data;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use crate::{
    admission,
    metrics::Class,
    rows::write::Writer,
    state::App,
    store::{LinkWalk, ListedLink, StoreError},
};

type State = Option<(Data<App>, LinkWalk, Writer)>;

/// What `writer` makes of the links of a walk, each part in a place of its own. One that breaks off ends in an error, which tells an HTTP client that it lacks something.
///
/// # Errors
///
/// When the store can't be asked before there is anything to send: only then can it be told in words.
pub async fn stream(
    app: Data<App>,
    mut walk: LinkWalk,
    mut writer: Writer,
) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + 'static, StoreError> {
    let first = written(&mut writer, &walk.next().await?);
    let rest = stream::unfold(Some((app, walk, writer)), next);
    Ok(stream::once(async { Ok(first) }).chain(rest))
}

async fn next(state: State) -> Option<(Result<Bytes, StoreError>, State)> {
    let (app, mut walk, mut writer) = state?;
    match admission::in_a_place(&app, Class::Bulk, walk.next()).await {
        Ok(links) if links.is_empty() => None,
        Ok(links) => Some((Ok(written(&mut writer, &links)), Some((app, walk, writer)))),
        Err(error) => {
            match &error {
                StoreError::Unavailable(_) => tracing::debug!("an export broke off: {error}"),
                StoreError::Corrupt(_) => tracing::error!("an export broke off: {error}"),
            }
            Some((Err(error), None))
        }
    }
}

fn written(writer: &mut Writer, links: &[ListedLink]) -> Bytes {
    for listed in links {
        writer.push(&listed.link, listed.clicks);
    }
    writer.take().into()
}
