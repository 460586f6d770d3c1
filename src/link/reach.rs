//! How a host is reached, as its variables say it in Ansible's names (`ansible_host`, `ansible_user`, …), and the words
//! of a play where they say nothing.
//!
//! A way that is not known is refused by name; no other is taken in its place.

use minijinja::value::{Value, ValueKind};
use std::collections::BTreeMap;

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub way: Way,
    /// Folder for the agent's binary on the host, where not the usual one.
    pub agent_dir: Option<String>,
    /// Become root by `sudo`, where the login is not root.
    pub sudo: bool,
    /// A variable says whether to, which is stronger than what tasks say.
    pub by_variable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Local,
    Ssh(SshTarget),
    /// The node's own API, `host` or `host:port`.
    PveShell(String),
}

/// What `ssh` is told; everything else is its own configuration's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshTarget {
    pub destination: String,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub key_file: Option<String>,
    /// `ansible_ssh_common_args` and `ansible_ssh_extra_args`, in words.
    pub args: Vec<String>,
    /// Another `ssh` than the one in `PATH`.
    pub program: Option<String>,
}

/// What a play says of how its hosts are reached (`connection:`, `remote_user:`, `port:`, `become:`): weaker than every
/// variable.
#[derive(Debug, Clone, Default)]
pub struct Words {
    pub connection: Option<String>,
    pub remote_user: Option<String>,
    pub port: Option<String>,
    pub becomes: bool,
}

/// A variable or word that says something impossible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub name: String,
    pub why: String,
}

/// How every host of a run is reached.
#[derive(Debug, Default)]
pub struct Reaches {
    pub hosts: BTreeMap<String, Reach>,
    /// `converge_agent_dir` inside of containers.
    pub inside: BTreeMap<String, String>,
    /// The same for containers that nothing is said of.
    pub everywhere: Option<String>,
    /// Hosts on which some plays become root and others do not, which is refused where the login is not root.
    pub divided: BTreeMap<String, String>,
    /// Hosts that cannot be reached as it is said, and why. They are nobody else's trouble.
    pub wrong: BTreeMap<String, String>,
}

/// Words before a program that is to run as root.
const AS_ROOT: &str = r#"if [ "$(id -u)" = 0 ]; then exec "$@"; else exec sudo -n -- "$@"; fi"#;

impl Reach {
    /// `vars`: all variables of the host, rendered when they are asked for.
    pub fn of(host: &str, vars: &Value, words: &Words) -> Result<Self, Wrong> {
        let said = Said(vars);
        let implied = if host == "localhost" { "local" } else { "ssh" };
        let connection = said.text(&["ansible_connection"])?;
        let asked = connection.as_ref().map_or("connection", |_| "ansible_connection");
        let connection = connection.or_else(|| words.connection.clone()).unwrap_or_else(|| implied.to_owned());
        let way = match connection.rsplit('.').next().unwrap_or_default() {
            "local" => Way::Local,
            "pve_shell" => Way::PveShell(endpoint(host, &said)?),
            "ssh" | "smart" | "paramiko" | "paramiko_ssh" | "libssh" => Way::Ssh(ssh(host, &said, words)?),
            _ => {
                return wrong(
                    asked,
                    format!("`{asked}: {connection}` is not known; there are ssh, local and pve_shell"),
                );
            }
        };
        let becomes_by = said.flag("ansible_become")?;
        let (sudo, by_variable) = (becomes_by.unwrap_or(words.becomes), becomes_by.is_some());
        let reach = Self { way, agent_dir: said.text(&["converge_agent_dir"])?, sudo, by_variable };
        // A shell of the API is root's, and root has nothing to become.
        let sudo = sudo && reach.is_root() != Some(true);
        if sudo {
            becomes(&said)?;
        }
        Ok(Self { sudo, ..reach })
    }

    /// Whether whoever logs in is root; `None` where only `ssh` knows.
    pub fn is_root(&self) -> Option<bool> {
        match &self.way {
            Way::Local => Some(rustix::process::geteuid().is_root()),
            Way::PveShell(_) => Some(true),
            Way::Ssh(target) => target.user.as_ref().map(|user| user == "root"),
        }
    }

