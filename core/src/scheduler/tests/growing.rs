//! Tasks that are added, and mapped tasks.

use super::*;

/// A DAG in which the tasks whose names begin with `m` are mapped.
fn mapped(tasks: &[(&str, &[&str])]) -> Env {
    Env::new(tasks, limits(9), |name, info| info.mapped = name.starts_with('m'))
}

impl Env {
    /// A task to be added behind others.
    fn added(&self, name: &str, upstream: &[&str]) -> Added {
        let upstream = upstream.iter().map(|name| self.grown(name)).collect();
        Added { name: name.into(), info: info(), upstream }
    }

    /// A task by its name, also one that was added.
    fn grown(&self, name: &str) -> TaskIdx {
        self.scheduler.graph().find(name).unwrap()
    }

    fn append(&mut self, added: Vec<Added>) -> String {
        let mut out = Vec::new();
        self.scheduler.append(added, &mut out).unwrap();
        self.shown(out)
    }

    /// Gives a mapped task instances of these names.
    fn expand(&mut self, task: &str, names: &[&str]) -> String {
        self.expand_to(task, names, |_| {})
    }

    /// The same with instances of a kind.
    fn expand_to(&mut self, task: &str, names: &[&str], kind: impl Fn(&mut TaskInfo)) -> String {
        let mapped = self.grown(task);
        let instance = |name: &&str| {
            let mut added = self.added(name, &[]);
            added.info.instance_of = Some(mapped);
            kind(&mut added.info);
            added
        };
        let added: Vec<Added> = names.iter().map(instance).collect();
        let mut out = Vec::new();
        self.scheduler.append(added, &mut out).unwrap();
        let done = Input::Expanded { task: mapped, done: true };
        self.scheduler.handle(done, self.now, &mut self.places, &mut out).unwrap();
        self.shown(out)
    }

    fn end(&mut self, name: &str, failure: Option<FailureKind>) -> String {
        let task = self.grown(name);
        self.step(&[Input::Ended { task, attempt: 1, failure }])
    }
}

#[test]
fn what_depends_on_a_mapped_task_waits_for_all_of_its_instances() {
    let mut env = mapped(&[("a", &[]), ("m", &["a"]), ("z", &["m"])]);
    assert_eq!(env.start(), "start a1");
    assert_eq!(env.end("a", None), "a1 success, expand m");
    assert_eq!(env.expand("m", &["x", "y"]), "start x1, start y1");
    assert_eq!(env.end("y", None), "y1 success");
    assert_eq!(env.end("x", None), "x1 success, m0 success, start z1");
    assert_eq!(env.end("z", None), "z1 success, run success");
    assert_eq!(env.scheduler.out_of_order(), None);
}

#[test]
fn a_mapped_task_without_items_is_a_success() {
    let mut env = mapped(&[("m", &[]), ("z", &["m"])]);
    assert_eq!(env.start(), "expand m");
    assert_eq!(env.expand("m", &[]), "m0 success, start z1");
}

#[test]
fn a_mapped_task_fails_with_its_instances_and_the_others_go_on() {
    let mut env = mapped(&[("m", &[]), ("z", &["m"])]);
    assert_eq!(env.start(), "expand m");
    assert_eq!(env.expand("m", &["x", "y"]), "start x1, start y1");
    assert_eq!(env.end("x", Some(FailureKind::Failed)), "x1 failed");
    assert_eq!(env.end("y", None), "y1 success, m0 failed, z0 upstream_failed, run failed");
}

#[test]
fn a_rule_counts_the_instances_of_a_mapped_task() {
    let mut env = Env::new(&[("m", &[]), ("z", &["m"])], limits(9), |name, info| {
        info.mapped = name == "m";
        info.rule = TriggerRule::OneSuccess;
    });
    assert_eq!(env.start(), "expand m");
    assert_eq!(env.expand("m", &["x", "y"]), "start x1, start y1");
    assert_eq!(env.end("x", Some(FailureKind::Failed)), "x1 failed");
    assert_eq!(env.end("y", None), "y1 success, m0 failed, start z1");
}

