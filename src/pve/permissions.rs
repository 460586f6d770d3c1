//! What a login may do: the answer of `GET /access/permissions`, and the command that grants what is missing. It asks
//! nobody, and an answer of another form than Proxmox VE's is no answer.
//!
//! The answer is effective: of a token with privilege separation it names what the token and its user both have.

use super::values;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// The user that some settings are reserved for, logged in by its password. No token of it is it.
pub const ROOT: &str = "root@pam";

/// Paths that Proxmox VE lists whenever something is held on them, beside those of the access list.
const ALWAYS_LISTED: &[&str] = &["/", "/access", "/nodes", "/pool", "/storage", "/vms"];

/// Whether a privilege is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Yes,
    No,
    /// The answer has a form that does not say.
    Unknown,
}

/// Path → privilege → whether it is handed down to the paths below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions(BTreeMap<String, BTreeMap<String, bool>>);

impl Permissions {
    pub fn from_answer(answer: &Json) -> Result<Self, String> {
        let paths = answer.as_object().ok_or("no object of paths")?;
        let mut all = BTreeMap::new();
        for (path, privileges) in paths {
            if !path.starts_with('/') {
                return Err(format!("`{path}` is no path"));
            }
            let privileges = privileges.as_object().ok_or_else(|| format!("what stands at {path} is no object"))?;
            let mut here = BTreeMap::new();
            for (name, handed_down) in privileges {
                if !matches!(values::text(handed_down).as_deref(), Some("0" | "1")) {
                    return Err(format!("{name} on {path} is {handed_down}, neither 0 nor 1"));
                }
                here.insert(name.clone(), values::truthy(Some(handed_down)));
            }
            all.insert(path.clone(), here);
        }
        Ok(Self(all))
    }

    /// The nearest path that is listed decides: an entry of the access list replaces what is inherited.
    pub fn held(&self, path: &str, privilege: &str) -> Held {
        if let Some(here) = self.0.get(path) {
            return if here.contains_key(privilege) { Held::Yes } else { Held::No };
        }
        // Who lists / alone does not list as Proxmox does, and what is not listed says nothing.
        let lists_all = ALWAYS_LISTED.iter().any(|usual| *usual != "/" && self.0.contains_key(*usual));
        let mut passed_over = false;
        for above in above(path) {
            match self.0.get(above) {
                Some(there) if there.get(privilege) != Some(&true) => return Held::No,
                // Held above, and not listed where Proxmox would list it: something in between takes it away, or this
                // is not how Proxmox answers.
                Some(_) if passed_over => return Held::Unknown,
                Some(_) => return Held::Yes,
                None => passed_over |= lists_all && ALWAYS_LISTED.contains(&above),
            }
        }
        Held::No
    }

    /// Everything held on a path for certain.
    fn on(&self, path: &str) -> BTreeSet<&str> {
        let named = self.0.values().flat_map(BTreeMap::keys).map(String::as_str);
        named.filter(|name| self.held(path, name) == Held::Yes).collect()
    }

    /// The commands for a node's shell that give `login` these privileges on a path, in as few words as possible.
    pub fn grant(&self, login: &str, path: &str, missing: &BTreeSet<&str>) -> String {
        let mut wanted = missing.clone();
        if path != "/" {
            // An entry here replaces what comes from above, so that the new role must have that as well.
            let areas: BTreeSet<&str> = missing.iter().map(|name| area(name)).collect();
            let known = |name: &&str| ROLES.iter().any(|(_, all)| all.contains(name));
            wanted.extend(self.on(path).into_iter().filter(|name| areas.contains(area(name)) && known(name)));
        }
        let (make, role) = match ROLES.iter().find(|(_, all)| wanted.iter().all(|name| all.contains(name))) {
            Some((role, _)) => (String::new(), (*role).to_owned()),
            None => {
                let names: Vec<&str> = wanted.into_iter().collect();
                let role = format!("converge-{}", names.join("-").to_lowercase().replace('.', "-"));
                (format!("pveum role add {role} --privs {} && ", names.join(",")), role)
            }
        };
        let who = if login.contains('!') { "--tokens" } else { "--users" };
        // What is needed on / is not needed on everything below.
        let only_here = if path == "/" { " --propagate 0" } else { "" };
        format!("{make}pveum acl modify {path} {who} '{login}' --roles {role}{only_here}")
    }
}

/// The paths that hand down to this one, nearest first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(0) if *path != "/" => Some("/"),
        Some(0) | None => None,
        Some(cut) => Some(&path[..cut]),
    })
    .skip(1)
}

/// `VM` of `VM.Config.Disk`.
fn area(privilege: &str) -> &str {
    privilege.split('.').next().unwrap_or(privilege)
}

