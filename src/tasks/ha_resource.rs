//! `ha_resource`: a guest that the cluster keeps running.

use super::cluster::{self, Params, Placement, Row, field};
use super::{ArgFault, Decision, Meanwhile, Observation, Right, Task, Touches, Trail, Verdict, diff};
use crate::host::{LookError, Method, Probe, Step};
use crate::pve::values;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// How long the HA manager may take for a change of state. Fencing a node and moving what ran there takes two to three
/// minutes; a container's file system with multiple mount protection adds most of one.
const FOLLOW_S: u64 = 300;

/// A guest as a resource of Proxmox's HA manager. Only what is stated is compared, so a guest that an administrator
/// stopped on purpose is left alone unless `state` is stated. Where it may run is said by `ha_group`, placed after
/// this task. After a change of state the task waits until the HA manager has carried it out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaResource {
    /// The guest: `ct:101` or `vm:100`.
    pub sid: String,
    /// What the HA manager shall do: `started`, `stopped`, `disabled` (stopped, and not recovered), `ignored` (hands
    /// off); `absent` takes the guest out of HA and lets it run on. A new resource without it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Attempts to start it again on the same node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restart: Option<u32>,
    /// Attempts on other nodes after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_relocate: Option<u32>,
    /// A comment, shown by Proxmox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Moves back to a preferred node when that returns. Leave it out where an `ha_group` with `nofailback` holds the
    /// resource: before PVE 9 it is a property of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Started,
    Stopped,
    Disabled,
    Ignored,
    Absent,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Disabled => "disabled",
            Self::Ignored => "ignored",
            Self::Absent => "absent",
        }
    }
}

/// What the API says of HA.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    resources: Vec<Row>,
    status: Vec<Row>,
    guests: Vec<Row>,
    nodes: cluster::Members,
    placement: Placement,
    /// Where no such guest is shown: why there may be one all the same.
    hidden_guest: Option<String>,
}

impl HaResource {
    fn vmid(&self) -> &str {
        self.sid.split_once(':').map_or("", |(_, id)| id)
    }

    fn place(&self) -> String {
        format!("/cluster/ha/resources/{}", self.sid)
    }

