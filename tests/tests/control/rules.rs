//! Which ends of its dependencies let a task start, and what a condition decides after that.

use serde_json::{Map, Value, json};

use super::{
    attempts, find, gate, idle, in_turn, noop, r, run, sandbox, shown, start, states, time, write_dag,
};

/// What becomes of a task behind two others that ended in these ways: `S`uccess, `F`ailed, `U`pstream failed, s`K`ipped.
/// It runs, is skipped, or is `up`stream failed.
const RULES: [(&str, [&str; 8]); 12] = [
    ("rule", ["SS", "SF", "FF", "FU", "SK", "KK", "FK", "SU"]),
    ("all_success", ["run", "up", "up", "up", "skip", "skip", "up", "up"]),
    ("all_failed", ["skip", "skip", "run", "run", "skip", "skip", "skip", "skip"]),
    ("all_done", ["run", "run", "run", "run", "run", "run", "run", "run"]),
    ("all_skipped", ["skip", "skip", "skip", "skip", "skip", "run", "skip", "skip"]),
    ("one_success", ["run", "run", "up", "up", "run", "skip", "up", "run"]),
    ("one_failed", ["skip", "run", "run", "run", "skip", "skip", "run", "run"]),
    ("one_done", ["run", "run", "run", "run", "run", "skip", "run", "run"]),
    ("none_failed", ["run", "up", "up", "up", "run", "run", "up", "up"]),
    ("none_skipped", ["run", "run", "run", "run", "skip", "skip", "skip", "run"]),
    ("none_failed_min_one_success", ["run", "up", "up", "up", "run", "skip", "up", "up"]),
    ("always", ["run", "run", "run", "run", "run", "run", "run", "run"]),
];

#[test]
fn each_rule_decides_by_how_the_dependencies_ended() {
    let sandbox = sandbox();
    let mut tasks = Vec::new();
    for place in ["1", "2"] {
        tasks.push(idle(&format!("S{place}"), &[], &json!({})));
        tasks.push(noop(&format!("F{place}"), &[], &json!({"fail": true}), &json!({})));
        tasks.push(idle(&format!("U{place}"), &["F1"], &json!({})));
        tasks.push(idle(&format!("K{place}"), &[], &json!({"when": "false"})));
    }
    let mut expected = Map::new();
    let [(_, pairs), rules @ ..] = RULES;
    for (rule, ends) in rules {
        for (pair, end) in pairs.into_iter().zip(ends) {
            let id = format!("{rule}-{pair}");
            let upstream = [format!("{}1", &pair[..1]), format!("{}2", &pair[1..])];
            tasks.push(idle(&id, &[&upstream[0], &upstream[1]], &json!({"trigger_rule": rule})));
            expected.insert(id, json!(end));
        }
    }
    write_dag(&sandbox, &tasks, &json!({}));
    run(&sandbox, &[]).expect_status(1);
    let run = r(&sandbox);
    let end = |id: &String| match (find(&run, id)["state"].as_str().unwrap(), attempts(&run, id).len()) {
        ("success", 1) => json!("run"),
        ("skipped", 0) => json!("skip"),
        ("upstream_failed", 0) => json!("up"),
        other => json!(other),
    };
    let found: Map<_, _> = expected.keys().map(|id| (id.clone(), end(id))).collect();
    assert_eq!(Value::from(found), Value::from(expected));
}

