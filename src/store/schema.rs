//! The schema's number: which programs may work on the data.
//!
//! Redis holds the lowest number that a program must know to work on what has been written, and a
//! program that knows less refuses to start. A change of the schema that older programs may
//! overlook (another field, another state that they take for "off") raises [`KNOWN`] alone; one
//! that they would get wrong raises [`NEEDED`] too. It doesn't convert anything.

use redis::cmd;

use super::{Store, StoreError, keys, safety::Found};
use crate::metrics::Operation;

/// The schema that this program knows.
const KNOWN: u32 = 1;
/// The lowest that a program must know to work on what this one writes.
const NEEDED: u32 = 1;

impl Store {
    /// Says which schema a program must know from now on. A number in Redis that is higher stays:
    /// [`Self::newer_schema`] tells of it.
    pub async fn claim_schema(&self) -> Result<(), StoreError> {
        self.ask(Operation::Ping, async |redis| {
            let mut claim = cmd("ZADD");
            claim.arg(keys::SCHEMA).arg("GT").arg(NEEDED).arg(keys::SCHEMA_NEEDED);
            claim.query_async::<()>(redis).await
        })
        .await
    }

    /// Why this program can't work on the data, if they were written by one that is too new for it.
    pub(super) async fn newer_schema(&self) -> Result<Option<Found>, StoreError> {
        let needed = self
            .ask(Operation::Ping, async |redis| {
                cmd("ZSCORE").arg(keys::SCHEMA).arg(keys::SCHEMA_NEEDED).query_async::<Option<f64>>(redis).await
            })
            .await;
        let needed = match needed {
            Err(StoreError::Corrupt(_)) => {
                let reason = format!(
                    "{} in Redis isn't what Merlink writes there, so it isn't known which version the data need. If only this version has written \
                     them, delete that key.",
                    keys::SCHEMA
                );
                return Ok(Some(Found { danger: None, reason }));
            }
            needed => needed?,
        };
        Ok(needed.filter(|needed| *needed > f64::from(KNOWN)).map(|needed| Found {
            danger: None,
            reason: format!(
                "a newer Merlink has written these data: they need schema {needed}, and this version knows {KNOWN}. Install the newer version \
                 again, or restore a backup from before the upgrade."
            ),
        }))
    }

    /// Refuses to work on data that a newer program has written, and claims them otherwise. A Redis
    /// that can't be asked or is full is left to what comes next, which says so in its own words.
    ///
    /// # Errors
    ///
    /// The reason, in words for an operator.
    pub async fn enter(&self) -> Result<(), String> {
        match self.newer_schema().await {
            Ok(Some(newer)) => Err(newer.reason),
            Ok(None) => {
                if let Err(error) = self.claim_schema().await {
                    tracing::debug!("the schema isn't claimed: {error}");
                }
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }
}
