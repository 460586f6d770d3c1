//! `converge schedule install`: what is to run is proved as `converge validate` does, before anything is written.

use super::secrets::Secrets;
use super::{Done, Where, absolute, failed, named, usage};
use crate::cli::{ground, load};
use crate::diagnostic::Sources;
use crate::drift::notice::{Config, Way};
use crate::fleet;
use crate::inventory::cluster::Cluster;
use crate::inventory::{Inventory, select};
use crate::link::InventoryHosts;
use crate::playbook::{Play, Playbook};
use crate::schedule::{Place, RunAs, Schedule, calendar, service, timer};
use crate::tasks::drift_schedule::units;
use clap::Parser;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, Parser)]
pub struct Args {
    /// Playbooks
    #[arg(required = true)]
    playbooks: Vec<PathBuf>,
    /// Name of the schedule; without it, that of the first playbook
    #[arg(long, value_parser = named)]
    name: Option<String>,
    /// Hosts, as for `check`; passwords must come from files or programs. Without it: this machine
    #[arg(short, long, value_name = "FILE")]
    inventory: Vec<String>,
    /// When: a calendar expression of systemd, `hourly`, `Mon..Fri 07:00`
    #[arg(long, visible_alias = "on-calendar", value_name = "CALENDAR", default_value = "daily")]
    every: Vec<String>,
    /// Start within this time after that, each machine at another moment
    #[arg(long, value_name = "SPAN", default_value = "15m")]
    spread: String,
    /// A run that takes longer is ended
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    timeout: String,
    /// Folder for the reports; without it, one below /var/lib/converge
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Who is told: passed on to `converge drift`
    #[arg(long, value_name = "FILE")]
    notify: Option<PathBuf>,
    /// Passed on to `converge drift`
    #[arg(long, value_name = "new|any")]
    fail_on: Option<String>,
    /// Only these hosts (a pattern, as in `hosts:`)
    #[arg(short, long, value_name = "PATTERN")]
    limit: Option<String>,
    /// Only tasks with one of these tags
    #[arg(short, long, value_delimiter = ',')]
    tags: Vec<String>,
    /// No tasks with one of these tags
    #[arg(long, value_delimiter = ',')]
    skip_tags: Vec<String>,
    /// A file of variables, @FILE: everybody can read a unit
    #[arg(short = 'e', long = "extra-vars", value_name = "@FILE")]
    extra_vars: Vec<String>,
    /// Whom the run is: a user, or `dynamic` for one that exists only then. Without it: you, before sudo
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// A program that the run starts mails: leave `sendmail` the rights that it needs. A mail channel of --notify says so
    /// itself
    #[arg(long)]
    mail: bool,
    /// The program that is run; without it, this one
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Show what would be written, and stop
    #[arg(long)]
    dry_run: bool,
    /// Print both units, and stop
    #[arg(long, conflicts_with = "dry_run")]
    print: bool,
    #[command(flatten)]
    at: Where,
}

pub fn run(args: &Args) -> Done {
    let host = super::this_machine();
    let schedule = describe(args)?;
    let faults = schedule.faults();
    if !faults.is_empty() {
        return Err(usage(faults.join("\nerror: ")));
    }
    for time in &schedule.calendar {
        match calendar::read(&host, time) {
            Err(why) => return Err(usage(format!("--every {time}: {why}"))),
            Ok(Some(read)) if read.next.is_none() => {
                return Err(usage(format!("--every {time}: that time never comes")));
            }
            Ok(Some(_)) => {}
            Ok(None) => tell!("warning: --every {time} is not proved: there is no systemd-analyze"),
        }
    }
    if args.print {
        put!("{}\n{}", service(&schedule), timer(&schedule));
        return Ok(crate::exit::OK);
    }
    let target = args.at.target(&schedule.name).map_err(usage)?;
    let out = (args.at.root.is_none() && !schedule.has_state_directory()).then_some(schedule.out.as_str());
    let seen = super::look(&host, &target, out)?;
    let work = units::install(&schedule, &target, &seen).map_err(failed)?;
    if work.steps.is_empty() {
        out!("schedule {} is as described already", schedule.name);
        return Ok(crate::exit::OK);
    }
    super::carry_out(&host, &work, args.dry_run)?;
    if args.dry_run {
        out!("would {}", work.words.join(", "));
        return Ok(crate::exit::OK);
    }
    let next = match target.runs {
        true => {
            super::look(&host, &target, None)?.shown.and_then(|s| s.next().map(|at| format!("; it runs next {at}")))
        }
        false => None,
    };
    out!("schedule {} is installed{}; reports go to {}", schedule.name, next.unwrap_or_default(), schedule.out);
    if args.at.user {
        out!("your systemd runs while you are logged in; `loginctl enable-linger` keeps it running");
    }
    Ok(crate::exit::OK)
}

