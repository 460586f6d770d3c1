//! Which Proxmox VE answers, and what differs because of it. Refuses to guess from a version that it cannot read.

use serde_json::Value as Json;
use std::fmt;
use std::str::FromStr;

/// The version of pve-manager (`9.1.7`, `6.4-14`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a version of Proxmox VE");
        let plain = text.trim().split(['~', '+']).next().unwrap_or_default();
        let mut numbers = plain.split(['.', '-']).map(|n| n.parse::<u32>().map_err(|_| bad()));
        let major = numbers.next().ok_or_else(bad)??;
        let minor = numbers.next().transpose()?.unwrap_or(0);
        let patch = numbers.next().transpose()?.unwrap_or(0);
        Ok(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Version {
    /// From the answer of `GET /version` or `GET /nodes/NODE/version`.
    pub fn from_answer(answer: &Json) -> Result<Self, String> {
        answer.get("version").and_then(Json::as_str).ok_or_else(|| "no `version` in the answer".to_owned())?.parse()
    }

    /// HA rules took the place of groups. In a cluster that is being upgraded groups stay until every node has 9.
    pub fn has_ha_rules(&self) -> bool {
        self.major >= 9
    }

    /// A container made without saying so is unprivileged (pve-container 6.0.6).
    pub fn unprivileged_by_default(&self) -> bool {
        self.major >= 9
    }

    /// `failback` is a property of the HA resource (before: `nofailback` of its group).
    pub fn has_failback(&self) -> bool {
        self.major >= 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_time() {
        let v = |t: &str| t.parse::<Version>().unwrap();
        assert_eq!(v("9.1.7"), Version { major: 9, minor: 1, patch: 7 });
        assert_eq!(v("6.4-14"), Version { major: 6, minor: 4, patch: 14 });
        assert_eq!(v("9.0.0~16"), Version { major: 9, minor: 0, patch: 0 });
        assert_eq!(v("8"), Version { major: 8, minor: 0, patch: 0 });
        assert!(v("8.4.18") < v("9.0.0") && v("7.4-20") > v("7.4-3"));
        assert!("nine".parse::<Version>().is_err() && "".parse::<Version>().is_err());
        assert!(v("9.0.0").has_ha_rules() && !v("8.4.18").has_ha_rules());
    }
}
