//! What an inventory says of how a host is reached, in Ansible's names (`ansible_host`, `ansible_user`, …).
//!
//! A way that is not known is refused by name; no other is taken in its place.

use crate::inventory::Vars;
use crate::template;
use crate::yaml::{Node, Value as Yaml};
use minijinja::value::{Serde, Value};

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub way: Way,
    /// Folder for the agent's binary on the host, where not the usual one.
    pub agent_dir: Option<String>,
    /// Run as root by `sudo`, for logins that are not root.
    pub sudo: bool,
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

impl Reach {
    pub fn of(host: &str, vars: &Vars) -> Result<Self, String> {
        let said = |names: &[&str]| -> Result<Option<String>, String> {
            match names.iter().find_map(|name| vars.get(*name).map(|node| (name, node))) {
                Some((name, node)) => rendered(host, name, node, vars),
                None => Ok(None),
            }
        };
        let flag = |name: &str| match said(&[name])?.map(|text| text.to_lowercase()).as_deref() {
            None | Some("false" | "no" | "0" | "off") => Ok(false),
            Some("true" | "yes" | "1" | "on") => Ok(true),
            Some(other) => Err(format!("{host}: `{name}` is yes or no, not `{other}`")),
        };
        let connection = said(&["ansible_connection"])?;
        let implied = if host == "localhost" { "local" } else { "ssh" };
        let way = match connection.as_deref().unwrap_or(implied).rsplit('.').next().unwrap_or_default() {
            "local" => Way::Local,
            "pve_shell" => Way::PveShell(said(&["pve_endpoint", "ansible_host"])?.unwrap_or_else(|| host.to_owned())),
            "ssh" | "smart" | "paramiko" | "paramiko_ssh" | "libssh" => Way::Ssh(ssh(host, &said)?),
            other => {
                return Err(format!(
                    "{host}: `ansible_connection: {other}` is not known; there are ssh, local and pve_shell"
                ));
            }
        };
        let become_user = said(&["ansible_become_user"])?;
        if let Some(user) = become_user.filter(|user| user != "root") {
            return Err(format!(
                "{host}: `ansible_become_user: {user}`: tasks run as root or as the login, no other user"
            ));
        }
        let method = said(&["ansible_become_method"])?;
        if let Some(method) = method.filter(|method| method.rsplit('.').next() != Some("sudo")) {
            return Err(format!("{host}: `ansible_become_method: {method}` is not known; there is sudo"));
        }
        Ok(Self { way, agent_dir: said(&["converge_agent_dir"])?, sudo: flag("ansible_become")? })
    }
}

/// The first of some names that the inventory says, as text.
type Said<'a> = &'a dyn Fn(&[&str]) -> Result<Option<String>, String>;

fn ssh(host: &str, said: Said<'_>) -> Result<SshTarget, String> {
    let port = match said(&["ansible_port", "ansible_ssh_port"])? {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| format!("{host}: `ansible_port: {text}` is no port"))?),
    };
    for name in ["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"] {
        if said(&[name])?.is_some() {
            return Err(format!("{host}: `{name}`: passwords are not given to ssh; use a key or an agent"));
        }
    }
    let mut args = Vec::new();
    if let Some(text) = said(&["ansible_timeout", "ansible_ssh_timeout"])? {
        let seconds: u32 =
            text.parse().map_err(|_| format!("{host}: `ansible_timeout: {text}` is no number of seconds"))?;
        args.extend(["-o".to_owned(), format!("ConnectTimeout={seconds}")]);
    }
    for name in ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"] {
        if let Some(text) = said(&[name])? {
            let words = crate::inventory::shell_words(&text).map_err(|why| format!("{host}: `{name}`: {why}"))?;
            args.extend(words);
        }
    }
    let destination = said(&["ansible_host", "ansible_ssh_host"])?.unwrap_or_else(|| host.to_owned());
    let user = said(&["ansible_user", "ansible_ssh_user"])?;
    // Handed to a program as an argument, where a leading dash would be an option.
    for (what, text) in [("ansible_host", Some(&destination)), ("ansible_user", user.as_ref())] {
        if text.is_some_and(|t| t.is_empty() || t.starts_with('-') || t.contains(char::is_whitespace)) {
            return Err(format!("{host}: `{what}` is no name: `{}`", text.map_or("", String::as_str)));
        }
    }
    Ok(SshTarget {
        destination,
        user,
        port,
        key_file: said(&["ansible_ssh_private_key_file", "ansible_private_key_file"])?,
        args,
        program: said(&["ansible_ssh_executable"])?,
    })
}

/// A variable as text, its template rendered with the host's own variables.
fn rendered(host: &str, name: &str, node: &Node, vars: &Vars) -> Result<Option<String>, String> {
    let Yaml::Scalar { text, .. } = &node.value else {
        return Err(format!("{host}: `{name}` is {}, not text", node.what()));
    };
    if node.is_null() {
        return Ok(None);
    }
    let mut text = text.clone();
    // A value may name another that is a template itself.
    for _ in 0..5 {
        if !template::has_template(&text) {
            return Ok(Some(text));
        }
        let mut context: std::collections::BTreeMap<&str, Value> =
            vars.iter().map(|(name, node)| (name.as_str(), Value::from(Serde(&node.to_json())))).collect();
        context.insert("inventory_hostname", host.into());
        text = template::render(&text, &Value::from_pairs(context))
            .map_err(|e| format!("{host}: `{name}`: {}", template::explain(&e)))?;
    }
    Err(format!("{host}: `{name}` refers to itself"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), Node::scalar(*v, false, Default::default()))).collect()
    }

    #[test]
    fn ansible_names_say_how_a_host_is_reached() {
        let reach = Reach::of(
            "web1",
            &vars(&[
                ("ansible_host", "{{ net }}.7"),
                ("net", "192.0.2"),
                ("ansible_port", "2222"),
                ("ansible_user", "admin"),
                ("ansible_become", "true"),
                ("ansible_timeout", "5"),
                ("ansible_ssh_common_args", "-o ProxyJump=jump -o 'User Known=x'"),
            ]),
        )
        .unwrap();
        let Way::Ssh(ssh) = reach.way else { panic!("not ssh") };
        assert_eq!((ssh.destination.as_str(), ssh.port, ssh.user.as_deref()), ("192.0.2.7", Some(2222), Some("admin")));
        assert_eq!(ssh.args, ["-o", "ConnectTimeout=5", "-o", "ProxyJump=jump", "-o", "User Known=x"]);
        assert!(reach.sudo);
        assert_eq!(Reach::of("localhost", &Vars::new()).unwrap().way, Way::Local);
        assert_eq!(Reach::of("x", &vars(&[("ansible_connection", "ansible.builtin.local")])).unwrap().way, Way::Local);
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (name, value) in [
            ("ansible_connection", "winrm"),
            ("ansible_port", "ssh"),
            ("ansible_timeout", "long"),
            ("ansible_password", "hunter2"),
            ("ansible_become_user", "www"),
            ("ansible_host", "-oProxyCommand=x"),
            ("ansible_host", "{{ nowhere }}"),
        ] {
            let why = Reach::of("h", &vars(&[(name, value)])).unwrap_err();
            assert!(why.contains(name) && !why.contains("hunter2"), "{why}");
        }
    }
}
