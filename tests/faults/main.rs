//! Every fault that `lab break` offers, through the real binary: check names it, apply heals it or says what only a
//! person may decide, and nobody hangs.

mod cases;
mod ground;

use cases::{HA_ERROR, REFERENCE, RESOURCE, STORAGE_HUNG, Says};
use ground::Ground;
use std::time::{Duration, Instant};

const EXTRA: &str = r#"
- name: What the reference system does not need
  hosts: nodes
  tasks:
    - name: Mount rules
      apparmor_lines:
        lines:
          - mount fstype=nfsd,
          - mount fstype=rpc_pipefs,
    - name: Judged by what cannot be known yet
      command: /usr/bin/true
      register: answer
    - name: It said nothing
      assert:
        that: answer.stdout == ""
- name: Hooks
  hosts: cluster
  tasks:
    - name: Hook
      hookscript:
        vmid: 101
"#;

/// The container is moved away from where it runs.
const ELSEWHERE: &str = r#"
- name: Elsewhere
  hosts: cluster
  tasks:
    - name: Only there
      ha_group:
        name: nfs1
        nodes: [pve2]
        resources: ["ct:101"]
        restricted: true
        nofailback: true
"#;

#[test]
fn every_fault_is_named_and_healed_or_left_to_a_person() {
    let ground = Ground::converged();
    let wrong = std::thread::scope(|scope| {
        let apart = scope.spawn(|| {
            let mut wrong = Vec::new();
            wrong.extend(held_primary(&ground).err().map(|why| format!("held-primary: {why}")));
            wrong.extend(beside_the_reference(&ground).err());
            wrong.extend(stopped_everywhere(&ground).err());
            wrong.extend(ha_error(&ground).err().map(|why| format!("ha-error: {why}")));
            wrong
        });
        let hung = scope.spawn(|| {
            let content = hung_content(&ground).err();
            let wrong = ground.play(&STORAGE_HUNG).err().into_iter().chain(content);
            wrong.map(|why| format!("storage-hung: {why}")).collect::<Vec<_>>()
        });
        let mut wrong = Vec::new();
        for case in REFERENCE {
            let since = Instant::now();
            if let Err(why) = ground.play(case) {
                wrong.push(format!("{}: {why}", case.fault));
            }
            eprintln!("{}: {} ms", case.fault, since.elapsed().as_millis());
        }
        wrong.extend(hung.join().unwrap_or_else(|_| vec!["a run did not end in time".into()]));
        wrong.extend(apart.join().unwrap_or_else(|_| vec!["a run did not end in time".into()]));
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The device stays Primary where it is held, so the container cannot start elsewhere.
fn held_primary(ground: &Ground) -> Result<(), String> {
    let lab = ground.copy("held-primary");
    ground.lab(&lab, &["break", "held-primary"]);
    // The container runs where the device is held: nothing is wrong yet.
    ground.on(&lab, "check", &ground.playbook).expect("check while it runs there", 0, &[])?;
    let elsewhere = ground.written("elsewhere.yml", ELSEWHERE);
    ground.on(&lab, "apply", &elsewhere).expect("the move", 0, &[])?;
    let gave_up: Says = ("HA looks after", "cluster", "blocked", "another node that is still Primary");
    // It is named as soon as the container belongs elsewhere, and who holds it is a person's to decide.
    let held: Says = (RESOURCE, "pve1", "blocked", "which belongs to pve2");
    // The HA manager takes some seconds to move it and to give up.
    let until = Instant::now() + Duration::from_secs(60);
    while !ground.on(&lab, "check", &ground.playbook).says(&held) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
    }
    while !ground.on(&lab, "check", &ground.playbook).says(&gave_up) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
    }
    ground.on(&lab, "check", &ground.playbook).expect("check", 1, &[held, gave_up])?;
    ground.on(&lab, "apply", &ground.playbook).expect("apply", 1, &[held, gave_up])
}

const HA_STATE: &str = "
- hosts: cluster
  tasks:
    - name: Wanted state
      ha_resource: { sid: 'ct:101', state: STATE }
";

/// A person is told what to do about a service in error, and that heals it.
fn ha_error(ground: &Ground) -> Result<(), String> {
    let lab = ground.copy("ha-error");
    ground.lab(&lab, &["break", "ha-error"]);
    ground.on(&lab, "check", &ground.playbook).expect("check", 1, HA_ERROR)?;
    let apply = ground.on(&lab, "apply", &ground.playbook);
    apply.expect("apply", 1, HA_ERROR)?;
    // The container itself runs on.
    apply.expect("apply", 1, &[("Container 101", "cluster", "ok", "")])?;
    for state in ["disabled", "started"] {
        let wanted = ground.written(&format!("ha-{state}.yml"), &HA_STATE.replace("STATE", state));
        ground.on(&lab, "apply", &wanted).expect(state, 0, &[])?;
    }
    ground.on(&lab, "apply", &ground.playbook).expect("apply after it was mended", 0, &[])?;
    ground.on(&lab, "check", &ground.playbook).expect("check after it was mended", 0, &[])
}

/// What asks a node for the content of a storage that hangs is told which one, within Proxmox's own limit.
fn hung_content(ground: &Ground) -> Result<(), String> {
    let lab = ground.copy("hung-content");
    ground.lab(&lab, &["break", "storage-hung"]);
    let text = "- hosts: cluster\n  tasks:\n    - name: A template\n      \
                pve_template: { storage: nfs1, template: debian-13-standard }\n";
    let wanted = ground.written("template.yml", text);
    let named: Says = ("A template", "cluster", "blocked", "storage nfs1 hangs on pve1");
    ground.on(&lab, "apply", &wanted).expect("apply", 1, &[named])
}

/// Faults in what only an extra playbook describes, and of a disk before it is DRBD's.
fn beside_the_reference(ground: &Ground) -> Result<(), String> {
    let extra = ground.written("extra.yml", EXTRA);
    let lab = ground.copy("extra");
    // The result of a command is not known before it runs: no verdict on it.
    let unknown: Says = ("It said nothing", "pve1", "skipped", "");
    ground.on(&lab, "check", &extra).expect("extra: first check", 3, &[unknown])?;
    ground.on(&lab, "apply", &extra).expect("extra: apply", 0, &[])?;
    ground.lab(&lab, &["break", "apparmor-line-removed"]);
    let drift: Says = ("Mount rules", "pve3", "drifted", "");
    ground.on(&lab, "check", &extra).expect("apparmor-line-removed: check", 3, &[drift])?;
    let healed: Says = ("Mount rules", "pve3", "changed", "");
    ground.on(&lab, "apply", &extra).expect("apparmor-line-removed: apply", 0, &[healed])?;
    let clean: Says = ("Mount rules", "pve3", "ok", "");
    ground.on(&lab, "check", &extra).expect("apparmor-line-removed: check after apply", 3, &[clean])?;

    let lab = ground.temp.path().join("foreign");
    ground.lab(&lab, &["break", "foreign-disk"]);
    let kept: Says = (RESOURCE, "pve3", "blocked", "Metadata is never created over data");
    let apply = ground.on(&lab, "apply", &ground.playbook);
    apply.expect("foreign-disk: apply", 1, &[kept])?;
    if apply.told().contains("wipefs") {
        return Err(format!("foreign-disk: dangerous advice: {}", apply.told()));
    }
    ground.on(&lab, "check", &ground.playbook).expect("foreign-disk: check after apply", 1, &[kept])
}

/// One task stops DRBD on all nodes at once: only as many stop as the others can do without, and check knows which.
fn stopped_everywhere(ground: &Ground) -> Result<(), String> {
    for (what, task) in [
        ("systemd", "systemd: { name: drbd@nfs1.target, state: stopped }"),
        ("command", "command: drbdadm down nfs1"),
        ("shell", "shell: drbdadm down nfs1 || true"),
    ] {
        let lab = ground.copy(&format!("stopped-{what}"));
        let stop = ground.written(
            &format!("stop-{what}.yml"),
            &format!("- hosts: nodes\n  tasks:\n    - name: stop\n      {task}\n"),
        );
        let check = ground.on(&lab, "check", &stop);
        let apply = ground.on(&lab, "apply", &stop);
        for (ran, moved) in [(&check, "drifted"), (&apply, "changed")] {
            let with = |outcome: &str| ran.results().iter().filter(|r| r["outcome"] == outcome).count();
            if (ran.exit, with(moved), with("blocked")) != (1, 1, 2) || check.moved() != ran.moved() {
                return Err(format!("{what} on all nodes at once, {moved}: {}", ran.told()));
            }
        }
        // One node does not vote any more, and the system still serves.
        ground.on(&lab, "apply", &ground.playbook).expect("apply after the stop", 0, &[])?;
    }
    Ok(())
}
