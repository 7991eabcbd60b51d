//! Signs of life of the public port's workers. A worker answers from its own event loop, so an
//! answer shows that the loop turns.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// Asks all workers, and waits for their answers.
#[derive(Debug, Default)]
pub struct Pulse(watch::Sender<Option<mpsc::Sender<()>>>);

impl Pulse {
    /// Answers for the worker on whose thread it is called, until that thread's runtime ends.
    pub fn answer(&self) {
        let mut beats = self.0.subscribe();
        actix_web::rt::spawn(async move {
            while beats.changed().await.is_ok() {
                let beat = beats.borrow_and_update().clone();
                if let Some(beat) = beat {
                    // Room for each worker is there, unless the beat is over.
                    let _ = beat.try_send(());
                }
            }
        });
    }

    /// True if there are workers, and each has answered within `patience`.
    pub async fn beat(&self, patience: Duration) -> bool {
        let workers = self.0.receiver_count();
        let (beat, mut answers) = mpsc::channel(workers.max(1));
        self.0.send_replace(Some(beat));
        let all = async {
            for _ in 0..workers {
                answers.recv().await;
            }
        };
        workers > 0 && timeout(patience, all).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    #[test]
    fn a_beat_takes_an_answer_of_each_worker() {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.expect("a runtime can be made").block_on(beats());
    }

    async fn beats() {
        let pulse = Pulse::default();
        assert!(!pulse.beat(Duration::ZERO).await, "nobody is there");
        pulse.answer();
        pulse.answer();
        for _ in 0..3 {
            assert!(pulse.beat(Duration::from_secs(20)).await);
        }
        let stuck = pulse.0.subscribe();
        assert!(!pulse.beat(Duration::from_millis(1)).await, "one of three says nothing");
        drop(stuck);
        assert!(pulse.beat(Duration::from_secs(20)).await);
    }
}
