//! DAGs that grow while they run: mapping, what is shown of it, and what is left of it after a crash.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use oxidag_tests::Sandbox;
use oxidag_tests::running::Running;
use serde_json::{Value, json};

/// Runs a DAG to its end, as the run `r`.
#[track_caller]
fn run(sandbox: &Sandbox, dag: &str, status: i32) -> Value {
    sandbox.write("dag.yaml", dag);
    let _ = sandbox.oxidag(&["run", "dag.yaml", "--run-id", "r", "--format", "quiet"]).expect_status(status);
    shown(sandbox)
}

fn shown(sandbox: &Sandbox) -> Value {
    sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json()
}

/// `name state` of each task.
fn states(run: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let tasks = run["tasks"].as_array().unwrap().iter();
    tasks.map(|task| format!("{} {}", word(&task["task_id"]), word(&task["state"]))).collect()
}

fn log(sandbox: &Sandbox, task: &str) -> String {
    sandbox.oxidag(&["runs", "logs", "r", task]).expect_status(0).stdout
}

const MAPPED: &str = r#"
tasks:
- task_id: list
  script: {engine: noop, inline: ""}
  params: {result: {months: ["2024-01", "2024-02"]}}
- task_id: extract
  dependencies: [list]
  for_each: tasks.list.result.months
  params: {month: "{item}", place: "{index}", say: "{key} at {index}"}
  script: {engine: shell, inline: "echo {say}; echo \"$place\" > $OXIDAG_RESULT"}
- task_id: load
  for_each: {instances_of: extract}
  params: {month: "{item}"}
  script: {engine: shell, inline: "echo loads {month}"}
- task_id: merge
  dependencies: [load]
  when: tasks.extract.result == [0, 1]
  script: {engine: noop, inline: ""}
- task_id: nothing
  for_each: []
  script: {engine: noop, inline: ""}
"#;

#[test]
fn a_task_is_run_for_each_item_that_another_one_left() {
    let sandbox = Sandbox::new();
    let shown = run(&sandbox, MAPPED, 0);
    let states = states(&shown);
    for task in [
        "extract",
        "extract[2024-01]",
        "extract[2024-02]",
        "load[2024-01]",
        "load[2024-02]",
        "merge",
        "nothing",
    ] {
        assert!(states.contains(&format!("{task} success")), "{task}: {states:?}");
    }
    assert_eq!(states.len(), 9);
    assert!(log(&sandbox, "extract[2024-02]").contains("2024-02 at 1"));
    assert!(log(&sandbox, "load[2024-01]").contains("loads 2024-01"));
    let tasks = shown["tasks"].as_array().unwrap();
    let from = |name: &str| tasks.iter().find(|task| task["task_id"] == name).unwrap()["grown_from"].clone();
    assert_eq!((from("extract"), from("extract[2024-01]")), (Value::Null, json!("extract")));
}

#[test]
fn what_grew_is_shown_from_what_it_grew() {
    let sandbox = Sandbox::new();
    run(&sandbox, MAPPED, 0);
    let table = sandbox.oxidag(&["runs", "show", "r"]).expect_status(0).stdout;
    assert!(table.contains("FROM"), "{table}");
    let chart = sandbox.oxidag(&["runs", "gantt", "r"]).expect_status(0).stdout;
    assert!(chart.contains("\n  extract[2024-01]"), "{chart}");
    let graph = sandbox.oxidag(&["graph", "r"]).expect_status(0).stdout;
    for line in [
        r#""extract" -> "extract[2024-01]" [style=dashed];"#,
        r#""extract[2024-01]" -> "load[2024-01]";"#,
        r#""load[2024-02]" -> "merge";"#,
    ] {
        assert!(graph.contains(line), "{graph}");
    }
    let _ = sandbox.oxidag(&["graph", "r", "--frames", "frames"]).expect_status(0);
    let pictures: Vec<String> = (0..5)
        .map(|number| {
            std::fs::read_to_string(sandbox.path().join(format!("frames/{number:05}.svg"))).unwrap()
        })
        .collect();
    let boxes = |picture: &String| picture.matches("<g><title>").count();
    assert_eq!((boxes(&pictures[0]), boxes(&pictures[4])), (5, 9));
}

#[test]
fn one_instance_that_fails_is_tried_again_and_keeps_only_what_waits_for_it() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- task_id: load
  for_each: {bad: {fail: 1}, good: {fail: 0}, worst: {fail: 9}}
  params: {fail: "{item.fail}"}
  retries: 1
  retry_delay: 0
  script: {engine: noop, inline: ""}
- {task_id: merge, dependencies: [load], script: {engine: noop, inline: ""}}
- {task_id: report, dependencies: [load], trigger_rule: all_done, script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 1);
    assert_eq!(
        states(&shown),
        [
            "load failed",
            "merge upstream_failed",
            "report success",
            "load[bad] success",
            "load[good] success",
            "load[worst] failed",
        ]
    );
    let attempts = |task: usize| shown["tasks"][task]["attempts"].as_array().unwrap().len();
    assert_eq!((attempts(3), attempts(4), attempts(5)), (2, 1, 2));
    let why = &shown["tasks"][0]["error"]["message"];
    assert_eq!(why, "1 of 3 instances failed, the first of them load[worst]");
}

