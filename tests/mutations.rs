//! Everything that reads what comes from outside, fed with damaged pieces of what really came: no panic, no run-away
//! memory, and no case that takes for ever.
//!
//! `MUTATIONS=1000000 cargo test --release --test mutations` digs deeper than a run of all tests does. The seed of a
//! case that fails is printed; `SEED=… MUTATIONS=1` shows it alone.

use converge::diagnostic::Sources;
use converge::drbd::{dkms, gi, module, plan, res, resource, status};
use converge::playbook::{Context, parse_str};
use converge::pve::values::{self, Property};
use converge::pve::{Upid, Version, lxc_conf};
use converge::wire::{Numbered, Request, Response, read_frame, write_frame};
use serde_json::Value as Json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is in use, and the most that was.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Whatever the input: this much, and a hundred times its size.
const MOST_BYTES: usize = 64 << 20;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// What a parser may choke on, beside single bytes.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    ":",
    ",",
    ";",
    "=",
    "\n",
    "\r\n",
    "\t",
    " ",
    "-",
    "&a",
    "*a",
    "!!x",
    "{{",
    "}}",
    "{%",
    "%}",
    "{{ x }}",
    "18446744073709551616",
    "-1",
    "1e999",
    "NaN",
    "\u{0}",
    "\u{feff}",
    "ä",
    "\u{10ffff}",
    "null",
    "~",
    "<<: *a",
    "#",
    "@converge:",
    "99999999999999999999G",
    "%2525",
    "%",
    "\\",
    "/../",
    "on x {",
    "volume 65536 {",
    "resource r {",
    "include \"/dev/zero\";",
];

fn damaged(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + random.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + random.below(60)).min(bytes.len());
                let again = bytes[at..end].repeat(1 + random.below(30));
                bytes.splice(at..at, again);
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(200)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())].repeat(1 + random.below(300));
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    bytes
}

fn feed(name: &str, corpus: &[Vec<u8>], default_cases: u64, read: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    assert!(!corpus.is_empty(), "{name}: nothing to begin with");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, cases) = (number("SEED").unwrap_or(0), number("MUTATIONS").unwrap_or(default_cases));
    for seed in first..first + cases {
        let input = damaged(&mut Random(seed), corpus);
        let before = IN_USE.load(Relaxed);
        PEAK.store(before, Relaxed);
        let end = std::panic::catch_unwind(|| read(&input));
        let used = PEAK.load(Relaxed).saturating_sub(before);
        let shown = String::from_utf8_lossy(&input[..input.len().min(2000)]).into_owned();
        assert!(end.is_ok(), "{name}: SEED={seed} panics on\n{shown}");
        assert!(used < MOST_BYTES + 100 * input.len(), "{name}: SEED={seed} takes {used} bytes for {}", input.len());
    }
}

