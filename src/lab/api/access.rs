//! `/access`: login, users, tokens, roles, the access list.
//! As much as a client of storage and containers needs; no groups, no second factors, no realms beside pam and pve.

use super::acl;
use super::auth;
use super::call::{Call, Outcome};
use super::request::Fault;
use super::state::{Acl, Token, User, hex, uuid_from};
use serde_json::{Map, Value, json};

pub fn index(_: &mut Call) -> Outcome {
    Ok(["users", "roles", "acl", "ticket", "permissions"].iter().map(|name| json!({ "subdir": name })).collect())
}

pub fn ticket_index(_: &mut Call) -> Outcome {
    Ok(Value::Null)
}

pub fn login(call: &mut Call) -> Outcome {
    let now = call.now_s();
    let name = match call.get("realm") {
        Some(realm) => format!("{}@{realm}", call.param("username")),
        None => call.param("username").to_string(),
    };
    if !auth::login(call.cluster, call.secrets, &name, call.param("password"), now) {
        return Err(Fault::Text(401, "authentication failure".into()));
    }
    call.who = acl::Identity { user: name.clone(), token: None };
    let mut data = Map::new();
    data.insert("username".into(), json!(name));
    data.insert("ticket".into(), json!(call.secrets.ticket(&name, now)));
    data.insert("CSRFPreventionToken".into(), json!(call.secrets.csrf(&name, now)));
    data.insert("cap".into(), capabilities(call));
    if !call.cluster.name.is_empty() {
        data.insert("clustername".into(), json!(call.cluster.name));
    }
    Ok(Value::Object(data))
}

/// What a user interface may offer: privileges by area, those of the area's own kind only.
fn capabilities(call: &Call) -> Value {
    let areas = [
        ("vms", "/vms", "VM."),
        ("storage", "/storage", "Datastore."),
        ("access", "/access", "User."),
        ("nodes", "/nodes", "Sys."),
        ("dc", "/", "Sys."),
        ("sdn", "/sdn", "SDN."),
        ("mapping", "/mapping", "Mapping."),
    ];
    let mut caps = Map::new();
    for (area, path, prefix) in areas {
        let held = acl::privileges(call.cluster, &call.who, path);
        let shown = held.iter().filter(|p| match area {
            "dc" => matches!(p.as_str(), "Sys.Audit" | "Sys.Modify" | "SDN.Audit" | "SDN.Allocate" | "SDN.Use"),
            "access" => matches!(p.as_str(), "User.Modify" | "Group.Allocate" | "Permissions.Modify"),
            _ => p.starts_with(prefix) || p.as_str() == "Permissions.Modify",
        });
        caps.insert(area.into(), Value::Object(shown.map(|p| (p.clone(), json!(1))).collect()));
    }
    Value::Object(caps)
}

pub fn change_password(call: &mut Call) -> Outcome {
    let user = call.param("userid").to_string();
    let text = call.param("password").to_string();
    let hashed = salted(&text)?;
    match call.cluster.users.get_mut(&user) {
        Some(account) if user.ends_with("@pve") => account.password = Some(hashed),
        Some(_) => return Err(Fault::die("can't change the password of a user of this realm here")),
        None => return Err(Fault::die(format!("user '{user}' does not exist"))),
    }
    Ok(Value::Null)
}

fn salted(text: &str) -> Result<(String, String), Fault> {
    let salt = hex(&random(8)?);
    let hashed = auth::hash(&format!("{salt}{text}"));
    Ok((salt, hashed))
}

fn random(bytes: usize) -> Result<Vec<u8>, Fault> {
    auth::random(bytes).map_err(|error| Fault::die(format!("no random bytes: {error}")))
}

