//! Links as a file that is read while it is made: some hundreds are in memory at a time. API v2 and the console send it.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use crate::{
    rows::write::Writer,
    store::{LinkWalk, ListedLink, StoreError},
};

type State = Option<(LinkWalk, Writer)>;

/// What `writer` makes of the links of a walk. One that breaks off ends in an error, which tells an HTTP client that it lacks something.
///
/// # Errors
///
/// When the store can't be asked before there is anything to send: only then can it be told in words.
pub async fn stream(
    mut walk: LinkWalk,
    mut writer: Writer,
) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + 'static, StoreError> {
    let first = written(&mut writer, &walk.next().await?);
    let rest = stream::unfold(Some((walk, writer)), next);
    Ok(stream::once(async { Ok(first) }).chain(rest))
}

async fn next(state: State) -> Option<(Result<Bytes, StoreError>, State)> {
    let (mut walk, mut writer) = state?;
    match walk.next().await {
        Ok(links) if links.is_empty() => None,
        Ok(links) => Some((Ok(written(&mut writer, &links)), Some((walk, writer)))),
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
