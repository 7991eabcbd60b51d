//! Files that officers uploaded and haven't confirmed yet, so that whichever node they come back to has them.
//!
//! Each officer has one place: a new file replaces the one before. So however often somebody uploads, they take up the room of one file, and for
//! no longer than [`UPLOAD_KEPT_FOR`].

use std::time::Duration;

use redis::cmd;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, keys};
use crate::{domain::Email, metrics::Operation};

/// Enough to read a preview, put the file right and upload it once more.
pub const UPLOAD_KEPT_FOR: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Tells it from all other uploads.
    pub id: String,
    /// What the officer's computer calls the file.
    pub name: String,
    pub file: Vec<u8>,
}

/// What stands in the first line, as JSON; the file is what follows.
#[derive(Serialize, Deserialize)]
struct Head {
    id: String,
    name: String,
}

impl Store {
    /// Keeps a file for its officer, in place of the one before.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: it may or may not have been kept.
    pub async fn keep_upload(&self, owner: &Email, upload: &Upload) -> Result<(), StoreError> {
        let head = Head { id: upload.id.clone(), name: upload.name.clone() };
        let mut kept = serde_json::to_vec(&head).expect("a head is two texts");
        kept.push(b'\n');
        kept.extend_from_slice(&upload.file);
        let kept_for_ms = u64::try_from(UPLOAD_KEPT_FOR.as_millis()).unwrap_or(u64::MAX);
        self.ask(Operation::UploadWrite, async |redis| {
            let mut set = cmd("SET");
            set.arg(keys::upload(owner)).arg(kept.as_slice()).arg("PX").arg(kept_for_ms);
            set.exec_async(redis).await
        })
        .await
    }

    /// The officer's file with this id; `None`: it was replaced, or its time is over.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn find_upload(&self, owner: &Email, id: &str) -> Result<Option<Upload>, StoreError> {
        let kept: Option<Vec<u8>> = self
            .ask(Operation::UploadRead, async |redis| cmd("GET").arg(keys::upload(owner)).query_async(redis).await)
            .await?;
        let Some(mut kept) = kept else { return Ok(None) };
        let corrupt = || StoreError::Corrupt("an upload that can't be read".to_owned());
        let end = kept.iter().position(|byte| *byte == b'\n').ok_or_else(corrupt)?;
        let head: Head = serde_json::from_slice(&kept[..end]).map_err(|_| corrupt())?;
        let file = kept.split_off(end + 1);
        Ok((head.id == id).then_some(Upload { id: head.id, name: head.name, file }))
    }
}