pub fn permissions(call: &mut Call) -> Outcome {
    let who = match call.get("userid") {
        Some(name) => {
            let (user, token) = name.split_once('!').map_or((name, None), |(u, t)| (u, Some(t.to_string())));
            let asked = acl::Identity { user: user.into(), token };
            // One's own, and a user those of its tokens; a token is not its user.
            if asked != call.who && !(call.who.token.is_none() && asked.user == call.who.user) {
                call.need("/access", "Sys.Audit")?;
            }
            asked
        }
        None => call.who.clone(),
    };
    let fixed = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
    let mut paths: Vec<String> = match call.get("path") {
        Some(path) => vec![path.to_string()],
        None => fixed.iter().map(|p| p.to_string()).chain(call.cluster.acl.iter().map(|a| a.path.clone())).collect(),
    };
    paths.sort();
    paths.dedup();
    let mut data = Map::new();
    for path in paths {
        let held = acl::effective(call.cluster, &who, &path);
        if !held.is_empty() {
            let held = held.into_iter().map(|(name, handed_down)| (name, json!(u8::from(handed_down))));
            data.insert(path, Value::Object(held.collect()));
        }
    }
    Ok(Value::Object(data))
}

fn account<'a>(call: &'a mut Call, name: &str) -> Result<&'a mut User, Fault> {
    call.cluster.users.get_mut(name).ok_or_else(|| Fault::die(format!("no such user ('{name}')")))
}

pub fn users(call: &mut Call) -> Outcome {
    let show = |(name, user): (&String, &User)| {
        let (_, realm) = name.rsplit_once('@').unwrap_or((name, "pam"));
        let mut entry = json!({"userid": name, "enable": u8::from(user.enabled), "expire": 0, "realm-type": realm});
        if let Some(comment) = &user.comment {
            entry["comment"] = json!(comment);
        }
        entry
    };
    let all = call.may("/access/groups", "Sys.Audit") || call.may("/access/groups", "User.Modify");
    Ok(call.cluster.users.iter().filter(|(name, _)| all || **name == call.who.user).map(show).collect())
}

pub fn create_user(call: &mut Call) -> Outcome {
    let name = call.param("userid").to_string();
    if call.cluster.users.contains_key(&name) {
        return Err(Fault::die(format!("create user failed: user '{name}' already exists")));
    }
    let password = call.get("password").map(str::to_string).map(|text| salted(&text)).transpose()?;
    let enabled = call.get("enable") != Some("0");
    let comment = call.get("comment").map(str::to_string);
    call.cluster.users.insert(name, User { enabled, comment, password, ..User::default() });
    Ok(Value::Null)
}

pub fn read_user(call: &mut Call) -> Outcome {
    let name = call.param("userid").to_string();
    let user = account(call, &name)?;
    let tokens: Vec<String> = user.tokens.keys().cloned().collect();
    Ok(json!({"enable": u8::from(user.enabled), "expire": 0, "groups": [], "tokens": tokens}))
}

pub fn delete_user(call: &mut Call) -> Outcome {
    let name = call.param("userid").to_string();
    call.cluster
        .users
        .remove(&name)
        .ok_or_else(|| Fault::die(format!("delete user failed: no such user ('{name}')")))?;
    call.cluster.acl.retain(|acl| acl.who != name && !acl.who.starts_with(&format!("{name}!")));
    Ok(Value::Null)
}

fn token_info(token: &Token) -> Map<String, Value> {
    let mut info = Map::new();
    info.insert("privsep".into(), json!(u8::from(token.privsep)));
    info.insert("expire".into(), json!(token.expire));
    if let Some(comment) = &token.comment {
        info.insert("comment".into(), json!(comment));
    }
    info
}

pub fn tokens(call: &mut Call) -> Outcome {
    let name = call.param("userid").to_string();
    let show = |(id, token): (&String, &Token)| {
        let mut info = token_info(token);
        info.insert("tokenid".into(), json!(id));
        Value::Object(info)
    };
    Ok(account(call, &name)?.tokens.iter().map(show).collect())
}

pub fn read_token(call: &mut Call) -> Outcome {
    let (name, id) = (call.param("userid").to_string(), call.param("tokenid").to_string());
    let token = account(call, &name)?.tokens.get(&id);
    token
        .map(|t| Value::Object(token_info(t)))
        .ok_or_else(|| Fault::die(format!("no such token '{id}' for user '{name}'")))
}

