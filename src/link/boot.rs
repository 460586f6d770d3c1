//! Starts the agent at the far end of a byte pipe behind which a shell runs [`script`], and installs it where it lacks.
//!
//! Where the right program lies already, greeting and start are one round trip. Nothing is run there that was not
//! verified by its SHA-256.

use super::binary::Binary;
use super::{Link, LinkError, keep_last, with_noise};
use crate::event::Mode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;
use std::io::{BufRead, Cursor, Read, Write};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Until the far end says its first word: a login, a shell's start files.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// Between two signs of life while the program is sent and unpacked.
const SILENCE: Duration = Duration::from_secs(60);
const PIECE: usize = 256 * 1024;

const SCRIPT: &str = include_str!("boot.sh");

/// The agent that is to be started.
pub struct Start<'a> {
    pub binary: &'a Binary,
    /// Its host's name.
    pub name: &'a str,
    pub mode: Mode,
    /// Where programs for hosts are kept; `None`: the usual place.
    pub folder: Option<&'a str>,
    /// What its shell is started by (`sudo`, `pct exec`).
    pub prefix: &'a [String],
}

impl Start<'_> {
    /// The words after the script. They say all that the agent has to know, so that it greets without being asked:
    /// sshd takes no input until the program runs, and waiting for a word would cost a round trip.
    fn words(&self) -> [&str; 4] {
        let mode = match self.mode {
            Mode::Check => "check",
            Mode::Apply => "apply",
        };
        [&self.binary.sha256, self.name, mode, self.folder.unwrap_or_default()]
    }

    /// A command line for a shell, as one text.
    pub fn script(&self) -> String {
        let own = ["sh", "-c", SCRIPT, "converge"].into_iter().chain(self.words());
        let quoted: Vec<String> = self.prefix.iter().map(String::as_str).chain(own).map(quote).collect();
        format!("exec {}", quoted.join(" "))
    }

    /// What is typed into a terminal, as by [`typed`].
    pub fn typed(&self) -> String {
        typed(SCRIPT, &self.words(), self.prefix)
    }
}

/// What [`typed`] lets a terminal say at the end: the connection of some outlives its shell.
pub const END: &str = "@boot end";

/// The same to be typed into a terminal: one line, short enough for one that is still cooked (4096 bytes), which makes
/// it raw and silent first and then says so in a word that its own echo does not hold. Its end is said in such a word too.
pub fn typed(script: &str, words: &[&str], prefix: &[String]) -> String {
    let packed = STANDARD.encode(script);
    let before: String = prefix.iter().map(|word| quote(word) + " ").collect();
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    let start = format!("{before}sh -c \"$(echo {packed} | base64 -d)\" converge {}", words.join(" "));
    // What enters a container from a terminal gives it a terminal of its own, cooked again; pipes keep it from that.
    let pipes = STANDARD.encode(include_str!("pipes.sh"));
    let pipes =
        if prefix.is_empty() { String::new() } else { format!("sh -c \"$(echo {pipes} | base64 -d)\" converge ") };
    format!(
        " stty raw -echo; printf \"%s%s\\n\" @boo \"t shell\"; {pipes}{start}; printf \"%s%s\\n\" @boo \"t end\"; exit\n"
    )
}

/// A word for a POSIX shell.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

type Input = Box<dyn BufRead + Send>;
type Output = Box<dyn Write + Send>;

enum Word {
    /// Work goes on.
    Alive,
    /// The agent has greeted; its greeting is the first line of the input.
    Started(Input, Output),
    Failed(String),
}

/// Installs if asked to; returns the link. `typed`: what starts the script, where nothing has started it yet.
/// `why` may know more about an end than the pipe does.
pub fn start(
    host: &str,
    binary: &'static Binary,
    input: impl BufRead + Send + 'static,
    output: impl Write + Send + 'static,
    typed: Option<String>,
    why: impl FnOnce(String) -> LinkError,
) -> Result<Link, LinkError> {
    let (tell, words) = sync_channel(64);
    let lost = |why: String| LinkError::Lost { host: host.to_owned(), why };
    std::thread::Builder::new()
        .name(format!("boot {host}"))
        .spawn(move || {
            let last = match negotiate(binary, Box::new(input), Box::new(output), typed, &tell) {
                Ok((input, output)) => Word::Started(input, output),
                Err(why) => Word::Failed(why),
            };
            // Nobody listens any more when it took too long.
            let _ = tell.send(last);
        })
        .map_err(|e| lost(e.to_string()))?;
    let mut patience = FIRST_WORD;
    loop {
        match words.recv_timeout(patience) {
            Ok(Word::Alive) => patience = SILENCE,
            Ok(Word::Started(input, output)) => return Link::open(host, input, output),
            Ok(Word::Failed(text)) => return Err(why(text)),
            Err(RecvTimeoutError::Disconnected) => return Err(lost("the start was given up".into())),
            Err(RecvTimeoutError::Timeout) => {
                return Err(LinkError::Silent { host: host.to_owned(), after_s: patience.as_secs() });
            }
        }
    }
}

