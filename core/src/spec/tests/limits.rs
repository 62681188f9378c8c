//! Files that would take all memory, all time or the whole stack are refused.

use super::{accepted, refused};

fn nested(open: &str, close: &str, levels: usize) -> String {
    open.repeat(levels) + "1" + &close.repeat(levels)
}

/// Block mappings, each indented by one more than the one around it.
fn indented(levels: usize) -> String {
    let mut text = String::new();
    for level in 0..levels {
        text.push_str(&" ".repeat(level));
        text.push_str("a:\n");
    }
    text
}

#[test]
fn nesting_beyond_128_levels_is_refused_with_its_place() {
    for levels in [1000, 100_000] {
        for (path, text, place) in [
            ("dag.json", nested("[", "]", levels), "1:129"),
            ("dag.json", nested("{\"a\":", "}", levels), "1:641"),
            ("dag.yaml", nested("[ ", "]", levels), "1:257"),
            ("dag.yaml", nested("{a: ", "}", levels), "1:1021"),
            ("dag.yaml", nested("- ", "", levels), "1:257"),
            ("dag.yaml", nested("? ", "", levels), "1:257"),
        ] {
            let said = refused(path, &text);
            let expected = format!("{path}:{place}: error: nested deeper than 128 levels");
            assert_eq!(said.lines().next(), Some(&*expected), "{}", &text[..8]);
        }
    }
    assert!(refused("dag.yaml", &indented(1000)).contains("dag.yaml:129:129: error: nested deeper"));
}

#[test]
fn nesting_of_128_levels_is_read() {
    let task =
        |params: &str| format!("tasks: [{{task_id: a, script: local.b.f.sql.n, params: {{a: {params}}}}}]");
    // The file, `tasks`, the task and `params` are four levels.
    accepted("dag.yaml", &task(&nested("[", "]", 124)));
    let said = refused("dag.yaml", &task(&nested("[", "]", 125)));
    assert!(said.contains("nested deeper than 128 levels"), "{said}");
}

#[test]
fn unclosed_nesting_in_pydags_text_is_refused_too() {
    let text = format!(
        "{{\"tasks\":[{{\"task_id\":\"a\",\"script\":\"local.b.f.sql.n\",\"params\":\"{}\"}}]}}",
        "[".repeat(100_000)
    );
    assert!(refused("dag.json", &text).contains("in the text of `params`: nested deeper"));
}

#[test]
fn aliases_cannot_multiply_a_file_without_bound() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(",");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(refused("dag.yaml", &text).contains("error: aliases make this file too large"));
}

#[test]
fn aliases_of_a_long_text_are_bounded_too() {
    let text = format!("a: &a \"{}\"\nb: [{}]\n", "\\n".repeat(1 << 20), vec!["*a"; 1000].join(","));
    assert!(refused("dag.yaml", &text).contains("error: aliases make this file too large"));
}

#[test]
fn aliases_cannot_add_up_to_deep_nesting() {
    let mut text = format!("a0: &a0 {}\n", nested("[", "]", 60));
    for level in 1..2000 {
        let below = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} {}\n", nested("[", "]", 60).replace('1', &below)));
    }
    assert!(refused("dag.yaml", &text).contains("nested deeper than 128 levels"));
}

#[test]
fn an_alias_inside_what_it_refers_to_is_refused() {
    assert!(
        refused("dag.yaml", "tasks: &a [*a]")
            .contains("1:12: error: this alias stands inside what it refers to")
    );
}

#[test]
fn beyond_ten_thousand_mistakes_they_are_counted() {
    let text = format!("tasks: [{}]", vec!["1"; 10_005].join(","));
    let said = refused("dag.yaml", &text);
    assert_eq!(said.matches("expected a mapping with the keys of a task").count(), 10_000);
    assert!(said.contains("there are 5 more mistakes"));
}

#[test]
fn a_dependency_list_of_many_is_checked_in_linear_time() {
    use std::fmt::Write as _;
    let mut text = "{\"tasks\":[".to_owned();
    let mut ids = Vec::new();
    for index in 0..100_000 {
        write!(text, "{{\"task_id\":\"t{index}\",\"script\":\"local.b.f.noop.n\"}},").unwrap();
        ids.push(format!("\"t{index}\""));
    }
    write!(
        text,
        "{{\"task_id\":\"last\",\"script\":\"local.b.f.noop.n\",\"dependencies\":[{}]}}]}}",
        ids.join(",")
    )
    .unwrap();
    let dag = accepted("dag.json", &text);
    assert_eq!(dag.tasks[100_000].dependencies.len(), 100_000);
}

#[test]
fn a_hundred_thousand_unknown_dependencies_are_refused_without_comparing_each_with_all() {
    use std::fmt::Write as _;
    let mut text = "{\"tasks\":[".to_owned();
    for index in 0..100_000 {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}{{\"task_id\":\"t{index}\",\"script\":\"local.b.f.noop.n\",\"dependencies\":[\"u{index}\"]}}").unwrap();
    }
    text.push_str("]}");
    assert!(refused("dag.json", &text).contains("there is no task `u0`"));
}
