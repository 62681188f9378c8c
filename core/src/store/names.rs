//! Rows of the names of tasks, which are known before anything happens to them: as many tasks in a row as fill a page of
//! the database.
//!
//! ```text
//! for each task: the number + 1 of the task from which it grew, or 0
//!                · the length + 1 of its engine's name · that name, or 0, where it is that of the task before
//!                · its id
//! ```

use super::pack::{self, Unpacked};

/// A row is full with so many bytes. SQLite's pages have 4096, and one more name of the greatest length fits.
const FULL: usize = 3600;

/// A task as it was added to its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) task_id: &'a str,
    pub(super) engine: &'a str,
    /// The task from which it grew.
    pub(super) from: Option<u32>,
}

/// A row that is being filled.
#[derive(Debug, Default)]
pub(super) struct Row {
    packed: Vec<u8>,
    engine: String,
    /// How many tasks are in it.
    pub(super) count: u32,
}

impl Row {
    pub(super) fn push(&mut self, name: Name<'_>) {
        pack::number(&mut self.packed, name.from.map_or(0, |from| u64::from(from) + 1));
        if name.engine == self.engine {
            self.packed.push(0);
        } else {
            pack::number(&mut self.packed, name.engine.len() as u64 + 1);
            self.packed.extend_from_slice(name.engine.as_bytes());
            name.engine.clone_into(&mut self.engine);
        }
        pack::text(&mut self.packed, name.task_id);
        self.count += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.packed.len() >= FULL
    }

    /// Its bytes, complete.
    pub(super) fn seal(&mut self) -> &[u8] {
        pack::seal(&mut self.packed);
        &self.packed
    }

    /// Begins the next one.
    pub(super) fn clear(&mut self) {
        self.packed.clear();
        self.engine.clear();
        self.count = 0;
    }
}

/// The names in a row, in order; `None` in place of what cannot be read, after which nothing follows.
pub(super) fn read(row: &[u8]) -> impl Iterator<Item = Option<Name<'_>>> {
    let packed = pack::unseal(row);
    let mut damaged = packed.is_none();
    let (mut parts, mut engine) = (Unpacked(packed.unwrap_or_default()), "");
    std::iter::from_fn(move || {
        if std::mem::take(&mut damaged) {
            return Some(None);
        }
        if parts.is_empty() {
            return None;
        }
        let name = next(&mut parts, &mut engine);
        if name.is_none() {
            parts = Unpacked(&[]);
        }
        Some(name)
    })
}

fn next<'a>(parts: &mut Unpacked<'a>, engine: &mut &'a str) -> Option<Name<'a>> {
    let from = parts.number()?.checked_sub(1).map(u32::try_from).transpose().ok()?;
    if let Some(length) = parts.number()?.checked_sub(1) {
        *engine = std::str::from_utf8(parts.bytes(length)?).ok()?;
    }
    Some(Name { task_id: parts.text()?, engine, from })
}
