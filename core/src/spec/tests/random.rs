//! Any text at all, and the same value in both languages.

use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::super::tree::{Node, Value};
use super::super::{json, yaml as yaml_reader};
use super::{read, without_places};

/// The value in YAML's block style.
pub(super) fn yaml(value: &Json) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Json, indent: usize, out: &mut String) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&format!("\n{}{}:", " ".repeat(indent), Json::from(&**key)));
                block(value, indent + 2, out);
            }
        }
        Json::Array(list) if !list.is_empty() => {
            for value in list {
                out.push_str(&format!("\n{}-", " ".repeat(indent)));
                block(value, indent + 2, out);
            }
        }
        scalar => out.push_str(&format!(" {scalar}")),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_*.]{0,12}",
        "[ -~éß漢😀\n\t]{0,12}",
        prop::sample::select(vec![
            "a",
            "b",
            "local.b.f.sql.n",
            "90s",
            "@daily",
            "2024-01-31",
            "all_done",
            "fixed",
            "{'a':1}"
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (0..20_i64).prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        text().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// Whether generated files hold mistakes.
#[derive(Clone, Copy, PartialEq)]
enum Files {
    Right,
    Wrong,
}

type Any = BoxedStrategy<Json>;

impl Files {
    /// A mapping with all of the first keys and some of the second; in wrong files, any of them may be
    /// missing or have any value.
    fn mapping(self, required: Vec<(&'static str, Any)>, optional: Vec<(&'static str, Any)>) -> Any {
        let wrong = self == Files::Wrong;
        let required = required.into_iter().map(|key| (key, if wrong { 0.9 } else { 1.0 }));
        let optional = optional.into_iter().map(|key| (key, 0.5));
        let entries: Vec<_> = required
            .chain(optional)
            .map(|((key, value), likely)| {
                let value = if wrong { prop_oneof![12 => value, 1 => any_json()].boxed() } else { value };
                let entry = value.prop_map(move |value| (key.to_owned(), value));
                (entry, 0.0..1.0).prop_map(move |(entry, draw)| (draw < likely).then_some(entry))
            })
            .collect();
        entries.prop_map(|entries| Json::Object(entries.into_iter().flatten().collect::<Map<_, _>>())).boxed()
    }

    fn script(self) -> Any {
        let stored = self.mapping(
            vec![
                ("engine", select(&["sql"])),
                ("location", select(&["gcs", "local"])),
                ("bucket", select(&["b", "a.b"])),
                ("name", select(&["n"])),
            ],
            vec![("folder", select(&["", "f", "f/g"]))],
        );
        let inline = self.mapping(vec![("engine", select(&["sql"])), ("inline", any_text())], vec![]);
        prop_oneof![select(&["local.b.f.sql.n", "gcs.b.f.bq.n"]), stored, inline].boxed()
    }

    fn task(self) -> Any {
        let id = || "[a-d]{1,2}".prop_map(Json::from).boxed();
        self.mapping(
            vec![("task_id", id()), ("script", self.script())],
            vec![
                ("params", params()),
                ("dependencies", list(id(), 0, 2)),
                ("retries", (0..5).prop_map(Json::from).boxed()),
                ("timeout", prop_oneof![select(&["5m", "90s"]), (1..9).prop_map(Json::from)].boxed()),
                ("trigger_rule", select(&["all_done", "one_failed"])),
                ("when", select(&["true", "has(params.a) && params.a == 'é'"])),
                ("pool", select(&["p"])),
                ("max_retry_delay", select(&["1h"])),
            ],
        )
    }

    fn notice(self) -> Any {
        let on = || {
            ("on", prop_oneof![select(&["success"]), list(select(&["failure", "deadline"]), 1, 3)].boxed())
        };
        let command = prop_oneof![select(&["echo"]), list(select(&["a", "é"]), 1, 3)].boxed();
        let command = self.mapping(vec![("command", command)], vec![on()]);
        let webhook = self.mapping(vec![("webhook", select(&["http://a/b", "https://a?b"]))], vec![on()]);
        prop_oneof![command, webhook].boxed()
    }

    fn dag(self) -> Any {
        let dag = self.mapping(
            vec![("tasks", list(self.task(), 1, 4))],
            vec![
                ("tags", list(any_text(), 0, 3)),
                ("description", any_text()),
                ("schedule_interval", select(&["", "@daily", "0 0 * * *"])),
                ("processors", (1..5).prop_map(Json::from).boxed()),
                ("params", params()),
                ("timeout", select(&["2h"])),
                ("pools", self.mapping(vec![("p", (1..5).prop_map(Json::from).boxed())], vec![])),
                ("notify", list(self.notice(), 0, 2)),
            ],
        );
        let dag = if self == Files::Right { dag.prop_map(with_links).boxed() } else { dag };
        prop_oneof![3 => dag.clone(), 1 => dag.prop_map(|dag| serde_json::json!({"dag": dag}))].boxed()
    }
}

fn select(values: &'static [&'static str]) -> Any {
    prop::sample::select(values).prop_map(Json::from).boxed()
}

fn any_text() -> Any {
    text().prop_map(Json::from).boxed()
}

fn list(element: Any, least: usize, most: usize) -> Any {
    prop::collection::vec(element, least..=most).prop_map(Json::from).boxed()
}

fn params() -> Any {
    let params = prop::collection::btree_map("[a-z]{1,3}", any_json(), 0..3);
    params.prop_map(|params| Json::Object(params.into_iter().collect())).boxed()
}

/// Gives each task an id of its own, and dependencies that exist.
fn with_links(mut dag: Json) -> Json {
    for (index, task) in dag["tasks"].as_array_mut().unwrap().iter_mut().enumerate() {
        task["task_id"] = format!("t{index}").into();
        if let Some(dependencies) = task.get_mut("dependencies").and_then(Json::as_array_mut) {
            dependencies.truncate(index);
            for (upstream, dependency) in dependencies.iter_mut().enumerate() {
                *dependency = format!("t{upstream}").into();
            }
        }
    }
    dag
}

/// What a file says, or what is said about it, without places.
fn said(path: &str, text: &str) -> Result<String, Vec<String>> {
    read(path, text).map(without_places).map_err(|mistakes| {
        let messages = mistakes.list().iter().map(|mistake| {
            let message = mistake.message.split(" is on line ").next();
            message.unwrap_or_default().to_owned()
        });
        let mut messages: Vec<String> = messages.collect();
        messages.sort();
        messages
    })
}

/// Pieces of both languages, so that more than the first character is reached.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "{", "}", "[", "]", ",", ":", ": ", "\"", "'", "\n", "\n  ", "- ", "? ", " ", "\t", "\r\n", "\\",
        "\\u00e9", "\\ud800", "&a ", "*a", "!!int ", "!x ", "|", ">-\n", "#", "%", "---\n", "...", "null",
        "true", "1", "-1.5e3", "01", "é", "\0", "\u{feff}", "tasks", "task_id", "params", "script", "\"a\"",
        "<<",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24).prop_map(|pieces| pieces.concat())
}

