//! Whatever is recorded, however far the database got and wherever the journal ends: what survives is what happened.

use std::fs::{self, OpenOptions};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::Value;

use super::retelling::Retelling;
use super::*;
use crate::event::{Failure, FailureKind};
use crate::store::apply::Applier;
use crate::store::{codec, journal as format};

const TASKS: u32 = 2;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(|number| json!(number)),
        ".{0,12}".prop_map(|text| json!({ "text": text })),
    ]
}

fn end() -> impl Strategy<Value = AttemptEnd> {
    let error = option::of(".{0,12}".prop_map(|message| Failure { kind: FailureKind::Transient, message }));
    (error, option::of(value()), option::of(value())).prop_map(|(error, result, metrics)| AttemptEnd {
        error,
        result,
        metrics,
    })
}

/// Mostly those that open and close attempts.
fn state() -> impl Strategy<Value = TaskState> {
    prop_oneof![
        3 => Just(TaskState::Running),
        1 => Just(TaskState::Success),
        1 => Just(TaskState::UpForRetry),
        1 => Just(TaskState::Scheduled),
        1 => Just(TaskState::Deferred),
        3 => prop::sample::select(TaskState::ALL.as_slice()),
    ]
}

/// Also what no run would ever do: the rules for rows are to hold for every order.
fn kind() -> impl Strategy<Value = EventKind> {
    let place = (0..TASKS, 0..3_u32);
    let state = (place.clone(), state(), option::of(end()));
    let state = state.prop_map(|((task, attempt), state, end)| EventKind::TaskState {
        task: TaskIdx(task),
        attempt,
        state,
        end: end.map(Arc::new),
    });
    let checkpoint = (place, value()).prop_map(|((task, attempt), value)| EventKind::Checkpoint {
        task: TaskIdx(task),
        attempt,
        checkpoint: Arc::new(value),
    });
    let run = (0..RunState::ALL.len())
        .prop_map(|state| EventKind::RunState { state: RunState::ALL[state], error: None });
    let log = Just(EventKind::Progress {
        task: TaskIdx(0),
        attempt: 1,
        fraction: None,
        message: "not stored".into(),
    });
    prop_oneof![8 => state, 2 => checkpoint, 1 => run, 1 => log]
}

fn batches() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let batches = vec(vec(kind(), 0..20), 1..5);
    batches.prop_map(|batches| {
        let mut ts = 0;
        let mut event = |kind| {
            ts += 1;
            let ts = Timestamp(ts);
            Event { ts, kind }
        };
        let batches = batches.into_iter();
        batches.map(|batch| batch.into_iter().map(&mut event).collect()).collect()
    })
}

/// Applies a dead run's journal up to an offset, as its owner's thread might have; returns how far that went.
fn apply(home: &Path, to: u64) -> u64 {
    let path = journal(home, "a");
    let file = fs::File::open(&path).unwrap();
    let mut db = Connection::open(home.join("oxidag.db")).unwrap();
    let applied = db.query_row("SELECT journal_applied FROM runs", [], |row| row.get::<_, i64>(0)).unwrap();
    let database = home.join("oxidag.db");
    let mut applier = Applier::new(1, (file, path), database, applied as u64);
    applier.apply(&mut db, to).unwrap();
    applier.applied()
}

