//! Trees and their places, typed values and their faults, input that means harm.

mod differential;
mod hostile;
mod places;
mod typed;

use super::*;

/// Parses text that has no fault.
fn tree(text: &str) -> (Sources, Node) {
    let mut sources = Sources::default();
    let file = sources.add("x.yml", text);
    let node = parse(&sources, file).unwrap_or_else(|faults| panic!("{}", sources.show(&faults, false)));
    (sources, node)
}

/// What is shown for text that has faults.
fn faults(text: &str) -> String {
    let mut sources = Sources::default();
    let file = sources.add("x.yml", text);
    let Err(faults) = parse(&sources, file) else { panic!("there are faults") };
    sources.show(&faults, false)
}