/// Calls `check` with every value of a tree.
fn each<'a>(node: &Node<'a>, check: &mut impl FnMut(&Node<'a>)) {
    check(node);
    match &node.value {
        Value::List(nodes) => nodes.iter().for_each(|node| each(node, check)),
        Value::Map(entries) => entries.iter().for_each(|entry| each(&entry.value, check)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in prop_oneof![any::<String>(), soup()]) {
        for path in ["a.json", "a.yaml", "a"] {
            if let Err(mistakes) = read(path, &text) {
                prop_assert!(!mistakes.list().is_empty());
                prop_assert!(mistakes.render(true).ends_with('\n'));
            }
        }
    }

    #[test]
    fn no_text_of_parameters_makes_the_reader_panic(text in prop_oneof![any::<String>(), soup()]) {
        let file = serde_json::json!({"tasks": [{"task_id": "a", "script": text, "params": text}]}).to_string();
        if let Err(mistakes) = read("a.json", &file) {
            prop_assert!(mistakes.to_string().starts_with("a.json:1:"));
        }
    }

    #[test]
    fn a_right_file_means_the_same_in_json_and_yaml(dag in Files::Right.dag()) {
        let json = said("dag.json", &dag.to_string());
        prop_assert!(json.is_ok(), "{:?}", json);
        prop_assert_eq!(&json, &said("dag.yaml", &yaml(&dag)));
        prop_assert_eq!(&json, &said("dag.json", &serde_json::to_string_pretty(&dag).unwrap()));
    }

    #[test]
    fn the_same_is_said_of_a_wrong_file_in_json_and_yaml(dag in Files::Wrong.dag()) {
        let json = said("dag.json", &dag.to_string());
        prop_assert_eq!(&json, &said("dag.yaml", &yaml(&dag)));
        prop_assert_eq!(&json, &said("dag.json", &serde_json::to_string_pretty(&dag).unwrap()));
    }

    #[test]
    fn the_json_reader_takes_what_serde_json_takes(text in soup()) {
        let ours = json::parse(&text).ok().filter(|parsed| parsed.mistakes.is_empty());
        let theirs: Option<Json> = serde_json::from_str(&text).ok();
        if let Some(ours) = ours {
            prop_assert_eq!(Some(ours.root.into_json()), theirs);
        } else if theirs.is_some() {
            prop_assert!(read("a.json", &text).unwrap_err().to_string().contains("duplicate key"));
        }
    }

    #[test]
    fn every_json_value_stands_where_its_span_says(value in any_json()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let root = json::parse(&text).unwrap().root;
        each(&root, &mut |node| {
            let written = &text[node.span.start as usize..node.span.end as usize];
            assert_eq!(serde_json::from_str::<Json>(written).unwrap(), node.clone().into_json());
        });
        prop_assert_eq!(root.into_json(), value);
    }

    #[test]
    fn every_yaml_scalar_stands_where_its_span_says(value in any_json()) {
        let text = yaml(&value);
        let root = yaml_reader::parse(&text, "invalid").unwrap().root;
        each(&root, &mut |node| {
            if !matches!(node.value, Value::List(_) | Value::Map(_)) {
                let written = &text[node.span.start as usize..node.span.end as usize];
                assert_eq!(serde_json::from_str::<Json>(written).unwrap(), node.clone().into_json());
            }
        });
        prop_assert_eq!(root.into_json(), value);
    }
}