/// Roles that every supported version brings, with what they have had in all of them; the smallest come first.
const ROLES: &[(&str, &[&str])] = &[
    ("PVEAuditor", &["Datastore.Audit", "Sys.Audit", "VM.Audit"]),
    ("PVEDatastoreUser", &["Datastore.AllocateSpace", "Datastore.Audit"]),
    (
        "PVEDatastoreAdmin",
        &["Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit"],
    ),
    ("PVESDNUser", &["SDN.Audit", "SDN.Use"]),
    ("PVESysAdmin", &["Sys.Audit", "Sys.Console", "Sys.Syslog"]),
    (
        "PVEVMAdmin",
        &[
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
            "VM.Migrate",
            "VM.PowerMgmt",
            "VM.Snapshot",
            "VM.Snapshot.Rollback",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(answer: Json) -> Permissions {
        Permissions::from_answer(&answer).unwrap()
    }

    #[test]
    fn the_nearest_listed_path_decides() {
        let auditor = json!({"Sys.Audit": 1, "VM.Audit": 1});
        let held = of(json!({
            "/": auditor, "/vms": auditor, "/nodes": auditor,
            "/vms/101": {"VM.PowerMgmt": 1},
            "/pool/a": {"VM.Audit": 0},
        }));
        for (path, privilege, expected) in [
            ("/", "Sys.Audit", Held::Yes),
            ("/", "Sys.Console", Held::No),
            ("/vms/102", "VM.Audit", Held::Yes),
            // An entry replaces what is inherited.
            ("/vms/101", "VM.Audit", Held::No),
            ("/vms/101", "VM.PowerMgmt", Held::Yes),
            // 0: held there, not below.
            ("/pool/a", "VM.Audit", Held::Yes),
            ("/pool/a/b", "VM.Audit", Held::No),
            // /storage is always listed where something is held there.
            ("/storage/local", "VM.Audit", Held::Unknown),
            ("/storage/local", "Datastore.Audit", Held::No),
            ("/access/realm/pve", "Sys.Audit", Held::Unknown),
            ("/sdn/zones/localnetwork/vmbr0", "Sys.Audit", Held::Yes),
        ] {
            assert_eq!(held.held(path, privilege), expected, "{privilege} on {path}");
        }
        assert_eq!(of(json!({})).held("/vms/101", "VM.Audit"), Held::No);
        let alone = of(json!({"/": {"VM.Audit": 1, "Sys.Audit": 0}}));
        assert_eq!([alone.held("/vms/101", "VM.Audit"), alone.held("/nodes", "Sys.Audit")], [Held::Yes, Held::No]);
    }

    #[test]
    fn another_form_is_no_answer() {
        for strange in [json!(null), json!([]), json!({"/": ["VM.Audit"]}), json!({"/": {"VM.Audit": "yes"}})] {
            assert!(Permissions::from_answer(&strange).is_err(), "{strange}");
        }
        // Numbers may come as text.
        assert_eq!(of(json!({"/": {"VM.Audit": "1"}})).held("/", "VM.Audit"), Held::Yes);
    }

    #[test]
    fn what_grants_takes_nothing_away() {
        let nothing = of(json!({}));
        let grant = |held: &Permissions, login, path, missing: &[&str]| {
            held.grant(login, path, &missing.iter().copied().collect())
        };
        assert_eq!(
            grant(&nothing, "root@pam!x", "/", &["Sys.Console"]),
            "pveum acl modify / --tokens 'root@pam!x' --roles PVESysAdmin --propagate 0"
        );
        assert_eq!(
            grant(&nothing, "a@pve", "/", &["Sys.Console", "Sys.Modify"]),
            "pveum role add converge-sys-console-sys-modify --privs Sys.Console,Sys.Modify && \
             pveum acl modify / --users 'a@pve' --roles converge-sys-console-sys-modify --propagate 0"
        );
        let audits = json!({"Datastore.Audit": 1, "VM.Audit": 1});
        let auditor = of(json!({"/": audits, "/vms": audits, "/storage": audits}));
        let role = |held: &Permissions, path, missing: &[&str]| {
            let line = grant(held, "a@pve!t", path, missing);
            line.rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(role(&auditor, "/vms/101", &["VM.Config.Memory"]), "PVEVMAdmin");
        assert_eq!(role(&auditor, "/storage/a", &["Datastore.AllocateSpace"]), "PVEDatastoreUser");
        let more = of(json!({"/storage": {"Datastore.AllocateTemplate": 1}}));
        assert_eq!(role(&more, "/storage/a", &["Datastore.AllocateSpace"]), "PVEDatastoreAdmin");
        assert_eq!(role(&nothing, "/vms/101", &["VM.Audit"]), "PVEAuditor");
    }

    /// Roles of 9.1, as a cluster lists them. What is proposed must really be in the role.
    #[test]
    fn the_roles_are_those_of_proxmox() {
        let text = include_str!("../lab/api/schema/roles-9.1.json");
        let real: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
        for (role, privileges) in ROLES {
            let has: BTreeSet<&str> = real[*role].split(',').collect();
            for privilege in *privileges {
                assert!(has.contains(privilege), "{role} has no {privilege}");
            }
        }
    }
}
