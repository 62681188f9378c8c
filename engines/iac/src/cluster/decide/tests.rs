//! Each state for each goal.

use google_cloud_dataproc_v1::model::{ClusterConfig, ClusterStatus, InstanceGroupConfig};
use oxidag_plugin_api::ErrorKind;

use super::super::place::Place;
use super::*;

fn memory() -> Memory {
    let place = Place { project: "p".to_owned(), region: "r".to_owned(), cluster: "c".to_owned() };
    Memory::new(place)
}

fn ended(ended: &[(Verb, End)]) -> Memory {
    Memory { ended: ended.to_vec(), ..memory() }
}

fn seen(state: State) -> Seen {
    let status = ClusterStatus::new().set_state(state).set_detail("No room.");
    let workers = InstanceGroupConfig::new().set_num_instances(2);
    let cluster = Cluster::new()
        .set_status(status)
        .set_cluster_uuid("u1")
        .set_config(ClusterConfig::new().set_worker_config(workers));
    Seen { cluster, mine: false, ours: false, differences: Vec::new() }
}

fn step(goal: Goal, state: State) -> Step {
    next(&goal, Some(&seen(state)), &memory())
}

fn failure(step: Step) -> Error {
    match step {
        Step::Fail(error) => error,
        other => panic!("{other:?}"),
    }
}

fn failed(code: i32) -> End {
    End::Failed { code, message: "Insufficient quota.".to_owned() }
}

#[test]
fn a_cluster_that_is_not_there_is_made_once() {
    assert_eq!(next(&Goal::Create, None, &memory()), Step::Do(Verb::Create));
    let error = failure(next(&Goal::Create, None, &ended(&[(Verb::Create, failed(8))])));
    assert_eq!(error.kind, ErrorKind::Transient);
    insta::assert_snapshot!(error, @"cannot create cluster c in r of project p, which is not there: Insufficient quota");
    insta::assert_snapshot!(failure(next(&Goal::Create, None, &ended(&[(Verb::Create, End::Done)]))), @"cannot create cluster c in r of project p, which is not there, though its operation ended well");
}

#[test]
fn a_cluster_that_matches_is_taken_as_soon_as_it_runs() {
    for state in [
        State::Creating,
        State::Starting,
        State::Updating,
        State::Repairing,
        State::Stopping,
        State::Deleting,
        State::Unknown,
    ] {
        assert_eq!(step(Goal::Create, state.clone()), Step::Wait, "{state:?}");
    }
    assert_eq!(step(Goal::Create, State::Running), Step::Done);
    assert_eq!(step(Goal::Create, State::Stopped), Step::Do(Verb::Start));
}

#[test]
fn a_cluster_that_differs_is_left_alone_in_whatever_state() {
    for state in [State::Creating, State::Running, State::Stopped, State::Error] {
        let seen = Seen { differences: vec!["`a` is 1, asked for 2".to_owned()], ..seen(state) };
        let error = failure(next(&Goal::Create, Some(&seen), &memory()));
        assert_eq!(error.kind, ErrorKind::Failed);
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"cluster c in r of project p is there and is another one than the script asks for: `a` is 1, asked for 2; delete it, or change the script");
        }
    }
}

#[test]
fn one_in_error_is_diagnosed_then_deleted_then_made_anew() {
    let before = seen(State::Error);
    assert_eq!(next(&Goal::Create, Some(&before), &memory()), Step::Do(Verb::Diagnose));
    // A diagnosis that failed keeps nobody.
    for end in [End::Done, failed(13)] {
        let memory = ended(&[(Verb::Diagnose, end)]);
        assert_eq!(next(&Goal::Create, Some(&before), &memory), Step::Do(Verb::Delete));
    }
    let deleted = ended(&[(Verb::Diagnose, End::Done), (Verb::Delete, End::Done)]);
    assert_eq!(next(&Goal::Create, None, &deleted), Step::Do(Verb::Create));
    // What this DAG made with another config, before its script was mended.
    let ours = Seen { ours: true, differences: vec!["x".to_owned()], ..before };
    assert_eq!(next(&Goal::Create, Some(&ours), &memory()), Step::Do(Verb::Diagnose));
}