#[test]
fn items_that_cannot_be_told_fail_the_task_with_a_reason() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- {task_id: list, script: {engine: noop, inline: ""}, params: {result: {n: 3}}}
- {task_id: load, dependencies: [list], for_each: tasks.list.result.n, script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 1);
    assert_eq!(states(&shown), ["list success", "load failed"]);
    let why = shown["tasks"][1]["error"]["message"].as_str().unwrap();
    assert_eq!(why, "the expression gives the number 3, which is neither a list nor an object");
}

#[test]
fn a_run_that_was_killed_goes_on_with_the_same_instances() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks:
- task_id: list
  script: {engine: shell, inline: "echo listed >> listed; echo '[\"a\", \"b\", \"c\"]' > $OXIDAG_RESULT"}
- task_id: load
  dependencies: [list]
  for_each: tasks.list.result
  params: {item: "{item}"}
  script: {engine: shell, inline: "if [ {item} = c ]; then until [ -e go ]; do sleep 0.01; done; fi; echo {item} >> loaded"}
- {task_id: merge, dependencies: [load], script: {engine: noop, inline: ""}}
"#,
    );
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("load[c]", "running");
    running.kill();
    sandbox.write("go", "");
    // A change that adds nothing else is taken.
    let dag = std::fs::read_to_string(sandbox.path().join("dag.yaml")).unwrap();
    sandbox.write("dag.yaml", &format!("description: changed\n{dag}"));
    let _ = sandbox.oxidag(&["resume", "r", "--changed", "--format", "quiet"]).expect_status(0);
    let all =
        ["list", "load", "merge", "load[a]", "load[b]", "load[c]"].map(|task| format!("{task} success"));
    assert_eq!(states(&shown(&sandbox)), all);
    let read = |name: &str| std::fs::read_to_string(sandbox.path().join(name)).unwrap();
    assert_eq!(read("listed"), "listed\n");
    assert!(read("loaded").contains("c\n"));
}

#[test]
fn a_mapped_task_is_cancelled_with_its_instances() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks:
- task_id: wait
  for_each: [a, b]
  params: {delay_ms: 600000, async: true}
  script: {engine: noop, inline: ""}
"#,
    );
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("wait[b]", "deferred");
    let _ = sandbox.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    assert_eq!(running.end().status, Some(130));
    assert_eq!(states(&shown(&sandbox)), ["wait cancelled", "wait[a] cancelled", "wait[b] cancelled"]);
}

#[test]
fn each_growth_is_an_event() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.yaml", MAPPED);
    let told = sandbox.oxidag(&["run", "dag.yaml", "--format", "json"]).expect_status(0).json_lines();
    let grown: Vec<&Value> = told.iter().filter(|event| event["event"] == "grown").collect();
    let of = |from: &str| grown.iter().find(|event| event["from"] == from).unwrap()["tasks"].clone();
    assert_eq!(of("extract"), json!(["extract[2024-01]", "extract[2024-02]"]));
    assert_eq!(of("nothing"), json!([]));
}

#[test]
fn a_hundred_thousand_instances_are_no_problem() {
    let sandbox = Sandbox::new();
    let many: Vec<u32> = (0..1000).collect();
    let few: Vec<u32> = (0..100).collect();
    let dag = json!({"tasks": [
        {"task_id": "m", "for_each": {"cross": {"a": many, "b": few}}, "script": {"engine": "noop", "inline": ""}},
        {"task_id": "end", "dependencies": ["m"], "script": {"engine": "noop", "inline": ""}},
    ]});
    let shown = run(&sandbox, &dag.to_string(), 0);
    assert_eq!(shown["tasks"].as_array().unwrap().len(), 100_002);
}

const LATE: &str = r#"
tasks:
- {task_id: fixed, type: page, script: {engine: noop, inline: ""}}
- {task_id: some, type: source, params: {result: [a, b]}, script: {engine: noop, inline: ""}}
- {task_id: none, type: source, params: {result: [], delay_ms: 50}, script: {engine: noop, inline: ""}}
rules:
- rule_id: pages
  each: {type: source}
  when: task.state == "success"
  add:
    tasks:
    - task_id: page
      type: page
      dependencies: ["{task}"]
      for_each: task.result
      params: {say: "{item} of {task.id}"}
      script: {engine: shell, inline: "echo {say}"}
- rule_id: merge
  when: closed("page") && types.page.states.success == 3
  add:
    tasks:
    - {task_id: merge, dependencies: [{type: page}], script: {engine: noop, inline: ""}}
"#;

#[test]
fn a_merge_is_added_once_nothing_more_of_its_kind_can_come() {
    let sandbox = Sandbox::new();
    let shown = run(&sandbox, LATE, 0);
    let mut names = states(&shown);
    names.sort();
    assert_eq!(
        names,
        [
            "fixed success",
            "merge success",
            "none success",
            "page[none] success",
            "page[some] success",
            "page[some][a] success",
            "page[some][b] success",
            "some success",
        ]
    );
    assert!(log(&sandbox, "page[some][b]").contains("b of some"));
    let tasks = shown["tasks"].as_array().unwrap();
    let from = |name: &str| tasks.iter().find(|task| task["task_id"] == name).unwrap()["grown_from"].clone();
    assert_eq!((from("page[some]"), from("merge")), (json!("some"), json!("rule merge")));
    let last = tasks.iter().map(|task| task["finished_at"].as_str().unwrap()).max();
    assert_eq!(last, tasks.iter().find(|task| task["task_id"] == "merge").unwrap()["finished_at"].as_str());
}