pub fn create_token(call: &mut Call) -> Outcome {
    let (name, id) = (call.param("userid").to_string(), call.param("tokenid").to_string());
    let secret = uuid_from(&random(16)?);
    let token = Token {
        secret_sha256: auth::hash(&secret),
        privsep: call.get("privsep") != Some("0"),
        expire: call.number("expire").unwrap_or(0) as i64,
        comment: call.get("comment").map(str::to_string),
    };
    let mut info = Map::new();
    for key in ["privsep", "expire", "comment"] {
        if let Some(value) = call.get(key) {
            info.insert(key.into(), json!(value));
        }
    }
    info.entry("privsep").or_insert(json!(1));
    let user = account(call, &name)?;
    if user.tokens.contains_key(&id) {
        return Err(Fault::param("tokenid", "Token already exists."));
    }
    user.tokens.insert(id.clone(), token);
    Ok(json!({"full-tokenid": format!("{name}!{id}"), "value": secret, "info": info}))
}

pub fn delete_token(call: &mut Call) -> Outcome {
    let (name, id) = (call.param("userid").to_string(), call.param("tokenid").to_string());
    let gone = account(call, &name)?.tokens.remove(&id);
    gone.ok_or_else(|| Fault::die(format!("no such token '{id}' for user '{name}'")))?;
    Ok(Value::Null)
}

pub fn roles(call: &mut Call) -> Outcome {
    let fixed = acl::built_in_roles().iter().map(|(id, privs)| json!({"roleid": id, "privs": privs, "special": 1}));
    let made = call.cluster.roles.iter().map(|(id, privs)| {
        let privs: Vec<&str> = privs.iter().map(String::as_str).collect();
        json!({"roleid": id, "privs": privs.join(","), "special": 0})
    });
    Ok(fixed.chain(made).collect())
}

pub fn create_role(call: &mut Call) -> Outcome {
    let id = call.param("roleid").to_string();
    if acl::role(call.cluster, &id).is_some() {
        return Err(Fault::die(format!("create role failed: role '{id}' already exists")));
    }
    let privileges = super::formats::split_list(call.param("privs")).map(str::to_string).collect();
    call.cluster.roles.insert(id, privileges);
    Ok(Value::Null)
}

pub fn read_role(call: &mut Call) -> Outcome {
    let id = call.param("roleid");
    let held = acl::role(call.cluster, id).ok_or_else(|| Fault::die(format!("role '{id}' does not exist")))?;
    Ok(Value::Object(held.into_iter().map(|p| (p, json!(1))).collect()))
}

pub fn delete_role(call: &mut Call) -> Outcome {
    let id = call.param("roleid").to_string();
    if call.cluster.roles.remove(&id).is_none() {
        let why = if acl::built_in_roles().contains_key(&id) { "is auto-generated" } else { "does not exist" };
        return Err(Fault::die(format!("delete role failed: role '{id}' {why}")));
    }
    call.cluster.acl.retain(|acl| acl.role != id);
    Ok(Value::Null)
}

pub fn read_acl(call: &mut Call) -> Outcome {
    let show = |acl: &Acl| {
        let kind = if acl.who.contains('!') { "token" } else { "user" };
        json!({"path": acl.path, "ugid": acl.who, "roleid": acl.role, "type": kind, "propagate": u8::from(acl.propagate)})
    };
    Ok(call.cluster.acl.iter().map(show).collect())
}

pub fn update_acl(call: &mut Call) -> Outcome {
    let path = call.param("path").to_string();
    let propagate = call.get("propagate") != Some("0");
    let list = |key: &str| -> Vec<String> {
        super::formats::split_list(call.get(key).unwrap_or_default()).map(str::to_string).collect()
    };
    let who: Vec<String> = list("users").into_iter().chain(list("tokens")).collect();
    if who.is_empty() {
        return Err(Fault::param("users", "either 'users', 'tokens' or 'groups' is required."));
    }
    for role in list("roles") {
        if acl::role(call.cluster, &role).is_none() {
            return Err(Fault::die(format!("ACL update failed: role '{role}' does not exist")));
        }
        for name in &who {
            let user = name.split('!').next().unwrap_or(name);
            if !call.cluster.users.contains_key(user) {
                return Err(Fault::die(format!("ACL update failed: no such user ('{user}')")));
            }
            call.cluster.acl.retain(|acl| (&acl.path, &acl.who, &acl.role) != (&path, name, &role));
            if !call.flag("delete") {
                let entry = Acl { path: path.clone(), who: name.clone(), role: role.clone(), propagate };
                call.cluster.acl.push(entry);
            }
        }
    }
    Ok(Value::Null)
}
