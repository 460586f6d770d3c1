//! Values as Proxmox writes them, compared by what they mean: order, case, defaults and units do not matter.
//!
//! Refuses nothing it does not know: an unknown key or word is kept as text.

mod container;
mod json;
mod property;
mod size;

pub use container::{same, shown};
pub use json::{number, text, truthy};
pub use property::{Property, Shape, shape_of};
pub use size::{parse_size, print_size};

use std::collections::{BTreeMap, BTreeSet};

/// The members of a list that Proxmox splits at commas, semicolons and blanks (`content`, `nodes`, `tags`).
pub fn list(text: &str) -> Vec<&str> {
    text.split([',', ';', ' ', '\t', '\n', '\0']).filter(|word| !word.is_empty()).collect()
}

/// The same as a set of owned words.
pub fn set(text: &str) -> BTreeSet<String> {
    list(text).into_iter().map(str::to_owned).collect()
}

/// `pve1:2,pve2` → priority of each node; 0 where none is written.
pub fn node_priorities(text: &str) -> Result<BTreeMap<String, u32>, String> {
    list(text)
        .into_iter()
        .map(|word| match word.split_once(':') {
            None => Ok((word.to_owned(), 0)),
            Some((node, priority)) => {
                let priority = priority.parse().map_err(|_| format!("`{word}`: the priority is not a number"))?;
                Ok((node.to_owned(), priority))
            }
        })
        .collect()
}

/// As Proxmox prints it: sorted, a priority of 0 left out.
pub fn print_node_priorities(nodes: &BTreeMap<String, u32>) -> String {
    let words: Vec<String> = nodes
        .iter()
        .map(|(node, priority)| if *priority == 0 { node.clone() } else { format!("{node}:{priority}") })
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests;
