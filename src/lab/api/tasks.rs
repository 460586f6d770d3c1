//! `/nodes/{node}/tasks` and `/cluster/tasks`: what was started and how it ended.
//! It only shows; tasks are recorded by whoever did the work.

use super::call::{Call, Outcome};
use super::request::Fault;
use super::state::Task;
use serde_json::{Map, Value, json};

impl Task {
    pub fn is_over(&self, now_ms: i64) -> bool {
        now_ms >= self.ends_ms
    }

    fn failed(&self) -> bool {
        self.exit != "OK" && !self.exit.starts_with("WARNINGS: ")
    }

    fn lines(&self, now_ms: i64) -> Vec<String> {
        let mut lines = self.log.clone();
        if self.is_over(now_ms) {
            lines.push(match self.exit.as_str() {
                "OK" => "TASK OK".into(),
                text if text.starts_with("WARNINGS: ") => format!("TASK {text}"),
                text => format!("TASK ERROR: {text}"),
            });
        }
        lines
    }

    fn describe(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.into(), value);
        put("upid", json!(self.upid));
        put("node", json!(self.node));
        put("pid", json!(self.pid));
        put("pstart", json!(self.pstart));
        put("starttime", json!(self.start_s));
        put("type", json!(self.kind));
        put("id", json!(self.id));
        put("user", json!(self.user));
        if let Some(token) = &self.token {
            put("tokenid", json!(token));
        }
        map
    }
}

fn find(call: &Call) -> Result<Task, Fault> {
    let upid = call.param("upid");
    let parts: Vec<&str> = upid.split(':').collect();
    let hex = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit());
    if parts.len() != 9 || parts[0] != "UPID" || !parts[2..5].iter().all(|part| hex(part)) {
        return Err(Fault::param("upid", "unable to parse worker upid"));
    }
    let task = call.cluster.tasks.iter().find(|task| task.upid == upid).cloned();
    let task = task.ok_or_else(|| Fault::param("upid", "no such task"))?;
    let own = task.user == call.who.user && (call.who.token.is_none() || call.who.token == task.token);
    if !own {
        call.need(&format!("/nodes/{}", call.node), "Sys.Audit")?;
    }
    Ok(task)
}

pub fn index(_: &mut Call) -> Outcome {
    Ok(json!([{"name": "log"}, {"name": "status"}]))
}

pub fn status(call: &mut Call) -> Outcome {
    let task = find(call)?;
    let mut map = task.describe();
    if task.is_over(call.site.now_ms()) {
        map.insert("status".into(), json!("stopped"));
        map.insert("exitstatus".into(), json!(task.exit));
    } else {
        map.insert("status".into(), json!("running"));
    }
    Ok(Value::Object(map))
}

pub fn log(call: &mut Call) -> Outcome {
    let task = find(call)?;
    let lines = task.lines(call.site.now_ms());
    call.total = Some(lines.len());
    let start = call.number("start").unwrap_or(0) as usize;
    let limit = match call.number("limit").unwrap_or(50) {
        0 => usize::MAX,
        limit => limit as usize,
    };
    let shown = lines.iter().enumerate().skip(start).take(limit);
    Ok(shown.map(|(at, text)| json!({"n": at + 1, "t": text})).collect())
}

/// A finished task cannot be stopped, and the lab's work is done when a task appears: only the wait is cut short.
pub fn stop(call: &mut Call) -> Outcome {
    let upid = find(call)?.upid;
    let now = call.site.now_ms();
    for task in call.cluster.tasks.iter_mut().filter(|task| task.upid == upid) {
        task.ends_ms = task.ends_ms.min(now);
    }
    Ok(Value::Null)
}

pub fn list(call: &mut Call) -> Outcome {
    let now = call.site.now_ms();
    let audit = call.may(&format!("/nodes/{}", call.node), "Sys.Audit");
    let source = call.get("source").unwrap_or("archive").to_string();
    let wanted = |task: &&Task| {
        let over = task.is_over(now);
        task.node == call.node
            && (audit || task.user == call.who.user)
            && (source == "all" || over == (source == "archive"))
            && call.get("vmid").is_none_or(|vmid| task.id == vmid)
            && call.get("typefilter").is_none_or(|kind| task.kind == kind)
            && call.get("userfilter").is_none_or(|user| task.user.contains(user))
            && call.number("since").is_none_or(|since| task.start_s >= since as i64)
            && call.number("until").is_none_or(|until| task.start_s <= until as i64)
            && (!call.flag("errors") || (over && task.failed()))
    };
    let found: Vec<&Task> = call.cluster.tasks.iter().rev().filter(wanted).collect();
    let start = call.number("start").unwrap_or(0) as usize;
    let limit = call.number("limit").unwrap_or(50) as usize;
    let shown = found.iter().skip(start).take(limit).map(|task| listed(task, now)).collect();
    let total = found.len();
    // Of an empty index PVE says no total either.
    call.total = Some(total).filter(|total| *total > 0);
    Ok(shown)
}

fn listed(task: &Task, now_ms: i64) -> Value {
    let mut map = task.describe();
    if task.is_over(now_ms) {
        map.insert("endtime".into(), json!(task.ends_ms / 1000));
        map.insert("status".into(), json!(task.exit));
    }
    Value::Object(map)
}

pub fn of_cluster(call: &mut Call) -> Outcome {
    let now = call.site.now_ms();
    let mine = |task: &&Task| task.user == call.who.user || call.may("/", "Sys.Audit");
    let newest = call.cluster.tasks.iter().rev().filter(mine).take(25);
    Ok(newest
        .map(|task| {
            let mut map = task.describe();
            map.remove("pid");
            map.remove("pstart");
            if task.is_over(now) {
                map.insert("endtime".into(), json!(task.ends_ms / 1000));
                map.insert("status".into(), json!(task.exit));
                map.insert("saved".into(), json!("1"));
            }
            Value::Object(map)
        })
        .collect())
}