#[test]
fn a_rule_that_can_never_apply_ends_with_the_run_and_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks: [{task_id: a, script: {engine: noop, inline: ""}}]
rules:
- rule_id: late
  when: tasks.a.state == "failed"
  add: {tasks: [{task_id: b, type: x, script: {engine: noop, inline: ""}}]}
- rule_id: other
  when: closed("x")
  add: {tasks: [{task_id: c, type: x, script: {engine: noop, inline: ""}}]}
"#,
    );
    let ended = sandbox.oxidag(&["run", "dag.yaml", "--run-id", "r", "--format", "quiet"]).expect_status(0);
    assert!(ended.stderr.contains("rule late (dag.yaml:4:3) was never applied"), "{}", ended.stderr);
    assert!(ended.stderr.contains("rule other (dag.yaml:7:3) was never applied"), "{}", ended.stderr);
    let log = sandbox.oxidag(&["runs", "logs", "r"]).expect_status(0).stdout;
    assert!(log.contains("rule late"), "{log}");
}

#[test]
fn a_predicate_that_cannot_be_evaluated_fails_the_run_with_its_place() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks: [{task_id: a, params: {delay_ms: 600000, async: true}, script: {engine: noop, inline: ""}}]
rules:
- when: tasks.a.result.rows > 3
  add: {tasks: [{task_id: b, script: {engine: noop, inline: ""}}]}
"#;
    let shown = run(&sandbox, dag, 1);
    let why = shown["error"]["message"].as_str().unwrap();
    assert!(why.starts_with("dag.yaml:4:9: rule 1: the condition cannot be evaluated: "), "{why}");
    assert_eq!(states(&shown), ["a cancelled"]);
}

#[test]
fn a_graph_that_grows_for_ever_is_stopped() {
    let sandbox = Sandbox::new();
    let dag = r#"
max_tasks: 50
tasks: [{task_id: a, type: x, script: {engine: noop, inline: ""}}]
rules:
- each: {type: x}
  add: {tasks: [{task_id: b, type: x, script: {engine: noop, inline: ""}}]}
"#;
    let shown = run(&sandbox, dag, 1);
    let why = shown["error"]["message"].as_str().unwrap();
    assert!(why.contains("the graph would grow to 51 tasks, and `max_tasks` is 50"), "{why}");
    assert!(shown["tasks"].as_array().unwrap().len() <= 50);
}

#[test]
fn mistakes_in_rules_are_told_with_their_places() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks: [{task_id: a, type: pdf, script: {engine: noop, inline: ""}}]
rules:
- when: closed("pfd") && types.pdf.stats.failed == 0
  add: {tasks: [{task_id: b, dependencies: [c], script: {engine: noop, inline: ""}}]}
- add: {tasks: []}
- when: size(tasks) > 1
  each: {type: pdf, instances_of: a}
  add: {tasks: [{task_id: a, script: {engine: noop, inline: "{x}"}}]}
- when: closed("pfd")
  each: {instances_of: a}
  add: {rules: [{each: {type: pdf}, add: {tasks: [{task_id: d, script: {engine: noop, inline: ""}}]}}]}
"#,
    );
    let said = sandbox.oxidag(&["validate", "dag.yaml"]).expect_status(2).stderr;
    for wanted in [
        "many tasks have no `stats` in a rule",
        "there is no task `c`",
        "a rule has `when` or `each`",
        "a rule names what it looks at, and `tasks` stands here alone",
        "`each` has one key",
        "duplicate task_id `a`",
        "no task is of the type `pfd`",
        "`each` names `a`, which is not mapped",
        "`each` stands in a rule that is added by one with `each`",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

#[test]
fn a_run_with_rules_that_was_killed_applies_each_of_them_once() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks: [{task_id: a, type: x, script: {engine: noop, inline: ""}}]
rules:
- each: {type: x}
  when: task.state == "success"
  add:
    tasks:
    - {task_id: b, dependencies: ["{task}"], script: {engine: shell, inline: "until [ -e go ]; do sleep 0.01; done"}}
    rules:
    - when: tasks.a.state == "success"
      add: {tasks: [{task_id: c, script: {engine: noop, inline: ""}}]}
"#,
    );
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("b[a]", "running");
    running.kill();
    sandbox.write("go", "");
    let _ = sandbox.oxidag(&["resume", "r", "--format", "quiet"]).expect_status(0);
    assert_eq!(states(&shown(&sandbox)), ["a success", "b[a] success", "c[a] success"]);
}

#[test]
fn a_teardown_waits_for_what_a_rule_adds_behind_its_setup() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- {task_id: setup, script: {engine: shell, inline: "touch there"}}
- {task_id: use, type: u, dependencies: [setup], script: {engine: noop, inline: ""}}
- {task_id: down, dependencies: [setup], teardown: true, script: {engine: shell, inline: "rm there"}}
rules:
- when: tasks.use.state == "success"
  add: {tasks: [{task_id: more, dependencies: [setup], script: {engine: shell, inline: "sleep 0.1; test -e there"}}]}
"#;
    let shown = run(&sandbox, dag, 0);
    assert_eq!(states(&shown), ["setup success", "use success", "down success", "more success"]);
}

/// A task whose engine adds something, then waits for a moment.
fn appending(addition: &Value, more: &str) -> String {
    format!(
        "tasks:\n- {{task_id: a, params: {{append: {addition}}}, script: {{engine: noop, inline: \"\"}}, {more}}}\n"
    )
}