fn negotiate(
    binary: &Binary,
    mut input: Input,
    mut output: Output,
    typed: Option<String>,
    tell: &SyncSender<Word>,
) -> Result<(Input, Output), String> {
    let mut noise = String::new();
    let mut said = BTreeSet::new();
    // Until a terminal is ours, whatever is printed there is not meant for us.
    let mut ours = typed.is_none();
    if let Some(line) = typed {
        // A pipe that breaks here has its reason on the other side, which is read below.
        let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
    }
    loop {
        let mut line = Vec::new();
        let read =
            (&mut input).take(1 << 20).read_until(b'\n', &mut line).map_err(|e| with_noise(&e.to_string(), &noise))?;
        let text = String::from_utf8_lossy(&line).into_owned();
        if read == 0 {
            return Err(with_noise("the connection was closed before the agent started", &noise));
        }
        if ours && text.contains(crate::wire::MARK) {
            let rest = std::io::BufReader::new(Cursor::new(line).chain(input));
            return Ok((Box::new(rest), output));
        }
        let word = text.split_once("@boot ").map_or("", |(_, word)| word.trim_end());
        if word.is_empty() || !(ours || word == "shell") {
            keep_last(&mut noise, text.trim_end());
            continue;
        }
        // Each word counts once as a sign of life: whatever repeats one is no shell of ours, and may not wait for ever.
        if !said.insert(word.split(' ').next().unwrap_or_default().to_owned()) {
            return Err(format!("the far end said `{word}` twice, which is not understood"));
        }
        if let Some(need) = word.strip_prefix("need ") {
            let _ = tell.send(Word::Alive);
            send_program(binary, need, &mut output, tell)?;
        } else if let Some(failure) = word.strip_prefix("fail ") {
            return Err(explain(failure));
        } else if word == "shell" {
            let _ = tell.send(Word::Alive);
            ours = true;
        }
    }
}

/// `need x86_64 Linux gzip FOLDER`.
fn send_program(binary: &Binary, need: &str, output: &mut Output, tell: &SyncSender<Word>) -> Result<(), String> {
    let words: Vec<&str> = need.splitn(4, ' ').collect();
    let [machine, system, packing, _folder] = words.as_slice() else {
        return Err(format!("the far end asked for `{need}`, which is not understood"));
    };
    let content = binary.content()?;
    if let Some(why) = content.misfit(machine, system) {
        return Err(why);
    }
    let (packing, bytes) = match *packing {
        "gzip" => ("gzip", content.packed()),
        _ => ("raw", content.bytes.as_slice()),
    };
    let mut sent = writeln!(output, "{packing} {}", bytes.len());
    for piece in bytes.chunks(PIECE) {
        if sent.is_err() {
            break;
        }
        sent = output.write_all(piece).and_then(|()| output.flush());
        let _ = tell.try_send(Word::Alive);
    }
    // What broke the pipe is what the far end says next; only a far end that says nothing leaves this one.
    drop(sent);
    Ok(())
}

/// The script's failures in the words of those who read them.
fn explain(failure: &str) -> String {
    let (kind, rest) = failure.split_once(' ').unwrap_or((failure, ""));
    let (folder, said) = rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""));
    let advice = "another folder can be named with the variable `converge_agent_dir`";
    let told = if said.is_empty() { String::new() } else { format!(" ({said})") };
    match kind {
        "folder" => format!("{folder} cannot be made for the agent{told}; {advice}"),
        "owner" => format!(
            "{rest} is a link or belongs to another user, so the agent is neither put there nor run from there; {advice}"
        ),
        "write" if said.contains("No space left") => format!("disk full: no room for the agent in {folder}{told}"),
        "write" => format!("the agent did not arrive whole in {folder}{told}; it was not run"),
        "run" if said.contains("Permission denied") => {
            format!("programs cannot be run from {folder} (mounted noexec?){told}; {advice}")
        }
        "run" if said.contains("GLIBC") || said.contains("not found") => format!(
            "the agent cannot run there: it needs a C library that the host lacks{told}; \
             name a static build with the environment variable CONVERGE_AGENT"
        ),
        "run" => format!("the agent cannot be run from {folder}{told}"),
        _ => format!("the agent could not be started: {failure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_word_for_any_shell() {
        assert!(!SCRIPT.contains('\'') && SCRIPT.is_ascii());
        let binary = Binary::of(b"x".to_vec());
        let prefix = ["sudo".to_owned()];
        let start = Start { binary: &binary, name: "it's", mode: Mode::Check, folder: Some("~/a b"), prefix: &prefix };
        let line = start.script();
        assert!(line.starts_with("exec 'sudo' 'sh' '-c' '"), "{line}");
        assert!(line.ends_with(r"'it'\''s' 'check' '~/a b'"), "{line}");
    }

    #[test]
    fn failures_have_names() {
        for (said, expected) in [
            ("folder /x: mkdir: cannot create directory", "/x cannot be made"),
            ("owner /x/converge-agent", "/x/converge-agent is a link or belongs to another user"),
            ("write /x: gzip: stdout: No space left on device", "disk full"),
            ("write /x: ", "did not arrive whole"),
            ("run /x: sh: 1: /x/.a: Permission denied", "noexec"),
            ("run /x: version `GLIBC_2.38' not found", "static build"),
        ] {
            assert!(explain(said).contains(expected), "{said}: {}", explain(said));
        }
    }
}