#[test]
fn one_that_this_attempt_made_and_that_is_in_error_is_not_replaced() {
    let mine = Seen { mine: true, ours: true, ..seen(State::Error) };
    insta::assert_snapshot!(failure(next(&Goal::Create, Some(&mine), &memory())), @"cluster c in r of project p went into ERROR: No room; it is left for you to look at, the next attempt takes its place: https://console.cloud.google.com/dataproc/clusters/c/monitoring?region=r&project=p");
    let error = failure(next(&Goal::Create, Some(&mine), &ended(&[(Verb::Create, failed(3))])));
    assert_eq!(error.kind, ErrorKind::Invalid);
    insta::assert_snapshot!(error, @"cluster c in r of project p went into ERROR: Insufficient quota; it is left for you to look at, the next attempt takes its place: https://console.cloud.google.com/dataproc/clusters/c/monitoring?region=r&project=p");
}

#[test]
fn an_operation_that_ended_well_is_not_believed() {
    let memory = ended(&[(Verb::Start, End::Done)]);
    insta::assert_snapshot!(failure(next(&Goal::Start, Some(&seen(State::Stopped)), &memory)), @"cannot start cluster c in r of project p, which is STOPPED: No room, though its operation ended well");
    let memory = ended(&[(Verb::Create, End::Done)]);
    let mine = Seen { mine: true, ..seen(State::Creating) };
    assert_eq!(next(&Goal::Create, Some(&mine), &memory), Step::Wait);
}

#[test]
fn start_and_stop_do_nothing_where_nothing_is_to_be_done() {
    assert_eq!(step(Goal::Start, State::Running), Step::Done);
    assert_eq!(step(Goal::Start, State::Stopped), Step::Do(Verb::Start));
    assert_eq!(step(Goal::Start, State::Stopping), Step::Wait);
    assert_eq!(step(Goal::Stop, State::Stopped), Step::Done);
    assert_eq!(step(Goal::Stop, State::Running), Step::Do(Verb::Stop));
    assert_eq!(step(Goal::Stop, State::Starting), Step::Wait);
    insta::assert_snapshot!(failure(step(Goal::Start, State::Error)), @"cannot start cluster c in r of project p, which is ERROR: No room");
    insta::assert_snapshot!(failure(next(&Goal::Stop, None, &memory())), @"cluster c in r of project p is not there; `action: create` makes it");
}

#[test]
fn scaling_ends_when_there_are_so_many_workers() {
    let to = |workers, secondary_workers| Goal::Scale(Sizes { workers, secondary_workers, graceful: None });
    assert_eq!(step(to(Some(2), None), State::Running), Step::Done);
    assert_eq!(step(to(Some(3), None), State::Running), Step::Do(Verb::Update));
    assert_eq!(step(to(Some(2), Some(1)), State::Running), Step::Do(Verb::Update));
    assert_eq!(step(to(Some(3), None), State::Updating), Step::Wait);
    insta::assert_snapshot!(failure(step(to(Some(3), None), State::Stopped)), @"cannot scale cluster c in r of project p, which is STOPPED; `action: start` starts it");
    insta::assert_snapshot!(failure(step(to(Some(3), None), State::ErrorDueToUpdate)), @"cannot scale cluster c in r of project p, which is ERROR_DUE_TO_UPDATE: No room");
}

#[test]
fn a_cluster_is_deleted_whatever_its_state_and_its_absence_is_accounted_for() {
    for state in [State::Running, State::Creating, State::Stopped, State::Error] {
        assert_eq!(step(Goal::Delete, state.clone()), Step::Do(Verb::Delete), "{state:?}");
    }
    for state in [State::Deleting, State::Updating, State::Starting] {
        assert_eq!(step(Goal::Delete, state.clone()), Step::Wait, "{state:?}");
    }
    assert_eq!(next(&Goal::Delete, None, &memory()), Step::AskWhoMadeIt);
    let asked = |uuid: &str| Memory { deleting: Some(uuid.to_owned()), ..memory() };
    assert_eq!(next(&Goal::Delete, None, &asked("u1")), Step::Done);
    assert_eq!(
        next(&Goal::Delete, Some(&seen(State::Running)), &asked("u0")),
        Step::Done,
        "another one by now"
    );
    let memory = Memory { ended: vec![(Verb::Delete, failed(9))], ..asked("u1") };
    insta::assert_snapshot!(failure(next(&Goal::Delete, Some(&seen(State::Error)), &memory)), @"cannot delete cluster c in r of project p, which is ERROR: No room: Insufficient quota");
}
