//! Mapped tasks: instances for items, what is shown of them, and what is left of them after a crash.

use oxidag_tests::Sandbox;
use oxidag_tests::running::Running;
use serde_json::{Value, json};

use super::{log, run, shown, states};

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
