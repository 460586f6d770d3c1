//! Ways to a host, each giving a byte pipe with an agent behind it. A link that is cut, hangs or talks nonsense is an
//! error with a name, never an answer.

mod api;
mod binary;
mod boot;
mod discover;
mod in_process;
mod lab;
pub mod lock;
mod pct;
mod pve_shell;
mod reach;
mod real;
mod ssh;

pub use api::ApiHost;
pub use discover::{discover, discover_on_node};
pub use in_process::{FutureHost, in_process};
pub use lab::LabHosts;
pub use reach::{Reach, Reaches, Way, Words};
pub use real::InventoryHosts;

use crate::event::Mode;
use crate::wire::{GREETING, Numbered, Request, Response, read_frame, write_frame};
use std::collections::VecDeque;
use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long an agent may be silent while it works on a request: it says every [`crate::agent::BEAT`] that it lives, so
/// that this is not the time a step may take.
const SILENCE: Duration = Duration::from_secs(60);
const HELLO: Duration = Duration::from_secs(30);

/// An agent on a host, ready for requests. Requests are answered in order.
pub struct Link {
    host: String,
    output: Box<dyn Write + Send>,
    frames: Receiver<Result<Numbered<Response>, String>>,
    last_id: u64,
    /// Requests whose answers somebody will ask for, oldest first.
    open: VecDeque<u64>,
    silence: Duration,
    owed: Option<Result<Vec<String>, String>>,
    explain: Option<Box<dyn Fn(String) -> String + Send>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The host cannot be reached, or was lost.
    #[error("{host} cannot be reached: {why}")]
    Lost { host: String, why: String },
    /// The host is not there now, but may be later (a container that is not running).
    #[error("{host} is not running: {why}")]
    NotRunning { host: String, why: String },
    /// Connected, but no answer in time.
    #[error("{host} did not answer within {after_s} s: it hangs, or the connection died without a word")]
    Silent { host: String, after_s: u64 },
    /// It lives and works on, but the answer did not come in the time that the caller gave it. The link stays good.
    #[error("{host} was not done within {after_s} s, and works on")]
    Late { host: String, after_s: u64 },
    /// Nothing was sent: the run has no right to change anything any more.
    #[error("{why}")]
    Stopped { why: String },
}

/// Knows the way to every host of an inventory.
/// Several hosts are connected to at once.
pub trait Connect: Sync {
    fn connect(&self, host: &str, mode: Mode) -> Result<Link, LinkError>;

    /// Whom the host `cluster` asks the API as, where that is known without asking anybody.
    fn api_user(&self) -> Option<String> {
        None
    }

    /// Whether a task that says `become: true` or `false` is run so, by the one link that its host has; else why not.
    fn becomes(&self, _host: &str, _wanted: bool) -> Result<(), String> {
        Ok(())
    }

    /// Why plays on this host, of which some become root, cannot all run as they say by its one link.
    fn divided(&self, _host: &str) -> Option<String> {
        None
    }

    /// The right to change these hosts, alone, until it is dropped; `None` where nothing is shared. `tell` gets what a
    /// person should know of it.
    fn lock(&self, _claim: &lock::Claim, _tell: &mut dyn FnMut(String)) -> Result<Option<lock::Held>, lock::LockError> {
        Ok(None)
    }
}