    /// Words before a command that is to run as root there. As Ansible, whoever is root already does without `sudo`.
    pub fn as_root(&self) -> Vec<String> {
        let words: &[&str] = if self.sudo { &["sh", "-c", AS_ROOT, "converge"] } else { &[] };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

fn wrong<T>(name: &str, why: String) -> Result<T, Wrong> {
    Err(Wrong { name: name.to_owned(), why })
}

/// The variables of a host.
struct Said<'a>(&'a Value);

impl Said<'_> {
    /// Of several names of the same, as in Ansible, the last that says something.
    fn text(&self, names: &[&str]) -> Result<Option<String>, Wrong> {
        for name in names.iter().rev() {
            let not = |what: &str| wrong(name, format!("`{name}` is {what}, not text"));
            let value = self.0.get_attr(name).unwrap_or_default();
            match value.kind() {
                ValueKind::Undefined | ValueKind::None => {}
                ValueKind::Invalid => return wrong(name, format!("`{name}`: {value}")),
                ValueKind::Seq | ValueKind::Iterable => return not("a list"),
                ValueKind::Map => return not("a mapping"),
                _ => return Ok(Some(value.to_string())),
            }
        }
        Ok(None)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Wrong> {
        match self.text(&[name])?.map(|text| text.to_lowercase()).as_deref() {
            None => Ok(None),
            Some("false" | "no" | "0" | "off" | "n" | "f") => Ok(Some(false)),
            Some("true" | "yes" | "1" | "on" | "y" | "t") => Ok(Some(true)),
            Some(other) => wrong(name, format!("`{name}` is yes or no, not `{other}`")),
        }
    }
}

/// What Ansible's users say of becoming root, as far as it can be done here.
fn becomes(said: &Said<'_>) -> Result<(), Wrong> {
    if let Some(user) = said.text(&["ansible_become_user"])?.filter(|user| user != "root") {
        let why = format!("`ansible_become_user: {user}`: tasks run as root or as the login, no other user");
        return wrong("ansible_become_user", why);
    }
    let method = said.text(&["ansible_become_method"])?;
    if let Some(method) = method.filter(|method| method.rsplit('.').next() != Some("sudo")) {
        return wrong(
            "ansible_become_method",
            format!("`ansible_become_method: {method}` is not known; there is sudo"),
        );
    }
    let secrets = ["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"];
    let asked = ["ansible_become_flags", "ansible_become_exe", "ansible_sudo_flags", "ansible_sudo_exe"];
    for name in secrets.iter().chain(&asked) {
        if said.text(&[name])?.is_some() {
            let why = format!("`{name}` is not used: `sudo -n` has to do, allowed in sudoers without a password");
            return wrong(name, why);
        }
    }
    Ok(())
}

/// `host`, `host:port` or a URL, of whose letters none could be taken for anything else.
fn endpoint(host: &str, said: &Said<'_>) -> Result<String, Wrong> {
    for name in ["pve_endpoint", "ansible_host"] {
        let Some(text) = said.text(&[name])? else { continue };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".:-_[]".contains(c);
        let bare = text.strip_prefix("https://").unwrap_or(&text).trim_end_matches('/');
        if bare.is_empty() || bare.starts_with('-') || !bare.chars().all(fits) {
            return wrong(name, format!("`{name}` is no address of an API: {text:?}"));
        }
        return Ok(text);
    }
    Ok(host.to_owned())
}

fn ssh(host: &str, said: &Said<'_>, words: &Words) -> Result<SshTarget, Wrong> {
    let (mut name, mut port) = ("ansible_port", said.text(&["ansible_port", "ansible_ssh_port"])?);
    if port.is_none() {
        (name, port) = ("port", words.port.clone());
    }
    let port = match port {
        None => None,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return wrong(name, format!("`{name}: {text}` is no port")),
        },
    };
    for name in ["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"] {
        if said.text(&[name])?.is_some() {
            return wrong(name, format!("`{name}`: passwords are not given to ssh; use a key or an agent"));
        }
    }
    let mut args = Vec::new();
    if let Some(text) = said.text(&["ansible_timeout", "ansible_ssh_timeout"])? {
        let Ok(seconds) = text.parse::<u32>() else {
            return wrong("ansible_timeout", format!("`ansible_timeout: {text}` is no number of seconds"));
        };
        args.extend(["-o".to_owned(), format!("ConnectTimeout={seconds}")]);
    }
    for name in ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"] {
        if let Some(text) = said.text(&[name])? {
            let Ok(more) = crate::inventory::shell_words(&text) else {
                return wrong(name, format!("`{name}`: a quote is not closed"));
            };
            args.extend(more);
        }
    }
    let destination = said.text(&["ansible_host", "ansible_ssh_host"])?.unwrap_or_else(|| host.to_owned());
    let user = said.text(&["ansible_user", "ansible_ssh_user"])?.or_else(|| words.remote_user.clone());
    // Handed to a program as an argument, where a leading dash would be an option.
    for (what, text) in [("ansible_host", Some(&destination)), ("ansible_user", user.as_ref())] {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if let Some(text) = text.filter(|t| t.is_empty() || t.starts_with('-') || t.contains(odd)) {
            return wrong(what, format!("`{what}` is no name: {text:?}"));
        }
    }
    Ok(SshTarget {
        destination,
        user,
        port,
        key_file: said.text(&["ansible_private_key_file", "ansible_ssh_private_key_file"])?,
        args,
        program: said.text(&["ansible_ssh_executable"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Value {
        Value::from_pairs(pairs.iter().copied())
    }

    fn of(host: &str, pairs: &[(&str, &str)]) -> Result<Reach, Wrong> {
        Reach::of(host, &vars(pairs), &Words::default())
    }

    #[test]
    fn ansible_names_say_how_a_host_is_reached() {
        let reach = of(
            "web1",
            &[
                ("ansible_host", "192.0.2.7"),
                ("ansible_port", "2222"),
                ("ansible_user", "admin"),
                ("ansible_become", "true"),
                ("ansible_timeout", "5"),
                ("ansible_ssh_common_args", "-o ProxyJump=jump -o 'User Known=x'"),
            ],
        )
        .unwrap();
        assert!(reach.sudo);
        let Way::Ssh(ssh) = reach.way else { panic!("not ssh") };
        assert_eq!((ssh.destination.as_str(), ssh.port, ssh.user.as_deref()), ("192.0.2.7", Some(2222), Some("admin")));
        assert_eq!(ssh.args, ["-o", "ConnectTimeout=5", "-o", "ProxyJump=jump", "-o", "User Known=x"]);
        assert_eq!(of("localhost", &[]).unwrap().way, Way::Local);
        assert_eq!(of("x", &[("ansible_connection", "ansible.builtin.local")]).unwrap().way, Way::Local);
    }

    /// As `ansible-playbook -vvv` shows it of ansible-core 2.19.
    #[test]
    fn variables_win_over_the_words_of_a_play_and_the_longer_names_over_the_shorter() {
        let words = Words {
            connection: Some("local".into()),
            remote_user: Some("word".into()),
            port: Some("5".into()),
            becomes: true,
        };
        assert_eq!(Reach::of("h", &vars(&[]), &words).unwrap().way, Way::Local);
        let said = [("ansible_connection", "ssh"), ("ansible_user", "variable"), ("ansible_become", "no")];
        let reach = Reach::of("h", &vars(&said), &words).unwrap();
        let Way::Ssh(ssh) = &reach.way else { panic!("not ssh") };
        assert_eq!((ssh.user.as_deref(), ssh.port, reach.sudo), (Some("variable"), Some(5), false));
        let both = [("ansible_host", "a"), ("ansible_ssh_host", "b"), ("ansible_port", "1"), ("ansible_ssh_port", "2")];
        let Way::Ssh(ssh) = of("h", &both).unwrap().way else { panic!("not ssh") };
        assert_eq!((ssh.destination.as_str(), ssh.port), ("b", Some(2)));
    }

    #[test]
    fn root_becomes_nothing() {
        let sudo = |user: &str| {
            let reach = of("h", &[("ansible_become", "yes"), ("ansible_user", user)]).unwrap();
            assert_eq!(reach.as_root().is_empty(), !reach.sudo);
            reach.sudo
        };
        assert!(sudo("admin") && !sudo("root"));
        // Where only ssh knows who logs in, the host decides.
        let unknown = of("h", &[("ansible_become", "yes")]).unwrap();
        assert!(unknown.as_root()[2].contains("id -u"), "{:?}", unknown.as_root());
        // What cannot be done matters only where it would have to be.
        assert!(
            of("h", &[("ansible_become_password", "hunter2"), ("ansible_user", "root"), ("ansible_become", "1")])
                .is_ok()
        );
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let become_ = ("ansible_become", "yes");
        for (name, value) in [
            ("ansible_connection", "winrm"),
            ("ansible_port", "ssh"),
            ("ansible_timeout", "long"),
            ("ansible_port", "0"),
            ("ansible_password", "hunter2"),
            ("ansible_become_user", "www"),
            ("ansible_become_password", "hunter2"),
            ("ansible_become_method", "su"),
            ("ansible_host", "-oProxyCommand=x"),
            ("ansible_host", "a\u{7}b"),
            ("ansible_user", "a b"),
        ] {
            let wrong = of("h", &[(name, value), become_]).unwrap_err();
            assert!(wrong.name == name && wrong.why.contains(name), "{wrong:?}");
            assert!(!wrong.why.contains("hunter2") && !wrong.why.contains('\u{7}'), "{wrong:?}");
        }
        for address in ["{{ x }}", "a b", "-x", "http://a", "a/b", "a@b"] {
            let wrong = of("h", &[("ansible_connection", "pve_shell"), ("pve_endpoint", address)]).unwrap_err();
            assert_eq!(wrong.name, "pve_endpoint", "{address}");
        }
    }
}