/// All texts in a value.
fn texts(value: &Json, found: &mut Vec<Vec<u8>>) {
    match value {
        Json::String(text) if !text.is_empty() => found.push(text.clone().into_bytes()),
        Json::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Json::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}

fn recorded(file: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captured").join(file);
    let mut found = Vec::new();
    for line in std::fs::read_to_string(&path).expect("a recording").lines() {
        texts(&serde_json::from_str(line).expect("JSON a line"), &mut found);
        found.push(line.as_bytes().to_vec());
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_drbd_says() {
    let folder = "drbd-9.3.3-utils-9.22-2026-11-22";
    let mut corpus = Vec::new();
    for file in ["commands.jsonl", "recordings.jsonl", "states.jsonl"] {
        corpus.extend(recorded(&format!("{folder}/{file}")));
    }
    feed("DRBD", &corpus, 6_000, |bytes| {
        let text = text(bytes);
        let _ = status::parse(&text);
        let _ = module::parse_proc_drbd(&text);
        let _ = module::Version::parse(&text);
        let _ = dkms::parse(&text);
        let _ = gi::parse_get_gi(&text);
        let _ = gi::parse_show_gi(&text);
        let _ = gi::parse_dump_md(&text);
        let _ = plan::parse(&text).text();
    });
}

const RES: &str = "# comment\ncommon { net { protocol C; } }\nresource \"nfs 1\" {\n options { quorum majority; }\n device /dev/drbd100 minor 100;\n meta-disk internal;\n\
 on pve1 { node-id 0; address ipv6 [fd00::1]:7000; disk /dev/vg/x; }\n on pve2 { node-id 1; address 10.0.0.2:7000; volume 0 { disk none; } }\n\
 connection-mesh { hosts pve1 pve2; }\n}\n";

#[test]
fn resource_files() {
    let mut corpus = vec![RES.as_bytes().to_vec()];
    let recorded = recorded("drbd-9.3.3-utils-9.22-2026-11-22/recordings.jsonl");
    corpus.extend(recorded.into_iter().filter(|t| text(t).contains("resource ")));
    feed(".res", &corpus, 6_000, |bytes| {
        let text = text(bytes);
        let _ = resource::File::read(&text);
        if let Ok(statements) = res::parse(&text) {
            // What is written is read as the same.
            let again = res::parse(&res::render(&statements)).expect("what we write, we read");
            assert_eq!(res::render(&again), res::render(&statements));
        }
    });
}

#[test]
fn what_proxmox_says() {
    let mut corpus = recorded("pve-9.1.7-2026-04-01.jsonl");
    corpus.extend(
        [
            "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=192.168.1.11/24,type=veth",
            "/dev/drbd100,mp=/data,shared=1,size=8G,mountoptions=noatime;discard",
            "mount=nfsd;rpc_pipefs,nesting=1",
            "pve1:2,pve2:1,pve3",
            "UPID:pve1:0002C5B4:0010F0A1:6566A0F1:vzcreate:101:root@pam:",
            "lxc.apparmor.profile: lxc-container-default-with-nfsd\nrootfs: /dev/drbd100\n[snap]\nrootfs: x\n",
        ]
        .map(|t| t.as_bytes().to_vec()),
    );
    feed("Proxmox", &corpus, 6_000, |bytes| {
        let text = text(bytes);
        for key in ["net0", "rootfs", "mp0", "features", "dev0", "startup"] {
            if let Some(shape) = values::shape_of(key)
                && let Ok(property) = Property::parse(shape, &text)
            {
                let again = Property::parse(shape, &property.to_string());
                let same = again.as_ref().is_ok_and(|again| again.differing(&property).is_empty());
                assert!(same, "{key}: {text} {property:?} {again:?}");
            }
            let _ = values::same(key, &text, Some(&Json::String(text.clone())));
        }
        let _ = values::parse_size(&text);
        let _ = values::node_priorities(&text);
        let _ = values::set(&text);
        let _ = text.parse::<Upid>().map(|upid| upid.path());
        let _ = lxc_conf::parse_raw(&text);
        let raw = lxc_conf::raw_lines(&text);
        let _ = lxc_conf::with_raw(&text, &raw);
        if let Ok(json) = serde_json::from_str::<Json>(&text) {
            let _ = Version::from_answer(&json);
        }
    });
}

#[test]
fn frames_of_a_link() {
    let mut corpus = Vec::new();
    for (id, body) in
        [Response::Done, Response::Alive, Response::Error { message: "no".into() }].into_iter().enumerate()
    {
        let mut frame = Vec::new();
        write_frame(&mut frame, &Numbered { id: id as u64, body }).expect("a frame");
        corpus.push(frame);
    }
    let mut hello = b"Welcome to Debian\r\n\x1b[32mroot@pve1\x1b[0m:~# ".to_vec();
    write_frame(&mut hello, &Numbered { id: 1, body: &Request::HandlerDone { handler: "restart".into() } })
        .expect("a frame");
    corpus.push(hello);
    feed("wire", &corpus, 6_000, |bytes| {
        let mut input = bytes;
        while let Ok(Some(_)) = read_frame::<Numbered<Response>>(&mut input, &mut |_| {}) {}
        let mut input = bytes;
        while let Ok(Some(_)) = read_frame::<Numbered<Request>>(&mut input, &mut |_| {}) {}
    });
}

#[test]
fn playbooks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let read = |path: &Path| std::fs::read(path).expect("a playbook");
    let mut corpus = vec![read(&folder.join("drbd-nfs.yml")), read(&folder.join("cluster.yml"))];
    for kind in converge::tasks::registry::KINDS {
        corpus.push(format!("- hosts: all\n  tasks:\n{}", indented(kind.example)).into_bytes());
    }
    feed("playbook", &corpus, 1_500, |bytes| {
        let mut sources = Sources::default();
        match parse_str("mutated.yml", &text(bytes), &mut sources, &Context::default()) {
            Ok(_) => {}
            Err(faults) => assert!(!sources.show(&faults, false).is_empty()),
        }
    });
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Through files, as they come: INI, YAML and `cluster.yml`; and what the hookscript reads on a node.
#[test]
fn inventories_and_what_the_hook_reads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut corpus = vec![
        std::fs::read(folder.join("playbooks/cluster.yml")).expect("a cluster"),
        b"[nodes]\npve[1:3:2] ansible_host=10.0.0.1 x='a b' y=[1, 2]\n[all:vars]\nz={'k': 1.5}\n[g:children]\nnodes\n"
            .to_vec(),
        b"all:\n  children:\n    nodes:\n      hosts:\n        pve[01:03]: {ansible_port: 22}\n".to_vec(),
        b"containers:\n  101: { mode: advisory, wait_s: 5 }\n".to_vec(),
        b"arch: amd64\nrootfs: /dev/drbd100,size=8G\nmp0: /dev/vg/x,mp=/data\n\n[snap]\nrootfs: /dev/x\n".to_vec(),
    ];
    corpus.push(corpus.concat());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files: Vec<_> = ["hosts", "hosts.yml", "cluster.yml"].map(|name| dir.path().join(name)).to_vec();
    feed("inventory", &corpus, 400, |bytes| {
        for file in &files {
            std::fs::write(file, bytes).expect("written");
            let mut sources = Sources::default();
            let given = file.display().to_string();
            if let Err(faults) = converge::inventory::load(&[given], &[], &mut sources) {
                assert!(!sources.show(&faults, false).is_empty());
            }
        }
        let text = text(bytes);
        let _ = converge::hook::container::mounted(&text);
        if let Err((sources, faults)) = converge::hook::config::read(&text, 101) {
            assert!(!sources.show(&faults, false).is_empty());
        }
    });
}
