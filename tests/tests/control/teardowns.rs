//! What was set up is taken down again, whatever happens in between.

use serde_json::{Value, json};

use super::{
    attempts, deaf, endless, find, gate, idle, in_turn, noop, r, run, sandbox, start, states, with_ledger,
    write_dag, wrote,
};

fn teardown(id: &str, setups: &[&str]) -> Value {
    idle(id, setups, &json!({"teardown": true}))
}

#[test]
fn a_teardown_runs_after_success_and_after_failure() {
    for (fails, status, work, after) in
        [(false, 0, "success", "success"), (true, 1, "failed", "upstream_failed")]
    {
        let sandbox = sandbox();
        let tasks = [
            idle("setup", &[], &json!({})),
            noop("work", &["setup"], &json!({"fail": fails}), &json!({})),
            idle("after", &["work"], &json!({})),
            teardown("teardown", &["setup"]),
        ];
        write_dag(&sandbox, &tasks, &json!({}));
        run(&sandbox, &[]).expect_status(status);
        let run = r(&sandbox);
        let expected = json!({"setup": "success", "work": work, "after": after, "teardown": "success"});
        assert_eq!(states(&run), expected);
        in_turn(&run, if fails { "work" } else { "after" }, "teardown");
    }
}

#[test]
fn a_teardown_runs_when_its_setup_failed_and_not_when_that_never_ran() {
    let sandbox = sandbox();
    let tasks = [
        noop("broken", &[], &json!({"fail": true}), &json!({})),
        teardown("of_broken", &["broken"]),
        idle("not_reached", &["broken"], &json!({})),
        teardown("of_not_reached", &["not_reached"]),
        idle("not_wanted", &[], &json!({"when": "false"})),
        teardown("of_not_wanted", &["not_wanted"]),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    run(&sandbox, &[]).expect_status(1);
    let expected = json!({
        "broken": "failed", "of_broken": "success", "not_reached": "upstream_failed", "of_not_reached": "skipped",
        "not_wanted": "skipped", "of_not_wanted": "skipped",
    });
    assert_eq!(states(&r(&sandbox)), expected);
}

#[test]
fn a_teardown_runs_on_ctrl_c_after_what_it_would_disturb() {
    let (sandbox, ledger) = with_ledger();
    let tasks = [
        idle("setup", &[], &json!({})),
        endless("work", &["setup"], &json!({})),
        idle("after", &["work"], &json!({})),
        noop(
            "teardown",
            &["setup"],
            &json!({"fail": 1}),
            &json!({"teardown": true, "retries": 1, "retry_delay": 0}),
        ),
        gate("gate", &[]),
        idle("late_setup", &["gate"], &json!({})),
        teardown("of_late_setup", &["late_setup"]),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    let mut run = start(&sandbox, &[]);
    run.until_task("work", "deferred");
    run.signal("INT");
    run.end().expect_status(130);
    let run = r(&sandbox);
    let expected = json!({
        "setup": "success", "work": "cancelled", "after": "cancelled", "teardown": "success",
        "gate": "cancelled", "late_setup": "cancelled", "of_late_setup": "skipped",
    });
    assert_eq!(states(&run), expected);
    assert_eq!(run["state"], "cancelled");
    // Nor does it lose its retries by that.
    assert_eq!(attempts(&run, "teardown").len(), 2);
    in_turn(&run, "work", "teardown");
    assert_eq!(wrote(&ledger, "work").last().unwrap(), "cancelled");
}

#[test]
fn a_second_ctrl_c_ends_the_run_without_its_teardown() {
    let sandbox = sandbox();
    let tasks = [
        idle("setup", &[], &json!({})),
        deaf(&sandbox, "work", &["setup"], &json!({})),
        idle("after", &["work"], &json!({})),
        teardown("teardown", &["setup"]),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    let mut run = start(&sandbox, &[]);
    run.until(|event| event["line"] == "deaf");
    run.signal("INT");
    run.until_task("after", "cancelled");
    run.signal("INT");
    run.end().expect_status(130);
    let run = r(&sandbox);
    assert_eq!(run["state"], "cancelled");
    let expected =
        json!({"setup": "success", "work": "cancelled", "after": "cancelled", "teardown": "cancelled"});
    assert_eq!(states(&run), expected);
    assert!(attempts(&run, "teardown").is_empty());
}

#[test]
fn a_second_ctrl_c_abandons_a_teardown_that_runs() {
    let sandbox = sandbox();
    let tasks = [
        idle("setup", &[], &json!({})),
        gate("work", &["setup"]),
        deaf(&sandbox, "teardown", &["setup"], &json!({"teardown": true})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    let mut run = start(&sandbox, &[]);
    run.until_task("work", "running");
    run.signal("INT");
    run.until(|event| event["line"] == "deaf");
    run.signal("INT");
    run.end().expect_status(130);
    let run = r(&sandbox);
    assert_eq!(states(&run), json!({"setup": "success", "work": "cancelled", "teardown": "cancelled"}));
    assert_eq!(find(&run, "teardown")["error"]["kind"], "abandoned");
}

#[test]
fn a_teardown_that_fails_does_not_fail_the_run_unless_asked() {
    for (asked, status, state) in [(false, 0, "success"), (true, 1, "failed")] {
        let sandbox = sandbox();
        let more = json!({"teardown": true, "on_failure_fail_dagrun": asked});
        let tasks = [
            idle("setup", &[], &json!({})),
            idle("work", &["setup"], &json!({})),
            noop("teardown", &["setup"], &json!({"fail": true}), &more),
        ];
        write_dag(&sandbox, &tasks, &json!({}));
        run(&sandbox, &[]).expect_status(status);
        let run = r(&sandbox);
        assert_eq!(run["state"], state);
        assert_eq!(states(&run), json!({"setup": "success", "work": "success", "teardown": "failed"}));
    }
}

#[test]
fn inner_teardowns_come_before_outer_ones() {
    for fails in [false, true] {
        let sandbox = sandbox();
        // Not in the order in which they run.
        let tasks = [
            teardown("delete_network", &["create_network"]),
            teardown("delete_cluster", &["create_cluster"]),
            noop("work", &["create_cluster"], &json!({"fail": fails, "delay_ms": 50}), &json!({})),
            idle("create_cluster", &["create_network"], &json!({})),
            idle("create_network", &[], &json!({})),
        ];
        write_dag(&sandbox, &tasks, &json!({}));
        run(&sandbox, &[]).expect_status(i32::from(fails));
        let run = r(&sandbox);
        let order = ["create_network", "create_cluster", "work", "delete_cluster", "delete_network"];
        order.windows(2).for_each(|pair| in_turn(&run, pair[0], pair[1]));
        assert_eq!(find(&run, "delete_network")["state"], "success");
    }
}

#[test]
fn a_terminal_that_is_closed_twice_over_does_not_skip_a_teardown() {
    let sandbox = sandbox();
    let tasks = [
        idle("setup", &[], &json!({})),
        gate("work", &["setup"]),
        deaf(&sandbox, "teardown", &["setup"], &json!({"teardown": true})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    let mut run = start(&sandbox, &[]);
    run.until_task("work", "running");
    run.signal("INT");
    run.until(|event| event["line"] == "deaf");
    // As a shell and the kernel do.
    run.signal("HUP");
    run.signal("HUP");
    sandbox.write("until", "");
    run.end().expect_status(130);
    let expected = json!({"setup": "success", "work": "cancelled", "teardown": "success"});
    assert_eq!(states(&r(&sandbox)), expected);
}

#[test]
fn a_teardown_that_is_asked_for_alone_takes_down_what_is_there() {
    let sandbox = sandbox();
    let tasks = [
        idle("setup", &[], &json!({})),
        idle("work", &["setup"], &json!({})),
        teardown("teardown", &["setup"]),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    run(&sandbox, &["--only", "teardown"]).expect_status(0);
    assert_eq!(states(&r(&sandbox)), json!({"setup": "skipped", "work": "skipped", "teardown": "success"}));
}
