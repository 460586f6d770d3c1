//! `converge trust`: who answers at a cluster's endpoints, whether that is believed, and, on request, whom to believe.
//!
//! Looking asks for no secret and sends none. A login is made only over a connection that is believed by then, and
//! nothing is written that was not asked for, compared or told by somebody believed.

mod ca;
mod file;
mod pins;
mod seen;
mod show;
mod write;

use crate::diagnostic::Sources;
use crate::exit;
use crate::inventory::cluster::{Cluster, Tls};
use crate::pve::{self, Fingerprint, Trust};
use clap::{Parser, ValueEnum};
use seen::Seen;
use std::path::PathBuf;
use std::time::Duration;

/// For one endpoint, from its name to the end of the handshake.
const DEADLINE: Duration = Duration::from_secs(10);

/// Contacts every endpoint of a cluster.yml by a TLS handshake alone, without a login.
///
/// Exit codes: 0 all are believed, or what was asked for is written; 1 a certificate is another than the one pinned, or
/// what is to be written does not hold; 2 usage; 3 some certificate is not believed yet; 4 an endpoint was not reached.
#[derive(Debug, Parser)]
pub struct Args {
    /// The cluster.yml
    #[arg(short, long, value_name = "FILE", required = true)]
    inventory: Vec<String>,
    /// Write whom to believe into the cluster.yml: its nodes' certificates, or the cluster's own authority
    ///
    /// The authority (`ca`) is to be preferred: pins break when a node renews its certificate.
    #[arg(long, value_name = "WHAT")]
    write: Option<What>,
    /// A fingerprint that you compared; replaces the question. One node's is enough, it tells those of the others
    #[arg(long, value_name = "SHA256:…", value_parser = fingerprint, requires = "write")]
    expect: Vec<Fingerprint>,
    /// Believe whom is met now without having compared anything
    #[arg(long, requires = "write", conflicts_with = "expect")]
    yes: bool,
    /// A pin that may go, because its certificate changed or its node is gone
    #[arg(long, value_name = "SHA256:…", value_parser = fingerprint, requires = "write")]
    replace: Vec<Fingerprint>,
    /// With `--write pins`: only the endpoints' certificates, without a login
    #[arg(long, requires = "write")]
    endpoints_only: bool,
    /// With `--write ca`: the file for the authority's certificate [default: beside the cluster.yml, `…-ca.pem`]
    #[arg(long, value_name = "PATH", requires = "write")]
    ca_file: Option<PathBuf>,
    /// How results are written to standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: super::Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The fingerprints of the nodes' certificates
    Pins,
    /// The cluster's own authority (pve-root-ca.pem)
    Ca,
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse()
}

/// An exit code and what is told with it.
type Refused = (u8, String);

fn failed(why: impl ToString) -> Refused {
    (exit::FAILED, why.to_string())
}

fn usage(why: impl ToString) -> Refused {
    (exit::USAGE, why.to_string())
}

/// The cluster.yml, and who answers at its endpoints.
struct Ground {
    cluster: Cluster,
    text: String,
    trust: Trust,
    seen: Vec<Seen>,
}

pub fn run(args: &Args) -> u8 {
    let ground = match ground(args) {
        Ok(ground) => ground,
        Err((code, why)) => return super::complain(code, why),
    };
    let as_text = args.output == super::Output::Text;
    match args.output {
        super::Output::Text => put!("{}", show::text(&ground, super::colour(&std::io::stdout()))),
        super::Output::Jsonl => ground.seen.iter().for_each(|seen| out!("{}", show::endpoint(seen))),
        super::Output::Json => {}
    }
    let code = verdict(&ground.seen);
    let (code, written) = match args.write {
        None => {
            if as_text {
                tell!("{}", show::what_now(&ground, super::colour(&std::io::stderr())));
            }
            (code, None)
        }
        Some(what) => match write::write(args, what, &ground) {
            Ok(written) => (exit::OK, Some(Ok(written))),
            Err((code, why)) => {
                tell!("error: {why}\n  = note: nothing is written");
                (code, Some(Err(why)))
            }
        },
    };
    match args.output {
        super::Output::Json => out!("{:#}", show::json(&ground, code, written.as_ref())),
        super::Output::Jsonl => out!("{}", show::end(&ground, code, written.as_ref())),
        super::Output::Text => {}
    }
    code
}

/// Reads the inventory and meets every endpoint.
fn ground(args: &Args) -> Result<Ground, Refused> {
    if args.ca_file.is_some() && args.write != Some(What::Ca) {
        return Err(usage("--ca-file goes with `--write ca`"));
    }
    if args.endpoints_only && args.write != Some(What::Pins) {
        return Err(usage("--endpoints-only goes with `--write pins`"));
    }
    let mut sources = Sources::default();
    let loaded = super::ground::read(&args.inventory, &[], &mut sources);
    let loaded = loaded.map_err(|shown| usage(shown.trim_start_matches("error: ")))?;
    let Some(cluster) = loaded.cluster else {
        return Err(usage(format!(
            "{} is an inventory without a cluster: its hosts are reached by ssh, which keeps host keys of its own; \
             certificates belong to a cluster.yml with `endpoints` and `login`",
            args.inventory.join(", ")
        )));
    };
    let trust = super::ground::trust(&cluster).map_err(usage)?;
    let at = |why: String| usage(format!("{}: {why}", cluster.path.display()));
    let text = std::fs::read_to_string(&cluster.path).map_err(|e| at(e.to_string()))?;
    let met = pve::meet(&cluster.endpoints, DEADLINE).map_err(|e| at(e.to_string()))?;
    let seen = seen::judged(&trust, &cluster.endpoints, met);
    Ok(Ground { cluster, text, trust, seen })
}

impl Ground {
    /// Those that were met.
    fn met(&self) -> impl Iterator<Item = &seen::Met> {
        self.seen.iter().filter_map(|seen| seen.met.as_ref().ok())
    }

    fn pinned(&self) -> &[Fingerprint] {
        match &self.trust {
            Trust::Pinned(pins) => pins,
            _ => &[],
        }
    }

    /// By what certificates are judged now.
    fn judge(&self) -> String {
        match &self.cluster.tls {
            Tls::System => "the authorities of this machine".into(),
            Tls::CaFile(path) => format!("the authority in {}", path.display()),
            Tls::Fingerprints(pins) if pins.len() == 1 => "the pinned fingerprint".into(),
            Tls::Fingerprints(pins) => format!("the {} pinned fingerprints", pins.len()),
        }
    }
}

/// By the order that holds for all commands: unreachable before failed, failed before not yet.
fn verdict(seen: &[Seen]) -> u8 {
    let met = || seen.iter().filter_map(|seen| seen.met.as_ref().ok());
    if met().count() < seen.len() {
        exit::UNREACHABLE
    } else if met().any(|met| met.changed) {
        exit::FAILED
    } else if met().any(|met| !met.doubts.is_empty()) {
        exit::DRIFT
    } else {
        exit::OK
    }
}
