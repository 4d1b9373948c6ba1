//! Batches made on a thread of their own while the device computes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::Corpus;
use crate::{Error, Result};

/// Consecutive samples of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Clean patches by (patch, row, column).
    pub clean: Vec<f32>,
    /// Noisy patches by (patch, row, column).
    pub noisy: Vec<f32>,
    /// Noise level of every patch, in units of the image range.
    pub sigmas: Vec<f32>,
    /// The number of the first sample; the others follow.
    pub first_sample: u64,
}

/// Batches that are made ahead of their use. Dropping it ends the thread, after the batch at hand.
#[derive(Debug)]
pub struct Prefetch {
    /// `None` only while being dropped and after the thread has ended.
    batches: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// Starts making batches of `batch` samples from sample `first_sample` on, at most `ahead` (at least 1) of them waiting.
    /// Sample `n` is sample `n % len` of epoch `n / len` of the corpus.
    ///
    /// # Errors
    /// [`Error::Usage`] for an empty batch; [`Error::OutOfMemory`] when the system gives no thread.
    pub fn new(corpus: Arc<Corpus>, first_sample: u64, batch: usize, ahead: usize) -> Result<Self> {
        if batch == 0 {
            return Err(Error::Usage("a batch of 0 samples: want 1 or more".into()));
        }
        let mut next = first_sample;
        Self::start(ahead, move || {
            let made = make(&corpus, next, batch);
            next += batch as u64;
            Ok(made)
        })
    }

    fn start(ahead: usize, mut make: impl FnMut() -> Result<Batch> + Send + 'static) -> Result<Self> {
        let (sender, batches) = sync_channel(ahead.max(1));
        let work = move || {
            loop {
                let made = make();
                let failed = made.is_err();
                // Nobody receives any more: the owner is being dropped.
                if sender.send(made).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("patches".into())
            .spawn(work)
            .map_err(|error| Error::OutOfMemory(format!("no thread to make patches ({error}); end other programs")))?;
        Ok(Self {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    /// The next batch, in order; waits for it if it is not there yet.
    ///
    /// # Errors
    /// What went wrong on the thread; afterwards, and after a panic there, [`Error::Internal`].
    #[expect(clippy::should_implement_trait, reason = "it never ends, and it fails")]
    pub fn next(&mut self) -> Result<Batch> {
        if let Some(Ok(received)) = self.batches.as_ref().map(Receiver::recv) {
            return received;
        }
        self.batches = None;
        let panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
        let how = if panicked { "panicked" } else { "has ended" };
        Err(Error::Internal(format!("the thread that makes patches {how}")))
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // First the channel: a thread that waits for room in it would wait for ever.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // Whether it panicked matters to no one any more.
            let _ = thread.join();
        }
    }
}

fn make(corpus: &Corpus, first_sample: u64, batch: usize) -> Batch {
    let patch = corpus.settings().patch * corpus.settings().patch;
    let mut made = Batch {
        clean: Vec::with_capacity(batch * patch),
        noisy: Vec::with_capacity(batch * patch),
        sigmas: Vec::with_capacity(batch),
        first_sample,
    };
    for number in first_sample..first_sample + batch as u64 {
        let sample = corpus.sample(number / corpus.len(), number % corpus.len());
        made.clean.extend(sample.clean);
        made.noisy.extend(sample.noisy);
        made.sigmas.push(sample.sigma);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(first_sample: u64) -> Batch {
        Batch {
            clean: vec![],
            noisy: vec![],
            sigmas: vec![],
            first_sample,
        }
    }

    #[test]
    fn failures_and_panics_of_the_thread_come_out() {
        let mut count = 0;
        let mut prefetch = Prefetch::start(4, move || {
            count += 1;
            match count {
                1 => Ok(empty(7)),
                _ => Err(Error::Data("spoilt".into())),
            }
        })
        .unwrap();
        assert_eq!(prefetch.next().unwrap(), empty(7));
        assert_eq!(prefetch.next().unwrap_err().to_string(), "spoilt");
        assert!(prefetch.next().unwrap_err().to_string().contains("has ended"));

        let mut prefetch = Prefetch::start(1, || panic!("on purpose")).unwrap();
        for expected in ["panicked", "has ended"] {
            let error = prefetch.next().unwrap_err();
            assert!(matches!(error, Error::Internal(_)));
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    /// The thread fills the channel and waits for room; the owner goes without taking anything.
    #[test]
    fn a_waiting_thread_ends_with_its_owner() {
        let (sender, ended) = sync_channel(1);
        struct Guard(std::sync::mpsc::SyncSender<()>);
        impl Drop for Guard {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let guard = Guard(sender);
        let prefetch = Prefetch::start(1, move || {
            let _held = &guard;
            Ok(empty(0))
        })
        .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(prefetch);
        ended.try_recv().unwrap();
    }
}
