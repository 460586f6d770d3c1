//! A host as predicted changes would leave it: reads fall through to the real host unless a predicted step
//! changed the answer. It notes whenever an answer may turn out otherwise, so that check does not lie.

use super::{Action, ApiGet, Effect, FileKind, Host, LookError, Output, Probe, Query, Stat, Step, StepError, Topic};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub struct Preview<H> {
    real: H,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// What predicted file steps left: `None` = removed.
    files: BTreeMap<PathBuf, Option<Predicted>>,
    answers: BTreeMap<Query, Output>,
    api: BTreeMap<ApiGet, Option<Json>>,
    unsettled: Vec<(Topic, String)>,
    may_bring: BTreeSet<String>,
    unsettled_all: BTreeSet<String>,
    /// Why the answers given since `begin` may turn out otherwise.
    reasons: BTreeSet<String>,
}

#[derive(Clone)]
struct Predicted {
    stat: Stat,
    /// `None`: the real content stays, only attributes were predicted.
    content: Option<Vec<u8>>,
}

impl<H: Probe> Preview<H> {
    pub fn new(real: H) -> Self {
        Self { real, state: RefCell::default() }
    }

    /// The host as it is now.
    pub fn real(&self) -> &H {
        &self.real
    }

    /// Forgets the doubts of the task before.
    pub fn begin(&self) {
        self.state.borrow_mut().reasons.clear();
    }

    /// Why answers since `begin` may turn out otherwise; empty = they are certain.
    pub fn reasons(&self) -> Vec<String> {
        self.state.borrow().reasons.iter().cloned().collect()
    }

    /// From now on anything may be different, because of `what`.
    pub fn unsettle_all(&self, what: impl Into<String>) {
        self.state.borrow_mut().unsettled_all.insert(what.into());
    }

    /// The prediction for a path, or for a removed directory above it.
    fn predicted(&self, path: &Path) -> Option<Option<Predicted>> {
        let state = self.state.borrow();
        if let Some(found) = state.files.get(path) {
            return Some(found.clone());
        }
        let removed_above = path.ancestors().skip(1).any(|dir| matches!(state.files.get(dir), Some(None)));
        removed_above.then_some(None)
    }

    /// `absent`: the answer was "not there", which a predicted package or command may change.
    fn doubt(&self, absent: bool) {
        let mut state = self.state.borrow_mut();
        let State { reasons, may_bring, unsettled_all, .. } = &mut *state;
        reasons.extend(unsettled_all.iter().map(|what| format!("`{what}` has not run")));
        if absent {
            reasons.extend(may_bring.iter().map(|what| format!("{what} may bring it")));
        }
    }

    fn doubt_topic(&self, topic: &Topic) {
        let mut state = self.state.borrow_mut();
        let State { reasons, unsettled, .. } = &mut *state;
        reasons
            .extend(unsettled.iter().filter(|(t, _)| t == topic).map(|(_, what)| format!("{what} is only predicted")));
    }

    fn stat_for_write(&self, path: &str, kind: FileKind, size: usize, attrs: Attributes) -> Stat {
        let now = self.stat(Path::new(path)).ok().flatten().filter(|s| s.kind == kind);
        let fresh_mode = if kind == FileKind::Directory { 0o755 } else { 0o644 };
        Stat {
            kind,
            mode: attrs.mode.or(now.as_ref().map(|s| s.mode)).unwrap_or(fresh_mode),
            owner: attrs.owner.or(now.as_ref().map(|s| s.owner.clone())).unwrap_or_else(|| "root".into()),
            group: attrs.group.or(now.as_ref().map(|s| s.group.clone())).unwrap_or_else(|| "root".into()),
            size_bytes: size as u64,
            link_target: None,
            modified_s: now.map_or(0, |s| s.modified_s),
        }
    }

    fn set(&self, path: &str, predicted: Option<Predicted>) {
        self.state.borrow_mut().files.insert(PathBuf::from(path), predicted);
    }

    fn predict_action(&self, action: &Action) {
        match action {
            Action::WriteFile { path, content, mode, owner, group, .. } => {
                let attrs = Attributes { mode: *mode, owner: owner.clone(), group: group.clone() };
                let stat = self.stat_for_write(path, FileKind::File, content.0.len(), attrs);
                self.set(path, Some(Predicted { stat, content: Some(content.0.clone()) }));
            }
            Action::CreateDirectory { path, mode, owner, group } => {
                let attrs = Attributes { mode: *mode, owner: owner.clone(), group: group.clone() };
                let stat = self.stat_for_write(path, FileKind::Directory, 0, attrs);
                self.set(path, Some(Predicted { stat, content: None }));
            }
            Action::SetAttributes { path, mode, owner, group } => {
                let Ok(Some(mut stat)) = self.stat(Path::new(path)) else { return };
                stat.mode = mode.unwrap_or(stat.mode);
                stat.owner = owner.clone().unwrap_or(stat.owner);
                stat.group = group.clone().unwrap_or(stat.group);
                let content = self.predicted(Path::new(path)).flatten().and_then(|p| p.content);
                self.set(path, Some(Predicted { stat, content }));
            }
            Action::Symlink { path, target } => {
                let mut stat = self.stat_for_write(path, FileKind::Symlink, target.len(), Attributes::default());
                stat.mode = 0o777;
                stat.link_target = Some(target.clone());
                self.set(path, Some(Predicted { stat, content: None }));
            }
            Action::InstallSelf { path, size_bytes, .. } => {
                let attrs = Attributes { mode: Some(0o755), owner: None, group: None };
                let stat = self.stat_for_write(path, FileKind::File, *size_bytes as usize, attrs);
                self.set(path, Some(Predicted { stat, content: None }));
            }
            Action::Remove { path, .. } => {
                self.state.borrow_mut().files.retain(|p, _| !p.starts_with(path));
                self.set(path, None);
            }
            // What programs and API writes lead to is told by their effects.
            Action::Run { .. } | Action::Api { .. } | Action::Sleep { .. } => {}
        }
    }

