//! The far end of a link: reads requests, runs them on this host, answers. It ends with its link.

use crate::engine::{self, Terms, journal, trace};
use crate::event::Mode;
use crate::host::{Host, LookError, Output, Preview, Probe, Step, StepError};
use crate::tasks::{AnyTask, registry, rights};
use crate::wire::{GREETING, HostResult, Numbered, Request, Response, WireTask, read_frame, write_frame};
use std::io::{self, BufRead, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often an agent that works on a request says that it lives.
pub const BEAT: Duration = Duration::from_secs(10);

/// What the agent stands on: a preview that cannot change anything, or the host itself.
enum Ground {
    Check(Preview<Box<dyn Host>>),
    Apply(Box<dyn Host>, Instant),
}

/// Serves one link until its end. `host` is this machine, a rooted directory, a lab node, … In `Check` it works on a
/// preview that lasts as long as the link.
pub fn serve(
    input: &mut impl BufRead,
    output: &mut (impl Write + Send),
    host: Box<dyn Host>,
    mode: Mode,
) -> io::Result<()> {
    serve_beating(input, output, host, mode, BEAT)
}

/// [`serve`] with another time between two signs of life.
pub fn serve_beating(
    input: &mut impl BufRead,
    output: &mut (impl Write + Send),
    host: Box<dyn Host>,
    mode: Mode,
    beat: Duration,
) -> io::Result<()> {
    let voice = Voice { output: Mutex::new(output), working_on: AtomicU64::new(IDLE) };
    std::thread::scope(|scope| {
        // Dropped at the end, also by a panic; that ends the beating.
        let (alive, ended) = channel::<()>();
        let voice = &voice;
        let beats = move || {
            while ended.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                match voice.working_on.load(Ordering::Acquire) {
                    IDLE => {}
                    // A link that is gone shows when the answer is written.
                    id => drop(voice.say(id, Response::Alive)),
                }
            }
        };
        std::thread::Builder::new().name("heartbeat".into()).stack_size(64 * 1024).spawn_scoped(scope, beats)?;
        let served = serve_each(input, voice, host, mode);
        drop(alive);
        served
    })
}

/// No request has this number.
const IDLE: u64 = 0;

/// What the work and the heartbeat speak with.
struct Voice<'a, W> {
    output: Mutex<&'a mut W>,
    working_on: AtomicU64,
}

impl<W: Write> Voice<'_, W> {
    fn say(&self, id: u64, body: Response) -> io::Result<()> {
        let mut output = self.output.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        write_frame(&mut **output, &Numbered { id, body })
    }
}

fn serve_each<W: Write>(
    input: &mut impl BufRead,
    voice: &Voice<'_, W>,
    host: Box<dyn Host>,
    mode: Mode,
) -> io::Result<()> {
    let ground = match mode {
        Mode::Check => Ground::Check(Preview::new(host)),
        Mode::Apply => Ground::Apply(host, Instant::now()),
    };
    // Said with the greeting: a question of its own would be a round trip of every run.
    let owed = match journal::pending(ground.probe()) {
        // A host that is only predicted owes nothing yet.
        Err(LookError::NotYet { .. }) => Ok(Vec::new()),
        other => other.map_err(|error| error.to_string()),
    };
    voice.say(GREETING, Response::Hello { owed })?;
    while let Some(Numbered { id, body }) = read_frame::<Numbered<Request>>(input, &mut |_| {})? {
        voice.working_on.store(id, Ordering::Release);
        let response = answer(&ground, body, &|progress| {
            // A link that is gone shows when the answer is written.
            let _ = voice.say(id, progress);
        });
        voice.working_on.store(IDLE, Ordering::Release);
        voice.say(id, response)?;
    }
    Ok(())
}

type Tell<'a> = &'a dyn Fn(Response);

