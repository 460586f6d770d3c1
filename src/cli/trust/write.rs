//! Writing whom to believe, on request: who vouches for what is written, then the edit, shown before it is made.
//! Refuses to write half: an endpoint or a node that cannot be told stops it.

use super::seen::Met;
use super::{Args, Ground, Refused, What, ca, failed, file, pins, show, usage};
use crate::exit;
use crate::inventory::edit::{self, NewTls};
use crate::inventory::mask;
use crate::pve::{self, Client, Fingerprint, Trust};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

/// What is in the cluster.yml now.
pub struct Written {
    file: PathBuf,
    diff: String,
    new: New,
}

/// What is to be written, and what there is to tell of it.
pub struct New {
    pub tls: NewTls,
    /// Fingerprint, whose it is, and who says so.
    pub from: Vec<(Fingerprint, String, String)>,
    /// The authority's certificate and the file that it is to lie in, if it is not there yet.
    pub file: Option<(PathBuf, String)>,
    pub notes: Vec<String>,
}

/// An endpoint that is believed, and why.
pub struct Anchor<'a> {
    pub met: &'a Met,
    pub why: String,
}

pub fn write(args: &Args, what: What, ground: &Ground) -> Result<Written, Refused> {
    let path = &ground.cluster.path;
    // Told before anybody is asked for anything.
    file::writable(path).map_err(failed)?;
    all_reached(ground)?;
    may_replace(args, ground)?;
    let anchors = anchors(args, ground)?;
    let new = match what {
        What::Pins => pins::gather(args, ground, &anchors)?,
        What::Ca => ca::gather(args, ground, &anchors)?,
    };
    let text = edit::with_tls(&ground.text, path, &new.tls).map_err(failed)?;
    let diff = if text == ground.text {
        String::new()
    } else {
        crate::tasks::diff::unified(&path.display().to_string(), &mask(&ground.text), &mask(&text))
    };
    for note in &new.notes {
        tell!("warning: {note}");
    }
    if args.output == crate::cli::Output::Text {
        for (fingerprint, whose, from) in &new.from {
            out!("{fingerprint}  {whose}\n    {from}");
        }
        put!("\n{diff}");
        // Before the file changes, also where the terminal buffers.
        let _ = std::io::stdout().flush();
    }
    if let Some((path, pem)) = &new.file {
        file::create(path, pem).map_err(failed)?;
        tell!("written: {}", path.display());
    }
    if diff.is_empty() {
        tell!("{} says so already", path.display());
    } else {
        file::replace(path, &ground.text, &text).map_err(|why| {
            // What the cluster.yml does not name is not left behind.
            if let Some((path, _)) = &new.file {
                let _ = std::fs::remove_file(path);
            }
            failed(why)
        })?;
        tell!("written: {}", path.display());
    }
    Ok(Written { file: path.clone(), diff, new })
}

fn all_reached(ground: &Ground) -> Result<(), Refused> {
    let Some((seen, why)) = ground.seen.iter().find_map(|seen| seen.met.as_ref().err().map(|why| (seen, why))) else {
        return Ok(());
    };
    let why = format!(
        "{} was not reached ({why}), so what it shows is not known\n  = help: wait until it answers, or take it out of \
         `endpoints` until then",
        seen.endpoint
    );
    Err((exit::UNREACHABLE, why))
}

/// A pin goes only by its name.
fn may_replace(args: &Args, ground: &Ground) -> Result<(), Refused> {
    for pin in &args.replace {
        if !ground.pinned().contains(pin) {
            return Err(usage(format!("--replace {pin}: it is not pinned in {}", ground.cluster.path.display())));
        }
        if let Some(met) = ground.met().find(|met| met.fingerprint == *pin) {
            return Err(usage(format!("--replace {pin}: {} shows it now, so it has not changed", met.presented.entry)));
        }
    }
    let changed: BTreeSet<Fingerprint> = ground.met().filter(|met| met.changed).map(|met| met.fingerprint).collect();
    if changed.len() <= args.replace.len() {
        return Ok(());
    }
    let list =
        |pins: &mut dyn Iterator<Item = Fingerprint>| pins.map(|pin| format!("\n      {pin}")).collect::<String>();
    Err(failed(format!(
        "the certificate CHANGED\n    pinned:{}\n    met:{}\n  = help: {}\n  = help: a pin is replaced only by its name: \
         add `--replace PINNED` for the one that the new certificate comes after",
        list(&mut show::unshown(ground).into_iter()),
        list(&mut changed.into_iter()),
        show::compare().replace('\n', "\n    ")
    )))
}