#[test]
fn what_is_not_known_fails_a_mapped_task() {
    let mut env = mapped(&[("m", &[]), ("z", &["m"])]);
    assert_eq!(env.start(), "expand m");
    let never = Input::Expanded { task: env.task("m"), done: false };
    assert_eq!(env.step(&[never]), "m0 failed, z0 upstream_failed, run failed");
}

#[test]
fn a_limit_of_a_mapped_task_holds_back_its_instances_alone() {
    let mut env = Env::new(&[("m", &[]), ("a", &[])], limits(9), |name, info| {
        info.mapped = name == "m";
        info.max_active = (name == "m").then_some(1);
    });
    assert_eq!(env.start(), "expand m, start a1");
    assert_eq!(env.expand("m", &["x", "y"]), "start x1");
    assert_eq!(env.end("x", None), "x1 success, start y1");
}

/// What stands for a DAG.
fn sub(info: &mut TaskInfo) {
    (info.mapped, info.sub) = (true, true);
}

#[test]
fn only_so_many_of_the_dags_of_a_mapped_task_are_under_way() {
    let mut env = Env::new(&[("m", &[])], limits(9), |_, info| {
        info.mapped = true;
        info.max_active = Some(1);
    });
    assert_eq!(env.start(), "expand m");
    assert_eq!(env.expand_to("m", &["d", "e", "f"], sub), "expand d");
    assert_eq!(env.expand("d", &["x", "y"]), "start x1, start y1");
    assert_eq!(env.step(&[Input::CancelTask(env.grown("e"))]), "e0 cancelled");
    assert_eq!(env.end("x", None), "x1 success");
    assert_eq!(env.end("y", None), "y1 success, d0 success, expand f");
    assert_eq!(env.expand("f", &[]), "f0 success, m0 cancelled, run failed");
}

#[test]
fn the_limit_of_a_dag_counts_the_instances_in_it() {
    let mut env = Env::new(&[("d", &[]), ("a", &[])], limits(9), |name, info| {
        if name == "d" {
            sub(info);
            info.max_active = Some(2);
        }
    });
    assert_eq!(env.start(), "expand d, start a1");
    assert_eq!(env.expand_to("d", &["m"], |info| info.mapped = true), "expand m");
    assert_eq!(env.expand("m", &["x", "y", "z"]), "start x1, start y1");
    assert_eq!(env.end("x", None), "x1 success, start z1");
}

#[test]
fn a_resumed_run_counts_the_dags_that_are_under_way() {
    let begun = |state| Begun { state, ..Begun::default() };
    let mut env = Env::new(&[("m", &[]), ("d", &[]), ("e", &[])], limits(9), |name, info| {
        info.mapped = true;
        info.sub = name != "m";
        info.instance_of = (name != "m").then_some(TaskIdx(0));
        info.max_active = (name == "m").then_some(1);
    });
    let told = [begun(TaskState::Running), begun(TaskState::Running), begun(TaskState::Waiting)];
    assert_eq!(env.resume(&told), "expand d");
    assert_eq!(env.expand("d", &[]), "d0 success, expand e");
}

#[test]
fn instances_that_follow_others_wait_for_those_alone() {
    let mut env = Env::new(&[("m", &[]), ("n", &["m"])], limits(9), |name, info| {
        info.mapped = true;
        info.follows = (name == "n").then_some(TaskIdx(0));
    });
    assert_eq!(env.start(), "expand m");
    assert_eq!(env.expand("m", &["m1", "m2"]), "expand n, start m11, start m21");
    let follow = |name: &str, upstream: &str, env: &Env| {
        let added = env.added(name, &[upstream]);
        Added { info: TaskInfo { instance_of: Some(env.task("n")), ..added.info.clone() }, ..added }
    };
    let added = vec![follow("n1", "m1", &env), follow("n2", "m2", &env)];
    assert_eq!(env.append(added), "");
    assert_eq!(env.step(&[Input::Expanded { task: env.task("n"), done: true }]), "");
    assert_eq!(env.end("m2", None), "m21 success, start n21");
    assert_eq!(env.end("n2", None), "n21 success");
    assert_eq!(env.end("m1", None), "m11 success, m0 success, start n11");
    assert_eq!(env.end("n1", None), "n11 success, n0 success, run success");
}