fn answer(ground: &Ground, request: Request, tell: Tell<'_>) -> Response {
    match request {
        Request::Run { task, notify, environment, look_only } => match decode(task) {
            Ok(task) if look_only => Response::Run(look(ground, task.as_ref()).about(task.as_ref())),
            Ok(task) => {
                let terms = Terms { notify: &notify, environment: &environment };
                Response::Run(run(ground, task.as_ref(), &terms, tell).about(task.as_ref()))
            }
            Err(message) => Response::Error { message },
        },
        Request::Probe { task } => match decode(task) {
            Ok(task) => probe(ground, task.as_ref()),
            Err(message) => Response::Error { message },
        },
        Request::Perform { steps, notify } => perform(ground, &steps, &notify, tell),
        Request::Trace { trails } => Response::Trace { traces: trace::follow(ground.real(), &trails) },
        Request::HandlerDone { handler } => match ground {
            Ground::Check(_) => Response::Done,
            Ground::Apply(host, _) => match journal::done(host.as_ref(), &handler) {
                Ok(()) => Response::Done,
                Err(error) => Response::Error { message: error.to_string() },
            },
        },
    }
}

impl Ground {
    fn probe(&self) -> &dyn Probe {
        match self {
            Ground::Check(preview) => preview,
            Ground::Apply(host, _) => host.as_ref(),
        }
    }

    /// The host itself, whatever is predicted of it.
    fn real(&self) -> &dyn Probe {
        match self {
            Ground::Check(preview) => preview.real(),
            Ground::Apply(host, _) => host.as_ref(),
        }
    }

    /// Apply: since when what was learned of the host is of this run.
    fn acts_since(&self) -> Option<Instant> {
        match self {
            Ground::Check(_) => None,
            Ground::Apply(_, since) => Some(*since),
        }
    }

    fn reasons(&self) -> Vec<String> {
        match self {
            Ground::Check(preview) => preview.reasons(),
            Ground::Apply(..) => Vec::new(),
        }
    }
}

fn decode(task: WireTask) -> Result<Box<dyn AnyTask>, String> {
    let kind = registry::find(&task.kind).ok_or_else(|| format!("this agent has no kind `{}`", task.kind))?;
    (kind.from_json)(task.args).map_err(|e| format!("{}: {e}", task.kind))
}

fn run(ground: &Ground, task: &dyn AnyTask, terms: &Terms<'_>, tell: Tell<'_>) -> HostResult {
    match ground {
        Ground::Check(preview) => engine::check(task, preview),
        Ground::Apply(host, _) => engine::apply_on(task, host.as_ref(), terms, &mut |message, fraction| {
            tell(Response::Progress { message: message.into(), fraction });
        }),
    }
}

/// `check_mode: true`, and facts: judged, never acted on, also in an apply.
fn look(ground: &Ground, task: &dyn AnyTask) -> HostResult {
    match ground {
        Ground::Check(preview) => engine::check(task, preview),
        Ground::Apply(host, _) => engine::check(task, &Preview::new(host.as_ref())),
    }
}

fn probe(ground: &Ground, task: &dyn AnyTask) -> Response {
    if let Ground::Check(preview) = ground {
        preview.begin();
    }
    let (seen, provisional) = (task.probe_json(ground.probe()), ground.reasons());
    let lacks = rights::lacking(task, &seen, ground.real(), ground.acts_since());
    Response::Probe { seen, provisional, lacks }
}

fn perform(ground: &Ground, steps: &[Step], notify: &[String], tell: Tell<'_>) -> Response {
    let result = match ground {
        Ground::Check(preview) => steps.iter().map(|step| preview.perform(step)).collect(),
        Ground::Apply(host, _) => journal::owe(host.as_ref(), notify).and_then(|()| {
            steps
                .iter()
                .map(|step| {
                    tell(Response::Progress { message: step.describe(), fraction: None });
                    engine::perform_guarded(host.as_ref(), step)
                })
                .collect::<Result<Vec<Output>, StepError>>()
        }),
    };
    Response::Perform { result, provisional: Vec::new() }
}
