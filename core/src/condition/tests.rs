//! Tests of conditions.

use proptest::prelude::*;
use serde_json::json;

use super::*;

type Tasks = [(&'static str, TaskState, Value)];

fn compile(text: &str) -> Condition {
    Condition::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A mistake, after the part of the text at which it is.
fn refused(text: &str) -> String {
    let error = Condition::compile(text).unwrap_err();
    let help = error.help.map_or(String::new(), |help| format!("; help: {help}"));
    format!("«{}» {}{help}", &text[error.at], error.message)
}

fn evaluate(text: &str, tasks: &Tasks, params: Value) -> Result<bool, String> {
    let Value::Object(params) = params else { panic!("{params}") };
    let tasks = tasks.iter().map(|(task_id, state, result)| TaskView {
        task_id,
        state: *state,
        result: (!result.is_null()).then(|| result.clone()),
    });
    compile(text).evaluate(&Scope { tasks: tasks.collect(), params: &params, around: Around::default() })
}

/// On a task `a` that succeeded with this result.
fn on(result: Value, text: &str) -> Result<bool, String> {
    evaluate(text, &[("a", TaskState::Success, result)], json!({"limit": 10}))
}

fn fails(text: &str) -> String {
    on(json!({"n": 1, "s": "x", "l": [1], "nothing": null}), text).unwrap_err()
}

#[test]
fn a_condition_sees_states_results_and_parameters() {
    let tasks: &Tasks = &[
        ("load.csv", TaskState::Success, json!({"rows": 12, "kind": "full"})),
        ("check", TaskState::Skipped, Value::Null),
    ];
    for (text, expected) in [
        (r#"tasks["load.csv"].state == "success""#, true),
        ("tasks.check.state == 'skipped' && tasks.check.result == null", true),
        ("tasks['load.csv'].result.rows > params.least", true),
        ("tasks['load.csv'].result.rows > 12", false),
        ("tasks['load.csv'].result.kind in params.kinds", true),
        ("tasks['load.csv']['result']['kind'].startsWith('fu')", true),
        ("tasks['load.csv'].result.kind.matches('^f.l+$')", true),
        ("tasks.all(id, tasks[id].state in ['success', 'skipped'])", true),
        ("params.kinds.exists(kind, kind == 'delta')", false),
        ("size(params.kinds) == 2 ? params['*variable'] : false", true),
        ("tasks.check.result.?rows.hasValue()", false),
        ("tasks['load.csv'].result.?colour.orValue('none') == 'none'", true),
        ("has(params.nowhere) || !has(params.least)", false),
    ] {
        let params = json!({"least": 1.5, "kinds": ["full", "part"], "*variable": true});
        assert_eq!(evaluate(text, tasks, params), Ok(expected), "{text}");
    }
}

#[test]
fn json_loses_nothing() {
    let numbers = json!([1, -9_223_372_036_854_775_808_i64, 18_446_744_073_709_551_615_u64, 1e300, 0.1, 2.0]);
    for text in [
        "tasks.a.result[0] == 1 && type(tasks.a.result[0]) == int",
        "tasks.a.result[1] == -9223372036854775808",
        "tasks.a.result[2] == 18446744073709551615u && tasks.a.result[2] > 9223372036854775807",
        "tasks.a.result[3] == 1e300 && tasks.a.result[4] == 0.1",
        "tasks.a.result[5] == 2 && type(tasks.a.result[5]) == double",
    ] {
        assert_eq!(on(numbers.clone(), text), Ok(true), "{text}");
    }
    let others = json!({"é\n": "漢😀\u{0}", "": [null, true, {"a": {}}]});
    assert_eq!(
        on(others, "tasks.a.result == {'é\\n': '漢😀\\u0000', '': [null, true, {'a': {}}]}"),
        Ok(true)
    );
}

#[test]
fn what_a_condition_looks_at_is_known_before() {
    let text = "tasks['a-b'].state == 'failed' || has(tasks.c.result.x) && params . limit > 1 && tasks[?'d'].hasValue()";
    let references = compile(text).references().clone();
    let named: Vec<(&str, &str)> =
        references.tasks.iter().map(|task| (&*task.name, &text[task.at.clone()])).collect();
    assert_eq!(named, [("a-b", "'a-b'"), ("c", "c"), ("d", "'d'")]);
    assert!(!references.any_task);
    let params: Vec<(&str, &str)> =
        references.params.iter().map(|param| (&*param.name, &text[param.at.clone()])).collect();
    assert_eq!(params, [("limit", "limit")]);
}

#[test]
fn a_condition_may_look_at_any_task() {
    for text in ["tasks[params.name].state == 'success'", "size(tasks) > 1", "tasks.exists(id, id == 'x')"] {
        assert!(compile(text).references().any_task, "{text}");
    }
    assert!(!compile("[1].all(tasks, tasks > 0)").references().any_task);
    assert!(compile("[1].all(tasks, .tasks['a'].state == 'failed')").references().tasks.len() == 1);
}

#[test]
fn a_parameter_that_is_asked_for_need_not_be_there() {
    let required = |text| compile(text).references().params.len();
    assert_eq!(required("has(params.a) && params.a > 1"), 0);
    assert_eq!(required("params.?a.orValue(1) > params.b"), 1);
}

#[test]
fn syntax_is_refused_where_it_is_wrong() {
    insta::assert_snapshot!(refused("tasks.a.state == "), @"«» the condition ends too early");
    insta::assert_snapshot!(refused("'é漢' = params.a"), @"«=» `=` is not expected here; help: CEL writes `==` for `=`");
    insta::assert_snapshot!(refused("has(params.a) and true"), @"«and» `and` is not expected here; help: CEL writes `&&` for `and`");
    insta::assert_snapshot!(refused("not has(params.a)"), @"«has» `has` is not expected here; help: CEL writes `!` for `not`");
    insta::assert_snapshot!(refused("true &&\n  (params.a"), @"«» the condition ends too early");
    insta::assert_snapshot!(refused("true\n  ?? 1"), @"«?» `?` is not expected here");
    insta::assert_snapshot!(refused("params.a == 'x"), @r"«'x» the text `'x` does not end, or holds an unknown escape; help: a text ends with the quote that it begins with; a backslash in it is `\\`");
    insta::assert_snapshot!(refused("params.a ? 1"), @"«» the condition ends too early");
    insta::assert_snapshot!(refused("'漢' == '' || 99999999999999999999 > 1"), @"«9» invalid int literal");
    insta::assert_snapshot!(refused("'漢' == '' || [1].all(1, true)"), @"«1» argument must be a simple name");
    insta::assert_snapshot!(refused("has(tasks)"), @"«t» invalid argument to has() macro");
}

#[test]
fn unknown_names_are_refused() {
    insta::assert_snapshot!(refused("task.a.state == 'success'"), @"«task» the name `task` is unknown; help: did you mean `tasks`?");
    insta::assert_snapshot!(refused("tasks.a-b.state == 'success'"), @r#"«b» the name `b` is unknown; help: a condition knows `tasks` and `params`; write `tasks["id"]` for an id with a dash or dot, and texts in quotes"#);
    insta::assert_snapshot!(refused("tasks.a.status == 'success'"), @"«status» a task has no `status` in a condition; help: did you mean `state`?");
    insta::assert_snapshot!(refused("tasks['a']['rows'] > 1"), @"«'rows'» a task has no `rows` in a condition; help: it has: `state`, `result`");
    insta::assert_snapshot!(refused("'sucess' != tasks.a.state"), @"«'sucess'» there is no state `sucess`; help: did you mean `success`?");
    insta::assert_snapshot!(refused("tasks.a.state in ['failed', 'done']"), @"«'done'» there is no state `done`; help: did you mean `none`?");
    insta::assert_snapshot!(refused("now() > 1"), @"«now» there is no function `now`; help: functions are those of CEL's standard library");
    insta::assert_snapshot!(refused("params.a.upper() == 'X'"), @"«upper» there is no function `upper`; help: functions are those of CEL's standard library");
    insta::assert_snapshot!(refused("Point{x: 1}.x == 1"), @r#"«{» there is no type `Point`; help: a mapping is written `{"key": value}`"#);
}

#[test]
fn what_cannot_be_evaluated_says_why() {
    insta::assert_snapshot!(fails("tasks.a.result.m > 1"), @"the condition cannot be evaluated: there is no key `m`");
    insta::assert_snapshot!(fails("tasks[params.limit > 1 ? 'b' : 'a'].state == 'x'"), @"the condition cannot be evaluated: there is no key `b`");
    insta::assert_snapshot!(fails("tasks.a.result.nothing.x == 1"), @"the condition cannot be evaluated: `.` cannot be applied to null_type and string");
    insta::assert_snapshot!(fails("tasks.a.result.s > params.limit"), @"the condition cannot be evaluated: `>` cannot be applied to string and int");
    insta::assert_snapshot!(fails("tasks.a.result.s + 1 == 'x1'"), @"the condition cannot be evaluated: `add` cannot be applied to string and int");
    insta::assert_snapshot!(fails("tasks.a.result.l[1] == 1"), @"the condition cannot be evaluated: the list ends before the index: the number 1");
    insta::assert_snapshot!(fails("1 / (params.limit - 10) == 1"), @"the condition cannot be evaluated: the number 1 cannot be divided by zero");
    insta::assert_snapshot!(fails("9223372036854775807 + params.limit > 0"), @"the condition cannot be evaluated: the numbers are too large to `add`");
    insta::assert_snapshot!(fails("int(tasks.a.result.s) == 1"), @"the condition cannot be evaluated: int: string parse error: invalid digit found in string");
    insta::assert_snapshot!(fails("'x'.matches('(')"), @"the condition cannot be evaluated: matches: '(' not a valid regex: regex parse error:     (     ^ error: unclosed group");
}

#[test]
fn only_true_and_false_are_answers() {
    insta::assert_snapshot!(fails("params.limit"), @"the condition gives the number 10, which is neither true nor false");
    insta::assert_snapshot!(fails("tasks.a.result.s"), @"the condition gives the text `x`, which is neither true nor false");
    insta::assert_snapshot!(fails("tasks.a.result"), @"the condition gives a mapping, which is neither true nor false");
    insta::assert_snapshot!(fails("tasks.a.result.l"), @"the condition gives a list, which is neither true nor false");
    insta::assert_snapshot!(fails("tasks.a.result.nothing"), @"the condition gives null, which is neither true nor false");
    insta::assert_snapshot!(fails("tasks.a.?result"), @"the condition gives a value of type opaque, which is neither true nor false");
}

#[test]
fn a_message_stays_short_whatever_a_task_left() {
    let long = json!({"s": "\u{1b}[2J".repeat(10_000)});
    for text in [
        "tasks.a.result.s",
        "tasks.a.result.s > 1",
        "int(tasks.a.result.s) > 1",
        "''.matches(tasks.a.result.s)",
    ] {
        let message = on(long.clone(), text).unwrap_err();
        assert!(message.len() < 500 && !message.contains('\u{1b}'), "{message}");
    }
}

#[test]
fn loops_end() {
    let list = Value::from((0..2_000).collect::<Vec<_>>());
    for text in [
        "tasks.a.result.all(x, tasks.a.result.all(y, x + y >= 0))",
        "tasks.a.result.exists(x, tasks.a.result.exists(y, x + y < 0))",
        "tasks.a.result.exists_one(x, tasks.a.result.exists_one(y, y == 1))",
        "size(tasks.a.result.map(x, tasks.a.result.map(y, y))) == 2000",
        "size(tasks.a.result.filter(x, size(tasks.a.result.filter(y, y > 1)) > 0)) == 2000",
        "tasks.a.result.exists(x, tasks.a.result.exists(y, x + y < 0)) || true",
    ] {
        assert_eq!(
            on(list.clone(), text),
            Err("the condition takes more than 10000 steps".to_owned()),
            "{text}"
        );
    }
    for text in [
        "tasks.a.result.all(x, x >= 0) && tasks.a.result.exists(x, x == 1999)",
        "size(tasks.a.result.map(x, x > 5, x * 2).filter(x, x > 100)) > 1000",
        "tasks.a.result.exists_one(x, x == 7)",
    ] {
        assert_eq!(on(list.clone(), text), Ok(true), "{text}");
    }
}

#[test]
fn what_would_overflow_the_stack_is_refused() {
    let of = |repeated: &str, count| format!("true{}", repeated.repeat(count));
    let nested = |open: &str, close: &str, count| format!("{}1{}", open.repeat(count), close.repeat(count));
    for text in [
        of("+1", 100),
        of("+1", 2_000),
        of("[0]", 1_300),
        of(".a", 2_000),
        of(".size()", 580),
        of("<1", 2_000),
        of("+1", 1_000_000),
        nested("(", ")", 2_000),
        nested("[", "]", 100_000),
        nested("[1].map(x, ", ")", 300),
        nested("{1:", "}", 1_000),
        nested("-(", ")", 1_000),
        "(".repeat(4_000),
        "@".repeat(4_000),
    ] {
        assert!(Condition::compile(&text).is_err(), "{}", &text[..20]);
    }
    for text in [
        of(" && true", 500),
        of(" || true", 500),
        format!("{}true", "!".repeat(4_000)),
        nested("(", ")", 20) + " == 1",
    ] {
        assert_eq!(on(Value::Null, &text), Ok(true), "{}", &text[..20]);
    }
    insta::assert_snapshot!(refused(&nested("(", ")", 50)), @"«(» the condition is nested more than 32 deep");
    insta::assert_snapshot!(refused(&of("+1", 70)), @"«+» more than 64 operators stand in each other; help: let a task decide, and look at its `result`");
}

#[test]
fn a_condition_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Condition>();
}

/// Pieces of CEL, so that more than the first character is reached.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "tasks",
        "params",
        ".a",
        "['a']",
        "[0]",
        "[?0]",
        ".?b",
        ".state",
        ".result",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "<=",
        "&&",
        "||",
        " in ",
        "1",
        "-9223372036854775808",
        "0xFF",
        "7u",
        "1e400",
        ".5",
        "'é'",
        "\"",
        "'''",
        "r'\\'",
        "b'\\xff'",
        "'\\U00110000'",
        "null",
        "true",
        "x",
        ".map(x,x)",
        ".all(x,x>1)",
        ".exists(x, tasks)",
        "has(params.a)",
        "size(",
        "int('x')",
        ".matches('(')",
        "uint(-1)",
        "optional.none()",
        "`a`",
        "@",
        "//",
        "\n",
        "\0",
        "漢",
        "\\",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..12)
        .prop_map(|pieces| pieces.concat())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_and_no_result_makes_it_panic(text in prop_oneof![any::<String>(), soup()], result in any_json()) {
        match Condition::compile(&text) {
            Ok(condition) => {
                let params = Map::from_iter([("a".to_owned(), result.clone())]);
                let task = TaskView { task_id: "a", state: TaskState::Failed, result: Some(result) };
                let answer = condition.evaluate(&Scope { tasks: vec![task], params: &params, around: Around::default() });
                prop_assert!(!format!("{answer:?}").contains("has a bug"), "{}", text);
            }
            Err(error) => {
                prop_assert!(text.get(error.at).is_some());
                prop_assert!(!error.message.contains("has a bug"), "{}", text);
            }
        }
    }

    #[test]
    fn a_value_equals_itself_on_both_ways(result in any_json()) {
        let params = Map::from_iter([("same".to_owned(), result.clone())]);
        let answer = evaluate("tasks.a.result == params.same", &[("a", TaskState::Success, result)], Value::Object(params));
        prop_assert_eq!(answer, Ok(true));
    }
}
