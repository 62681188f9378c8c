//! The keys of a DAG file, each declared once: its name, what its value is, and what it is for.
//!
//! Reading a file, the suggestions in its messages and the JSON Schema all come from these tables.

/// What the value of a key is, as far as it can be said without the rest of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Id,
    Text,
    Texts,
    Schedule,
    Date,
    Flag,
    /// A whole number of at least this.
    Count(u32),
    Priority,
    Duration,
    /// A duration that is not zero.
    Timeout,
    Backoff,
    TriggerRule,
    Params,
    Pools,
    Notices,
    NotifyOn,
    Command,
    Url,
    Condition,
    /// A condition, or what it would come to.
    Predicate,
    ForEach,
    Tasks,
    Rules,
    Each,
    Addition,
    AddedTasks,
    Script,
    Dependencies,
    Location,
    Engine,
    /// One part of a path.
    Segment,
    /// Parts of a path, or none.
    Folder,
}

/// A key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) doc: &'static str,
}

/// The keys of one kind of mapping.
pub(super) trait Keys: Copy + 'static {
    /// The mapping, as messages name it.
    const OWNER: &'static str;
    /// In the order of the keys themselves.
    const TABLE: &'static [Key];
    /// Keys of the format that this version cannot honour, and therefore refuses.
    const NOT_YET: &'static [&'static str];
    /// Those that have to be there, each as the bit of its place.
    const REQUIRED: u32 = required(Self::TABLE);

    fn find(name: &str) -> Option<Self>;

    /// The key's place in the table.
    fn index(self) -> usize;
}

const fn required(table: &[Key]) -> u32 {
    let (mut bits, mut at) = (0, 0);
    while at < table.len() {
        if table[at].required {
            bits |= 1 << at;
        }
        at += 1;
    }
    bits
}