/// Reads and proves everything that the run will be given.
fn describe(args: &Args) -> Result<Schedule, (u8, String)> {
    if let Some(plain) = args.extra_vars.iter().find(|word| !word.starts_with('@')) {
        let key = plain.split('=').next().unwrap_or_default();
        return Err(usage(format!(
            "-e {key}=…: everybody can read a unit; write variables to a file and give -e @FILE"
        )));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => derived(&args.playbooks[0]).map_err(usage)?,
    };
    let extra = load::extra_vars(&args.extra_vars).map_err(usage)?;
    let mut sources = Sources::default();
    let (mut known, mut cluster, mut inventory) = (None, None, Inventory::localhost());
    let as_is = |faults: String| usage(faults.strip_prefix("error: ").unwrap_or(&faults));
    if !args.inventory.is_empty() {
        let mut read = || ground::read(&args.inventory, &args.playbooks, &mut sources);
        known = Some(ground::known_offline(read().map_err(as_is)?).0);
        let loaded = read().map_err(as_is)?;
        cluster = loaded.cluster.clone();
        inventory = loaded.build(None);
    }
    let context = load::context(known, &extra);
    let playbooks = load::playbooks(&args.playbooks, &mut sources, &context).map_err(as_is)?;
    let plays: Vec<&Play> = playbooks.iter().flat_map(|p| &p.plays).collect();
    let options = fleet::Options { extra_vars: fleet::vars_of(&extra), ..fleet::Options::default() };
    let reaches = fleet::reaches(&plays, &inventory, &options, &sources);
    if let Some(why) = fleet::troubles(&plays, &inventory, &options, &reaches).into_iter().next() {
        return Err(usage(why));
    }
    let ways = InventoryHosts::default().with_inventory(&inventory, reaches);
    let here = args.inventory.is_empty() || selected(&playbooks, &inventory).any(|host| ways.is_here(&host));
    let run_as = run_as(args, here)?;
    let mut secrets = Secrets::new(&run_as);
    if let Some(cluster) = &cluster {
        secrets.of_cluster(cluster).map_err(usage)?;
    }
    let mut mail = args.mail;
    if let Some(path) = &args.notify {
        let config = Config::read(path, &mut sources)
            .map_err(|faults| as_is(sources.show(&faults, crate::cli::colour(&std::io::stderr()))))?;
        secrets.of_notify(path, &config).map_err(usage)?;
        mail |= config.channels.iter().any(|channel| matches!(channel.way, Way::Mail(_)));
    }
    let Secrets { found: credentials, mut warnings, .. } = secrets;
    let ssh =
        inventory.hosts.iter().any(|host| ways.is_by_ssh(host)) || cluster.as_ref().is_some_and(Cluster::may_use_ssh);
    if ssh && run_as == RunAs::Dynamic {
        warnings.push("hosts are reached by ssh, and a dynamic user has no keys; give --run-as USER".to_owned());
    }
    let mut paths = Vec::new();
    let arguments = arguments(args, &mut paths).map_err(usage)?;
    let program = program(args, &mut warnings).map_err(usage)?;
    paths.push(program.clone());
    let at_home = |path: &String| ["/home/", "/root/", "/run/user/"].iter().any(|home| path.starts_with(home));
    if let Some(hidden) =
        paths.iter().find(|path| !args.at.user && ["/tmp/", "/var/tmp/"].iter().any(|t| path.starts_with(t)))
    {
        return Err(usage(format!(
            "{hidden}: a service sees a /tmp of its own, and files there go away; put it elsewhere"
        )));
    }
    if run_as == RunAs::Dynamic {
        warnings.extend(
            paths.iter().filter(|path| !others_can_read(path)).map(|path| {
                format!("{path}: a dynamic user cannot read it; let others read it, or give --run-as USER")
            }),
        );
    }
    for warning in warnings {
        tell!("warning: {warning}");
    }
    let out = match &args.out {
        Some(out) => absolute(out).map_err(usage)?,
        None => args.at.reports(&name).map_err(usage)?,
    };
    Ok(Schedule {
        name,
        program,
        arguments,
        calendar: args.every.clone(),
        spread_s: calendar::seconds(&args.spread).map_err(|why| usage(format!("--spread: {why}")))?,
        timeout_s: calendar::seconds(&args.timeout).map_err(|why| usage(format!("--timeout: {why}")))?,
        out,
        place: if here { Place::Node } else { Place::Workstation },
        homes: paths.iter().any(at_home) || (ssh && run_as != RunAs::Dynamic),
        run_as,
        credentials,
        mail,
    })
}