fn noop(name: &str, more: Value) -> Value {
    let mut task = json!({"task_id": name, "script": {"engine": "noop", "inline": ""}});
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

#[test]
fn an_engine_adds_tasks_and_rules_to_the_graph() {
    let sandbox = Sandbox::new();
    let addition = json!({
        "tasks": [
            noop("after", json!({"dependencies": ["{task}", "beside"]})),
            noop("beside", json!({"params": {"say": "{task.id}"}, "for_each": ["x", "y"]})),
        ],
        "rules": [{"when": "tasks.after.state == \"success\"", "add": {"tasks": [noop("last", json!({}))]}}],
    });
    let shown = run(&sandbox, &appending(&addition, "retries: 0"), 0);
    let mut names = states(&shown);
    names.sort();
    assert_eq!(
        names,
        [
            "a success",
            "after success",
            "beside success",
            "beside[x] success",
            "beside[y] success",
            "last success"
        ]
    );
    assert_eq!(shown["tasks"][1]["grown_from"], "a");
}

#[test]
fn nothing_is_added_if_any_of_it_is_wrong() {
    let good = noop("good", json!({}));
    let wrong = [
        (json!({"tasks": [good, noop("a", json!({}))]}), "there is a task `a` already"),
        (
            json!({"tasks": [good, noop("b", json!({"dependencies": ["c"]}))]}),
            "task `b` names `c`, which is not there",
        ),
        (json!({"tasks": [good, noop("b", json!({"retrys": 3}))]}), "unknown key `retrys` in a task"),
        (json!({"tasks": [good, noop("b", json!({"type": "pdf"}))]}), "say so in the DAG: `adds: [pdf]`"),
        (
            json!({"tasks": [good, {"task_id": "b", "script": {"engine": "sql", "inline": ""}}]}),
            "no task of the DAG has the engine `sql`",
        ),
        (
            json!({"tasks": [good, {"task_id": "b", "script": {"engine": "noop", "inline": "{x}"}}]}),
            "the placeholder `{x}` has no value",
        ),
        (
            json!({"tasks": [good], "rules": [{"when": "tasks.zz.state == \"failed\"", "add": {"tasks": [noop("b", json!({}))]}}]}),
            "looks at `zz`, which is not there",
        ),
        (
            json!({"tasks": [noop("b", json!({"dependencies": ["c"]})), noop("c", json!({"dependencies": ["b"]}))]}),
            "depend on each other in a cycle",
        ),
        (json!({}), "nothing is added"),
        (
            json!({"tasks": [good], "rules": [{"when": "closed(\"pfd\")", "add": {"tasks": [noop("b", json!({}))]}}]}),
            "no task is of the type `pfd`",
        ),
        (
            json!({"tasks": [good, noop("b", json!({"for_each": {"instances_of": "good"}}))]}),
            "`good` is not mapped, and has no instances",
        ),
        (
            json!({"tasks": [good, noop("b", json!({"dependencies": ["good", "good"]}))]}),
            "task `b` names `good` more than once among its dependencies",
        ),
    ];
    for (addition, why) in wrong {
        let sandbox = Sandbox::new();
        let shown = run(&sandbox, &appending(&addition, "retries: 0"), 1);
        assert_eq!(states(&shown), ["a failed"], "{addition}");
        let said = shown["tasks"][0]["error"]["message"].as_str().unwrap();
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn an_attempt_that_is_repeated_adds_nothing_twice() {
    let sandbox = Sandbox::new();
    let addition = json!({"tasks": [noop("b", json!({}))]});
    let dag = appending(&addition, "retries: 1, retry_delay: 0").replace("{append:", "{fail: 1, append:");
    let shown = run(&sandbox, &dag, 0);
    assert_eq!(states(&shown), ["a success", "b success"]);
    assert_eq!(shown["tasks"][0]["attempts"].as_array().unwrap().len(), 2);
}

#[test]
fn what_an_engine_had_added_is_there_after_a_crash() {
    let sandbox = Sandbox::new();
    let addition = json!({
        "tasks": [{"task_id": "b", "script": {"engine": "shell", "inline": "until [ -e go ]; do sleep 0.01; done"}}],
        "rules": [{"when": "tasks.b.state == \"success\"", "add": {"tasks": [noop("c", json!({}))]}}],
    });
    let dag = appending(&addition, "retries: 0").replace("{append:", "{delay_ms: 100, append:");
    let dag = format!("{dag}- {{task_id: s, script: {{engine: shell, inline: 'true'}}}}\n");
    sandbox.write("dag.yaml", &dag);
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("b", "running");
    running.kill();
    sandbox.write("go", "");
    let _ = sandbox.oxidag(&["resume", "r", "--format", "quiet"]).expect_status(0);
    assert_eq!(states(&shown(&sandbox)), ["a success", "s success", "b success", "c success"]);
}

#[test]
fn a_type_stays_open_while_a_task_runs_that_may_add_to_it() {
    let sandbox = Sandbox::new();
    let addition = json!({"tasks": [noop("b", json!({"type": "pdf"}))]});
    let dag = appending(&addition, "adds: [pdf]").replace("{append:", "{delay_ms: 50, append:");
    let dag = format!(
        "{dag}rules:\n- {{when: closed(\"pdf\"), add: {{tasks: [{{task_id: merge, dependencies: [{{type: pdf}}], script: {{engine: noop, inline: \"\"}}}}]}}}}\n"
    );
    let shown = run(&sandbox, &dag, 0);
    assert_eq!(states(&shown), ["a success", "b success", "merge success"]);
}

#[test]
fn an_engine_can_look_at_the_graph() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- {task_id: a, type: x, params: {result: 7}, script: {engine: noop, inline: ""}}
- {task_id: m, for_each: [p], dependencies: [a], script: {engine: noop, inline: ""}}
- {task_id: q, dependencies: [m], params: {query: {type: x, instances_of: m, tasks: [q]}}, script: {engine: noop, inline: ""}}
- {task_id: w, dependencies: [q], params: {query: {tasks: [nowhere]}}, script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 1);
    let task = |id: &str, state: &str, kind: Value, result: Value, upstream: Value| json!({"task_id": id, "state": state, "type": kind, "result": result, "upstream": upstream});
    assert_eq!(
        shown["tasks"][2]["result"],
        json!([
            task("q", "running", Value::Null, Value::Null, json!(["m"])),
            task("m[p]", "success", Value::Null, Value::Null, json!([])),
            task("a", "success", json!("x"), json!(7), json!([])),
        ])
    );
    assert_eq!(shown["tasks"][3]["error"]["message"], "there is no task `nowhere`");
}

/// A DAG in a folder of its own, with a script beside it.
fn inner(sandbox: &Sandbox) {
    sandbox.write("inner/files/shell/say.sh", "echo {greeting} from $(basename \"$PWD\")\n");
    sandbox.write(
        "inner/load.yaml",
        r#"
params: {greeting: hello, region: none}
processors: 1
tasks:
- {task_id: list, params: {result: [a, b]}, script: {engine: noop, inline: ""}}
- {task_id: load, dependencies: [list], for_each: tasks.list.result, params: {item: "{item}"}, script: {engine: shell, inline: "echo {item} of {region}"}}
- {task_id: check, dependencies: [load], when: size(tasks.load.result) == 2, script: {engine: noop, inline: ""}}
- {task_id: say, dependencies: [check], script: local.files.shell.shell.say}
"#,
    );
}

#[test]
fn a_task_stands_for_the_tasks_of_another_dag() {
    let sandbox = Sandbox::new();
    inner(&sandbox);
    let dag = r#"
params: {region: outer}
tasks:
- {task_id: before, script: {engine: noop, inline: ""}}
- {task_id: sub, dag: inner/load.yaml, dependencies: [before], params: {region: eu}}
- {task_id: after, dependencies: [sub], script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 0);
    assert_eq!(
        states(&shown),
        [
            "before success",
            "sub success",
            "after success",
            "sub/list success",
            "sub/load success",
            "sub/check success",
            "sub/say success",
            "sub/load[a] success",
            "sub/load[b] success",
        ]
    );
    assert!(log(&sandbox, "sub/load[b]").contains("b of eu"));
    assert!(log(&sandbox, "sub/say").contains("hello from inner"));
    assert_eq!(shown["tasks"][3]["grown_from"], "sub");
    let graph = sandbox.oxidag(&["graph", "r"]).expect_status(0).stdout;
    assert!(graph.contains(r#""sub" -> "sub/list" [style=dashed];"#), "{graph}");
    let _ = sandbox.oxidag(&["plan", "dag.yaml"]).expect_status(0);
}

#[test]
fn a_dag_is_run_for_each_item() {
    let sandbox = Sandbox::new();
    inner(&sandbox);
    let dag = r#"
tasks:
- {task_id: sub, dag: inner/load.yaml, for_each: [eu, us], params: {region: "{item}"}}
- {task_id: after, dependencies: [sub], script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 0);
    let states = states(&shown);
    for task in ["sub", "sub[eu]", "sub[eu]/load[a]", "sub[us]/say", "after"] {
        assert!(states.contains(&format!("{task} success")), "{task}: {states:?}");
    }
    assert_eq!(states.len(), 16);
    assert!(log(&sandbox, "sub[us]/load[a]").contains("a of us"));
}

#[test]
fn a_dag_in_another_one_fails_it_and_is_cancelled_with_it() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.yaml", "tasks: [{task_id: x, params: {fail: true}, script: {engine: noop, inline: ''}}, {task_id: y, dependencies: [x], script: {engine: noop, inline: ''}}]");
    let dag = "tasks: [{task_id: sub, dag: bad.yaml}, {task_id: after, dependencies: [sub], script: {engine: noop, inline: ''}}]";
    let shown = run(&sandbox, dag, 1);
    assert_eq!(
        states(&shown),
        ["sub failed", "after upstream_failed", "sub/x failed", "sub/y upstream_failed"]
    );
    let why = &shown["tasks"][0]["error"]["message"];
    assert_eq!(why, "2 of 2 tasks failed, the first of them sub/x");

    let sandbox = Sandbox::new();
    sandbox.write(
        "slow.yaml",
        "tasks: [{task_id: x, params: {delay_ms: 600000, async: true}, script: {engine: noop, inline: ''}}]",
    );
    sandbox.write("dag.yaml", "tasks: [{task_id: sub, dag: slow.yaml}]");
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("sub/x", "deferred");
    let _ = sandbox.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    assert_eq!(running.end().status, Some(130));
    assert_eq!(states(&self::shown(&sandbox)), ["sub cancelled", "sub/x cancelled"]);
}

#[test]
fn a_run_that_was_killed_goes_on_within_a_dag_in_it() {
    let sandbox = Sandbox::new();
    sandbox.write("waits.yaml", "tasks: [{task_id: x, script: {engine: shell, inline: 'until [ -e go ]; do sleep 0.01; done'}}, {task_id: y, dependencies: [x], script: {engine: shell, inline: 'true'}}]");
    sandbox.write("dag.yaml", "tasks: [{task_id: sub, dag: waits.yaml}]");
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("sub/x", "running");
    running.kill();
    sandbox.write("go", "");
    let _ = sandbox.oxidag(&["resume", "r", "--format", "quiet"]).expect_status(0);
    assert_eq!(states(&shown(&sandbox)), ["sub success", "sub/x success", "sub/y success"]);
}

#[test]
fn mistakes_of_a_dag_in_another_one_are_told() {
    let sandbox = Sandbox::new();
    let said = |dag: &str| {
        sandbox.write("dag.yaml", dag);
        sandbox.oxidag(&["validate", "dag.yaml"]).expect_status(2).stderr
    };
    sandbox.write("self.yaml", "tasks: [{task_id: a, dag: self.yaml}]");
    sandbox.write("there.yaml", "tasks: [{task_id: a, dag: back.yaml}]");
    sandbox.write("back.yaml", "tasks: [{task_id: a, dag: there.yaml}]");
    sandbox.write("rules.yaml", "tasks: [{task_id: a, script: {engine: noop, inline: ''}}]\nrules: [{when: true, add: {tasks: [{task_id: b, script: {engine: noop, inline: ''}}]}}]");
    sandbox.write("broken.yaml", "tasks: [{task_id: a, retrys: 1, script: {engine: noop, inline: ''}}]");
    sandbox.write("placeholder.yaml", "tasks: [{task_id: a, script: {engine: noop, inline: '{x}'}}]");
    sandbox.write("teardown.yaml", "tasks: [{task_id: a, script: {engine: noop, inline: ''}}, {task_id: b, dependencies: [a], teardown: true, script: {engine: noop, inline: ''}}]");
    for (dag, why) in [
        ("tasks: [{task_id: s, dag: nowhere.yaml}]", "there is no such file"),
        ("tasks: [{task_id: s, dag: self.yaml}]", "stands in itself"),
        ("tasks: [{task_id: s, dag: broken.yaml}]", "broken.yaml:1:22: error: unknown key `retrys`"),
        (
            "tasks: [{task_id: s, dag: placeholder.yaml}]",
            "in placeholder.yaml: the placeholder `{x}` has no value",
        ),
        ("tasks: [{task_id: s, dag: teardown.yaml}]", "is a teardown, in a DAG that stands in another one"),
        ("tasks: [{task_id: s, dag: rules.yaml}]", "rules stand in the outermost DAG"),
        ("tasks: [{task_id: s, dag: there.yaml}]", "the DAG `there.yaml` stands in itself"),
        ("tasks: [{task_id: s, dag: broken.yaml, retries: 3}]", "`retries` stands beside `dag`"),
        ("tasks: [{task_id: s}]", "`script` is missing in a task"),
    ] {
        let said = said(dag);
        assert!(said.contains(why), "{why}\n{said}");
    }
}

#[test]
fn what_failed_of_what_was_added_is_run_once_more() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- {task_id: a, params: {result: [x, y]}, script: {engine: noop, inline: ""}}
- {task_id: m, dependencies: [a], for_each: tasks.a.result, script: {engine: noop, inline: ""}}
- {task_id: f, for_each: {instances_of: m}, script: {engine: shell, inline: "test -e there"}}
rules:
- when: tasks.a.state == "success"
  add: {tasks: [{task_id: r, dependencies: [a], script: {engine: shell, inline: "test -e there"}}]}
"#;
    let shown = run(&sandbox, dag, 1);
    assert!(states(&shown).contains(&"r failed".to_owned()), "{:?}", states(&shown));
    sandbox.write("there", "");
    let again = ["run", "--failed", "r", "--run-id", "again", "--format", "quiet"];
    let _ = sandbox.oxidag(&again).expect_status(0);
    let shown = sandbox.oxidag(&["runs", "show", "again", "--json"]).expect_status(0).json();
    let mut states = states(&shown);
    states.sort();
    assert_eq!(
        states,
        [
            "a skipped",
            "f success",
            "f[x] success",
            "f[y] success",
            "m success",
            "m[x] success",
            "m[y] success",
            "r success",
        ]
    );
}

#[test]
fn only_so_many_of_the_dags_of_a_mapped_task_run_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "inner.yaml",
        "tasks: [{task_id: t, params: {delay_ms: 10, async: true}, script: {engine: noop, inline: ''}}]",
    );
    let shown = run(
        &sandbox,
        "tasks: [{task_id: sub, dag: inner.yaml, for_each: [a, b, c], max_active_tis_per_dagrun: 1}]",
        0,
    );
    let tasks = shown["tasks"].as_array().unwrap().iter();
    let inner = tasks.filter(|task| task["task_id"].as_str().unwrap().ends_with("/t"));
    let mut times: Vec<(&str, &str)> = inner
        .map(|task| (task["started_at"].as_str().unwrap(), task["finished_at"].as_str().unwrap()))
        .collect();
    times.sort_unstable();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|two| two[0].1 <= two[1].0), "{times:?}");
}

