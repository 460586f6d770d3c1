//! An endpoint as it was met, with every reason not to believe it. It decides nothing about them.

use crate::pve::{Certificate, Doubt, Fingerprint, Presented, Trust};

pub struct Seen {
    /// As the file has it.
    pub endpoint: String,
    /// Or why it was not met.
    pub met: Result<Met, String>,
}

pub struct Met {
    pub presented: Presented,
    pub fingerprint: Fingerprint,
    /// Or why its certificate cannot be read.
    pub certificate: Result<Certificate, String>,
    pub doubts: Vec<Doubt>,
    /// It shows another certificate than the pinned one that nobody shows any more.
    pub changed: bool,
}

impl Met {
    pub fn is_believed(&self) -> bool {
        self.doubts.is_empty()
    }
}

pub fn judged(trust: &Trust, endpoints: &[String], met: Vec<Result<Presented, String>>) -> Vec<Seen> {
    let shown: Vec<Fingerprint> = met.iter().flatten().map(Presented::fingerprint).collect();
    // With all pins shown by somebody, one that is not pinned is new and not another.
    let missed = |pinned: &[Fingerprint]| pinned.iter().any(|pin| !shown.contains(pin));
    let judge = |presented: Presented| {
        let doubts = trust.doubts(&presented);
        let changed = doubts.iter().any(|doubt| matches!(doubt, Doubt::NotPinned { pinned } if missed(pinned)));
        let certificate = Certificate::read(&presented.chain[0]);
        Met { fingerprint: presented.fingerprint(), certificate, presented, doubts, changed }
    };
    let seen = endpoints.iter().zip(met);
    seen.map(|(endpoint, met)| Seen { endpoint: endpoint.clone(), met: met.map(judge) }).collect()
}
