//! Who may do what: PVE's permission checks over users, tokens, roles and the access list.
//! It knows no ticket; who asks has been settled before.

use super::request::Fault;
use super::schema::Holes;
use super::state::Cluster;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

pub const PRIVILEGES: &[&str] = &[
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

/// Who asks: `user@realm`, with the token's name if one was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub token: Option<String>,
}

impl Identity {
    /// As task lists and access lists write it.
    pub fn full(&self) -> String {
        match &self.token {
            Some(token) => format!("{}!{token}", self.user),
            None => self.user.clone(),
        }
    }

    /// Exactly root@pam, with a ticket: not even a token of root@pam passes such checks.
    pub fn is_root(&self) -> bool {
        self.user == "root@pam" && self.token.is_none()
    }
}

/// The roles that PVE brings, name → privileges.
pub fn built_in_roles() -> &'static BTreeMap<String, String> {
    static ROLES: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    ROLES.get_or_init(|| {
        serde_json::from_str(include_str!("schema/roles-9.1.json")).unwrap_or_else(|e| panic!("built-in roles: {e}"))
    })
}

/// The privileges a role gives, `None` where there is no such role.
pub fn role(cluster: &Cluster, name: &str) -> Option<BTreeSet<String>> {
    cluster.roles.get(name).cloned().or_else(|| {
        let privileges = built_in_roles().get(name)?;
        Some(privileges.split(',').filter(|p| !p.is_empty()).map(str::to_string).collect())
    })
}

/// The privileges of an identity on a path.
pub fn privileges(cluster: &Cluster, who: &Identity, path: &str) -> BTreeSet<String> {
    effective(cluster, who, path).into_keys().collect()
}

/// The same, each with whether it is handed down to the paths below. A token with privilege separation has what it and
/// its user both have.
pub fn effective(cluster: &Cluster, who: &Identity, path: &str) -> BTreeMap<String, bool> {
    let of_user = if who.user == "root@pam" {
        PRIVILEGES.iter().map(|p| (p.to_string(), true)).collect()
    } else {
        granted(cluster, &who.user, path)
    };
    let Some(token) = &who.token else { return of_user };
    let separate = cluster.users.get(&who.user).and_then(|user| user.tokens.get(token)).is_none_or(|t| t.privsep);
    if !separate {
        return of_user;
    }
    let of_token = granted(cluster, &who.full(), path);
    of_token.into_iter().filter_map(|(name, down)| of_user.get(&name).map(|user| (name, down && *user))).collect()
}

/// The nearest path with entries decides, as in PVE: a closer entry replaces what is inherited.
fn granted(cluster: &Cluster, who: &str, path: &str) -> BTreeMap<String, bool> {
    let mut at = path.to_string();
    loop {
        let here: Vec<_> = cluster
            .acl
            .iter()
            .filter(|acl| acl.who == who && acl.path == at && (acl.propagate || at == path))
            .collect();
        if !here.is_empty() {
            let mut held = BTreeMap::new();
            for acl in here {
                for name in role(cluster, &acl.role).into_iter().flatten() {
                    *held.entry(name).or_default() |= acl.propagate;
                }
            }
            return held;
        }
        if at == "/" {
            return BTreeMap::new();
        }
        at = match at.rfind('/') {
            Some(0) | None => "/".into(),
            Some(cut) => at[..cut].to_string(),
        };
    }
}

pub fn has(cluster: &Cluster, who: &Identity, path: &str, privilege: &str) -> bool {
    privileges(cluster, who, path).contains(privilege)
}

pub fn need(cluster: &Cluster, who: &Identity, path: &str, privilege: &str) -> Result<(), Fault> {
    if has(cluster, who, path, privilege) { Ok(()) } else { Err(Fault::forbidden(format!("{path}, {privilege}"))) }
}

/// Applies a route's `permissions` entry.
pub fn check(cluster: &Cluster, who: &Identity, permissions: Option<&Value>, holes: &Holes) -> Result<(), Fault> {
    if who.is_root() {
        return Ok(());
    }
    let Some(permissions) = permissions else {
        return Err(Fault::forbidden("user != root@pam"));
    };
    if permissions.get("user").is_some() {
        return Ok(());
    }
    match permissions.get("check") {
        Some(check) => check_expression(cluster, who, check, holes),
        None => Err(Fault::forbidden("user != root@pam")),
    }
}

fn check_expression(cluster: &Cluster, who: &Identity, check: &Value, holes: &Holes) -> Result<(), Fault> {
    let word = |at: usize| check.get(at).and_then(Value::as_str).unwrap_or_default();
    let rest = || check.as_array().into_iter().flatten().skip(1);
    match word(0) {
        "and" => rest().try_for_each(|part| check_expression(cluster, who, part, holes)),
        "or" => {
            let mut last = Ok(());
            for part in rest() {
                last = check_expression(cluster, who, part, holes);
                if last.is_ok() {
                    break;
                }
            }
            last
        }
        "perm" => {
            let path = fill(word(1), holes);
            let wanted: Vec<&str> =
                check.get(2).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            let held = privileges(cluster, who, &path);
            let any = word(3) == "any";
            let holds = |privilege: &&&str| held.contains(**privilege);
            let ok = if any { wanted.iter().any(|p| holds(&p)) } else { wanted.iter().all(|p| holds(&p)) };
            if ok {
                return Ok(());
            }
            let text = wanted.join(if any { "|" } else { ", " });
            Err(Fault::forbidden(format!("{path}, {text}")))
        }
        "perm-modify" => need(cluster, who, "/", "Permissions.Modify"),
        "userid-param" if word(1) == "self" => {
            if holes.get("userid") == Some(&who.user) {
                Ok(())
            } else {
                Err(Fault::forbidden("userid-param"))
            }
        }
        "userid-param" => need(cluster, who, "/access/realm/pve", word(1)),
        "userid-group" => need(cluster, who, "/access/groups", "User.Modify"),
        other => Err(Fault::forbidden(format!("unknown permission test '{other}'"))),
    }
}

fn fill(template: &str, holes: &Holes) -> String {
    holes.iter().fold(template.to_string(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}
