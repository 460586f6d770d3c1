//! `converge schema`.

pub fn run() -> u8 {
    println!("{:#}", crate::playbook::json_schema());
    crate::exit::OK
}
