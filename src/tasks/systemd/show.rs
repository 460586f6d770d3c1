//! `systemctl show`, by key.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

pub const KEYS: &[&str] =
    &["LoadState", "ActiveState", "SubState", "UnitFileState", "NeedDaemonReload", "Type", "RemainAfterExit"];

/// Words are kept as systemd has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    pub load: String,
    pub active: String,
    pub sub: String,
    /// Empty for units without a file.
    pub unit_file: String,
    pub need_reload: bool,
    kind: String,
    remain_after_exit: bool,
}

impl Show {
    pub fn parse(text: &str) -> Result<Self, String> {
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.map(str::to_owned)
        };
        let must = |key: &str| value(key).ok_or_else(|| format!("`systemctl show` does not tell {key}"));
        Ok(Self {
            load: must("LoadState")?,
            active: must("ActiveState")?,
            sub: must("SubState")?,
            unit_file: value("UnitFileState").unwrap_or_default(),
            need_reload: value("NeedDaemonReload").as_deref() == Some("yes"),
            // Only services have these.
            kind: value("Type").unwrap_or_default(),
            remain_after_exit: value("RemainAfterExit").as_deref() == Some("yes"),
        })
    }

    /// As `systemctl show` would print it.
    pub fn text(&self) -> String {
        let yes_no = |is: bool| if is { "yes" } else { "no" };
        let Self { load, active, sub, unit_file, kind, .. } = self;
        let mut text = format!(
            "LoadState={load}\nActiveState={active}\nSubState={sub}\nUnitFileState={unit_file}\nNeedDaemonReload={}\n",
            yes_no(self.need_reload)
        );
        if !kind.is_empty() {
            text.push_str(&format!("Type={kind}\nRemainAfterExit={}\n", yes_no(self.remain_after_exit)));
        }
        text
    }

    pub fn is_oneshot_without_trace(&self) -> bool {
        self.kind == "oneshot" && !self.remain_after_exit
    }

    pub fn at_boot(&self) -> &str {
        if self.unit_file.is_empty() { "without a unit file" } else { &self.unit_file }
    }

    /// The two things that a person asks of a unit.
    pub fn for_people(&self) -> String {
        format!("active: {}\nat boot: {}\n", self.active, self.at_boot())
    }

    pub fn data(&self, name: &str) -> Json {
        json!({
            "name": name,
            "enabled": self.unit_file == "enabled",
            "state": if self.active == "active" { "started" } else { "stopped" },
            "status": {
                "LoadState": self.load, "ActiveState": self.active, "SubState": self.sub,
                "UnitFileState": self.unit_file,
            },
        })
    }
}
