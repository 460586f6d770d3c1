//! `converge schema`.

pub fn run() -> u8 {
    println!("{:#}", crate::playbook::schema());
    crate::exit::OK
}
