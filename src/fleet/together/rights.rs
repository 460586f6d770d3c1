//! What the login at the API may not do: a decision that needs it is not acted on, and a check says so.

use super::Session;
use crate::event::Mode;
use crate::tasks::Lack;
use crate::tasks::cluster::CLUSTER;
use crate::tasks::rights::Sure;
use crate::wire::{HostResult, Status};

impl Session<'_, '_, '_> {
    /// `check_mode: true` needs no right to change anything, and still the one to look.
    pub(super) fn only_looks(&self) -> bool {
        self.def.common.check_mode == Some(true)
    }

    /// What is only predicted may turn out otherwise, and so may everything after a program that may do anything.
    pub(super) fn sure_of(&self, mut lacks: Vec<Lack>, provisional: &[String]) -> Vec<Lack> {
        if !provisional.is_empty() || self.fleet.anything_done {
            for lack in lacks.iter_mut().filter(|lack| lack.sure == Sure::Certainly) {
                lack.sure = Sure::Perhaps;
            }
        }
        lacks
    }

    /// Apply: why the change may not be made. What cannot be told is tried.
    pub(super) fn forbidden(&self, host: &str) -> Option<String> {
        if host != CLUSTER || self.fleet.mode == Mode::Check {
            return None;
        }
        let why: Vec<String> =
            self.lacks.iter().filter(|lack| lack.sure == Sure::Certainly).map(Lack::to_string).collect();
        (!why.is_empty()).then(|| why.join("\n"))
    }

    /// Beside a change that was not made, or that nobody was asked to make.
    pub(super) fn tell_lacks(&self, host: &str, answer: &mut HostResult) {
        if host != CLUSTER || !matches!(answer.status, Status::Drifted | Status::Blocked) {
            return;
        }
        answer.lacks = self.lacks.clone();
        let untold = |lack: &&Lack| !answer.summary.contains(&lack.what);
        let told: Vec<String> = match self.fleet.mode {
            Mode::Check => self.lacks.iter().map(Lack::as_warning).collect(),
            Mode::Apply => self.lacks.iter().filter(untold).map(Lack::to_string).collect(),
        };
        answer.warnings.extend(told);
    }
}
