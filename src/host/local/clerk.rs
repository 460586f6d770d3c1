//! A thread that asks this machine's file systems, so that one that never answers (a dead NFS server, suspended DRBD
//! I/O) costs a deadline and not the run.
//!
//! A system call cannot be taken back: a thread that is stuck in one is left behind, and another takes its place.

use super::Local;
use crate::host::{LookError, Step, StepError};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For a look.
pub(super) const LOOK: Duration = Duration::from_secs(30);
/// For a change: a large directory is removed, a file of many megabytes reaches a slow disk.
const CHANGE: Duration = Duration::from_secs(30 * 60);
/// For a look while a thread is stuck: it is most likely about the same storage.
const IMPATIENT: Duration = Duration::from_secs(3);

type Job = Box<dyn FnOnce(&Local) + Send>;

pub struct Clerk {
    name: String,
    jobs: Mutex<Option<Sender<Job>>>,
    stuck: Arc<AtomicUsize>,
    /// The change that was not seen to end. Nothing else is changed until it has: what it writes late must not meet what
    /// another writes.
    unended: Arc<Mutex<Option<String>>>,
}

impl Clerk {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), jobs: Mutex::new(None), stuck: Arc::default(), unended: Arc::default() }
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
        let mut jobs = lock(&self.jobs);
        let sender = match jobs.take() {
            Some(sender) => sender,
            None => self.hire().map_err(|e| LookError::cannot_tell(what, e))?,
        };
        let ended = || LookError::cannot_tell(what, "the thread that asks the file systems has ended");
        sender.send(job).map_err(|_| ended())?;
        match take.recv_timeout(within) {
            Ok(found) => {
                *jobs = Some(sender);
                Ok(found)
            }
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
            Err(RecvTimeoutError::Timeout) => {
                self.stuck.fetch_add(1, Ordering::AcqRel);
                let stuck = Arc::clone(&self.stuck);
                // The last job of the thread that is left behind, for when it comes back.
                let _ = sender.send(Box::new(move |_| {
                    stuck.fetch_sub(1, Ordering::AcqRel);
                }));
                let what = format!("{what} (its storage hangs)");
                Err(LookError::Timeout { what, after_s: within.as_secs() })
            }
        }
    }

    /// A question about a path.
    pub fn look<T: Send + 'static>(
        &self,
        path: &Path,
        question: impl FnOnce(&Local, &Path) -> Result<T, LookError> + Send + 'static,
    ) -> Result<T, LookError> {
        let asked = path.to_owned();
        let within = if self.stuck.load(Ordering::Acquire) > 0 { IMPATIENT } else { LOOK };
        self.ask(&path.display().to_string(), within, move |local| question(local, &asked))?
    }

    /// A change to files.
    pub fn change(&self, step: &Step) -> Result<(), StepError> {
        let own = step.action.clone();
        self.change_within(&step.describe(), CHANGE, move |local| local.perform_on_files(&own))
    }

    fn change_within(
        &self,
        what: &str,
        within: Duration,
        work: impl FnOnce(&Local) -> Result<(), StepError> + Send + 'static,
    ) -> Result<(), StepError> {
        if let Some(earlier) = &*lock(&self.unended) {
            let reason = format!("an earlier change has not ended, because its storage hangs: {earlier}");
            return Err(StepError::Refused { reason });
        }
        let mark = Unended::mark(&self.unended, what);
        let marked = move |local: &Local| {
            let _until_it_ends = mark;
            work(local)
        };
        match self.ask(what, within, marked) {
            Ok(done) => done,
            Err(error @ LookError::Timeout { .. }) => {
                Err(StepError::Unknown { what: what.to_owned(), why: format!("{error}; it may still be made") })
            }
            Err(error) => Err(StepError::Failed { what: what.to_owned(), why: error.to_string() }),
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

/// A change that has not ended: it goes with the work, however that ends.
struct Unended(Arc<Mutex<Option<String>>>);

impl Unended {
    fn mark(place: &Arc<Mutex<Option<String>>>, what: &str) -> Self {
        *lock(place) = Some(what.to_owned());
        Self(Arc::clone(place))
    }
}

impl Drop for Unended {
    fn drop(&mut self) {
        lock(&self.0).take();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (go, waits) = mpsc::channel::<()>();
        let slow = clerk.change_within("write /mnt/dead/x", short, move |_| {
            let _ = waits.recv();
            Ok(())
        });
        assert!(matches!(slow, Err(StepError::Unknown { .. })), "{slow:?}");
        let refused = clerk.change_within("write /y", LOOK, |_| Ok(())).unwrap_err();
        assert!(refused.to_string().contains("write /mnt/dead/x"), "{refused}");
        drop((release, go));
        let until = std::time::Instant::now() + LOOK;
        while clerk.stuck.load(Ordering::Acquire) > 0 {
            assert!(std::time::Instant::now() < until, "what came back is still counted as stuck");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(clerk.change_within("write /y", LOOK, |_| Ok(())), Ok(()));
        let error = clerk.ask("/", LOOK, |_| panic!("a fault of ours")).unwrap_err();
        assert!(matches!(error, LookError::CannotTell { .. }), "{error:?}");
        assert_eq!(clerk.ask("/", LOOK, |_| 1), Ok(1));
    }
}