#[test]
fn a_type_stays_open_while_a_rule_may_add_a_task_that_may_add_to_it() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks: [{task_id: a, script: {engine: noop, inline: ""}}]
rules:
- when: tasks.a.state == "success"
  add:
    tasks:
    - task_id: x
      adds: [pdf]
      params: {append: {tasks: [{task_id: p, type: pdf, script: {engine: noop, inline: ""}}]}}
      script: {engine: noop, inline: ""}
- when: closed("pdf")
  add: {tasks: [{task_id: merge, dependencies: [{type: pdf}], script: {engine: noop, inline: ""}}]}
"#;
    let shown = run(&sandbox, dag, 0);
    assert_eq!(states(&shown), ["a success", "x success", "p success", "merge success"]);
}

#[test]
fn rules_see_the_types_of_the_tasks_of_dags_in_the_dag() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "inner.yaml",
        "tasks: [{task_id: t, type: pdf, params: {delay_ms: 20}, script: {engine: noop, inline: ''}}]",
    );
    let dag = r#"
tasks: [{task_id: sub, dag: inner.yaml}]
rules:
- when: closed("pdf") && types.pdf.states.success == 1
  add: {tasks: [{task_id: merge, dependencies: [{type: pdf}], script: {engine: noop, inline: ""}}]}