    /// What is stated and this version knows, as Proxmox's keys and texts.
    fn stated(&self, found: &Found) -> BTreeMap<&'static str, String> {
        let rules = matches!(found.placement, Placement::Rules(_));
        [
            ("state", self.state.map(|s| s.name().to_owned())),
            ("max_restart", self.max_restart.map(|n| n.to_string())),
            ("max_relocate", self.max_relocate.map(|n| n.to_string())),
            ("comment", self.comment.clone()),
            ("failback", self.failback.filter(|_| rules).map(cluster::flag)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }

    fn judge(&self, found: &Found) -> Verdict {
        let row = cluster::find(&found.resources, "sid", &self.sid);
        if self.state == Some(State::Absent) {
            return self.remove(found, row);
        }
        if let Some(why) = self.failback_elsewhere(found, row) {
            return Verdict::blocked(why);
        }
        match row {
            None => self.create(found),
            Some(row) => self.update(found, row),
        }
    }

    /// A node that answers us and not the cluster. (One that does not answer at all is told of by every task for it.)
    fn cut_off(&self, found: &Found, nodes: &cluster::Nodes<'_, ()>) -> Option<String> {
        if matches!(self.state, Some(State::Absent | State::Disabled | State::Ignored)) {
            return None;
        }
        let answers = |name: &str| matches!(nodes.get(name), Some(Ok(())));
        let apart: Vec<&str> =
            found.nodes.iter().filter(|n| !n.online && answers(&n.name)).map(|n| n.name.as_str()).collect();
        (!apart.is_empty()).then(|| {
            format!(
                "{}: running, and cut off from the cluster, so that HA cannot use it for {} and /etc/pve is read-only \
                 there. Look at its corosync links (`pvecm status`, `corosync-cfgtool -s`); this heals by itself when \
                 they are back",
                apart.join(", "),
                self.sid
            )
        })
    }

    /// Before PVE 9 only the group of a resource knows of failback.
    fn failback_elsewhere(&self, found: &Found, row: Option<&Row>) -> Option<String> {
        let (Some(wanted), Placement::Groups(groups)) = (self.failback, &found.placement) else { return None };
        let group = field(row?, "group");
        let nofailback = values::truthy(cluster::find(groups, "group", &group)?.get("nofailback"));
        (nofailback == wanted).then(|| {
            format!(
                "failback of {} is decided by its group {group} before PVE 9 (nofailback is {}): say it in `ha_group`",
                self.sid,
                cluster::flag(nofailback)
            )
        })
    }

    fn remove(&self, found: &Found, row: Option<&Row>) -> Verdict {
        let Some(row) = row else {
            // Who may not see HA is refused the list, which is never shortened.
            return Verdict::ok(format!("{} is no HA resource", self.sid));
        };
        let step = Step::api::<String, String>(Method::Delete, self.place(), []);
        let step = cluster::will_answer(
            step,
            cluster::ha_resources(),
            cluster::without_row(&found.resources, "sid", &self.sid),
        );
        Verdict::drift(
            format!("take {} out of HA (it runs on)", self.sid),
            diff::removed(&self.place(), &text(row)),
            vec![step],
        )
    }

    fn create(&self, found: &Found) -> Verdict {
        if cluster::find(&found.guests, "vmid", self.vmid()).is_none() {
            if let Some(why) = &found.hidden_guest {
                return Verdict::blocked(format!("cannot tell whether there is a guest {}: {why}", self.vmid()));
            }
            return Verdict::blocked(format!("there is no guest {} in the cluster: create it first", self.vmid()));
        }
        let stated = self.stated(found);
        let mut params: BTreeMap<String, String> =
            stated.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        params.insert("sid".into(), self.sid.clone());
        let row: Row = params.iter().map(|(k, v)| (k.clone(), Json::from(v.as_str()))).collect();
        let after = text(&row);
        let step = Step::api(Method::Post, "/cluster/ha/resources", params);
        let step = self.predict(step, found, row);
        Verdict::drift(format!("make {} an HA resource", self.sid), diff::created(&self.place(), &after), vec![step])
    }

    fn update(&self, found: &Found, row: &Row) -> Verdict {
        let stated = self.stated(found);
        let mut params = Params::default();
        for (key, wanted) in &stated {
            if *wanted != effective(row, key) {
                params.put(key, wanted);
            }
        }
        if params.is_empty() {
            return self.follow(found, row);
        }
        // Anything but `disabled` is refused while the service is in error.
        if params.set.get("state").map(String::as_str) != Some("disabled")
            && let Some(verdict) = self.in_error(found)
        {
            return verdict;
        }
        let keys: Vec<String> = params.set.keys().chain(&params.delete).cloned().collect();
        let after = cluster::written(row, &params);
        let difference = diff::unified(&self.place(), &text(row), &text(&after));
        let step = Step::api(Method::Put, self.place(), params.update(&field(row, "digest")));
        let step = self.predict(step, found, after);
        Verdict::drift(format!("set {} of {}", keys.join(", "), self.sid), difference, vec![step])
    }

    /// The lists as they will be, and the service in the state that the HA manager will have brought about.
    fn predict(&self, step: Step, found: &Found, row: Row) -> Step {
        let state = effective(&row, "state");
        let mut service = self.service(found).cloned().unwrap_or_default();
        service.insert("id".into(), format!("service:{}", self.sid).into());
        service.insert("type".into(), "service".into());
        service.insert("sid".into(), self.sid.as_str().into());
        service.insert("state".into(), state.into());
        let step = cluster::will_answer(step, cluster::ha_resources(), cluster::with_row(&found.resources, "sid", row));
        cluster::will_answer(step, cluster::ha_status(), cluster::with_row(&found.status, "id", service))
    }

    fn service<'a>(&self, found: &'a Found) -> Option<&'a Row> {
        found.status.iter().find(|row| field(row, "type") == "service" && field(row, "sid") == self.sid)
    }

    fn in_error(&self, found: &Found) -> Option<Verdict> {
        let service = self.service(found)?;
        (field(service, "state") == "error").then(|| {
            Verdict::blocked(format!(
                "{} is in state error on {}: the HA manager gave up and touches it no more. Find the cause in the task \
                 log of that node, and repair it; then set it to `disabled`, wait until it is stopped, and set it to \
                 `started` (a run with `state: disabled`, then one with `state: started`). On DRBD the cause may be another \
                 node that is still Primary because something there holds the device (`drbdadm status` says which)",
                self.sid,
                field(service, "node")
            ))
        })
    }

    /// The configuration is right: has the HA manager carried it out?
    fn follow(&self, found: &Found, row: &Row) -> Verdict {
        let configured = effective(row, "state");
        if configured == "ignored" {
            return Verdict::ok(format!("{} is an HA resource; the HA manager ignores it", self.sid));
        }
        let quorum = found.status.iter().find(|row| field(row, "type") == "quorum");
        if quorum.is_some_and(|row| !values::truthy(row.get("quorate"))) {
            return Verdict::blocked(format!("{}; the HA manager does nothing until then", cluster::NO_QUORUM));
        }
        if let Some(verdict) = self.in_error(found) {
            // The way out of an error, until the manager's next turn.
            return match configured.as_str() {
                "disabled" => {
                    let what =
                        format!("{} was set to disabled, and the HA manager has not yet cleared its error", self.sid);
                    Verdict::wait(what, FOLLOW_S, 3, None).meanwhile(Meanwhile::Trouble)
                }
                _ => verdict,
            };
        }
        let Some(wanted) = self.state else {
            return Verdict::ok(format!("{} is an HA resource as described", self.sid));
        };
        let Some(service) = self.service(found) else {
            return Verdict::wait(format!("the HA manager has not yet taken up {}", self.sid), FOLLOW_S, 3, None)
                .meanwhile(Meanwhile::Trouble);
        };
        let (state, node) = (field(service, "state"), field(service, "node"));
        let reached = match wanted {
            State::Started => state == "started",
            State::Stopped | State::Disabled => matches!(state.as_str(), "stopped" | "disabled"),
            State::Ignored | State::Absent => true,
        };
        if reached {
            return Verdict::ok(format!("{} is {state} on {node}", self.sid)).data(json!({ "node": node }));
        }
        let on_the_way = || format!("{} is {state} on {node}, not yet {}", self.sid, wanted.name());
        match state.as_str() {
            "queued"
            | "starting"
            | "stopping"
            | "migrate"
            | "relocate"
            | "request_start"
            | "request_start_balance"
            | "request_stop" => Verdict::wait(on_the_way(), FOLLOW_S, 3, None),
            // The manager may be about to act on it, or be unable to.
            "started" | "stopped" | "disabled" | "fence" | "recovery" | "freeze" | "ignored" => {
                Verdict::wait(on_the_way(), FOLLOW_S, 3, None).meanwhile(Meanwhile::Trouble)
            }
            other => Verdict::blocked(format!(
                "{} is in state `{other}`, which is not known here; expected {}",
                self.sid,
                wanted.name()
            )),
        }
    }
}

