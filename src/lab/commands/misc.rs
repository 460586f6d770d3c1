//! Small programs: `uname`, `hostname`, `getent`, `id`, `date`, `which`, `env`, `udevadm`, `logger`, `sleep`, `timeout`.

use super::options::Options;
use super::{Ctx, Place, not_simulated, which};
use crate::host::Output;

pub fn succeed(_ctx: &mut Ctx, _argv: &[String], _stdin: Option<&[u8]>) -> Output {
    Output::default()
}

pub fn fail(_ctx: &mut Ctx, _argv: &[String], _stdin: Option<&[u8]>) -> Output {
    Output { rc: 1, ..Output::default() }
}

pub fn host_name(ctx: &Ctx) -> String {
    match &ctx.place {
        Place::Node(name) => name.clone(),
        Place::Container(_) => ctx.text("/etc/hostname").unwrap_or_default().trim().to_owned(),
    }
}

pub fn uname(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "rnsmavop", &[]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let kernel = ctx.node().kernel.clone();
    let all = options.has(&["a"]);
    let none = argv.len() == 1;
    let fields = [
        ("s", "Linux".to_owned()),
        ("n", host_name(ctx)),
        ("r", kernel),
        ("v", "#1 SMP PREEMPT_DYNAMIC PMX".to_owned()),
        ("m", "x86_64".to_owned()),
        ("o", "GNU/Linux".to_owned()),
    ];
    let shown: Vec<&str> = fields
        .iter()
        .filter(|(k, _)| all || options.has(&[k]) || (none && *k == "s"))
        .map(|(_, v)| v.as_str())
        .collect();
    Output::ok(format!("{}\n", shown.join(" ")))
}

pub fn hostname(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let name = host_name(ctx);
    match argv.get(1).map(String::as_str) {
        None | Some("-s" | "--short") => Output::ok(format!("{name}\n")),
        Some("-f" | "--fqdn") => Output::ok(format!("{name}.lab.example\n")),
        Some(other) => not_simulated(argv, &format!("the option {other}")),
    }
}

/// Exit 2: no such entry.
pub fn getent(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let [_, database, keys @ ..] = argv else { return not_simulated(argv, "getent without a database") };
    let mut output = Output::default();
    match database.as_str() {
        "passwd" | "group" => {
            let text = ctx.text(&format!("/etc/{database}")).unwrap_or_default();
            for key in keys {
                match text.lines().find(|l| {
                    let mut fields = l.split(':');
                    fields.next() == Some(key) || fields.nth(1) == Some(key)
                }) {
                    Some(line) => output.stdout.push_str(&format!("{line}\n")),
                    None => output.rc = 2,
                }
            }
            if keys.is_empty() {
                output.stdout = text;
            }
        }
        "hosts" | "ahosts" | "ahostsv4" => {
            let text = ctx.text("/etc/hosts").unwrap_or_default();
            for key in keys {
                match text.lines().find(|l| l.split_whitespace().any(|w| w == key)) {
                    Some(line) => output.stdout.push_str(&format!("{line}\n")),
                    None => output.rc = 2,
                }
            }
        }
        _ => return not_simulated(argv, &format!("the database {database}")),
    }
    output
}

pub fn id(_ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    match argv.get(1).map(String::as_str) {
        None => Output::ok("uid=0(root) gid=0(root) groups=0(root)\n"),
        Some("-u" | "-g") => Output::ok("0\n"),
        Some("-un" | "-gn") => Output::ok("root\n"),
        Some(other) => not_simulated(argv, &format!("the argument {other}")),
    }
}

pub fn date(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    match argv.get(1).map(String::as_str) {
        Some("+%s") => Output::ok(format!("{}\n", ctx.world.now_s())),
        None => Output::ok(format!("{}\n", super::clock::ctime(ctx.world.now_s()))),
        _ => not_simulated(argv, "this format"),
    }
}

pub fn which_program(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let mut output = Output::default();
    for name in &argv[1..] {
        match which(ctx, name) {
            Some(path) => output.stdout.push_str(&format!("{path}\n")),
            None => output.rc = 1,
        }
    }
    output
}

