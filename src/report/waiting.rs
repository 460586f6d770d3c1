//! Nothing but the line at the bottom of the terminal, for runs whose results come in the end.

use super::progress::Progress;
use crate::event::{Event, Reporter};

pub struct Waiting {
    visible: bool,
    progress: Option<Progress>,
}

impl Waiting {
    pub fn new(visible: bool) -> Self {
        Self { visible, progress: None }
    }
}

impl Reporter for Waiting {
    fn event(&mut self, event: &Event) {
        if let Event::RunStarted { tasks, .. } = event {
            self.progress = self.visible.then(|| Progress::new(true, *tasks));
        }
        if let Event::RunEnded { .. } = event
            && let Some(progress) = self.progress.take()
        {
            progress.finish();
        }
        let Some(progress) = &mut self.progress else { return };
        match event {
            Event::TaskStarted { task, handler, .. } => progress.task(task, !handler),
            Event::Progress { host, message, fraction, .. } => progress.host(host, message, *fraction),
            Event::Result(result) => progress.done(&result.host),
            _ => {}
        }
    }
}