"#;
    let shown = run(&sandbox, dag, 0);
    assert_eq!(states(&shown), ["sub success", "sub/t success", "merge success"]);
    let graph = sandbox.oxidag(&["graph", "r"]).expect_status(0).stdout;
    assert!(graph.contains(r#""sub/t" -> "merge";"#), "{graph}");
    sandbox.write("dag.yaml", &dag.replace("closed(\"pdf\")", "closed(\"pfd\")"));
    let said = sandbox.oxidag(&["validate", "dag.yaml"]).expect_status(2).stderr;
    assert!(said.contains("no task is of the type `pfd`") && said.contains("did you mean `pdf`?"), "{said}");
}

#[test]
fn combinations_beyond_max_tasks_are_refused_before_they_are_made() {
    let sandbox = Sandbox::new();
    let list: Vec<u32> = (0..2000).collect();
    let dag = json!({"tasks": [{
        "task_id": "m", "for_each": {"cross": {"a": list, "b": list, "c": list}},
        "script": {"engine": "noop", "inline": ""},
    }]});
    let shown = run(&sandbox, &dag.to_string(), 1);
    assert_eq!(states(&shown), ["m failed"]);
    let why = shown["tasks"][0]["error"]["message"].as_str().unwrap();
    assert!(why.contains("have 8000000000 combinations, and `max_tasks` is 1000000"), "{why}");
}

#[test]
fn a_plan_counts_what_is_known_of_mapped_tasks_and_says_what_is_not() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "inner.yaml",
        "tasks: [{task_id: p, expected_duration: 2, script: {engine: noop, inline: ''}}, {task_id: q, expected_duration: 2, dependencies: [p], script: {engine: noop, inline: ''}}]",
    );
    sandbox.write(
        "dag.yaml",
        r#"
params: {many: [a, b, c]}
tasks:
- {task_id: m, for_each: params.many, expected_duration: 3, max_active_tis_per_dagrun: 2, script: {engine: noop, inline: ""}}
- {task_id: f, for_each: {instances_of: m}, expected_duration: 1, script: {engine: noop, inline: ""}}
- {task_id: s, dag: inner.yaml, dependencies: [f]}
- {task_id: u, for_each: tasks.s.state, dependencies: [s], expected_duration: 5, script: {engine: noop, inline: ""}}
- {task_id: none, for_each: [], expected_duration: 9, script: {engine: noop, inline: ""}}
rules:
- {when: "true", add: {tasks: [{task_id: r, script: {engine: noop, inline: ""}}]}}
"#,
    );
    let plan = sandbox.oxidag(&["plan", "dag.yaml", "--workers", "8", "--json"]).expect_status(0).json();
    let tasks = plan["tasks"].as_array().unwrap();
    let at = |name: &str| {
        let task = tasks.iter().find(|task| task["task_id"] == name).unwrap();
        (task["start"].as_f64().unwrap(), task["finish"].as_f64().unwrap())
    };
    assert_eq!((at("m[a]"), at("m[b]"), at("m[c]")), ((0.0, 3.0), (0.0, 3.0), (3.0, 6.0)));
    assert_eq!((at("f[a]"), at("f[c]")), ((3.0, 4.0), (6.0, 7.0)));
    assert_eq!(
        (at("s/p"), at("s/q"), at("u"), at("none")),
        ((7.0, 9.0), (9.0, 11.0), (11.0, 16.0), (0.0, 0.0))
    );
    assert_eq!((&plan["makespan"], &plan["counted_once"]), (&json!(16.0), &json!(["u"])));
    assert_eq!(plan["critical_path"].as_array().unwrap().last().unwrap(), "u");
    let text = sandbox.oxidag(&["plan", "dag.yaml"]).expect_status(0).stdout;
    assert!(text.contains("how many there are: u\n") && text.contains("what rules add"), "{text}");
    assert!(text.starts_with("dag: 10 tasks on"), "{text}");
}