#[test]
fn a_task_that_follows_one_that_never_had_instances_ends_as_that_did() {
    let mut env = Env::new(&[("m", &[]), ("n", &["m"])], limits(9), |name, info| {
        info.mapped = true;
        info.follows = (name == "n").then_some(TaskIdx(0));
    });
    assert_eq!(env.start(), "expand m");
    let never = Input::Expanded { task: env.task("m"), done: false };
    assert_eq!(env.step(&[never]), "m0 failed, n0 upstream_failed, run failed");
}

#[test]
fn a_cancelled_run_closes_mapped_tasks_with_and_without_instances() {
    let mut env = mapped(&[("m1", &[]), ("m2", &[]), ("z", &["m1", "m2"])]);
    assert_eq!(env.start(), "expand m2, expand m1");
    assert_eq!(env.expand("m1", &["x"]), "start x1");
    let cancelled = env.step(&[Input::Cancel]);
    assert_eq!(cancelled, "stopping: Cancelled, m20 cancelled, z0 cancelled, stop x1 Cancelled");
    // Its instances come too late.
    assert_eq!(env.step(&[Input::Expanded { task: env.task("m2"), done: true }]), "");
    let end = env.end("x", Some(FailureKind::Cancelled));
    assert_eq!(end, "x1 cancelled, m10 cancelled, run cancelled");
}

#[test]
fn a_mapped_task_is_cancelled_with_all_of_its_instances() {
    let mut env = mapped(&[("m", &[]), ("a", &[])]);
    assert_eq!(env.start(), "expand m, start a1");
    assert_eq!(env.expand("m", &["x", "y"]), "start x1, start y1");
    assert_eq!(env.step(&[Input::CancelTask(env.task("m"))]), "stop x1 Cancelled, stop y1 Cancelled");
}

#[test]
fn what_is_added_behind_what_has_ended_starts_at_once() {
    let mut env = mapped(&[("a", &[]), ("b", &[])]);
    assert_eq!(env.start(), "start a1, start b1");
    assert_eq!(env.end("a", None), "a1 success");
    let added = vec![env.added("c", &["a"]), env.added("d", &["b"]), env.added("e", &["a", "b"])];
    assert_eq!(env.append(added), "start c1");
    assert_eq!(env.end("b", Some(FailureKind::Failed)), "b1 failed, e0 upstream_failed, d0 upstream_failed");
}

#[test]
fn a_teardown_waits_for_what_is_added_behind_its_setup() {
    let tasks: &[(&str, &[&str])] =
        &[("setup", &[]), ("use", &["setup"]), ("down", &["setup"]), ("after", &["down"])];
    let mut env = Env::new(tasks, limits(9), |name, info| info.teardown = name == "down");
    assert_eq!(env.start(), "start setup1");
    assert_eq!(env.end("setup", None), "setup1 success, start use1");
    assert_eq!(env.append(vec![env.added("more", &["setup"])]), "start more1");
    assert_eq!(env.end("use", None), "use1 success");
    assert_eq!(env.end("more", None), "more1 success, start down1");
}

