//! Links through a node's REST shell, no SSH anywhere, on two grounds: a real PTY with a noisy login shell behind
//! termproxy's protocol, and the lab's API with a whole cluster behind it.

#[path = "support/relay.rs"]
mod relay;
#[path = "support/served.rs"]
mod served;
#[path = "support/sshd.rs"]
mod sshd;
#[path = "support/termproxy.rs"]
mod termproxy;

use converge::host::Probe as _;
use converge::lab::Lab;
use relay::{Line, Relay};
use served::Served;
use sshd::said;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "{ user: root@pam, password: { env: PW } }";

enum Ground {
    Shell(termproxy::Node),
    Lab(Lab, Served),
}

struct Bed {
    dir: tempfile::TempDir,
    ground: Ground,
    /// The first node is reached through it.
    relay: Relay,
}

impl Bed {
    /// A real shell on this machine, as noisy as they come; `None`, with a word, where it lacks the programs.
    fn shell() -> Option<Self> {
        for name in ["script", "bash", "stty"] {
            if sshd::program(name).is_none() {
                eprintln!("skipped: no {name}");
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let noise = "printf '\\033[2J\\033[1;31mWelcome\\033[0m to the machine\\r\\n@boot nonsense\\n@converge:\\n'\n\
                     echo 'Last login: today'\nPS1='\\[\\e]0;title\\a\\]\\[\\e[1;32m\\]\\u@\\h\\[\\e[0m\\]:\\w\\$ '\nset -o vi\n\
                     PROMPT_COMMAND='echo busy prompt'\nPATH=$HOME/bin:$PATH\n";
        fs::write(dir.path().join(".bash_profile"), noise).unwrap();
        let node = termproxy::serve(dir.path().to_owned(), dir.path().join("ended"));
        let relay = Relay::to(node.port, Line::default());
        Some(Self { dir, ground: Ground::Shell(node), relay })
    }

    fn lab() -> Self {
        Self::lab_over(Line::default())
    }

    /// The first node lies behind such a line.
    fn lab_over(line: Line) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Served::new(&dir.path().join("lab"));
        let lab = Lab::open(dir.path().join("lab")).unwrap();
        let port = server.nodes["pve1"].0.rsplit(':').next().unwrap().parse().unwrap();
        Self { dir, ground: Ground::Lab(lab, server), relay: Relay::to(port, line) }
    }

    /// Every ground there is here.
    fn both() -> impl Iterator<Item = Self> {
        Self::shell().into_iter().chain(std::iter::once_with(Self::lab))
    }

    fn node(&self) -> &str {
        match self.ground {
            Ground::Shell(_) => "one",
            Ground::Lab(..) => "pve1",
        }
    }

    /// Where the playbook may write on the node.
    fn folder(&self) -> String {
        match self.ground {
            Ground::Shell(_) => self.dir.path().display().to_string(),
            Ground::Lab(..) => "/root".into(),
        }
    }

    /// A file of the node, or of a container.
    fn read_at(&self, host: &str, path: &str) -> Option<String> {
        let bytes = match (&self.ground, host.strip_prefix("ct:")) {
            (Ground::Shell(_), _) => fs::read(path).ok(),
            (Ground::Lab(lab, _), None) => lab.node(host).unwrap().read(Path::new(path)).unwrap(),
            (Ground::Lab(lab, _), Some(vmid)) => lab.container(vmid.parse().unwrap()).read(Path::new(path)).unwrap(),
        };
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn read(&self, name: &str) -> Option<String> {
        self.read_at(self.node(), &format!("{}/{name}", self.folder()))
    }

    fn agents(&self) -> usize {
        match &self.ground {
            Ground::Shell(_) => fs::read_dir(self.dir.path().join("agent/converge-agent")).unwrap().count(),
            Ground::Lab(lab, _) => {
                lab.node("pve1").unwrap().list(Path::new("/var/lib/converge/agent")).unwrap().unwrap().len()
            }
        }
    }

    fn cluster(&self, login: &str) {
        let (nodes, pins, vars) = match &self.ground {
            Ground::Shell(node) => (
                format!("  one: {{ endpoint: '127.0.0.1:{}' }}\n", self.relay.port),
                format!("'{}'", node.fingerprint),
                format!("vars: {{ converge_agent_dir: {}/agent }}\n", self.dir.path().display()),
            ),
            Ground::Lab(_, server) => {
                let address = |name: &str, direct: &str| match name {
                    "pve1" => format!("127.0.0.1:{}", self.relay.port),
                    _ => direct.to_owned(),
                };
                let nodes = server.nodes.iter();
                let nodes = nodes.map(|(name, (at, _))| format!("  {name}: {{ endpoint: '{}' }}\n", address(name, at)));
                let pins: Vec<String> = server.nodes.values().map(|(_, print)| format!("'{print}'")).collect();
                (nodes.collect(), pins.join(", "), String::new())
            }
        };
        let text = format!(
            "endpoints: ['127.0.0.1:{}']\nlogin: {login}\ntls: {{ fingerprints: [{pins}] }}\nlink: pve_shell\nnodes:\n{nodes}{vars}",
            self.relay.port
        );
        fs::write(self.dir.path().join("cluster.yml"), text).unwrap();
    }

    fn playbook(&self, name: &str, text: &str) {
        let text = text.replace("NODE", self.node()).replace("DIR", &self.folder());
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn password(&self) -> &str {
        match &self.ground {
            Ground::Shell(_) => "secret",
            Ground::Lab(_, server) => &server.password,
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(words).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command.env("PW", self.password()).env("PATH", std::env::var_os("PATH").unwrap());
        command.env("CONVERGE_AGENT", sshd::agent());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn start(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until the run has made this file on the node.
    fn until(&self, name: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.read(name).is_none() {
            assert!(Instant::now() < until, "{name} was never made");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ended(&self) -> String {
        fs::read_to_string(self.dir.path().join("ended")).unwrap_or_default()
    }
}

const SITE: &str = "
- hosts: NODE
  tasks:
    - name: a file
      copy: { dest: 'DIR/made', content: \"one\\ttwo ^C\\x03 \\xe4\\n\" }
    - name: a program
      command: echo through
      register: said
    - assert: { that: \"said.stdout == 'through'\" }
";

#[test]
fn a_noisy_login_shell_becomes_a_link() {
    for bed in Bed::both() {
        bed.cluster(PASSWORD);
        bed.playbook("site.yml", SITE);
        let applied = bed.run(&["apply", "site.yml", "-i", "cluster.yml"]);
        assert_eq!(applied.status.code(), Some(0), "{}\n{}", said(&applied), bed.ended());
        assert_eq!(bed.read("made").unwrap(), "one\ttwo ^C\u{3} \u{e4}\n");
        assert_eq!(bed.agents(), 1);
        let again = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
        assert!(matches!(again.status.code(), Some(0 | 3)), "{}", said(&again));
        assert!(said(&again).contains(bed.node()), "{}", said(&again));
        assert_eq!(bed.agents(), 1);
        for output in [&applied, &again] {
            assert!(!said(output).contains(bed.password()) && !said(output).contains("PVEVNC"), "{}", said(output));
        }
    }
}

#[test]
fn a_token_gets_no_shell_and_a_wrong_password_no_ticket() {
    for bed in Bed::both() {
        bed.playbook("site.yml", "- hosts: NODE\n  tasks: [{ command: id }]\n");
        if let Ground::Shell(_) = bed.ground {
            bed.cluster("{ token: root@pam!x, secret: { env: PW } }");
            let checked = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
            assert_eq!(checked.status.code(), Some(2), "told before anybody is asked: {}", said(&checked));
            assert!(said(&checked).contains("log in as root@pam with its password"), "{}", said(&checked));
        } else {
            bed.cluster("{ user: root@pam, password: { command: [echo, wrong] } }");
            let checked = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
            assert_eq!(checked.status.code(), Some(4), "{}", said(&checked));
            assert!(said(&checked).contains("login of root@pam") && said(&checked).contains("refused"));
        }
    }
}

#[test]
fn a_websocket_that_is_cut_in_a_task_loses_the_node_and_the_next_run_goes_on() {
    for bed in Bed::both() {
        bed.cluster(PASSWORD);
        let text = "
- hosts: NODE
  tasks:
    - { name: before, copy: { dest: DIR/before, content: x } }
    - { name: work, pause: { seconds: 4 } }
    - { name: after, copy: { dest: DIR/after, content: x } }
";
        bed.playbook("site.yml", text);
        let running = bed.start(&["apply", "site.yml", "-i", "cluster.yml"]);
        bed.until("before");
        std::thread::sleep(Duration::from_millis(500));
        bed.relay.cut();
        let output = running.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert!(said(&output).contains("the connection was closed"), "{}", said(&output));
        assert_eq!(bed.read("after"), None);
        let again = bed.run(&["apply", "site.yml", "-i", "cluster.yml"]);
        assert_eq!(again.status.code(), Some(0), "{}", said(&again));
        assert_eq!(bed.read("after").as_deref(), Some("x"));
    }
}

#[test]
fn a_slow_line_that_loses_packets_only_takes_longer() {
    let bed = Bed::lab_over(Line { round_trip: Duration::from_millis(200), lost_per_mille: 10, rate: 0 });
    bed.cluster(PASSWORD);
    bed.playbook("site.yml", SITE);
    let applied = bed.run(&["apply", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert_eq!(bed.read("made").unwrap(), "one\ttwo ^C\u{3} \u{e4}\n");
}

#[test]
fn a_container_is_entered_through_the_terminal_of_its_node() {
    let Some(bed) = Bed::shell() else { return };
    bed.cluster(PASSWORD);
    let dir = bed.folder();
    fs::create_dir(bed.dir.path().join("bin")).unwrap();
    // With a terminal of its own, as the real one gives where its input is a terminal.
    let pct = bed.dir.path().join("bin/pct");
    let text = format!(
        "#!/bin/sh\n[ \"$1 $2 $3\" = 'exec 101 --' ] || exit 9\nshift 3\n\
         if [ -e {dir}/stopped ]; then echo \"container '101' not running!\" >&2; exit 255; fi\n\
         echo entered >> {dir}/entered\nif [ -t 0 ]; then stty sane; fi\nexec \"$@\"\n"
    );
    fs::write(&pct, text).unwrap();
    fs::set_permissions(&pct, PermissionsExt::from_mode(0o755)).unwrap();
    bed.playbook("site.yml", "- hosts: ct:101\n  tasks:\n    - copy: { dest: DIR/inside, content: \"a\\x03b\\n\" }\n");
    let applied = bed.run(&["apply", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(applied.status.code(), Some(0), "{}\n{}", said(&applied), bed.ended());
    assert_eq!(bed.read("inside").unwrap(), "a\u{3}b\n");
    assert_eq!(bed.read("entered").as_deref(), Some("entered\n"));
    fs::write(bed.dir.path().join("stopped"), "").unwrap();
    let checked = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(checked.status.code(), Some(4), "{}", said(&checked));
    assert!(said(&checked).contains("container 101 is stopped on one"), "{}", said(&checked));
}

#[test]
fn the_reference_system_is_built_over_the_api_alone() {
    let bed = Bed::lab();
    bed.cluster(PASSWORD);
    let site = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/drbd-nfs.yml");
    let applied = bed.run(&["apply", site, "-i", "cluster.yml"]);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    let again = bed.run(&["apply", site, "-i", "cluster.yml"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(said(&again).contains("nothing changed on 5 hosts"), "{}", said(&again));
    // Into the container, by the terminal of whichever node runs it.
    assert!(bed.read_at("ct:101", "/etc/exports").is_some_and(|text| text.contains("/data")));
    // And the same as what pipes build.
    let lab = format!("--lab={}", bed.dir.path().join("lab").display());
    let beside = bed.run(&["check", site, &lab]);
    assert_eq!(beside.status.code(), Some(0), "{}", said(&beside));
}

#[test]
fn a_ticket_that_expires_in_a_run_is_renewed() {
    let bed = Bed::lab();
    let Ground::Lab(lab, _) = &bed.ground else { unreachable!() };
    bed.cluster(PASSWORD);
    let text = "
- hosts: pve1
  tasks:
    - { name: before, copy: { dest: /root/before, content: x } }
    - { name: work, pause: { seconds: 3 } }
- hosts: pve2
  tasks:
    - { name: elsewhere, copy: { dest: /root/elsewhere, content: x } }
- hosts: cluster
  tasks:
    - { name: over REST, pve_storage: { storage: share, type: dir, path: /srv/share, content: [iso] } }
";
    bed.playbook("site.yml", text);
    let running = bed.start(&["apply", "site.yml", "-i", "cluster.yml"]);
    bed.until("before");
    lab.with(|world| *world.clock_ahead_ms += 3 * 3600 * 1000).unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(bed.read_at("pve2", "/root/elsewhere").as_deref(), Some("x"));
}

#[test]
fn one_apply_at_a_time_and_a_run_whose_lock_is_taken_over_stops() {
    let bed = Bed::lab();
    bed.cluster(PASSWORD);
    let text = "
- hosts: pve1
  tasks:
    - { name: before, copy: { dest: /root/before, content: x } }
    - { name: work, pause: { seconds: 12 } }
    - { name: after, copy: { dest: /root/after, content: x } }
";
    bed.playbook("slow.yml", text);
    bed.playbook("quick.yml", "- hosts: pve2\n  tasks:\n    - copy: { dest: /root/quick, content: x }\n");
    let first = bed.start(&["apply", "slow.yml", "-i", "cluster.yml"]);
    bed.until("before");
    let second = bed.run(&["apply", "quick.yml", "-i", "cluster.yml"]);
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    assert!(said(&second).contains("another apply works on this cluster"), "{}", said(&second));
    assert!(said(&second).contains("apply slow.yml"), "{}", said(&second));
    let beside = bed.run(&["check", "quick.yml", "-i", "cluster.yml"]);
    assert_eq!(beside.status.code(), Some(3), "{}", said(&beside));
    let forced = bed.run(&["apply", "quick.yml", "-i", "cluster.yml", "--break-lock"]);
    assert_eq!(forced.status.code(), Some(0), "{}", said(&forced));
    let first = first.wait_with_output().unwrap();
    assert_eq!(first.status.code(), Some(1), "{}", said(&first));
    assert!(said(&first).contains("apply quick.yml") && said(&first).contains("took over"), "{}", said(&first));
    assert_eq!(bed.read("after"), None, "it went on without the lock");
}

/// A run at a terminal of its own (`script` gives it one): what was printed, its end, and the terminal's modes after it.
fn at_a_terminal(bed: &Bed, words: &str, keys: &[u8]) -> String {
    let line = format!("'{}' {words}; echo \"ended $?\"; stty -a", env!("CARGO_BIN_EXE_converge"));
    let mut command = Command::new("script");
    command.args(["-q", "-c", &line, "/dev/null"]).current_dir(bed.dir.path()).env_clear().env("HOME", bed.dir.path());
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("CONVERGE_AGENT", sshd::agent());
    let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keyboard = run.stdin.take().unwrap();
    let mut screen = run.stdout.take().unwrap();
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    let mut typed = false;
    while let Ok(read @ 1..) = std::io::Read::read(&mut screen, &mut piece) {
        said.extend(&piece[..read]);
        if !typed && String::from_utf8_lossy(&said).contains("password of root@pam: ") {
            typed = true;
            std::io::Write::write_all(&mut keyboard, keys).unwrap();
        }
    }
    run.wait().unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn a_password_is_asked_for_in_silence_and_ctrl_c_gives_the_echo_back() {
    let Some(bed) = Bed::shell() else { return };
    bed.cluster("{ user: root@pam, password: prompt }");
    bed.playbook("site.yml", "- hosts: NODE\n  tasks: [{ copy: { dest: DIR/made, content: x } }]\n");
    let run = "apply site.yml -i cluster.yml";
    let stopped = at_a_terminal(&bed, run, b"sec\x03");
    assert!(stopped.contains("interrupted") && stopped.contains("ended 2"), "{stopped}");
    assert!(stopped.contains(" echo ") && stopped.contains("\nisig icanon "), "{stopped}");
    assert_eq!(bed.read("made"), None);
    let applied = at_a_terminal(&bed, run, b"wrong\x15secret\r");
    assert!(applied.contains("ended 0") && applied.contains(" echo "), "{applied}");
    assert_eq!(bed.read("made").as_deref(), Some("x"));
    for said in [stopped, applied] {
        assert!(!said.contains("sec\n") && !said.contains("secret") && !said.contains("wrong"), "{said}");
    }
}
