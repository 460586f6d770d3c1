//! The hosts of a decision over many: asking all of them at once, and sending each the steps that are its own.

use super::{Seen, Session, not_yet};
use crate::engine::{in_environment, step_lost};
use crate::event::Event;
use crate::fleet::task::wire;
use crate::host::{Action, Effect, LookError, Output, Step, StepError};
use crate::link::LinkError;
use crate::tasks::cluster::CLUSTER;
use crate::wire::{Request, Response};

impl Session<'_, '_, '_> {
    /// Looks at every watched host at the same time.
    pub(super) fn look(&mut self) -> Seen {
        let request = Request::Probe { task: wire(self.ready.task.as_ref()) };
        let mut seen = Seen::new();
        let mut asked = Vec::new();
        let may_come = self.fleet.may_come();
        self.fleet.hosts.open_all(&self.watched, may_come);
        for host in &self.watched {
            match self.fleet.hosts.send(host, may_come, &request) {
                Ok(()) => asked.push(host.clone()),
                Err(error) => {
                    self.fleet.hosts.lose(host, &error);
                    seen.insert(host.clone(), Err(unreachable(host, &error)));
                }
            }
        }
        for host in asked {
            let answer = match self.fleet.hosts.answer(&host, &mut |_, _| {}) {
                Ok(Response::Probe { seen, provisional, lacks }) => {
                    if host == CLUSTER {
                        self.lacks = match &seen {
                            Ok(_) if self.only_looks() => Vec::new(),
                            _ => self.sure_of(lacks, &provisional),
                        };
                    }
                    self.doubts.extend(provisional);
                    seen
                }
                Ok(Response::Error { message }) => Err(LookError::cannot_tell(self.def.kind.name, message)),
                Ok(other) => Err(LookError::cannot_tell(self.def.kind.name, format!("unexpected answer {other:?}"))),
                Err(error) => {
                    self.fleet.hosts.lose(&host, &error);
                    Err(unreachable(&host, &error))
                }
            };
            if let Err(LookError::Unreachable { why, .. }) = &answer {
                let lost = LinkError::Lost { host: host.clone(), why: why.clone() };
                self.fleet.hosts.lose(&host, &lost);
            }
            self.doubts.extend(not_yet(&answer).map(str::to_owned));
            seen.insert(host, answer);
        }
        self.blind = seen.iter().filter(|(_, answer)| answer.is_err()).map(|(host, _)| host.clone()).collect();
        seen
    }

    /// Sends runs of steps with the same target to that target, in order. The handlers are noted on the host that the
    /// verdict is for, wherever the first step acts.
    pub(super) fn perform(&mut self, host: &str, steps: &[Step], notify: &[String]) -> Result<Vec<Output>, StepError> {
        if !notify.is_empty() {
            let owner = self.owners.get(host).cloned().unwrap_or_else(|| host.to_owned());
            self.send_steps(&owner, Vec::new(), notify.to_vec())?;
        }
        let mut outputs = Vec::new();
        for run in steps.chunk_by(|a, b| a.on == b.on) {
            let target = run[0].on.clone().unwrap_or_else(|| host.to_owned());
            let steps = run
                .iter()
                .map(|step| Step { on: None, ..in_environment(step, &self.ready.environment).into_owned() })
                .collect();
            outputs.extend(self.send_steps(&target, steps, Vec::new())?);
        }
        Ok(outputs)
    }

    fn send_steps(&mut self, target: &str, steps: Vec<Step>, notify: Vec<String>) -> Result<Vec<Output>, StepError> {
        let may_come = self.fleet.may_come();
        let sent = self.fleet.hosts.send(target, may_come, &Request::Perform { steps, notify });
        let (reporter, task, hidden) = (&mut *self.fleet.reporter, self.name, self.def.common.no_log);
        let answer = sent.and_then(|()| {
            self.fleet.hosts.answer(target, &mut |message, fraction| {
                let (host, task) = (target.to_owned(), task.to_owned());
                let message = if hidden { "working".to_owned() } else { message };
                reporter.event(&Event::Progress { host, task, message, fraction });
            })
        });
        let failed = |why: String| StepError::Failed { what: target.to_owned(), why };
        match answer {
            Ok(Response::Perform { result, .. }) => {
                if let Some(why) = result.as_ref().err().and_then(step_lost) {
                    self.fleet.hosts.lose(target, &LinkError::Lost { host: target.to_owned(), why });
                }
                result
            }
            Ok(Response::Error { message }) => Err(failed(message)),
            Ok(other) => Err(failed(format!("unexpected answer {other:?}"))),
            Err(LinkError::Stopped { why }) => Err(StepError::Refused { reason: why }),
            Err(error) => {
                self.fleet.hosts.lose(target, &error);
                Err(StepError::Look(unreachable(target, &error)))
            }
        }
    }

    /// Tells the host's preview that this task would have done something that cannot be foretold.
    pub(super) fn unsettle(&mut self, host: &str) {
        let effect = Effect::UnsettlesAll { what: self.def.kind.name.to_owned() };
        let step = Step::from(Action::Sleep { seconds: 0 }).effect(effect);
        if let Err(error) = self.perform(host, &[step], &[]) {
            self.fleet.note(format!("{host}: {error}"));
        }
    }
}

fn unreachable(host: &str, error: &LinkError) -> LookError {
    let why = match error {
        LinkError::Lost { host: lost, why } if lost == host => why.clone(),
        other => other.to_string(),
    };
    LookError::Unreachable { host: host.to_owned(), why }
}