/// The value, or what its absence means.
fn effective(row: &Row, key: &str) -> String {
    let value = field(row, key);
    match (key, value.as_str()) {
        // The old word for it.
        ("state", "" | "enabled") => "started".into(),
        ("max_restart" | "max_relocate", "") => "1".into(),
        ("failback", "") => "1".into(),
        ("failback", _) => cluster::flag(values::truthy(row.get(key))),
        ("comment", _) => value.trim_end_matches('\n').to_owned(),
        _ => value,
    }
}

fn text(row: &Row) -> String {
    let keys = ["state", "max_restart", "max_relocate", "failback", "group", "comment"];
    cluster::lines(keys.into_iter().filter(|k| row.contains_key(*k)).map(|k| (k, effective(row, k))))
}

impl Task for HaResource {
    const KIND: &'static str = "ha_resource";
    const EXAMPLE: &'static str = "\
- name: The cluster keeps the NFS server running
  ha_resource:
    sid: ct:101
    state: started
    max_restart: 3
    max_relocate: 3
";
    const TOUCHES: Touches = Touches::Cluster;
    type Seen = cluster::Seen<Found>;

    fn check_args(&self) -> Vec<ArgFault> {
        sid_fault(&self.sid).map(|why| ArgFault::at("sid", why)).into_iter().collect()
    }