const FORMS: &str = r#"
params: {regions: [eu], first: b}
tasks:
- {task_id: left, params: {result: {x: 1, "k/2": null}}, script: {engine: noop, inline: ""}}
- {task_id: object, dependencies: [left], for_each: tasks.left.result, script: {engine: noop, inline: ""}}
- {task_id: given, for_each: params.regions, params: {say: "{item}"}, script: {engine: noop, inline: ""}}
- {task_id: filtered, for_each: "['a', 'b', 'c'].filter(x, x >= params.first)", script: {engine: noop, inline: ""}}
- {task_id: zipped, for_each: {zip: {n: [1, 2], s: "['p', 'q']"}}, script: {engine: noop, inline: ""}}
- {task_id: crossed, for_each: {cross: {n: [1, 2], s: params.regions}}, script: {engine: noop, inline: ""}}
- {task_id: odd, for_each: ["a\nb", "日本", "../x"], params: {say: "{item}"}, script: {engine: shell, inline: "printenv say"}}
- {task_id: twice, for_each: [a, a], script: {engine: noop, inline: ""}}
- {task_id: nulls, for_each: [null], script: {engine: noop, inline: ""}}
"#;

#[test]
fn each_form_of_for_each_gives_its_instances() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.yaml", FORMS);
    let given = ["-p", r#"regions=["us", 7]"#];
    let run = |run_id: &str, status: i32, given: [&str; 2]| {
        let fixed = ["run", "dag.yaml", "--run-id", run_id, "--format", "quiet"];
        let _ = sandbox.oxidag(&[&fixed[..], &given[..]].concat()).expect_status(status);
        sandbox.oxidag(&["runs", "show", run_id, "--json"]).expect_status(0).json()
    };
    let shown = run("r", 0, given);
    let names = states(&shown);
    let mut instances: Vec<&str> =
        names.iter().filter_map(|name| name.strip_suffix(" success")).filter(|n| n.contains('[')).collect();
    instances.sort_unstable();
    assert_eq!(
        instances,
        [
            "crossed[1,7]",
            "crossed[1,us]",
            "crossed[2,7]",
            "crossed[2,us]",
            "filtered[b]",
            "filtered[c]",
            "given[7]",
            "given[us]",
            "nulls[0]",
            "object[k_2]",
            "object[x]",
            "odd[.._x]",
            "odd[a_b]",
            "odd[日本]",
            "twice[0]",
            "twice[1]",
            "zipped[1,p]",
            "zipped[2,q]",
        ]
    );
    assert!(log(&sandbox, "odd[.._x]").contains("stdout ../x"));
    let shown = run("wrong", 1, ["-p", "regions=5"]);
    let why = |task: usize| shown["tasks"][task]["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(why(2), "the expression gives the number 5, which is neither a list nor an object");
    assert_eq!(why(5), why(2));
}

#[test]
fn what_is_mapped_over_a_task_that_did_not_succeed_is_left_as_its_rule_says() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- {task_id: f, params: {fail: true}, script: {engine: noop, inline: ""}}
- {task_id: s, when: "false", script: {engine: noop, inline: ""}}
- {task_id: over_f, dependencies: [f], for_each: tasks.f.result, script: {engine: noop, inline: ""}}
- {task_id: over_s, dependencies: [s], for_each: tasks.s.result, script: {engine: noop, inline: ""}}
- {task_id: follows, for_each: {instances_of: over_f}, script: {engine: noop, inline: ""}}
- {task_id: anyhow, dependencies: [f], trigger_rule: all_done, for_each: "tasks.f.state == 'failed' ? [1] : []", script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 1);
    assert_eq!(
        states(&shown),
        [
            "f failed",
            "s skipped",
            "over_f upstream_failed",
            "over_s skipped",
            "follows upstream_failed",
            "anyhow success",
            "anyhow[1] success",
        ]
    );
}