impl Link {
    /// Waits for the greeting of the agent behind a byte pipe. A thread reads what it says, so that silence can be told
    /// from work.
    pub fn open(
        host: &str,
        input: impl BufRead + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> Result<Self, LinkError> {
        let mut link = Self::attached(host, input, output)?;
        let greeting = link.answer(None, &mut |_, _| {})?;
        link.silence = SILENCE;
        match greeting {
            Response::Hello { owed } => {
                link.owed = Some(owed);
                Ok(link)
            }
            other => Err(link.lost(format!("expected a greeting, got {other:?}"))),
        }
    }

    fn attached(
        host: &str,
        mut input: impl BufRead + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> Result<Self, LinkError> {
        // Without a bound: who sends many questions before taking an answer must not be waited for by the agent.
        let (sender, frames) = channel();
        std::thread::Builder::new()
            .name(format!("link {host}"))
            .stack_size(256 * 1024)
            .spawn(move || {
                let mut noise = String::new();
                loop {
                    let frame = read_frame(&mut input, &mut |line| keep_last(&mut noise, line));
                    let (message, end) = match frame {
                        Ok(Some(response)) => (Ok(response), false),
                        Ok(None) => (Err(with_noise("the connection was closed", &noise)), true),
                        Err(error) => (Err(with_noise(&error.to_string(), &noise)), true),
                    };
                    if sender.send(message).is_err() || end {
                        return;
                    }
                }
            })
            .map_err(|e| LinkError::Lost { host: host.into(), why: e.to_string() })?;
        Ok(Self {
            host: host.to_owned(),
            output: Box::new(output),
            frames,
            last_id: GREETING,
            open: VecDeque::from([GREETING]),
            silence: HELLO,
            owed: None,
            explain: None,
        })
    }

    /// Something that may know more about an end of the link than the pipe does.
    fn explained(mut self, explain: impl Fn(String) -> String + Send + 'static) -> Self {
        self.explain = Some(Box::new(explain));
        self
    }

    /// The handlers that an earlier run owes this host, as it said in its greeting, or why it cannot tell; once.
    pub fn take_owed(&mut self) -> Option<Result<Vec<String>, String>> {
        self.owed.take()
    }

    pub fn send(&mut self, request: &Request) -> Result<(), LinkError> {
        self.last_id += 1;
        let numbered = Numbered { id: self.last_id, body: request };
        write_frame(&mut self.output, &numbered).map_err(|e| self.lost(e.to_string()))?;
        self.open.push_back(self.last_id);
        Ok(())
    }

    /// The answer to the oldest open request. After `within` it is given up, and what comes later is thrown away;
    /// without that, it may take as long as the agent shows that it lives.
    pub fn answer(
        &mut self,
        within: Option<Duration>,
        progress: &mut dyn FnMut(String, Option<f32>),
    ) -> Result<Response, LinkError> {
        let Some(id) = self.open.pop_front() else {
            return Err(self.lost("nothing was asked".into()));
        };
        let since = Instant::now();
        let deadline = within.map(|within| since + within);
        let mut silent_from = since;
        loop {
            let silent_until = silent_from + self.silence;
            let until = deadline.map_or(silent_until, |deadline| deadline.min(silent_until));
            match self.frames.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(frame)) => {
                    silent_from = Instant::now();
                    match frame.body {
                        Response::Alive => {}
                        // Of a request that was given up.
                        _ if frame.id < id => {}
                        _ if frame.id > id => {
                            let why = format!("it answered request {} before request {id}", frame.id);
                            return Err(self.lost(why));
                        }
                        Response::Progress { message, fraction } => progress(message, fraction),
                        response => return Ok(response),
                    }
                }
                Ok(Err(why)) => return Err(self.lost(why)),
                Err(RecvTimeoutError::Timeout) if deadline == Some(until) => {
                    let after_s = within.unwrap_or_default().as_secs();
                    return Err(LinkError::Late { host: self.host.clone(), after_s });
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(LinkError::Silent { host: self.host.clone(), after_s: self.silence.as_secs() });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.lost("the connection was closed".into())),
            }
        }
    }

    /// The far end is gone, and no answer is waited for: a new link to the same host takes up where this one ended.
    pub fn has_ended(&mut self) -> bool {
        use std::sync::mpsc::TryRecvError;
        self.open.is_empty()
            && loop {
                match self.frames.try_recv() {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(TryRecvError::Disconnected) => break true,
                    Err(TryRecvError::Empty) => break false,
                }
            }
    }

    /// The newest `count` open requests are of no interest any more; what comes for them is thrown away.
    pub fn give_up(&mut self, count: usize) {
        self.open.truncate(self.open.len().saturating_sub(count));
    }

    /// Asks and waits.
    pub fn call(&mut self, request: &Request) -> Result<Response, LinkError> {
        self.send(request)?;
        self.answer(None, &mut |_, _| {})
    }

    fn lost(&self, why: String) -> LinkError {
        let why = self.explain.as_ref().map_or_else(|| why.clone(), |explain| explain(why.clone()));
        LinkError::Lost { host: self.host.clone(), why }
    }
}

/// The last few lines that were no frame: what a shell or loader said before the link broke.
fn keep_last(noise: &mut String, line: &str) {
    const KEEP: usize = 2000;
    noise.push_str(line);
    noise.push('\n');
    if noise.len() > 2 * KEEP {
        let cut = noise.ceil_char_boundary(noise.len() - KEEP);
        noise.drain(..cut);
    }
}

fn with_noise(why: &str, noise: &str) -> String {
    match noise.trim() {
        "" => why.to_owned(),
        said => format!("{why}; the other end said: {said}"),
    }
}

#[cfg(test)]
mod tests;
