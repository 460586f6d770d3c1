//! What a schedule is: which run, when, as whom, and what of the machine it is let at.
//!
//! Whatever could not be written into a unit file without changing its meaning is refused here.

use serde::{Deserialize, Serialize};

/// A run of `converge drift` on a calendar. Everything that the two unit files say follows from it, and it is kept in
/// them, so that later versions can tell what they would write now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The units are named `converge-NAME`.
    pub name: String,
    /// Absolute path of the program.
    pub program: String,
    /// What follows it: the command with its playbooks and options, without `--out`.
    pub arguments: Vec<String>,
    /// systemd calendar expressions.
    pub calendar: Vec<String>,
    /// Starts are spread over so many seconds.
    pub spread_s: u64,
    /// A run that takes longer is ended (seconds).
    pub timeout_s: u64,
    /// Where the reports go. Absolute.
    pub out: String,
    pub place: Place,
    pub run_as: RunAs,
    /// Home directories are looked into: a playbook lies there, or ssh has its keys there.
    pub homes: bool,
    /// Files that systemd hands to the run, whoever it runs as.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// Reports are mailed by a `sendmail` that takes the rights of another group or user.
    #[serde(default)]
    pub mail: bool,
}

/// Where the run takes place, which tells what it needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It asks others over the network, and nothing of this machine.
    Workstation,
    /// This machine is one of the hosts: devices, kernel and containers are looked at with the rights of root.
    Node,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunAs {
    Root,
    User(String),
    /// A user that exists for as long as the run.
    Dynamic,
    /// A unit of a user's own systemd.
    Own,
}

/// A file that the run reads under another name, below `$CREDENTIALS_DIRECTORY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub id: String,
    pub path: String,
}

/// Room for the reports that nobody named another for.
pub const REPORTS: &str = "/var/lib/converge";

impl Schedule {
    pub fn unit(&self, kind: &str) -> String {
        format!("converge-{}.{kind}", self.name)
    }

    /// systemd makes this folder itself and gives it to the run's user.
    pub fn has_state_directory(&self) -> bool {
        self.run_as != RunAs::Own && self.out == format!("{REPORTS}/{}", self.name)
    }

    /// Everything that cannot be written into a unit, in words for people.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Err(why) = name_of(&self.name) {
            faults.push(why);
        }
        if self.calendar.is_empty() {
            faults.push("no time is given".to_owned());
        }
        for (what, path) in [("the program", &self.program), ("the reports' folder", &self.out)] {
            if !path.starts_with('/') {
                faults.push(format!("{what}: `{path}` is no absolute path"));
            }
        }
        let ids = self.credentials.iter().flat_map(|c| [&c.id, &c.path]);
        let texts = [&self.program, &self.out].into_iter().chain(&self.arguments).chain(&self.calendar).chain(ids);
        for text in texts.filter(|text| text.contains(char::is_control)) {
            faults.push(format!("{text:?} has a line break or another control character in it"));
        }
        if self.program.contains(['"', '\'', '\\']) {
            faults.push(format!(
                "`{}` has a quote or a backslash in it, and systemd starts no such program",
                self.program
            ));
        }
        for path in self.credentials.iter().map(|c| &c.path) {
            // systemd takes the rest of the line as it stands.
            if path.ends_with('\\') || path.ends_with(' ') {
                faults.push(format!("`{path}` ends with a character that a unit file cannot hold there"));
            }
        }
        if self.out == "/" || ["/etc", "/usr", "/boot", "/proc", "/sys", "/dev"].contains(&self.out.as_str()) {
            faults.push(format!("`{}` is no folder for reports", self.out));
        }
        if let RunAs::User(user) = &self.run_as
            && (user.is_empty() || !user.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)))
        {
            faults.push(format!("`{user}` is no name of a user"));
        }
        faults
    }
}

/// Whether a name can be part of a unit's and of a folder's name.
///
/// # Errors
/// The reason, for people.
pub fn name_of(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 60 || !name.chars().all(fits) || name.starts_with('-') {
        return Err(format!("`{name}` is no name of a schedule: a-z, 0-9, `-` and `_`, at most 60"));
    }
    Ok(())
}