macro_rules! keys {
    (
        $(#[$meta:meta])*
        $keys:ident, $owner:literal, not yet: $not_yet:expr;
        $($key:ident = $name:literal, $kind:expr, $required:literal, $doc:literal;)*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $keys {
            $($key,)*
        }

        impl Keys for $keys {
            const OWNER: &'static str = $owner;
            const TABLE: &'static [Key] = &[
                $(Key { name: $name, kind: $kind, required: $required, doc: $doc },)*
            ];
            const NOT_YET: &'static [&'static str] = &$not_yet;

            fn find(name: &str) -> Option<Self> {
                match name {
                    $($name => Some($keys::$key),)*
                    _ => None,
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

keys! {
    /// Keys of a DAG.
    DagKey, "a DAG", not yet: [];
    DagId = "dag_id", Kind::Id, false,
        "The DAG's name; without it, the file's name without its suffix.";
    Description = "description", Kind::Text, false, "Free text for people.";
    Owner = "owner", Kind::Text, false, "Who to ask about this DAG.";
    Tags = "tags", Kind::Texts, false, "Labels for filtering.";
    ScheduleInterval = "schedule_interval", Kind::Schedule, false,
        "When the DAG should run: five cron fields or one of Airflow's presets such as `@daily`. Empty is never.";
    StartDate = "start_date", Kind::Date, false,
        "The date (2024-01-31) or time (2024-01-31T12:00:00Z) before which the DAG does not run. Empty is none.";
    Processors = "processors", Kind::Count(1), false,
        "At most this many tasks in flight; without it, the DAG has no limit of its own.";
    Retries = "retries", Kind::Count(0), false, "`retries` of every task that has none of its own.";
    RetryDelay = "retry_delay", Kind::Duration, false, "`retry_delay` of every task that has none of its own.";
    RetryBackoff = "retry_backoff", Kind::Backoff, false, "`retry_backoff` of every task that has none of its own.";
    MaxRetryDelay = "max_retry_delay", Kind::Timeout, false,
        "`max_retry_delay` of every task that has none of its own.";
    Timeout = "timeout", Kind::Timeout, false, "How long a whole run may take; no limit unless said.";
    Pools = "pools", Kind::Pools, false,
        "Pools by name with their slots; plugins.toml may have the same and others, and its sizes win.";
    Notify = "notify", Kind::Notices, false, "Who is told how a run went: commands and webhooks.";
    ScriptCache = "script_cache", Kind::Flag, false, "Whether scripts are kept in the script cache.";
    ExpireCache = "expire_cache", Kind::Duration, false, "How long a cached script stays valid.";
    Params = "params", Kind::Params, false,
        "Values for placeholders of every task; a task's own `params` come first.";
    MaxTasks = "max_tasks", Kind::Count(1), false,
        "A run whose graph would grow beyond so many tasks fails; 1,000,000 unless said.";
    Rules = "rules", Kind::Rules, false,
        "What is added to the graph while the run goes on, and when.";
    Tasks = "tasks", Kind::Tasks, true, "The tasks; at least one.";
}

keys! {
    /// Keys of a task.
    TaskKey, "a task", not yet: [];
    TaskId = "task_id", Kind::Id, true, "The task's name, unique in the DAG.";
    Type = "type", Kind::Id, false, "What kind of work it is, for rules that look at all tasks of a kind.";
    Script = "script", Kind::Script, false, "What to run, and the engine that runs it; or `dag`.";
    Dag = "dag", Kind::Text, false, "Another DAG file, whose tasks this one stands for: its path from this file's folder.";
    Params = "params", Kind::Params, false, "Values for placeholders in the script.";
    Dependencies = "dependencies", Kind::Dependencies, false,
        "The ids of the tasks that have to end before this one starts.";
    Retries = "retries", Kind::Count(0), false,
        "How often the task is tried again after its first failed attempt; 0 unless said.";
    RetryDelay = "retry_delay", Kind::Duration, false, "The wait before a retry; one second unless said.";
    RetryBackoff = "retry_backoff", Kind::Backoff, false,
        "How the wait grows from one retry to the next: `fixed` (unless said) or `exponential`.";
    MaxRetryDelay = "max_retry_delay", Kind::Timeout, false,
        "No wait before a retry is longer, however it grows; one hour unless said.";
    Timeout = "timeout", Kind::Timeout, false, "How long one attempt may take; no limit unless said.";
    TriggerRule = "trigger_rule", Kind::TriggerRule, false,
        "Which states of its dependencies let the task start; `all_success` unless said.";
    When = "when", Kind::Condition, false,
        "A condition in CEL over the states and results of upstream tasks and the parameters; a false one skips the task.";
    ForEach = "for_each", Kind::ForEach, false,
        "A list or an object, or a CEL expression that gives one: the task is run once for each of its items. Or several lists, \
         `{zip: {name: list}}` or `{cross: {name: list}}`, or `{instances_of: task}`.";
    MaxActive = "max_active_tis_per_dagrun", Kind::Count(1), false,
        "At most this many instances of the mapped task run at once; no limit unless said.";
    Adds = "adds", Kind::Texts, false,
        "The types of the tasks that its engine may add to the graph while the task runs.";
    Teardown = "teardown", Kind::Flag, false,
        "Whether the task takes down what its dependencies have set up: it runs if one of them ran, whatever happened.";
    OnFailureFailDagrun = "on_failure_fail_dagrun", Kind::Flag, false,
        "Whether the run fails if this teardown does; `false` unless said.";
    Pool = "pool", Kind::Id, false, "The pool of which the task needs a slot.";
    Priority = "priority", Kind::Priority, false, "Of tasks that could start, the greater one does; 0 unless said.";
    ExpectedDuration = "expected_duration", Kind::Duration, false,
        "How long the task is expected to take, for ordering until its past runs tell.";
}

keys! {
    /// Keys of a rule.
    RuleKey, "a rule", not yet: [];
    RuleId = "rule_id", Kind::Id, false, "What messages call the rule; else it is numbered.";
    Each = "each", Kind::Each, false,
        "The rule is applied once for each of these tasks: `{type: name}` or `{instances_of: task}`. Without it, once.";
    When = "when", Kind::Predicate, false,
        "A condition in CEL over the graph: the rule is applied when it is true.";
    Add = "add", Kind::Addition, true, "What is added.";
}

keys! {
    /// Keys of what a rule adds.
    AdditionKey, "an addition", not yet: [];
    Tasks = "tasks", Kind::AddedTasks, false, "Tasks.";
    Rules = "rules", Kind::Rules, false, "Further rules.";
}

keys! {
    /// Keys of what a rule is applied to one by one.
    EachKey, "`each`", not yet: [];
    Type = "type", Kind::Id, false, "All tasks of this type.";
    InstancesOf = "instances_of", Kind::Id, false, "The instances of this mapped task.";
}

keys! {
    /// Keys of a script that is spelled out.
    ScriptKey, "a script", not yet: [];
    Engine = "engine", Kind::Engine, true, "The engine's name in plugins.toml.";
    Inline = "inline", Kind::Text, false, "The script itself, for short ones.";
    Location = "location", Kind::Location, false, "The kind of place where the script's text lives.";
    Bucket = "bucket", Kind::Segment, false, "The bucket, or the top folder of the `local` location.";
    Folder = "folder", Kind::Folder, false, "The folder in the bucket; `a/b` is a folder in a folder.";
    Name = "name", Kind::Segment, false, "The script's name without the engine's suffix.";
}

keys! {
    /// Keys of a notice.
    NotifyKey, "a notice", not yet: [];
    On = "on", Kind::NotifyOn, false,
        "What to tell of: `success`, `failure`, `deadline`, or a list of them; failure and deadline unless said.";
    Command = "command", Kind::Command, false,
        "The program and its arguments, or a text that `/bin/sh -c` runs.";
    Webhook = "webhook", Kind::Url, false, "The http:// or https:// URL to which the notice is posted.";
}

/// The mapping that has a key of this name, if one does.
pub(super) fn owner_of(name: &str) -> Option<&'static str> {
    fn has<K: Keys>(name: &str) -> Option<&'static str> {
        K::find(name).map(|_| K::OWNER)
    }
    has::<DagKey>(name)
        .or_else(|| has::<TaskKey>(name))
        .or_else(|| has::<ScriptKey>(name))
        .or_else(|| has::<NotifyKey>(name))
        .or_else(|| has::<RuleKey>(name))
}