/// The journal is cut off, and has so many zeros there instead, as where its owner had room left.
fn check(batches: &[Vec<Event>], applied: f64, cut: f64, room: u64) {
    let (dir, store) = home();
    let path = journal(dir.path(), "a");
    let mut owned = begin(&store, "a", TASKS);
    let mut ends = Vec::new();
    for batch in batches {
        owned.record(batch).unwrap();
        ends.push(owned.end());
    }
    drop(owned);
    let before = fs::read(&path).unwrap();
    let length = ends.last().copied().unwrap();
    let at = |share: f64| (length as f64 * share) as u64;
    let applied = apply(dir.path(), at(applied));
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(at(cut)).unwrap();
    // Room is made when the header stands.
    file.set_len(at(cut) + if at(cut) < format::HEADER_LEN { 0 } else { room }).unwrap();
    drop(file);

    let after = fs::read(&path).unwrap();
    let mut expected = Retelling::new(TASKS);
    // A frame may end with zeros itself.
    let is_whole = |end: usize| after.get(..end) == before.get(..end);
    let survives = |end: u64| end <= applied || is_whole(end as usize);
    for (batch, _) in batches.iter().zip(&ends).filter(|(_, end)| survives(**end)) {
        batch.iter().for_each(|event| expected.tell(event));
    }
    // Twice: the second opening has nothing left to do.
    for _ in 0..2 {
        let store = Store::open(dir.path()).unwrap();
        let run = details(&store, "a");
        assert_eq!(run.tasks, expected.tasks);
        assert_eq!(run.head.state, expected.state);
        assert_eq!(run.head.finished_at, expected.finished_at);
        assert!(!path.exists());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_survives_of_a_journal_is_what_happened(
        batches in batches(),
        applied in 0.0..=1.0,
        cut in prop_oneof![Just(1.0), 0.0..=1.0],
        room in prop_oneof![Just(0), 0_u64..10_000],
    ) {
        check(&batches, applied, cut, room);
    }

    #[test]
    fn bytes_that_are_no_journal_are_not_taken_for_one(bytes in vec(any::<u8>(), 0..200)) {
        let torn = matches!(format::next_frame(&bytes), format::Next::Torn | format::Next::Cut(_));
        prop_assert!(torn);
        // Ends, and does not panic.
        let changes = codec::decode(&bytes).count();
        prop_assert!(changes <= bytes.len());
    }
}

/// Spoils the second of three frames, each of which starts one task.
fn with_spoiled_frame(spoil: impl Fn(&mut [u8])) -> Vec<TaskState> {
    let (dir, store) = home();
    let mut owned = begin(&store, "a", 3);
    let path = journal(dir.path(), "a");
    let ends = [0, 1, 2].map(|i| {
        owned.record(&[task(1, i, 1, TaskState::Running)]).unwrap();
        owned.end() as usize
    });
    drop(owned);
    let mut bytes = fs::read(&path).unwrap();
    spoil(&mut bytes[ends[0]..ends[1]]);
    fs::write(&path, bytes).unwrap();
    states(&Store::open(dir.path()).unwrap(), "a")
}

#[test]
fn a_flipped_bit_ends_what_is_recovered() {
    let expected = [TaskState::Running, TaskState::None, TaskState::None];
    for place in [0, 4, 8, 12] {
        assert_eq!(with_spoiled_frame(|frame| frame[place] ^= 1), expected);
    }
}

#[test]
fn a_hole_is_not_a_row_of_empty_frames() {
    assert_eq!(format::next_frame(&[0; 64]), format::Next::Torn);
}

#[test]
fn a_frame_with_more_changes_than_are_written_at_once_leaves_what_single_ones_do() {
    let (_dir, store) = home();
    let states = [TaskState::Scheduled, TaskState::Waiting, TaskState::Running, TaskState::Success];
    // Each of a task's changes is far from the one before.
    let events: Vec<Event> = states
        .into_iter()
        .zip(0..)
        .flat_map(|(state, at)| {
            (0..100).map(move |number| task(1_000 * at + i64::from(number), number, u32::from(at > 1), state))
        })
        .collect();
    let mut at_once = begin(&store, "a", 100);
    at_once.record(&events).unwrap();
    at_once.finish().unwrap();
    let mut singly = begin(&store, "b", 100);
    events.chunks(1).for_each(|event| singly.record(event).unwrap());
    singly.finish().unwrap();
    let (at_once, singly) = (details(&store, "a").tasks, details(&store, "b").tasks);
    assert_eq!(at_once, singly);
    let last = &at_once[99];
    assert_eq!((last.state, last.attempts[0].scheduled_at), (TaskState::Success, Some(Timestamp(99))));
}

#[test]
fn a_frame_greater_than_what_is_read_at_once_is_recovered() {
    let (dir, store) = home();
    let text = json!("x".repeat(3 << 20));
    let mut owned = begin(&store, "a", 2);
    let big = [task(1, 0, 1, TaskState::Running), checkpoint(2, 0, 1, text.clone())];
    owned.record(&[task(1, 1, 1, TaskState::Running)]).unwrap();
    owned.record(&big).unwrap();
    owned.record(&[task(3, 1, 1, TaskState::Success)]).unwrap();
    drop(owned);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(states(&store, "a"), [TaskState::Running, TaskState::Success]);
    let run = details(&store, "a");
    assert_eq!(run.tasks[0].attempts[0].checkpoint, Some(text));
}
