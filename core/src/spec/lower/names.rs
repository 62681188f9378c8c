//! The names of tasks: each is held once, and while they are read it is seen which tasks the dependencies name.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// The place of a task that is not there yet.
const NOWHERE: u32 = u32::MAX;

/// All names that were read.
#[derive(Debug)]
pub(super) struct Names {
    known: HashMap<Arc<str>, Known, RandomState>,
    /// The place of the task that is being read.
    place: u32,
    /// For each dependency the place of the task that it names.
    links: Vec<u32>,
    /// All tasks differ by their names, and each dependency names an earlier task, once.
    in_order: bool,
}

/// A task by its name.
#[derive(Debug)]
struct Known {
    place: Cell<u32>,
    /// The place of the task that named it last, plus one.
    named_by: Cell<u32>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { known: HashMap::default(), place: 0, links: Vec::new(), in_order: true }
    }

    /// The name of the task that is being read.
    pub(super) fn of_task(&mut self, id: &str) -> Arc<str> {
        let Some((name, known)) = self.known.get_key_value(id) else { return self.add(id, self.place) };
        if known.place.get() == NOWHERE {
            known.place.set(self.place);
        } else {
            self.in_order = false;
        }
        Arc::clone(name)
    }

    /// A name that stands in a dependency of the task that is being read.
    pub(super) fn of_dependency(&mut self, id: &str) -> Arc<str> {
        let Some((name, known)) = self.known.get_key_value(id) else {
            self.in_order = false;
            return self.add(id, NOWHERE);
        };
        let (place, named_before) = (known.place.get(), known.named_by.replace(self.place.saturating_add(1)));
        self.in_order &= place < self.place && named_before <= self.place;
        self.links.push(place);
        Arc::clone(name)
    }

    /// The task was read to its end; `is_plain` where nothing but its dependencies names other tasks.
    pub(super) fn end_task(&mut self, is_plain: bool) {
        self.in_order &= is_plain;
        self.place = self.place.saturating_add(1);
    }

    /// For each dependency of so many tasks, in their order, the place of the task that it names. `None` where that has to
    /// be looked at more closely.
    pub(super) fn links(self, tasks: usize) -> Option<Box<[u32]>> {
        (self.in_order && self.place as usize == tasks).then(|| self.links.into())
    }

    fn add(&mut self, id: &str, place: u32) -> Arc<str> {
        let name: Arc<str> = id.into();
        self.known.insert(Arc::clone(&name), Known { place: place.into(), named_by: 0.into() });
        name
    }
}