#[test]
fn only_some_rules_let_a_task_start_before_all_dependencies_have_ended() {
    let sandbox = sandbox();
    let rule = |rule: &str| json!({"trigger_rule": rule});
    let tasks = [
        idle("good", &[], &json!({})),
        noop("bad", &[], &json!({"fail": true}), &json!({})),
        gate("gate", &[]),
        idle("one_success", &["gate", "good"], &rule("one_success")),
        idle("one_failed", &["gate", "bad"], &rule("one_failed")),
        idle("one_done", &["gate", "bad"], &rule("one_done")),
        idle("always", &["gate"], &rule("always")),
        idle("all_success", &["gate", "good"], &rule("all_success")),
        idle("all_done", &["gate", "bad"], &rule("all_done")),
        idle("none_failed", &["gate", "good"], &rule("none_failed")),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    let mut run = start(&sandbox, &[]);
    let mut early = vec!["always", "one_done", "one_failed", "one_success"];
    while !early.is_empty() {
        let event = run.until(|event| event["state"] == "success");
        early.retain(|id| event["task_id"] != *id);
    }
    sandbox.write("go", "");
    run.end().expect_status(1);
    let run = r(&sandbox);
    for late in ["all_success", "all_done", "none_failed"] {
        assert_eq!(find(&run, late)["state"], "success");
        in_turn(&run, "gate", late);
    }
}

#[test]
fn a_branch_is_taken_by_what_a_task_found() {
    let sandbox = sandbox();
    let when = |condition: &str| json!({"when": condition});
    let tasks = [
        noop("count", &[], &json!({"result": {"rows": 1200}}), &json!({})),
        idle("all", &["count"], &when("tasks.count.result.rows <= params.most")),
        idle("parts", &["count"], &when("tasks.count.result.rows > params.most")),
        idle("after_all", &["all"], &json!({})),
        idle("after_parts", &["parts"], &json!({})),
        idle(
            "report",
            &["after_all", "after_parts"],
            &json!({"trigger_rule": "none_failed_min_one_success"}),
        ),
    ];
    write_dag(&sandbox, &tasks, &json!({"params": {"most": 1000}}));
    run(&sandbox, &[]).expect_status(0);
    let expected = json!({
        "count": "success", "all": "skipped", "after_all": "skipped", "parts": "success", "after_parts": "success",
        "report": "success",
    });
    let run = r(&sandbox);
    assert_eq!(states(&run), expected);
    assert_eq!(run["state"], "success");
    let arguments = ["run", "dag.json", "--run-id", "other", "-p", "most=5000", "--format", "quiet"];
    super::oxidag(&sandbox, &arguments, 0);
    let expected = json!({
        "count": "success", "all": "success", "after_all": "success", "parts": "skipped", "after_parts": "skipped",
        "report": "success",
    });
    assert_eq!(states(&shown(&sandbox, "other")), expected);
}

#[test]
fn a_condition_sees_how_a_task_failed() {
    let sandbox = sandbox();
    let more = json!({"trigger_rule": "all_done", "when": "tasks.load.state == 'failed'"});
    let tasks = [noop("load", &[], &json!({"fail": true}), &json!({})), idle("clean_up", &["load"], &more)];
    write_dag(&sandbox, &tasks, &json!({}));
    run(&sandbox, &[]).expect_status(1);
    assert_eq!(states(&r(&sandbox)), json!({"load": "failed", "clean_up": "success"}));
}

#[test]
fn a_condition_that_cannot_be_evaluated_fails_its_task_without_an_attempt() {
    let sandbox = sandbox();
    let more = |condition: &str| json!({"when": condition, "retries": 3});
    let tasks = [
        noop("count", &[], &json!({"result": {"rows": "many"}}), &json!({})),
        idle("missing", &["count"], &more("tasks.count.result.bytes > 1")),
        idle("text", &["count"], &more("tasks.count.result.rows > 1")),
        idle("neither", &["count"], &more("tasks.count.result.rows")),
        idle("after", &["missing"], &json!({})),
        idle("other", &["count"], &json!({})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    run(&sandbox, &[]).expect_status(1);
    let run = r(&sandbox);
    let expected = json!({
        "count": "success", "missing": "failed", "text": "failed", "neither": "failed", "after": "upstream_failed",
        "other": "success",
    });
    assert_eq!(states(&run), expected);
    for (id, why) in [("missing", "bytes"), ("text", "string and int"), ("neither", "many")] {
        let task = find(&run, id);
        assert!(attempts(&run, id).is_empty(), "{task:#}");
        assert_eq!(task["error"]["kind"], "invalid");
        assert!(task["error"]["message"].as_str().unwrap().contains(why), "{task:#}");
        assert!(time(task, "finished_at") <= time(&run, "finished_at"));
    }
}
