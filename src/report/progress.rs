//! The line at the bottom of a terminal while a run works: which task, on which hosts, how far.

use crate::visible::visible;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::time::Duration;

/// Hidden unless standard error is a terminal.
pub struct Progress {
    bar: ProgressBar,
    task: String,
    /// What hosts are doing now, with how far where known.
    doing: BTreeMap<String, (String, Option<f32>)>,
}

impl Progress {
    pub fn new(visible: bool, tasks: usize) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(tasks as u64), target);
        let style = ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, task: String::new(), doing: BTreeMap::new() }
    }

    pub fn task(&mut self, task: &str, counts: bool) {
        self.task = task.to_owned();
        self.doing.clear();
        if counts {
            self.bar.inc(1);
        }
        self.show();
    }

    pub fn host(&mut self, host: &str, message: &str, fraction: Option<f32>) {
        self.doing.insert(host.to_owned(), (message.to_owned(), fraction));
        self.show();
    }

    pub fn done(&mut self, host: &str) {
        self.doing.remove(host);
    }

    fn show(&self) {
        let mut line = self.task.clone();
        for (host, (message, fraction)) in &self.doing {
            let share = fraction.map_or_else(String::new, |f| format!(" {}", bar(f)));
            line.push_str(&format!(" · {host}:{share} {message}"));
        }
        self.bar.set_message(visible(&line).into_owned());
    }

    /// Prints above the progress line without tearing it.
    pub fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// `[#####-----] 52 %`
fn bar(fraction: f32) -> String {
    let fraction = fraction.clamp(0.0, 1.0);
    let full = (fraction * 10.0).round() as usize;
    format!("[{}{}] {:.0} %", "#".repeat(full), "-".repeat(10 - full), fraction * 100.0)
}
