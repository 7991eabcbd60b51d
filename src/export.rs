//! Links as a file that is read while it is made: some hundreds are in memory at a time. API v2 and the console send it.

use actix_web::web::Data;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use crate::{
    admission,
    domain::Code,
    metrics::Class,
    rows::write::Writer,
    state::App,
    store::{LinkWalk, ListedLink, StoreError},
};

type State = Option<(Data<App>, LinkWalk, Writer)>;

/// The links of a walk as `writer` writes them, each part in a place of its own. A link whose data
/// are damaged is a row that says so. A stream that breaks off ends in an error, which tells an
/// HTTP client that it lacks something.
///
/// # Errors
///
/// When the store can't be asked before there is anything to send: only then can it be told in words.
pub async fn stream(
    app: Data<App>,
    mut walk: LinkWalk,
    mut writer: Writer,
) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + 'static, StoreError> {
    let links = walk.next().await?;
    let first = written(&mut writer, &links, &walk.take_passed_over());
    let rest = stream::unfold(Some((app, walk, writer)), next);
    Ok(stream::once(async { Ok(first) }).chain(rest))
}

async fn next(state: State) -> Option<(Result<Bytes, StoreError>, State)> {
    let (app, mut walk, mut writer) = state?;
    match admission::in_a_place(&app, Class::Bulk, walk.next()).await {
        Ok(links) => {
            let passed_over = walk.take_passed_over();
            if links.is_empty() && passed_over.is_empty() {
                return None;
            }
            Some((Ok(written(&mut writer, &links, &passed_over)), Some((app, walk, writer))))
        }
        Err(error) => {
            match &error {
                StoreError::Unavailable(_) => tracing::debug!("an export broke off: {error}"),
                StoreError::Corrupt(_) => tracing::error!("an export broke off: {error}"),
            }
            Some((Err(error), None))
        }
    }
}

fn written(writer: &mut Writer, links: &[ListedLink], damaged: &[Code]) -> Bytes {
    for listed in links {
        writer.push(&listed.link, listed.clicks);
    }
    for code in damaged {
        writer.push_damaged(code);
    }
    writer.take().into()
}
