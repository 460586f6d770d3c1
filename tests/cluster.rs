//! `-i cluster.yml` with the real binary, against the lab's API over HTTPS: login, certificates, discovery, secrets.

use converge::lab::{Lab, api};
use std::process::{Command, Output};

struct Bed {
    dir: tempfile::TempDir,
    server: api::Server,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(dir.path().join("lab")).unwrap();
        let server = api::serve(lab, "127.0.0.1:0".parse().unwrap()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), &server.ca_pem).unwrap();
        Self { dir, server }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// A cluster.yml with this login and TLS.
    fn cluster(&self, login: &str, tls: &str) {
        let endpoint = self.server.base_url();
        self.write("cluster.yml", &format!("endpoints: ['{endpoint}']\nlogin: {login}\ntls: {tls}\n{NOBODY}"));
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(words).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command.env("CLUSTER_PASSWORD", self.server.root_password()).env("PATH", std::env::var_os("PATH").unwrap());
        command
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The nodes themselves are not reached, and say so at once.
const NOBODY: &str = "ssh: { port: 1 }\nnodes:\n  pve1: { address: 127.0.0.1 }\n  pve2: { address: 127.0.0.1 }\n  \
                      pve3: { address: 127.0.0.1 }\n";

const STORAGE: &str = "
- hosts: cluster
  tasks:
    - name: A storage
      pve_storage: { storage: share, type: dir, path: /srv/share, content: [iso] }
";

const FROM_ENV: &str = "{ user: root@pam, password: { env: CLUSTER_PASSWORD } }";

#[test]
fn one_login_reaches_the_api_and_finds_the_nodes() {
    let bed = Bed::new();
    bed.write("site.yml", STORAGE);
    bed.cluster(FROM_ENV, "{ ca_file: ca.pem }");
    let on = ["site.yml", "-i", "cluster.yml"];
    let run = |command: &str| bed.run(&[&[command], &on[..]].concat());
    let checked = run("check");
    assert_eq!(checked.status.code(), Some(3), "{}", said(&checked));
    let applied = run("apply");
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    let again = run("check");
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    bed.write("nodes.yml", "- hosts: nodes:!pve2\n  tasks: [{ debug: { msg: x } }]\n");
    let listed = bed.run(&["check", "nodes.yml", "-i", "cluster.yml", "--list-hosts"]);
    assert!(said(&listed).contains("pve1\n  pve3\n"), "{}", said(&listed));
    for output in [&checked, &applied, &again, &listed] {
        assert!(!said(output).contains(bed.server.root_password()), "the password is shown");
    }
}

#[test]
fn faults_are_told_before_anybody_is_asked_and_offline() {
    let bed = Bed::new();
    bed.write(
        "cluster.yml",
        "endpoints: [nowhere.invalid]\nlogin: { user: root@pam, password: { env: X } }\ntls: systm\n",
    );
    bed.write("site.yml", "- hosts: pve1\n  tasks:\n    - copi: { dest: /x }\n");
    let both = bed.run(&["validate", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(both.status.code(), Some(2));
    for expected in ["cluster.yml:3:6", "did you mean `system`?", "site.yml:3:7", "did you mean `copy`?"] {
        assert!(said(&both).contains(expected), "{expected}:\n{}", said(&both));
    }
    // Nodes are discovered, so that a name that no file has is no fault offline.
    bed.write("site.yml", "- hosts: pve1\n  tasks: [{ debug: { msg: x } }]\n");
    bed.cluster("{ user: root@pam, password: { env: X } }", "system");
    let fine = bed.run(&["validate", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(fine.status.code(), Some(0), "{}", said(&fine));
    bed.write("hosts", "[web]\na\n");
    bed.write("site.yml", "- hosts: wep\n  tasks: [{ debug: { msg: x } }]\n");
    let unknown = bed.run(&["validate", "site.yml", "-i", "hosts"]);
    assert!(said(&unknown).contains("did you mean `web`?"), "{}", said(&unknown));
}

#[test]
fn who_is_not_trusted_or_not_let_in_is_told_and_what_to_do() {
    let bed = Bed::new();
    bed.write("site.yml", STORAGE);
    let check = |login: &str, tls: &str| {
        bed.cluster(login, tls);
        let output = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
        (output.status.code(), said(&output))
    };
    let seen = bed.server.fingerprints.values().next().unwrap().clone();
    let wrong = seen.replace(|c: char| c.is_ascii_hexdigit(), "0");
    let (code, told) = check(FROM_ENV, &format!("{{ fingerprints: ['{wrong}'] }}"));
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains("is not trusted") && bed.server.fingerprints.values().any(|f| told.contains(f)), "{told}");
    let all: Vec<String> = bed.server.fingerprints.values().map(|f| format!("'{f}'")).collect();
    let (code, told) = check(FROM_ENV, &format!("{{ fingerprints: [{}] }}", all.join(", ")));
    assert_eq!(code, Some(3), "{told}");
    let (code, told) = check("{ user: root@pam, password: { command: [echo, wrong] } }", "{ ca_file: ca.pem }");
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains("login of root@pam") && told.contains("refused"), "{told}");
    let (code, told) = check("{ user: root@pam, password: { env: NOT_SET } }", "{ ca_file: ca.pem }");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("NOT_SET"), "{told}");
}

#[test]
fn one_apply_at_a_time_and_a_check_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (begun, go) = (path("begun"), path("go"));
    let text = format!(
        "- hosts: localhost\n  tasks:\n    - name: wait\n      shell: touch {}; until [ -e {} ]; do sleep 0.05; done\n",
        begun.display(),
        go.display()
    );
    std::fs::write(path("slow.yml"), text).unwrap();
    std::fs::write(path("quick.yml"), "- hosts: pve1\n  tasks: [{ debug: { msg: x } }]\n").unwrap();
    let converge = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(words).arg("--lab=lab").current_dir(dir.path());
        command
    };
    let mut first = converge(&["apply", "slow.yml"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    while !begun.exists() {
        assert!(first.try_wait().unwrap().is_none(), "the first apply ended early");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let second = converge(&["apply", "quick.yml"]).output().unwrap();
    let checked = converge(&["check", "quick.yml"]).output().unwrap();
    let forced = converge(&["apply", "quick.yml", "--break-lock"]).output().unwrap();
    std::fs::write(&go, "").unwrap();
    assert!(first.wait().unwrap().success());
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    assert!(said(&second).contains("another apply works on this cluster") && said(&second).contains("apply slow.yml"));
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    assert_eq!(forced.status.code(), Some(0), "{}", said(&forced));
    let after = converge(&["apply", "quick.yml"]).output().unwrap();
    assert_eq!(after.status.code(), Some(0), "{}", said(&after));
}

/// A container of this configuration on pve3, written as a hand could that does not ask Proxmox.
fn container(bed: &Bed, vmid: u32, conf: &str) {
    let folder = bed.dir.path().join("lab/pve/nodes/pve3/lxc");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{vmid}.conf")), format!("arch: amd64\nrootfs: local:0\n{conf}")).unwrap();
}

#[test]
fn what_the_cluster_tells_is_data_and_never_a_template() {
    let bed = Bed::new();
    bed.cluster(FROM_ENV, "{ ca_file: ca.pem }");
    let cluster = std::fs::read_to_string(bed.dir.path().join("cluster.yml")).unwrap();
    bed.write("cluster.yml", &format!("{cluster}vars: {{ alias: \"{{{{ pve_name | default('x') }}}}\" }}\n"));
    bed.write("secret", "hunter2");
    container(&bed, 107, "hostname: {{ lookup('file', 'secret') }}\ntags: a;b\n");
    let debug = |msg: &str| format!("- hosts: localhost\n  tasks: [{{ debug: {{ msg: \"{msg}\" }} }}]\n");
    // Also seen from elsewhere, by a variable of the inventory, and as a whole.
    for msg in
        ["{{ hostvars['ct:107'].pve_name }}", "{{ hostvars['ct:107'] | to_json }}", "{{ hostvars['ct:107'].alias }}"]
    {
        bed.write("site.yml", &debug(msg));
        let shown = bed.run(&["check", "site.yml", "-i", "cluster.yml", "-e", "x=1"]);
        assert!(!said(&shown).contains("hunter2"), "{msg}: {}", said(&shown));
        assert!(said(&shown).contains("lookup('file', 'secret')"), "{msg}: {}", said(&shown));
    }
    bed.write("site.yml", &debug("{{ hostvars['ct:107'].pve_vmid }} {{ hostvars['ct:107'].pve_tags | join('+') }}"));
    let shown = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
    assert!(said(&shown).contains("107 a+b"), "{}", said(&shown));
    bed.write("inside.yml", "- hosts: ct:107\n  tasks: [{ debug: { msg: '{{ pve_name }}' } }]\n");
    let known = bed.run(&["validate", "inside.yml", "-i", "cluster.yml"]);
    assert_eq!(known.status.code(), Some(0), "offline it is known to be there: {}", said(&known));
}

#[test]
fn a_container_of_which_nobody_knows_whether_it_runs_stays_in_its_group() {
    let bed = Bed::new();
    bed.cluster(FROM_ENV, "{ ca_file: ca.pem }");
    let cluster = std::fs::read_to_string(bed.dir.path().join("cluster.yml")).unwrap();
    let groups = "groups: { web: { containers: { tags: [web], state: running } } }\n";
    bed.write("cluster.yml", &format!("{cluster}{groups}"));
    container(&bed, 107, "hostname: a\ntags: web\n");
    bed.write("site.yml", "- hosts: web\n  tasks: [{ stat: { path: /x } }]\n");
    let list = || bed.run(&["check", "site.yml", "-i", "cluster.yml", "--list-hosts"]);
    assert!(!said(&list()).contains("ct:107"), "it is stopped: {}", said(&list()));
    let lab = bed.run(&["lab", "--dir", "lab", "break", "node-down"]);
    assert!(lab.status.success(), "{}", said(&lab));
    assert!(said(&list()).contains("ct:107"), "{}", said(&list()));
    let checked = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(checked.status.code(), Some(4), "{}", said(&checked));
    assert!(said(&checked).contains("whether ct:107 runs cannot be told"), "{}", said(&checked));
}

#[test]
fn names_that_the_cluster_does_not_have_are_faults_with_their_place() {
    let bed = Bed::new();
    bed.cluster(FROM_ENV, "{ ca_file: ca.pem }");
    let cluster = std::fs::read_to_string(bed.dir.path().join("cluster.yml")).unwrap();
    bed.write("site.yml", STORAGE);
    bed.write("cluster.yml", &format!("{cluster}  pev2: {{}}\ngroups: {{ s: {{ hosts: [pve1, pve22, ct:999] }} }}\n"));
    let told = bed.run(&["check", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(told.status.code(), Some(2), "{}", said(&told));
    for expected in ["no node `pev2`", "did you mean `pve2`?", "no node `pve22`", "cluster.yml:"] {
        assert!(said(&told).contains(expected), "{expected}:\n{}", said(&told));
    }
    // A host of another source is no mistyped node.
    bed.write("cluster.yml", &format!("{cluster}groups: {{ s: {{ hosts: [pve1, nas] }} }}\n"));
    bed.write("hosts", "nas\n");
    let fine = bed.run(&["check", "site.yml", "-i", "cluster.yml", "-i", "hosts"]);
    assert_eq!(fine.status.code(), Some(3), "{}", said(&fine));
}

#[test]
fn a_folder_of_inventories_is_not_searched_for_secrets() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::new();
    bed.cluster("{ user: root@pam, password: { file: pw } }", "{ ca_file: ca.pem }");
    let private = |name: &str, text: &str| {
        bed.write(name, text);
        let mode = PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(bed.dir.path().join(name), mode).unwrap();
    };
    std::fs::create_dir(bed.dir.path().join("all")).unwrap();
    std::fs::copy(bed.dir.path().join("cluster.yml"), bed.dir.path().join("all/cluster.yml")).unwrap();
    std::fs::copy(bed.dir.path().join("ca.pem"), bed.dir.path().join("all/ca.pem")).unwrap();
    private("all/pw", bed.server.root_password());
    private("all/other", "correct horse battery staple\n");
    bed.write("all/more.ini", "nas ansible_connection=local\n");
    bed.write("site.yml", "- hosts: all\n  tasks: [{ debug: { msg: x } }]\n");
    let listed = bed.run(&["check", "site.yml", "-i", "all", "--list-hosts"]);
    assert_eq!(listed.status.code(), Some(0), "{}", said(&listed));
    assert!(said(&listed).contains("nas") && said(&listed).contains("pve1"), "{}", said(&listed));
    for secret in [bed.server.root_password(), "horse", "BEGIN"] {
        assert!(!said(&listed).contains(secret), "{}", said(&listed));
    }
    assert!(said(&listed).contains("all/other was not read"), "what is left out is told: {}", said(&listed));
    // Without a cluster.yml, what looks like a secret is left out, too.
    std::fs::remove_file(bed.dir.path().join("all/cluster.yml")).unwrap();
    let listed = bed.run(&["check", "site.yml", "-i", "all", "--list-hosts"]);
    assert!(!said(&listed).contains(bed.server.root_password()), "{}", said(&listed));
    assert!(said(&listed).contains("all/pw was not read"), "{}", said(&listed));
}

#[test]
fn a_secret_of_the_environment_is_not_handed_to_programs() {
    let bed = Bed::new();
    bed.cluster(FROM_ENV, "{ ca_file: ca.pem }");
    bed.write("site.yml", "- hosts: localhost\n  tasks:\n    - command: env\n      register: env\n    - debug: { msg: '{{ env.stdout }}' }\n");
    let shown = bed.run(&["apply", "site.yml", "-i", "cluster.yml"]);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    assert!(said(&shown).contains("HOME=") && !said(&shown).contains("CLUSTER_PASSWORD"), "{}", said(&shown));
    // As `$(cat file)` leaves it out and `< file` does not.
    let mut command = bed.command(&["check", "site.yml", "-i", "cluster.yml", "--list-hosts"]);
    let output = command.env("CLUSTER_PASSWORD", format!("{}\n", bed.server.root_password())).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}