fn selected<'a>(playbooks: &'a [Playbook], inventory: &'a Inventory) -> impl Iterator<Item = String> + 'a {
    playbooks.iter().flat_map(|p| &p.plays).flat_map(|play| {
        let patterns: Vec<&str> = play.hosts.iter().map(|(pattern, _)| pattern.as_str()).collect();
        // Hosts that only the cluster knows are not this machine.
        select(inventory, &patterns).unwrap_or_default()
    })
}

fn run_as(args: &Args, here: bool) -> Result<RunAs, (u8, String)> {
    if args.at.user {
        return match &args.run_as {
            Some(_) => Err(usage("--user runs as yourself; leave --run-as out")),
            None => Ok(RunAs::Own),
        };
    }
    Ok(match args.run_as.as_deref() {
        Some("dynamic") => RunAs::Dynamic,
        Some("root") => RunAs::Root,
        Some(user) => RunAs::User(user.to_owned()),
        // What a playbook says of this machine is mostly for root to see.
        None if here => RunAs::Root,
        None => match std::env::var("SUDO_USER") {
            Ok(user) if !user.is_empty() && user != "root" => RunAs::User(user),
            _ => RunAs::Root,
        },
    })
}

/// What follows the program. `paths`: the files that the run reads.
fn arguments(args: &Args, paths: &mut Vec<String>) -> Result<Vec<String>, String> {
    let mut words = vec!["drift".to_owned()];
    let mut file = |path: &Path| -> Result<String, String> {
        let path = absolute(path)?;
        if !Path::new(&path).exists() {
            return Err(format!("no file {path}"));
        }
        paths.push(path.clone());
        Ok(path)
    };
    for playbook in &args.playbooks {
        words.push(file(playbook)?);
    }
    for source in &args.inventory {
        let list = source.contains(',') && !Path::new(source).exists();
        words.extend(["-i".to_owned(), if list { source.clone() } else { file(Path::new(source))? }]);
    }
    for word in &args.extra_vars {
        words.extend(["-e".to_owned(), format!("@{}", file(Path::new(&word[1..]))?)]);
    }
    if let Some(notify) = &args.notify {
        words.extend(["--notify".to_owned(), file(notify)?]);
    }
    for (option, value) in [("--fail-on", &args.fail_on), ("--limit", &args.limit)] {
        words.extend(value.iter().flat_map(|value| [option.to_owned(), value.clone()]));
    }
    for (option, tags) in [("--tags", &args.tags), ("--skip-tags", &args.skip_tags)] {
        words.extend((!tags.is_empty()).then(|| [option.to_owned(), tags.join(",")]).into_iter().flatten());
    }
    Ok(words)
}

fn program(args: &Args, warnings: &mut Vec<String>) -> Result<String, String> {
    let path = match &args.program {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(|e| format!("the path of this program: {e}"))?,
    };
    let path = absolute(&path)?;
    let runs = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if !runs {
        return Err(format!("{path}: there is no such program (any more); give --program PATH"));
    }
    if path.contains("/target/debug/") || path.contains("/target/release/") {
        let better = "`cargo install --path .`, or copy it to /usr/local/bin, and install from there";
        warnings.push(format!("{path} goes away with the next `cargo clean`; {better}"));
    }
    Ok(path)
}

fn others_can_read(path: &str) -> bool {
    let may = |path: &Path, bit: u32| std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & bit != 0);
    may(Path::new(path), 0o004) && Path::new(path).ancestors().skip(1).all(|dir| may(dir, 0o001))
}

/// `site.yml` is `site`.
fn derived(playbook: &Path) -> Result<String, String> {
    let stem = playbook.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let name: String = stem.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let name = name.trim_matches('-').to_owned();
    crate::schedule::name_of(&name).map(|()| name).map_err(|why| format!("{why}; give --name"))
}