    fn object(&self) -> String {
        self.sid.clone()
    }

    fn trails(&self) -> Vec<Trail> {
        let guest = self.sid.split_once(':').and_then(|(_, vmid)| vmid.parse().ok()).map(Trail::Guest);
        guest.into_iter().chain([Trail::File("/etc/pve/ha/resources.cfg".into())]).collect()
    }

    fn probe(&self, host: &dyn Probe) -> Result<Self::Seen, LookError> {
        if !cluster::is_cluster(host) {
            return Ok(cluster::Seen::Node(()));
        }
        let guests = cluster::rows(host, &cluster::guests())?;
        let hidden_guest = match cluster::find(&guests, "vmid", self.vmid()) {
            Some(_) => None,
            None => cluster::hidden_guest(host, self.vmid())?,
        };
        Ok(cluster::Seen::Cluster(Found {
            resources: cluster::rows(host, &cluster::ha_resources())?,
            status: cluster::rows(host, &cluster::ha_status())?,
            guests,
            hidden_guest,
            nodes: cluster::nodes(host)?,
            placement: cluster::placement(host)?,
        }))
    }

    fn rights(&self, seen: &Self::Seen) -> Vec<Right> {
        let cluster::Seen::Cluster(found) = seen else { return Vec::new() };
        match self.judge(found).decision {
            Decision::Drift(_) => vec![cluster::writes_ha(&self.sid)],
            // Its guest may be there when the turn comes. One that is in HA as described, and in error, wants no write.
            Decision::Blocked(_) if cluster::find(&found.resources, "sid", &self.sid).is_none() => {
                let see = Right::to("see the guest", format!("/vms/{}", self.vmid()), cluster::SEES_GUEST);
                let see = found.hidden_guest.is_some().then_some(see);
                see.into_iter().chain([cluster::writes_ha(&self.sid).perhaps()]).collect()
            }
            _ => Vec::new(),
        }
    }

    fn decide(&self, seen: &Self::Seen) -> Verdict {
        match seen {
            cluster::Seen::Cluster(found) => self.judge(found),
            cluster::Seen::Node(()) => Verdict::blocked("HA belongs to the cluster: write `hosts: cluster`"),
        }
    }

    fn decide_all(&self, all: &BTreeMap<String, Observation<Self::Seen>>) -> BTreeMap<String, Verdict> {
        cluster::verdict(
            all,
            |found| &found.nodes,
            |found, nodes| {
                let verdict = self.judge(found);
                match self.cut_off(found, &nodes) {
                    Some(why) if matches!(verdict.decision, Decision::Ok(_)) => {
                        Verdict::blocked(why).data(verdict.data)
                    }
                    _ => verdict,
                }
            },
        )
    }
}

/// Why a text is not the name of an HA resource.
pub(super) fn sid_fault(sid: &str) -> Option<String> {
    let number = |id: &str| id.parse::<u32>().is_ok_and(|n| n >= 100);
    let good = sid.split_once(':').is_some_and(|(kind, id)| matches!(kind, "ct" | "vm") && number(id));
    (!good).then(|| format!("`{sid}` is no HA resource; write `ct:101` or `vm:100`"))
}

#[cfg(test)]
mod tests;