    fn predict_effect(&self, effect: &Effect) {
        if let Effect::Reads { path, content } = effect {
            let predicted = content.as_ref().map(|text| Predicted {
                stat: self.stat_for_write(path, FileKind::File, text.len(), Attributes::default()),
                content: Some(text.clone().into_bytes()),
            });
            return self.set(path, predicted);
        }
        let mut state = self.state.borrow_mut();
        match effect {
            // Another host's preview is told by whoever speaks with both.
            Effect::Reads { .. } | Effect::UnsettlesOn { .. } => {}
            Effect::Answers { query, output } => drop(state.answers.insert(query.clone(), output.clone())),
            Effect::ApiAnswers { get, data } => drop(state.api.insert(get.clone(), data.clone())),
            Effect::Unsettles { topic } => state.unsettled.push((topic.clone(), "an earlier change".to_owned())),
            Effect::MayBring { what } => drop(state.may_bring.insert(what.clone())),
            Effect::UnsettlesAll { what } => drop(state.unsettled_all.insert(what.clone())),
        }
    }
}

#[derive(Default)]
struct Attributes {
    mode: Option<u32>,
    owner: Option<String>,
    group: Option<String>,
}

impl<H: Probe> Preview<H> {
    /// Follows predicted links; real ones are followed by the real host.
    fn read_through(&self, path: &Path, hops: u32) -> Result<Option<Vec<u8>>, LookError> {
        match self.predicted(path) {
            Some(None) => return Ok(None),
            Some(Some(Predicted { content: Some(content), .. })) => return Ok(Some(content)),
            Some(Some(Predicted { stat, .. })) if stat.kind == FileKind::Symlink => {
                let target = stat.link_target.unwrap_or_default();
                let next = path.parent().unwrap_or(Path::new("/")).join(target);
                if hops == 0 {
                    return Err(LookError::cannot_tell(path.display().to_string(), "too many symbolic links"));
                }
                return self.read_through(&next, hops - 1);
            }
            _ => {}
        }
        let found = self.real.read(path)?;
        self.doubt(found.is_none());
        Ok(found)
    }
}

impl<H: Probe> Probe for Preview<H> {
    fn name(&self) -> &str {
        self.real.name()
    }

    fn api_user(&self) -> Option<String> {
        self.real.api_user()
    }

    /// No step of a task gives or takes a right.
    fn api_permissions(&self, since: Option<Instant>) -> Result<Json, LookError> {
        self.real.api_permissions(since)
    }

    fn api_takes_secrets(&self) -> bool {
        self.real.api_takes_secrets()
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        self.read_through(path, 40)
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, LookError> {
        if let Some(predicted) = self.predicted(path) {
            return Ok(predicted.map(|p| p.stat));
        }
        let found = self.real.stat(path)?;
        self.doubt(found.is_none());
        Ok(found)
    }

    fn list(&self, dir: &Path) -> Result<Option<Vec<String>>, LookError> {
        let predicted_dir = self.predicted(dir);
        let real = match predicted_dir {
            Some(None) => None,
            _ => self.real.list(dir)?,
        };
        self.doubt(real.is_none());
        let mut names: Option<BTreeSet<String>> = match (&real, &predicted_dir) {
            (Some(names), _) => Some(names.iter().cloned().collect()),
            (None, Some(Some(_))) => Some(BTreeSet::new()),
            (None, _) => None,
        };
        for (path, predicted) in &self.state.borrow().files {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            if parent != dir {
                continue;
            }
            let name = name.to_string_lossy().into_owned();
            match predicted {
                Some(_) => drop(names.get_or_insert_default().insert(name)),
                None => drop(names.as_mut().map(|n| n.remove(&name))),
            }
        }
        Ok(names.map(|n| n.into_iter().collect()))
    }

    fn query(&self, query: &Query) -> Result<Output, LookError> {
        if let Some(output) = self.state.borrow().answers.get(query) {
            return Ok(output.clone());
        }
        let answer = self.real.query(query);
        let absent = match &answer {
            Ok(output) => output.rc != 0,
            Err(error) => matches!(error, LookError::NoProgram { .. } | LookError::NotYet { .. }),
        };
        self.doubt(absent);
        self.doubt_topic(&query.topic);
        answer
    }

    fn api(&self, get: &ApiGet) -> Result<Json, LookError> {
        match self.state.borrow().api.get(get) {
            Some(Some(data)) => return Ok(data.clone()),
            Some(None) => {
                let message = "predicted to be gone".to_owned();
                return Err(LookError::Api { path: get.path.clone(), status: 500, message });
            }
            None => {}
        }
        let answer = self.real.api(get);
        self.doubt(matches!(answer, Err(LookError::Api { .. } | LookError::NotYet { .. })));
        answer
    }
}

/// Performing on a preview only predicts.
impl<H: Probe> Host for Preview<H> {
    fn perform(&self, step: &Step) -> Result<Output, StepError> {
        self.predict_action(&step.action);
        for effect in &step.effects {
            self.predict_effect(effect);
        }
        Ok(Output::default())
    }
}
