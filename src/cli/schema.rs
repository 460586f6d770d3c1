//! `converge schema`.

pub fn run() -> u8 {
    out!("{:#}", crate::playbook::schema());
    crate::exit::OK
}