/// Looks until a task is shown like this: other processes see what happens a moment later.
fn until_shown(sandbox: &Sandbox, state: &str) -> Vec<String> {
    loop {
        let now = states(&shown(sandbox));
        if now.iter().any(|task| task == state) {
            return now;
        }
    }
}

#[test]
fn a_part_of_a_run_is_cancelled_with_all_that_is_in_it() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "slow.yaml",
        "tasks: [{task_id: x, for_each: [p, q], params: {delay_ms: 600000, async: true}, script: {engine: noop, inline: ''}}]",
    );
    sandbox.write("dag.yaml", "tasks: [{task_id: sub, dag: slow.yaml, for_each: [a, b]}, {task_id: after, dependencies: [sub], trigger_rule: all_done, script: {engine: noop, inline: ''}}]");
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("sub[b]/x[q]", "deferred");
    until_shown(&sandbox, "sub[b]/x[q] deferred");
    let _ = sandbox.oxidag(&["runs", "cancel", "r", "sub[a]"]).expect_status(0);
    running.until_task("sub[a]", "cancelled");
    let states_now = until_shown(&sandbox, "sub[a] cancelled");
    assert!(states_now.contains(&"sub running".to_owned()), "{states_now:?}");
    let _ = sandbox.oxidag(&["runs", "cancel", "r", "sub"]).expect_status(0);
    assert_eq!(running.end().status, Some(1));
    let end = states(&shown(&sandbox));
    let cancelled = end.iter().filter(|state| state.ends_with(" cancelled")).count();
    assert_eq!(cancelled, 9, "{end:?}");
    assert!(end.contains(&"after success".to_owned()), "{end:?}");
}
