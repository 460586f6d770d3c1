//! Words and paths as unit files have them (systemd.syntax(7), systemd.service(5), systemd.unit(5)).
//!
//! Nothing here knows what the words mean.

/// One word of a command line: specifiers (`%`) and variables (`$`) are taken as they stand.
pub fn argument(word: &str) -> String {
    word_of(&word.replace('%', "%%").replace('$', "$$"))
}

/// One path of a list of paths.
pub fn path(path: &str) -> String {
    word_of(&path.replace('%', "%%"))
}

/// The rest of a line that systemd does not take apart.
pub fn rest(text: &str) -> String {
    text.replace('%', "%%")
}

/// In quotes where it needs them; between them only `\` and `"` mean something.
fn word_of(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%$".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\""))
}
