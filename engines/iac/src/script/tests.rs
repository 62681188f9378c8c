//! Scripts, right and wrong.

use std::time::Duration;

use serde_json::json;

use super::*;

fn cluster(text: &str) -> ClusterScript {
    match Script::parse(text) {
        Ok(Script::Cluster(script)) => *script,
        other => panic!("{other:?}"),
    }
}

fn wrong(text: &str) -> String {
    error(&Script::parse(text).unwrap_err()).message
}

const HEAD: &str = "resource: dataproc_cluster\nname: c\nregion: r\n";

#[test]
fn a_cluster_is_declared_with_what_google_calls_its_config() {
    let script = cluster(
        "resource: dataproc_cluster\naction: create\nproject: p\nregion: us-central1\nname: c\nidle_delete_ttl: 1h\n\
         labels: {team: data}\nconfig:\n  worker_config:\n    num_instances: 2\n",
    );
    assert_eq!((script.project.as_deref(), script.region.as_deref()), (Some("p"), Some("us-central1")));
    let ClusterAction::Create { config, idle, labels } = script.action else { panic!() };
    assert_eq!(config.worker_config.unwrap().num_instances, 2);
    assert_eq!(idle, Idle::After(Duration::from_secs(3600)));
    assert_eq!(labels["team"], "data");
}

#[test]
fn the_other_actions_need_little() {
    let action = |action: &str| cluster(&format!("{HEAD}action: {action}\n")).action;
    assert_eq!(action("start"), ClusterAction::Start);
    assert_eq!(action("stop"), ClusterAction::Stop);
    assert_eq!(action("delete"), ClusterAction::Delete);
    let sizes = Sizes { workers: Some(4), secondary_workers: None, graceful: Some(Duration::from_secs(600)) };
    assert_eq!(
        action("scale\nworkers: '4'\ngraceful_decommission_timeout: 10m"),
        ClusterAction::Scale(sizes)
    );
    let ClusterAction::Create { idle, .. } = action("create\nidle_delete_ttl: never") else { panic!() };
    assert_eq!(idle, Idle::Never);
}

#[test]
fn mistakes_are_all_told_with_their_places() {
    let text = "resource: dataproc_cluster\naction: scale\nnmae: c\nregion: 7\nconfig: {}\nworkers: -1\n";
    insta::assert_snapshot!(wrong(text), @"line 1, column 1: `name` is missing: the cluster's name; line 1, column 1: `workers` is missing: how many there shall be; or `secondary_workers`; line 3, column 1: unknown key `nmae`; did you mean `name`?; line 4, column 9: `region` must be text, and this is a number: put it in quotes; line 5, column 1: `config` is for `action: create`; line 6, column 10: `workers` must be a whole number from 0");
    insta::assert_snapshot!(wrong("resource: dataproc-cluster\naction: create\n"), @"line 1, column 11: there is no `resource: dataproc-cluster`; did you mean `dataproc_cluster`?");
    insta::assert_snapshot!(wrong(&format!("{HEAD}action: recreate\n")), @"line 4, column 9: there is no `action: recreate`; did you mean `create`?");
    insta::assert_snapshot!(wrong(&format!("{HEAD}action: scale\n")), @"line 1, column 1: `workers` is missing: how many there shall be; or `secondary_workers`");
    insta::assert_snapshot!(wrong(&format!("{HEAD}action: create\nidle_delete_ttl: 1m\nlabels: {{a: 1}}\n")), @"line 5, column 18: `idle_delete_ttl` must be from 5m to 14d, or `never`; line 6, column 13: the label `a` must be text: put it in quotes");
    insta::assert_snapshot!(wrong("- a\n"), @"line 1, column 1: a script is a mapping that begins with `resource` and `action`; this is a list");
    insta::assert_snapshot!(wrong(""), @"line 1, column 1: a script is a mapping that begins with `resource` and `action`; this is nothing");
    insta::assert_snapshot!(wrong(&format!(
        "{HEAD}action: create\nidle_delete_ttl: 1h\nconfig:\n  lifecycle_config: {{idle_delete_ttl: 600s}}\n"
    )), @"line 7, column 3: `config.lifecycle_config` has an `idle_delete_ttl`, and so has the script: leave one");
}

#[test]
fn pydags_python_is_recognised() {
    let python =
        "from google.cloud import storage\nimport os\n\nclass x:\n    def run_script(self):\n        pass\n";
    insta::assert_snapshot!(wrong(python), @"this is a Python script, as pyDag's `iac` engine ran it; here a script declares what there shall be, in YAML: `resource: dataproc_cluster`, `action: create`, `region: …`, `name: …`, and what the Python put into `config` below `config:`, keys and all; dags/pydag/iac_scripts has pyDag's cluster written so, and docs/engines/iac.md says more");
}

#[test]
fn a_module_is_a_folder_or_text() {
    let read = |text: &str| match Script::parse(text) {
        Ok(Script::Terraform(script)) => script,
        other => panic!("{other:?}"),
    };
    let folder = read(
        "resource: terraform\naction: apply\nmodule: net\nvariables: {size: 3, tags: [a]}\nworkspace: dev\n\
         backend_config: {bucket: b}\nprogram: tofu\nlock_timeout: 1m\n",
    );
    assert_eq!(folder.module, Module::Folder("net".to_owned()));
    assert_eq!(json!(folder.variables), json!({"size": 3, "tags": ["a"]}));
    assert_eq!(json!(folder.backend_config), json!({"bucket": "b"}));
    assert_eq!((folder.program, folder.workspace.as_deref()), (Some(Program::Tofu), Some("dev")));
    assert_eq!(folder.lock_timeout, Duration::from_secs(60));
    let text = read("resource: terraform\naction: apply\nname: n\nmain: |\n  output \"a\" { value = 1 }\n");
    let main = Some("output \"a\" { value = 1 }\n".to_owned());
    assert_eq!(text.module, Module::Text { name: "n".to_owned(), main });
    assert_eq!(text.lock_timeout, Duration::from_secs(300));
    let gone = read("resource: terraform\naction: destroy\nname: n\n");
    assert_eq!(gone.module, Module::Text { name: "n".to_owned(), main: None });
}

#[test]
fn what_is_no_module_is_told() {
    let apply = |rest: &str| wrong(&format!("resource: terraform\naction: apply\n{rest}"));
    insta::assert_snapshot!(apply("modul: net\n"), @"line 1, column 1: name the module by `module`, a folder relative to the DAG's; or write it as text in `main`, with a `name`; line 3, column 1: unknown key `modul`; did you mean `module`?");
    insta::assert_snapshot!(apply("main: ''\n"), @"line 1, column 1: `name` is missing: what `main` is kept under, so that it can be destroyed by it");
    insta::assert_snapshot!(apply("name: ../x\nmain: ''\n"), @"line 1, column 1: `name` may have letters, digits, `-` and `_` only: a folder is named after it");
    insta::assert_snapshot!(apply("module: a\nprogram: pulumi\nvariables: 3\nconfig: 1\n"), @"line 4, column 10: there is no `program: pulumi`; there are: `terraform`, `tofu`; line 5, column 12: `variables` must be a mapping, not a number; line 6, column 1: unknown key `config`; there are: `resource`, `action`, `module`, `main`, `name`, `variables`, `backend_config`, `workspace`, `program`, `lock_timeout`");
}
