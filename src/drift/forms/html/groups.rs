//! Findings that agree but for their host, as one entry: a file that differs alike on 300 hosts is one thing to read.
//!
//! What is muted or gone is never in one entry with what is open.

use crate::drift::{Finding, Report};
use crate::event::Outcome;
use std::collections::HashMap;

/// Where an entry stands on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    Open(Outcome),
    Muted,
    Gone,
}

pub struct Group<'a> {
    pub section: Section,
    /// At least one, in the order of the report.
    pub members: Vec<&'a Finding>,
}

impl<'a> Group<'a> {
    pub fn first(&self) -> &'a Finding {
        self.members[0]
    }

    /// What all members agree in, if they do.
    pub fn common<T: PartialEq>(&self, of: impl Fn(&'a Finding) -> T) -> Option<T> {
        let first = of(self.first());
        self.members[1..].iter().all(|member| of(member) == first).then_some(first)
    }
}

fn section(finding: &Finding) -> Section {
    match finding {
        finding if !finding.is_open() => Section::Gone,
        finding if finding.is_muted() => Section::Muted,
        finding => Section::Open(finding.outcome),
    }
}

/// In the order of the report, which is worst first.
pub fn of(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut at = HashMap::new();
    for finding in &report.findings {
        let section = section(finding);
        let same = (
            section,
            (&finding.play, &finding.task, &finding.kind, &finding.place, &finding.object),
            (finding.outcome, finding.provisional, &finding.summary, &finding.diff),
        );
        let place = *at.entry(same).or_insert_with(|| {
            groups.push(Group { section, members: Vec::new() });
            groups.len() - 1
        });
        groups[place].members.push(finding);
    }
    groups
}