/// `env NAME=VALUE… PROGRAM…`, `nice`, `timeout N`: they only change how a program is run.
pub fn prefix(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let mut rest = &argv[1..];
    match argv[0].rsplit('/').next() {
        Some("timeout") => {
            while rest.first().is_some_and(|a| a.starts_with('-')) {
                rest = &rest[1..];
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        Some("env") => {
            while let Some((name, value)) = rest.first().and_then(|a| a.split_once('=')) {
                ctx.env.insert(name.to_owned(), value.to_owned());
                rest = &rest[1..];
            }
        }
        _ => {}
    }
    if rest.first().is_none_or(|a| a.starts_with('-')) {
        return not_simulated(argv, "this use");
    }
    super::run(ctx, rest, stdin).unwrap_or_else(|e| Output::failed(127, format!("{}: {e}\n", argv[0])))
}

/// The lab's clock goes on; nobody waits.
pub fn sleep(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let Some(seconds) = argv.get(1).and_then(|s| s.parse::<f64>().ok()).filter(|s| (0.0..1e6).contains(s)) else {
        return Output::failed(1, "sleep: invalid time interval\n");
    };
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    let ms = (seconds * 1000.0) as i64;
    *ctx.world.clock_ahead_ms += ms;
    Output::default()
}

/// Links below `/dev/disk` are always up to date in the lab.
pub fn udevadm(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    match argv.get(1).map(String::as_str) {
        Some("settle" | "trigger" | "control") => Output::default(),
        Some("info") => {
            let Some(path) = argv.iter().find(|a| a.starts_with("/dev/")) else {
                return not_simulated(argv, "this use of udevadm info");
            };
            let Some(crate::lab::device::DeviceRef::Plain(name)) =
                crate::lab::device::find(ctx.world, &ctx.node_name(), path)
            else {
                return Output::failed(1, format!("Unknown device \"{path}\": No such device\n"));
            };
            let links = &ctx.node().devices[&name].links;
            Output::ok(format!(
                "N: {name}\n{}E: DEVNAME=/dev/{name}\nE: DEVLINKS={}\n",
                links.iter().map(|l| format!("S: disk/{l}\n")).collect::<String>(),
                links.iter().map(|l| format!("/dev/disk/{l}")).collect::<Vec<_>>().join(" ")
            ))
        }
        _ => not_simulated(argv, "this use of udevadm"),
    }
}

/// Messages go to the lab's syslog file.
pub fn logger(ctx: &mut Ctx, argv: &[String], stdin: Option<&[u8]>) -> Output {
    let options = match Options::parse(argv, "t:p:i", &["tag=", "priority=", "id"]) {
        Ok(options) => options,
        Err(output) => return output,
    };
    let text = if options.rest.is_empty() {
        String::from_utf8_lossy(stdin.unwrap_or_default()).into_owned()
    } else {
        options.rest.join(" ")
    };
    let tag = options.value(&["t", "tag"]).unwrap_or("root");
    let before = ctx.text("/var/log/syslog").unwrap_or_default();
    let line = format!("{} {} {tag}: {}\n", super::clock::ctime(ctx.world.now_s()), host_name(ctx), text.trim_end());
    match ctx.writer().ship("/var/log/syslog", format!("{before}{line}").as_bytes(), 0o644) {
        Ok(()) => Output::default(),
        Err(e) => Output::failed(1, format!("logger: {e}\n")),
    }
}

/// `sendmail -t`: what a node mails to root lies in its mailbox.
pub fn sendmail(ctx: &mut Ctx, _argv: &[String], stdin: Option<&[u8]>) -> Output {
    let before = ctx.text("/var/mail/root").unwrap_or_default();
    let text = format!(
        "{before}From root {}\n{}\n\n",
        super::clock::ctime(ctx.world.now_s()),
        String::from_utf8_lossy(stdin.unwrap_or_default()).trim_end()
    );
    match ctx.writer().ship("/var/mail/root", text.as_bytes(), 0o600) {
        Ok(()) => Output::default(),
        Err(e) => Output::failed(75, format!("sendmail: {e}\n")),
    }
}

/// Inside a container; a node's power is `lab break`'s.
pub fn poweroff(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let Place::Container(vmid) = ctx.place else { return super::not_simulated(argv, "ending a node from its shell") };
    crate::lab::hook::ended_by_itself(ctx.world, ctx.files, vmid);
    Output::default()
}

/// As [`poweroff`], and at once up again.
pub fn reboot(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let Place::Container(vmid) = ctx.place else {
        return super::not_simulated(argv, "restarting a node from its shell");
    };
    match crate::lab::hook::restarted_by_itself(ctx.world, ctx.files, vmid) {
        Ok(()) => Output::default(),
        Err(why) => Output::failed(1, format!("{why}\n")),
    }
}

pub fn sysctl(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let options =
        match Options::parse(argv, "nwep:aq", &["values", "write", "load=?", "system", "all", "ignore", "quiet"]) {
            Ok(options) => options,
            Err(output) => return output,
        };
    let known = super::sysctl::values(ctx.node());
    if options.has(&["a", "all"]) {
        return Output::ok(known.iter().map(|(k, v)| format!("{k} = {v}\n")).collect::<String>());
    }
    let mut words = options.rest.clone();
    let mut files = Vec::new();
    if let Some(path) = options.value(&["p", "load"]) {
        files.push(if path.is_empty() { "/etc/sysctl.conf".to_owned() } else { path.to_owned() });
    }
    if options.has(&["system"]) {
        let dir = "/etc/sysctl.d";
        files.extend(
            ctx.view()
                .list(dir)
                .ok()
                .flatten()
                .unwrap_or_default()
                .iter()
                .filter(|n| n.ends_with(".conf"))
                .map(|n| format!("{dir}/{n}")),
        );
        files.extend(ctx.exists("/etc/sysctl.conf").then(|| "/etc/sysctl.conf".to_owned()));
    }
    for path in &files {
        let Some(text) = ctx.text(path) else {
            return Output::failed(1, format!("sysctl: cannot open \"{path}\": No such file or directory\n"));
        };
        words.extend(
            text.lines()
                .map(str::trim)
                .filter(|l| !l.is_empty() && !l.starts_with(['#', ';']))
                .map(|l| l.trim_start_matches('-').to_owned()),
        );
    }
    let mut output = Output::default();
    for word in words {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key.trim().replace('/', "."), Some(value.trim().to_owned())),
            None => (word.trim().replace('/', "."), None),
        };
        let Some(now) = known.get(&key) else {
            if !options.has(&["e", "ignore"]) {
                output.rc = 1;
                output.stderr.push_str(&format!(
                    "sysctl: cannot stat /proc/sys/{}: No such file or directory\n",
                    key.replace('.', "/")
                ));
            }
            continue;
        };
        let shown = match value {
            Some(value) => {
                // The kernel separates fields by tabs, whatever was written.
                let kept = value.split_whitespace().collect::<Vec<_>>().join("\t");
                if kept != *now {
                    ctx.node_mut().sysctl.insert(key.clone(), kept.clone());
                }
                kept
            }
            None => now.clone(),
        };
        if options.has(&["n", "values"]) {
            output.stdout.push_str(&format!("{shown}\n"));
        } else if !options.has(&["q", "quiet"]) {
            output.stdout.push_str(&format!("{key} = {shown}\n"));
        }
    }
    output
}
