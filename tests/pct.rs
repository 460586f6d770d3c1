//! Links into containers through the node that runs them: a stand-in of `pct` with the real one's words, on nodes that
//! are two real sshds.

#[path = "support/sshd.rs"]
mod sshd;

use sshd::{Bed, said};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Two nodes; `where` names the one on which container 101 is, by its port.
fn cluster() -> Option<(Bed, u16, u16)> {
    let mut bed = Bed::new()?;
    let (one, two) = (bed.serve(), bed.serve());
    let dir = bed.dir.path().display().to_string();
    let program = |name: &str, text: &str| {
        let path = bed.write(&format!("bin/{name}"), &text.replace("DIR", &dir));
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    program(
        "pct",
        "#!/bin/sh\n[ \"$1 $3\" = 'exec --' ] || exit 9\nid=$2; shift 3\n\
         if [ \"$(/bin/cat DIR/where)\" != \"$NODE\" ]; then\n\
         echo \"Configuration file 'nodes/$NODE/lxc/$id.conf' does not exist\" >&2; exit 2; fi\n\
         if [ -e DIR/stopped ]; then echo \"container '$id' not running!\" >&2; exit 255; fi\n\
         echo \"$NODE\" >> DIR/entered\nexec \"$@\"\n",
    );
    program(
        "cat",
        "#!/bin/sh\n[ \"$*\" = /etc/pve/.vmlist ] || exec /bin/cat \"$@\"\nif [ \"$(/bin/cat DIR/told)\" = ONE ]; then n=one; else n=two; fi\n\
         echo \"{\\\"version\\\":1,\\\"ids\\\":{\\\"101\\\":{\\\"node\\\":\\\"$n\\\",\\\"type\\\":\\\"lxc\\\"}}}\"\n",
    );
    bed.write(
        "hosts",
        &format!(
            "[nodes]\n{}{}[all:vars]\nconverge_agent_dir={dir}/agent\n",
            bed.host("one", one, ""),
            bed.host("two", two, "")
        ),
    );
    bed.write("where", &one.to_string());
    bed.write("told", "ONE");
    Some((bed, one, two))
}

#[test]
fn a_container_is_entered_where_it_runs_and_followed_when_it_moves() {
    let Some((bed, one, two)) = cluster() else { return };
    let dir = bed.dir.path().display().to_string();
    let text = "
- hosts: ct:101
  tasks:
    - name: before
      shell: echo $PPID > DIR/agent-pid
      args: { creates: DIR/agent-pid }
- hosts: one
  tasks:
    - name: the container moves, and everything in it ends
      shell: printf PORT > DIR/where; echo TWO > DIR/told; kill -KILL $(/bin/cat DIR/agent-pid); sleep 0.5; touch DIR/moved
      args: { creates: DIR/moved }
- hosts: ct:101
  tasks:
    - name: after
      copy: { dest: DIR/after, content: inside }
";
    bed.write("site.yml", &text.replace("DIR", &dir).replace("PORT", &two.to_string()));
    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert_eq!(fs::read_to_string(bed.path("after")).unwrap(), "inside");
    let entered = fs::read_to_string(bed.path("entered")).unwrap();
    let nodes: Vec<&str> = entered.lines().collect();
    assert_eq!(nodes.first().copied(), Some(one.to_string().as_str()), "{nodes:?}");
    assert_eq!(nodes.last().copied(), Some(two.to_string().as_str()), "{nodes:?}");
}

#[test]
fn a_container_that_is_just_moving_is_asked_for_again_and_a_stopped_one_is_not_running() {
    let Some((bed, _, two)) = cluster() else { return };
    let dir = bed.dir.path().display().to_string();
    bed.write(
        "site.yml",
        &format!("- hosts: ct:101\n  tasks:\n    - name: a file\n      copy: {{ dest: {dir}/made, content: x }}\n"),
    );
    // What the nodes tell is behind by two seconds.
    bed.write("where", &two.to_string());
    let told = bed.path("told");
    let late = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(2));
        fs::write(told, "TWO").unwrap();
    });
    let applied = bed.converge(&["apply", "site.yml", "-i", "hosts"]);
    late.join().unwrap();
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert!(bed.path("made").exists());
    bed.write("stopped", "");
    let checked = bed.converge(&["check", "site.yml", "-i", "hosts"]);
    assert_eq!(checked.status.code(), Some(4), "{}", said(&checked));
    assert!(said(&checked).contains("container 101 is stopped on two"), "{}", said(&checked));
    bed.write("site.yml", "- hosts: ct:999\n  tasks: [{ command: id }]\n");
    let unknown = bed.converge(&["check", "site.yml", "-i", "hosts"]);
    assert!(said(&unknown).contains("the cluster has no container 999"), "{}", said(&unknown));
}
