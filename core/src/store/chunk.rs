//! A row of the progress of many tasks, which have consecutive numbers: so that what happens to all of them in one stretch
//! is written by one operation, and what a task takes in the database is little more than its own bytes.
//!
//! ```text
//! time · for each task: its length + 1 · its progress, with times as differences to the first
//!                       or 0, where it has a row of its own, since it is long
//! ```

use std::ops::Range;

use super::pack::{self, Unpacked};

/// How many tasks are in one row: so many that the work for a row vanishes among them, and so few that a change of
/// one task alone writes little more than a page.
pub(super) const TASKS: u32 = 64;

/// A task whose progress takes more bytes has a row of its own, as the others are written with it.
pub(super) const LONG: usize = if cfg!(test) { 64 } else { 512 };

/// A row, taken apart.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    packed: Vec<u8>,
    before: i64,
    /// Where in it each task is; `None` for one that is elsewhere.
    places: Vec<Option<Range<usize>>>,
}

/// What a row says of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed<'a> {
    /// Its progress; empty where nothing happened to it.
    Here(&'a [u8]),
    /// It has a row of its own.
    Elsewhere,
}

impl Chunk {
    /// Takes a row apart; `None` where it is none.
    pub(super) fn read(&mut self, row: &[u8]) -> Option<()> {
        self.packed.clear();
        self.places.clear();
        self.packed.extend_from_slice(pack::unseal(row)?);
        let mut parts = Unpacked(&self.packed);
        self.before = 0;
        parts.time(&mut self.before)?;
        while !parts.is_empty() {
            let Some(length) = parts.number()?.checked_sub(1) else {
                self.places.push(None);
                continue;
            };
            let at = self.packed.len() - parts.0.len();
            let length = parts.bytes(length)?.len();
            self.places.push(Some(at..at + length));
        }
        Some(())
    }

    /// A row that is not there yet; times will be counted from this one.
    pub(super) fn clear(&mut self, ts: i64) {
        self.packed.clear();
        self.places.clear();
        self.before = ts;
    }

    /// The time from which those of all tasks are counted.
    pub(super) fn before(&self) -> i64 {
        self.before
    }

    /// How many of the tasks are told of; nothing has happened to the others.
    pub(super) fn len(&self) -> u32 {
        self.places.len() as u32
    }

    /// The task with this number in the row.
    pub(super) fn get(&self, number: u32) -> Packed<'_> {
        match self.places.get(number as usize) {
            Some(Some(place)) => Packed::Here(&self.packed[place.clone()]),
            Some(None) => Packed::Elsewhere,
            None => Packed::Here(&[]),
        }
    }
}

/// Begins the bytes of a row.
pub(super) fn begin(out: &mut Vec<u8>, before: i64) {
    out.clear();
    pack::time(out, before, &mut 0);
}

/// Appends the next task.
pub(super) fn push(out: &mut Vec<u8>, task: Packed<'_>) {
    match task {
        Packed::Here(progress) => {
            pack::number(out, progress.len() as u64 + 1);
            out.extend_from_slice(progress);
        }
        Packed::Elsewhere => out.push(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::store::names;
    use crate::store::progress::Progress;

    #[test]
    fn each_task_is_found_at_its_place() {
        let tasks = [Packed::Here(b"one"), Packed::Here(b""), Packed::Elsewhere, Packed::Here(&[7; 300])];
        let mut row = Vec::new();
        begin(&mut row, -5);
        tasks.iter().for_each(|&task| push(&mut row, task));
        pack::seal(&mut row);
        let mut chunk = Chunk::default();
        chunk.read(&row).unwrap();
        assert_eq!((chunk.before(), chunk.len()), (-5, 4));
        assert_eq!([0, 1, 2, 3].map(|number| chunk.get(number)), tasks);
        assert_eq!(chunk.get(4), Packed::Here(b""));
        row[1] ^= 1;
        assert_eq!(chunk.read(&row), None);
    }

    proptest! {
        #[test]
        fn whatever_bytes_a_row_has_it_is_read_to_its_end(bytes in vec(any::<u8>(), 0..100)) {
            let mut row = bytes.clone();
            pack::seal(&mut row);
            let mut chunk = Chunk::default();
            if chunk.read(&row).is_some() {
                prop_assert!(chunk.len() as usize <= bytes.len());
            }
            prop_assert!(names::read(&row).count() <= bytes.len() + 1);
            if let Some(progress) = Progress::unpack(&bytes, 0) {
                prop_assert!(progress.attempts.len() <= bytes.len());
            }
        }
    }
}
