//! The words of plays, tasks and blocks with their meaning: the one table that the schema and `explain` read.

/// What a word takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Text,
    /// Must be known before anything runs.
    Bool,
    Number,
    /// A word or a list of words.
    Words,
    /// An expression, a list of them that all must hold, or true or false.
    Condition,
    /// A mapping of variables.
    Vars,
    /// A list, or a template that gives one.
    Loop,
    LoopControl,
    /// A list of tasks.
    Tasks,
    /// A file name, or a mapping with `file`.
    TaskFile,
    /// A mapping with `name`.
    Role,
    Roles,
    /// Fields of the kind, beside those under its name.
    Args,
    Meta,
    Serial,
}

pub type Word = (&'static str, Takes, &'static str);

use Takes::{
    Args, Bool, Condition, Loop, LoopControl, Meta, Number, Role, Roles, Serial, TaskFile, Tasks, Text, Vars, Words,
};

/// Said by plays, and by tasks, blocks and includes.
pub const SHARED: &[Word] = &[
    (
        "any_errors_fatal",
        Bool,
        "A failure on one host ends the play on all hosts, unless a `rescue` around it sees to it.",
    ),
    (
        "become",
        Bool,
        "Become root by `sudo`, where the login is not root. A run has one user on a host: said of a task, it must not differ from its play.",
    ),
    ("become_method", Text, "`sudo`; there is no other."),
    ("become_user", Text, "`root`; other users are refused."),
    ("check_mode", Bool, "`true`: only look, also in an apply."),
    ("environment", Vars, "Environment variables for the programs that are run."),
    ("ignore_errors", Bool, "Go on with the host although the task failed."),
    ("ignore_unreachable", Bool, "Go on with the other tasks although the host could not be reached."),
    ("name", Text, "What people read while it runs. May hold templates."),
    ("no_log", Bool, "Show neither values nor differences."),
    ("run_once", Bool, "Run on the first host only; what is registered holds for all."),
    (
        "tags",
        Words,
        "Names to choose tasks by, with `--tags` and `--skip-tags`. `always` and `never` have a meaning of their own.",
    ),
    ("throttle", Number, "At most this many hosts at a time."),
    ("timeout", Number, "Seconds after which the task counts as failed."),
    ("vars", Vars, "Variables for what is inside. They may use each other and are rendered when they are used."),
];

pub const PLAY: &[Word] = &[
    (
        "hosts",
        Words,
        "Where to run: `nodes`, a node's name, `cluster` (the API), `ct:101` (inside a container), a group, or a pattern as in Ansible.",
    ),
    (
        "connection",
        Text,
        "`ssh`, `local` or `pve_shell`. As all words of this sort weaker than every variable (`ansible_connection`).",
    ),
    ("port", Number, "Port of ssh, where no `ansible_port` says otherwise."),
    ("remote_user", Text, "Who logs in by ssh, where no `ansible_user` says otherwise."),
    ("vars_files", Words, "Files of variables, relative to the playbook; later ones win."),
    ("pre_tasks", Tasks, "Tasks before the roles. Handlers notified by them run before the roles."),
    ("roles", Roles, "Roles, looked for in `roles/` beside the playbook."),
    ("tasks", Tasks, "Tasks, in order."),
    ("post_tasks", Tasks, "Tasks after the handlers of `tasks`."),
    ("handlers", Tasks, "Tasks that run once at the end of a section if something notified them."),
    ("force_handlers", Bool, "Run notified handlers although a task failed."),
    ("gather_facts", Bool, "Facts are gathered when a task uses them; `true` gathers them at the beginning."),
    ("max_fail_percentage", Number, "End the play when more than this share of the hosts has failed."),
    ("serial", Serial, "So many hosts at a time: a number, a percentage, or a list of them of which the last repeats."),
    ("strategy", Text, "`linear`: every task runs on all hosts before the next begins. There is no other."),
];

pub const TASK: &[Word] = &[
    ("when", Condition, "Run only if this holds."),
    ("loop", Loop, "Run once for each item, which is `item`."),
    ("with_items", Loop, "`loop`, with items that are lists taken apart."),
    ("loop_control", LoopControl, "The names of the loop's variables, the label shown, a pause in between."),
    ("register", Text, "A variable for the result: `changed`, `failed`, `skipped`, and what the kind tells."),
    ("notify", Words, "Handlers to run, by name or by what they listen to, if this changed something."),
    ("listen", Words, "For handlers: words that notify it beside its name."),
    ("changed_when", Condition, "Counts as changed only if this holds."),
    ("failed_when", Condition, "Counts as failed only if this holds."),
    ("until", Condition, "Try again until this holds."),
    ("retries", Number, "How often to try again: until `until` holds (3), or without it until it does not fail."),
    ("delay", Number, "Seconds between tries (5)."),
    ("delegate_to", Text, "Run on this host instead, with the variables of the play's host."),
    ("args", Args, "Fields of the kind beside a bare string: `command: touch /x` with `args: {creates: /x}`."),
];

/// What stands in the place of a kind.
pub const DIRECTIVES: &[Word] = &[
    ("block", Tasks, "Tasks that share conditions and variables."),
    ("import_tasks", TaskFile, "The tasks of a file, as if they stood here."),
    ("include_tasks", TaskFile, "The tasks of a file, read when their turn comes; may be looped over."),
    ("import_role", Role, "A role, as if its tasks stood here."),
    ("include_role", Role, "A role, when its turn comes; may be looped over."),
    ("include_vars", TaskFile, "Variables from a file, for the rest of the run."),
    ("meta", Meta, "Something about the run itself."),
];

/// Beside `block`.
pub const BLOCK: &[Word] = &[
    ("rescue", Tasks, "Tasks to run where one of the block failed; the failure is then forgiven."),
    ("always", Tasks, "Tasks to run in any case."),
];

pub const META: &[(&str, &str)] = &[
    ("flush_handlers", "Run the notified handlers now."),
    ("end_play", "End the play for all hosts."),
    ("end_batch", "End it for the hosts of this batch (`serial`)."),
    ("end_host", "End it for this host."),
    ("clear_host_errors", "Take failed hosts in again."),
    ("clear_facts", "Gather facts anew when something uses them."),
    ("reset_connection", "Connect anew."),
    ("noop", "Nothing."),
];

pub const LOOP_CONTROL: &[Word] = &[
    ("loop_var", Text, "The name of the item (`item`)."),
    ("index_var", Text, "A variable that counts from 0."),
    ("label", Text, "Shown instead of the item. May hold templates."),
    ("pause", Number, "Seconds between items."),
    ("extended", Bool, "Provide `ansible_loop`."),
];
