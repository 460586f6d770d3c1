//! The far end of a link: reads requests, runs them on this host, answers. It ends with its link.

use crate::engine::{self, Terms, journal};
use crate::event::Mode;
use crate::host::{Host, LookError, Output, Preview, Probe, Step, StepError};
use crate::tasks::{AnyTask, registry};
use crate::wire::{HostResult, Request, Response, WireTask, read_frame, write_frame};
use std::io::{self, BufRead, Write};

/// What the agent stands on: a preview that cannot change anything, or the host itself.
enum Ground {
    Check(Preview<Box<dyn Host>>),
    Apply(Box<dyn Host>),
}

/// Serves one link until its end. `host` is this machine, a rooted directory, a lab node, …
pub fn serve(input: &mut impl BufRead, output: &mut impl Write, host: Box<dyn Host>) -> io::Result<()> {
    let Some(Request::Hello { mode, .. }) = read_frame(input, &mut |_| {})? else {
        return Ok(());
    };
    let ground = match mode {
        Mode::Check => Ground::Check(Preview::new(host)),
        Mode::Apply => Ground::Apply(host),
    };
    write_frame(output, &Response::Hello { version: env!("CARGO_PKG_VERSION").into() })?;
    while let Some(request) = read_frame::<Request>(input, &mut |_| {})? {
        let response = answer(&ground, request, output);
        write_frame(output, &response)?;
    }
    Ok(())
}

fn answer(ground: &Ground, request: Request, output: &mut impl Write) -> Response {
    match request {
        Request::Hello { .. } => Response::Error { message: "hello was said already".into() },
        Request::Run { task, notify, environment, look_only } => match decode(task) {
            Ok(task) if look_only => Response::Run(look(ground, task.as_ref())),
            Ok(task) => {
                Response::Run(run(ground, task.as_ref(), &Terms { notify: &notify, environment: &environment }, output))
            }
            Err(message) => Response::Error { message },
        },
        Request::Probe { task } => match decode(task) {
            Ok(task) => probe(ground, task.as_ref()),
            Err(message) => Response::Error { message },
        },
        Request::Perform { steps, notify } => perform(ground, &steps, &notify, output),
        Request::PendingHandlers => match journal::pending(ground.probe()) {
            Ok(handlers) => Response::PendingHandlers { handlers },
            // A host that is only predicted owes nothing yet.
            Err(LookError::NotYet { .. }) => Response::PendingHandlers { handlers: Vec::new() },
            Err(error) => Response::Error { message: error.to_string() },
        },
        Request::HandlerDone { handler } => match ground {
            Ground::Check(_) => Response::Done,
            Ground::Apply(host) => match journal::done(host.as_ref(), &handler) {
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
            Ground::Apply(host) => host.as_ref(),
        }
    }

    fn reasons(&self) -> Vec<String> {
        match self {
            Ground::Check(preview) => preview.reasons(),
            Ground::Apply(_) => Vec::new(),
        }
    }
}

fn decode(task: WireTask) -> Result<Box<dyn AnyTask>, String> {
    let kind = registry::find(&task.kind).ok_or_else(|| format!("this agent has no kind `{}`", task.kind))?;
    (kind.from_json)(task.args).map_err(|e| format!("{}: {e}", task.kind))
}

fn run(ground: &Ground, task: &dyn AnyTask, terms: &Terms<'_>, output: &mut impl Write) -> HostResult {
    match ground {
        Ground::Check(preview) => engine::check(task, preview),
        Ground::Apply(host) => engine::apply_on(task, host.as_ref(), terms, &mut |message, fraction| {
            // A link that is gone shows when the answer is written.
            let _ = write_frame(output, &Response::Progress { message: message.into(), fraction });
        }),
    }
}

/// `check_mode: true`, and facts: judged, never acted on, also in an apply.
fn look(ground: &Ground, task: &dyn AnyTask) -> HostResult {
    match ground {
        Ground::Check(preview) => engine::check(task, preview),
        Ground::Apply(host) => engine::check(task, &Preview::new(host.as_ref())),
    }
}

fn probe(ground: &Ground, task: &dyn AnyTask) -> Response {
    if let Ground::Check(preview) = ground {
        preview.begin();
    }
    Response::Probe { seen: task.probe_json(ground.probe()), provisional: ground.reasons() }
}

fn perform(ground: &Ground, steps: &[Step], notify: &[String], output: &mut impl Write) -> Response {
    let result = match ground {
        Ground::Check(preview) => steps.iter().map(|step| preview.perform(step)).collect(),
        Ground::Apply(host) => journal::owe(host.as_ref(), notify).and_then(|()| {
            steps
                .iter()
                .map(|step| {
                    let _ = write_frame(output, &Response::Progress { message: step.describe(), fraction: None });
                    engine::perform_guarded(host.as_ref(), step)
                })
                .collect::<Result<Vec<Output>, StepError>>()
        }),
    };
    Response::Perform { result, provisional: Vec::new() }
}
