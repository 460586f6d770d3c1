//! The name of a task: `UPID:node:pid:pstart:starttime:type:id:user:`.

use std::fmt;
use std::str::FromStr;

/// A task's unique name. `id` may be empty; `user` may hold a token (`root@pam!x`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upid {
    text: String,
    pub node: String,
    /// `vzcreate`, `hastart`, `download`, …
    pub kind: String,
    pub id: String,
    pub user: String,
    /// Seconds since the epoch.
    pub started_s: u64,
}

impl FromStr for Upid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split(':').collect();
        let bad = || format!("`{text}` is not a task name");
        // A trailing colon is part of the name, hence the ninth, empty field.
        let ["UPID", node, pid, pstart, start, kind, id, user, ""] = fields[..] else { return Err(bad()) };
        let hex = |s: &str| u64::from_str_radix(s, 16).map_err(|_| bad());
        hex(pid)?;
        hex(pstart)?;
        if node.is_empty() || kind.is_empty() || user.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            text: text.to_owned(),
            node: node.into(),
            kind: kind.into(),
            id: id.into(),
            user: user.into(),
            started_s: hex(start)?,
        })
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Upid {
    /// `/nodes/NODE/tasks/UPID`, encoded.
    pub fn path(&self) -> String {
        format!("/nodes/{}/tasks/{}", self.node, super::segment(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tasks() {
        let upid: Upid = "UPID:pve1:0000057E:000249E0:6B02A6C7:vzstop:100:root@pam:".parse().unwrap();
        assert_eq!((upid.node.as_str(), upid.kind.as_str(), upid.id.as_str()), ("pve1", "vzstop", "100"));
        assert_eq!(
            upid.path(),
            "/nodes/pve1/tasks/UPID%3Apve1%3A0000057E%3A000249E0%3A6B02A6C7%3Avzstop%3A100%3Aroot%40pam%3A"
        );
        let token: Upid = "UPID:a:00000001:012345678:6B02A6C7:download::root@pam!x:".parse().unwrap();
        assert_eq!((token.id.as_str(), token.user.as_str()), ("", "root@pam!x"));
        for bad in
            ["", "UPID", "UPID:pve1:0000057E:000249E0:6B02A6C7:vzstop:100:root@pam", "UPID:p:x:0:0:t:1:u:", "null"]
        {
            assert!(bad.parse::<Upid>().is_err(), "{bad}");
        }
    }
}
