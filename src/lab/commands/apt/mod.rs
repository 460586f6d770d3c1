//! Packages: `apt-get`, `apt-cache`, `apt-mark`, `dpkg`, `dpkg-query`.
//!
//! What is on offer depends on the sources that are configured, whose keys can be read, and whose index
//! `apt-get update` fetched, as on a real node.

mod cache;
mod dpkg;
mod get;
mod sources;
mod transaction;
pub mod units;
pub mod universe;
mod version;

pub use cache::apt_cache;
pub use dpkg::{apt_mark, dpkg, dpkg_query};
pub use get::apt_get;
pub use version::compare;

use super::Ctx;
use crate::lab::world::{Place, System, World};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use universe::Offer;

/// The archive contents of a release, built once.
fn all_offers(debian: u32) -> &'static [Offer] {
    static TWELVE: OnceLock<Vec<Offer>> = OnceLock::new();
    static THIRTEEN: OnceLock<Vec<Offer>> = OnceLock::new();
    let cell = if debian == 12 { &TWELVE } else { &THIRTEEN };
    cell.get_or_init(|| universe::offers(debian))
}

/// A package as dpkg knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub version: String,
    /// Removed, its configuration stayed.
    pub config_only: bool,
    pub auto: bool,
}

/// Everything that dpkg knows in a system: what a fresh one has, and what was changed since.
pub fn installed(system: &System) -> BTreeMap<String, Installed> {
    let mut list: BTreeMap<String, Installed> = base_packages(system)
        .iter()
        .map(|(n, v)| (n.clone(), Installed { version: v.clone(), config_only: false, auto: false }))
        .collect();
    for (name, change) in &system.packages {
        match change {
            None => drop(list.remove(name)),
            Some(p) => {
                let now = Installed { version: p.version.clone(), config_only: p.config_only, auto: p.auto };
                list.insert(name.clone(), now);
            }
        }
    }
    list
}

fn base_packages(system: &System) -> &'static [(String, String)] {
    static LISTS: [OnceLock<Vec<(String, String)>>; 4] = [const { OnceLock::new() }; 4];
    let at = usize::from(system.debian == 12) * 2 + usize::from(system.container);
    LISTS[at].get_or_init(|| universe::installed_base(system.debian, system.container, None))
}

/// The version of a package that is really there.
pub fn version_in(system: &System, name: &str) -> Option<String> {
    match system.packages.get(name) {
        Some(Some(p)) => (!p.config_only).then(|| p.version.clone()),
        Some(None) => None,
        None => base_packages(system).iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()),
    }
}

pub fn installed_version(ctx: &Ctx, name: &str) -> Option<String> {
    version_in(ctx.world.system(&ctx.place)?, name)
}

/// For other parts of the lab: the version of a package on a node or in a running container.
pub fn version_at(world: &World, place: &Place, name: &str) -> Option<String> {
    version_in(world.system(place)?, name)
}

/// The offers of a package that the fetched indexes hold, best first, with the source they come from.
fn candidates(ctx: &Ctx, name: &str) -> Vec<(&'static Offer, sources::Source)> {
    let debian = ctx.system().debian;
    let sources = sources::configured(ctx).unwrap_or_default();
    let mut list: Vec<(&'static Offer, sources::Source)> = Vec::new();
    for offer in all_offers(debian).iter().filter(|o| o.name == name) {
        let source = sources.iter().find(|s| {
            s.archive() == Some(offer.archive) && s.offers(debian) && ctx.system().apt_indexes.contains(&s.index_name())
        });
        if let Some(source) = source
            && !list.iter().any(|(o, _)| o.version == offer.version)
        {
            list.push((offer, source.clone()));
        }
    }
    list.sort_by(|(a, _), (b, _)| compare(&b.version, &a.version));
    list
}

/// What `apt-get install NAME` would take: the newest offer, never older than what is installed.
fn candidate(ctx: &Ctx, name: &str) -> Option<(&'static Offer, sources::Source)> {
    let installed = installed_version(ctx, name);
    candidates(ctx, name)
        .into_iter()
        .find(|(o, _)| installed.as_ref().is_none_or(|v| compare(&o.version, v) != std::cmp::Ordering::Less))
}