/// Whom to believe already, by what is written, expected, answered, or by `--yes`. At least one, or all where nobody
/// is to be asked for the others.
fn anchors<'a>(args: &Args, ground: &'a Ground) -> Result<Vec<Anchor<'a>>, Refused> {
    let met: Vec<&Met> = ground.met().collect();
    let mut anchors: Vec<Anchor> = Vec::new();
    for met in &met {
        let why = if args.expect.contains(&met.fingerprint) {
            "expected by --expect".into()
        } else if met.is_believed() {
            format!("believed already, by {}", ground.judge())
        } else if args.yes {
            "compared with nothing (--yes)".into()
        } else {
            continue;
        };
        anchors.push(Anchor { met, why });
    }
    let rest: Vec<&Met> =
        met.into_iter().filter(|met| !anchors.iter().any(|a| a.met.fingerprint == met.fingerprint)).collect();
    let to_ask: &[&Met] = match args.endpoints_only {
        true => &rest,
        false if anchors.is_empty() => &rest[..1],
        false => &[],
    };
    if to_ask.is_empty() {
        return Ok(anchors);
    }
    if !args.expect.is_empty() {
        let list =
            |pins: &mut dyn Iterator<Item = &Fingerprint>| pins.map(|pin| format!("\n      {pin}")).collect::<String>();
        return Err(failed(format!(
            "these are not the certificates that you expect\n    expected:{}\n    met:{}",
            list(&mut args.expect.iter()),
            list(&mut rest.iter().map(|met| &met.fingerprint))
        )));
    }
    ask(to_ask)?;
    anchors.extend(to_ask.iter().map(|met| Anchor { met, why: "compared by you".into() }));
    Ok(anchors)
}

fn ask(about: &[&Met]) -> Result<(), Refused> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(usage(
            "nobody is there to be asked whether the fingerprints were compared\n  = help: give the one that the node \
             itself shows: `--expect SHA256:…`; `--yes` believes whoever answers now",
        ));
    }
    tell!("{}\n", show::compare());
    for met in about {
        tell!("{}\n    {}", met.presented.entry, met.fingerprint);
    }
    let (what, same) = match about.len() {
        1 => ("this fingerprint with the node's own", "are they the same"),
        _ => ("these fingerprints with the nodes' own", "are they the same"),
    };
    let _ = write!(std::io::stderr(), "Have you compared {what}, and {same}? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    if read.is_ok_and(|bytes| bytes == 0) {
        tell!("");
    }
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err((exit::DRIFT, "not compared, so not believed".into())),
    }
}

/// A client that speaks with nobody but those believed.
pub fn client(ground: &Ground, anchors: &[Anchor]) -> Result<Client, Refused> {
    let entries = anchors.iter().map(|anchor| anchor.met.presented.entry.clone()).collect();
    let trust = Trust::Pinned(anchors.iter().map(|anchor| anchor.met.fingerprint).collect());
    let login = crate::cli::ground::login(&ground.cluster).map_err(usage)?;
    Client::new(pve::Config::new(entries, login, trust)).map_err(usage)
}

/// An error of the API.
pub fn api(error: &pve::Error, ground: &Ground) -> Refused {
    let (code, why) = crate::cli::ground::told(error, &ground.cluster);
    (code, why.trim_start_matches("error: ").to_owned())
}

impl Written {
    pub fn json(&self) -> Json {
        let from = |(fingerprint, whose, from): &(Fingerprint, String, String)| json!({ "fingerprint": fingerprint.to_string(), "of": whose, "from": from });
        let tls = match &self.new.tls {
            NewTls::CaFile(path) => json!({ "ca_file": path }),
            NewTls::Fingerprints(pins) => {
                json!({ "fingerprints": pins.iter().map(|pin| pin.fingerprint.clone()).collect::<Vec<_>>() })
            }
        };
        json!({
            "file": self.file, "changed": !self.diff.is_empty(), "diff": self.diff, "tls": tls,
            "from": self.new.from.iter().map(from).collect::<Vec<_>>(), "notes": self.new.notes,
        })
    }
}
