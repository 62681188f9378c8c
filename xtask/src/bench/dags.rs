//! The files that are measured. They are written task by task: the system counts this process's own peak as that of the
//! processes it starts, and a million tasks are a hundred megabytes.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde_json::{Value, json};

/// How the tasks of a DAG depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Not at all.
    Independent,
    /// Each waits for the one before.
    Chain,
    /// In layers of so many, each task waits for three of the layer before.
    Layers(u32),
}

impl Shape {
    fn upstream(self, i: u32) -> Vec<u32> {
        match self {
            Self::Independent => Vec::new(),
            Self::Chain => i.checked_sub(1).into_iter().collect(),
            Self::Layers(width) => match (i / width).checked_sub(1) {
                None => Vec::new(),
                Some(above) => (0..3).map(|n| above * width + (i + n) % width).collect(),
            },
        }
    }
}

/// `noop` tasks.
pub(super) fn noops(path: &Path, shape: Shape, tasks: u32) -> io::Result<()> {
    let task = |i| {
        let dependencies: Vec<String> = shape.upstream(i).into_iter().map(name).collect();
        json!({"task_id": name(i), "script": noop(), "dependencies": dependencies})
    };
    write(path, (0..tasks).map(task))
}

/// `noop` tasks that hold no worker while they wait for so many milliseconds.
pub(super) fn waiting(path: &Path, tasks: u32, delay_ms: u32) -> io::Result<()> {
    let params = json!({"async": true, "delay_ms": delay_ms});
    let task = |i| json!({"task_id": name(i), "script": noop(), "params": params});
    write(path, (0..tasks).map(task))
}

/// `noop` tasks that take from 1 to 50 ms, which are said to be expected; each waits for up to three of the 20 before it.
pub(super) fn timed(path: &Path, tasks: u32) -> io::Result<()> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let task = |i: u32| {
        let delay_ms = 1 + random.below(50);
        let mut upstream: Vec<u32> =
            (0..random.below(4)).filter_map(|_| i.checked_sub(1 + random.below(20))).collect();
        upstream.sort_unstable();
        upstream.dedup();
        json!({
            "task_id": name(i), "script": noop(), "params": {"delay_ms": delay_ms},
            "expected_duration": f64::from(delay_ms) / 1000.0,
            "dependencies": upstream.into_iter().map(name).collect::<Vec<_>>(),
        })
    };
    write(path, (0..tasks).map(task))
}

/// A task that is run so many times, a perfect square.
pub(super) fn mapped(path: &Path, instances: u32) -> io::Result<()> {
    let side: Vec<u32> = (0..instances.isqrt()).collect();
    growing(path, json!({"task_id": "m", "script": noop(), "for_each": {"cross": {"a": side, "b": side}}}))
}

/// `noop` tasks, each of which adds others through its engine: so many altogether, a multiple of 100.
pub(super) fn appended(path: &Path, tasks: u32) -> io::Result<()> {
    let added = (1..100).map(|i| json!({"task_id": format!("t{{item}}_{i}"), "script": noop()}));
    let added: Vec<Value> = added.collect();
    growing(
        path,
        json!({
            "task_id": "m",
            "script": noop(),
            "for_each": (0..tasks / 100).collect::<Vec<_>>(),
            "params": {"append": {"tasks": added}},
        }),
    )
}

fn growing(path: &Path, task: Value) -> io::Result<()> {
    write_with(path, [task].into_iter(), &json!({"max_tasks": 2_000_000}))
}

/// `noop` tasks without dependencies, the last of which starts after all others, and rules that wait for what that one does
/// and never come to anything: of each sort of rule as many.
pub(super) fn with_rules(path: &Path, tasks: u32, rules: u32) -> io::Result<()> {
    let last = json!({"task_id": name(tasks), "script": noop(), "priority": -1, "adds": ["late"]});
    let state = format!("tasks[\"{}\"].state == \"failed\"", name(tasks));
    let rule = |i: u32| {
        let task = json!({"task_id": format!("r{i}"), "type": "late", "script": noop()});
        let add = json!({"tasks": [task]});
        match i % 4 {
            0 => json!({"when": state, "add": add}),
            1 => json!({"when": format!("types.late.count > {i}"), "add": add}),
            2 => json!({"when": "closed(\"late\")", "add": add}),
            _ => json!({"each": {"type": "late"}, "when": "task.state == \"success\"", "add": add}),
        }
    };
    let others = (0..tasks).map(|i| json!({"task_id": name(i), "script": noop()}));
    let rules: Vec<Value> = (0..rules).map(rule).collect();
    write_with(path, others.chain([last]), &json!({"rules": rules}))
}

/// `shell` tasks, each of which starts `/bin/true`.
pub(super) fn processes(path: &Path, tasks: u32) -> io::Result<()> {
    let script = json!({"engine": "shell", "inline": "/bin/true"});
    write(path, (0..tasks).map(|i| json!({"task_id": name(i), "script": script})))
}

fn name(i: u32) -> String {
    format!("t{i}")
}

fn noop() -> Value {
    json!({"engine": "noop", "inline": "nothing"})
}

fn write(path: &Path, tasks: impl Iterator<Item = Value>) -> io::Result<()> {
    write_with(path, tasks, &json!({}))
}

/// The tasks, and what else the DAG says.
fn write_with(path: &Path, tasks: impl Iterator<Item = Value>, more: &Value) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let dag = path.file_stem().unwrap_or_default().to_string_lossy();
    write!(file, "{{\"dag_id\":{},\"tasks\":[", json!(dag))?;
    for (i, task) in tasks.enumerate() {
        write!(file, "{}{task}", if i == 0 { "" } else { "," })?;
    }
    write!(file, "]")?;
    for (key, value) in more.as_object().into_iter().flatten() {
        write!(file, ",{}:{value}", json!(key))?;
    }
    write!(file, "}}")?;
    file.flush()
}

/// Always the same numbers: xorshift, by George Marsaglia ("Xorshift RNGs", 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_wait_for_earlier_ones_as_their_shape_says() {
        assert_eq!(Shape::Independent.upstream(7), [0; 0]);
        assert_eq!((Shape::Chain.upstream(0), Shape::Chain.upstream(7)), (vec![], vec![6]));
        let layers = Shape::Layers(5);
        assert_eq!((layers.upstream(4), layers.upstream(9)), (vec![], vec![4, 0, 1]));
    }

    #[test]
    fn what_is_written_is_a_dag_with_so_many_tasks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.json");
        timed(&path, 50).unwrap();
        let dag: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!((dag["dag_id"].as_str(), dag["tasks"].as_array().unwrap().len()), (Some("some"), 50));
        assert!(dag["tasks"].as_array().unwrap().iter().any(|task| task["dependencies"][0].is_string()));
    }
}