#[test]
fn a_resumed_run_goes_on_with_its_instances() {
    let begun = |state, attempt| Begun { state, attempt, ..Begun::default() };
    let tasks: &[(&str, &[&str])] = &[("m", &[]), ("z", &["m"]), ("x", &[]), ("y", &[])];
    let mut env = Env::new(tasks, limits(9), |name, info| {
        info.mapped = name == "m";
        info.instance_of = matches!(name, "x" | "y").then_some(TaskIdx(0));
    });
    let told = [
        begun(TaskState::Running, 0),
        begun(TaskState::None, 0),
        begun(TaskState::Success, 1),
        begun(TaskState::Running, 1),
    ];
    assert_eq!(env.resume(&told), "start y1 again");
    assert_eq!(env.end("y", None), "y1 success, m0 success, start z1");
}

#[test]
fn a_resumed_run_asks_again_for_instances_that_were_never_stored() {
    let mut env = mapped(&[("m", &[]), ("z", &["m"])]);
    let told = [Begun { state: TaskState::Running, ..Begun::default() }, Begun::default()];
    assert_eq!(env.resume(&told), "expand m");
}

#[test]
fn the_levels_of_instances_count_what_comes_after_them() {
    let mut env = mapped(&[("m", &[]), ("y", &["m"]), ("z", &["y"])]);
    env.start();
    env.expand("m", &["x"]);
    assert_eq!(env.scheduler.levels(), [3.0, 2.0, 1.0, 3.0]);
}

#[test]
fn a_teardown_that_was_due_waits_for_what_is_added_after_all() {
    let tasks: [(&str, &[&str]); 3] = [("create", &[]), ("load", &["create"]), ("delete", &["create"])];
    let mut env = Env::new(&tasks, limits(2), |name, info| info.teardown = name == "delete");
    env.scheduler.hold();
    env.start();
    env.succeeds("create");
    assert_eq!(env.succeeds("load"), "load1 success");
    let more = env.added("more", &["load"]);
    assert_eq!(env.append(vec![more]), "start more1");
    assert_eq!(env.step(&[Input::Cancel]), "stopping: Cancelled, stop more1 Cancelled");
    assert_eq!(env.end("more", Some(FailureKind::Cancelled)), "more1 cancelled, start delete1");
}

#[test]
fn a_mapped_task_that_is_cancelled_before_it_has_its_instances_lets_others_go_on() {
    let tasks: [(&str, &[&str]); 3] = [("u", &[]), ("m", &["u"]), ("z", &["m"])];
    let mut env = Env::new(&tasks, limits(0), |name, info| {
        info.mapped = name == "m";
        info.rule = TriggerRule::AllDone;
    });
    env.start();
    let inputs = [Input::CancelTask(env.task("u")), Input::CancelTask(env.task("m"))];
    assert_eq!(env.step(&inputs), "u0 cancelled, expand m, m0 cancelled");
    assert_eq!(env.scheduler.state(env.task("z")), TaskState::Waiting, "for a place");
}

#[test]
fn what_was_skipped_within_a_dag_is_its_own_affair() {
    let mut env = Env::new(&[("s", &[]), ("z", &["s"])], limits(9), |name, info| {
        if name == "s" {
            sub(info);
        }
    });
    assert_eq!(env.start(), "expand s");
    let s = env.task("s");
    let mut added = vec![env.added("a", &[]), env.added("b", &[])];
    added.iter_mut().for_each(|task| task.info.instance_of = Some(s));
    let mut out = Vec::new();
    env.scheduler.append(added, &mut out).unwrap();
    let a = env.grown("a");
    let mut recovery = Added { name: "c".into(), info: info(), upstream: Box::new([a]) };
    recovery.info.instance_of = Some(s);
    recovery.info.rule = TriggerRule::OneFailed;
    env.scheduler.append(vec![recovery], &mut out).unwrap();
    env.scheduler
        .handle(Input::Expanded { task: s, done: true }, env.now, &mut env.places, &mut out)
        .unwrap();
    assert_eq!(env.shown(out), "start a1, start b1");
    assert_eq!(env.end("a", None), "a1 success, c0 skipped");
    assert_eq!(env.end("b", None), "b1 success, s0 success, start z1");
}
