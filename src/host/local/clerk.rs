//! A thread that asks this machine's file systems, so that one that never answers (a dead NFS server, suspended DRBD
//! I/O) costs a deadline and not the run.
//!
//! A system call cannot be taken back: a thread that is stuck in one is left behind, and another takes its place.

use super::Local;
use crate::host::{LookError, Step, StepError};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// For a look.
pub(super) const LOOK: Duration = Duration::from_secs(30);
/// For a change: a large directory is removed, a file of many megabytes reaches a slow disk.
const CHANGE: Duration = Duration::from_secs(30 * 60);
/// While a thread is stuck: the next question is most likely about the same storage.
const IMPATIENT: Duration = Duration::from_secs(3);

type Job = Box<dyn FnOnce(&Local) + Send>;

pub struct Clerk {
    name: String,
    jobs: Mutex<Option<Sender<Job>>>,
    stuck: Arc<AtomicUsize>,
}

impl Clerk {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), jobs: Mutex::new(None), stuck: Arc::default() }
    }

    /// What `work` finds on this machine.
    ///
    /// # Errors
    /// [`LookError::Timeout`] after `within`; what became of the work is then unknown.
    pub fn ask<T: Send + 'static>(
        &self,
        what: &str,
        within: Duration,
        work: impl FnOnce(&Local) -> T + Send + 'static,
    ) -> Result<T, LookError> {
        let (give, take) = sync_channel(1);
        let job: Job = Box::new(move |local| drop(give.send(work(local))));
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match jobs.take() {
            Some(sender) => sender,
            None => self.hire().map_err(|e| LookError::cannot_tell(what, e))?,
        };
        let within = if self.stuck.load(Ordering::Acquire) > 0 { within.min(IMPATIENT) } else { within };
        if sender.send(job).is_err() {
            return Err(LookError::cannot_tell(what, "the thread that asks the file systems has ended"));
        }
        let Ok(found) = take.recv_timeout(within) else {
            // The thread that counts itself down is the one that this one is left behind in.
            self.stuck.fetch_add(1, Ordering::AcqRel);
            let stuck = Arc::clone(&self.stuck);
            let _ = sender.send(Box::new(move |_| {
                stuck.fetch_sub(1, Ordering::AcqRel);
            }));
            let what = format!("{what} (its storage hangs)");
            return Err(LookError::Timeout { what, after_s: within.as_secs() });
        };
        *jobs = Some(sender);
        Ok(found)
    }

    /// A question about a path.
    pub fn look<T: Send + 'static>(
        &self,
        path: &Path,
        question: impl FnOnce(&Local, &Path) -> Result<T, LookError> + Send + 'static,
    ) -> Result<T, LookError> {
        let asked = path.to_owned();
        self.ask(&path.display().to_string(), LOOK, move |local| question(local, &asked))?
    }

    /// A change to files.
    pub fn change(&self, step: &Step) -> Result<(), StepError> {
        let own = step.action.clone();
        match self.ask("a change to files", CHANGE, move |local| local.perform_on_files(&own)) {
            Ok(done) => done,
            Err(error) => {
                Err(StepError::Failed { what: step.describe(), why: format!("{error}; it may still be made") })
            }
        }
    }

    fn hire(&self) -> std::io::Result<Sender<Job>> {
        let (sender, jobs) = channel::<Job>();
        let name = self.name.clone();
        std::thread::Builder::new().name("files".into()).spawn(move || {
            let local = Local::unwatched(name);
            jobs.into_iter().for_each(|job| job(&local));
        })?;
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_storage_that_hangs_costs_a_deadline_and_the_next_look_is_answered() {
        let clerk = Clerk::new("here");
        let (release, held) = mpsc::channel::<()>();
        let short = Duration::from_millis(50);
        let error = clerk.ask("/mnt/dead", short, move |_| held.recv()).unwrap_err();
        assert!(error.to_string().contains("/mnt/dead (its storage hangs)"), "{error}");
        assert_eq!(clerk.ask("/", LOOK, |_| 1), Ok(1));
        assert_eq!(clerk.stuck.load(Ordering::Acquire), 1);
        drop(release);
        let until = std::time::Instant::now() + LOOK;
        while clerk.stuck.load(Ordering::Acquire) > 0 {
            assert!(std::time::Instant::now() < until, "what came back is still counted as stuck");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
