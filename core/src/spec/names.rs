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
    /// The place of the task that is being read: those that rules add stand behind those of the file.
    place: u32,
    /// For each dependency the place of the task that it names.
    links: Vec<u32>,
    /// The same for the tasks of the file, once they were read and where all is in order.
    of_file: Option<Box<[u32]>>,
    /// All tasks differ by their names, and each dependency names an earlier task, once.
    in_order: bool,
    /// A name stands for several tasks.
    has_doubles: bool,
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
        Self {
            known: HashMap::default(),
            place: 0,
            links: Vec::new(),
            of_file: None,
            in_order: true,
            has_doubles: false,
        }
    }

    /// The name of the task that is being read.
    pub(super) fn of_task(&mut self, id: &str) -> Arc<str> {
        let Some((name, known)) = self.known.get_key_value(id) else { return self.add(id, self.place) };
        if known.place.get() == NOWHERE {
            known.place.set(self.place);
        } else {
            (self.in_order, self.has_doubles) = (false, true);
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

    /// The tasks of the file were read; what follows is added by rules.
    pub(super) fn end_file(&mut self) {
        let links = std::mem::take(&mut self.links);
        self.of_file = self.in_order.then(|| links.into());
    }

    /// For each dependency of the tasks of the file, in their order, the place of the task that it names. `None` where that
    /// has to be looked at more closely.
    pub(super) fn take_links(&mut self) -> Option<Box<[u32]>> {
        self.of_file.take()
    }

    /// The place of the first task of this name.
    pub(super) fn place(&self, id: &str) -> Option<u32> {
        // The name is empty where it is missing or wrong, which is reported already.
        let known = self.known.get(id).filter(|_| !id.is_empty())?;
        Some(known.place.get()).filter(|&place| place != NOWHERE)
    }

    /// Whether a name stands for several tasks.
    pub(super) fn has_doubles(&self) -> bool {
        self.has_doubles
    }

    fn add(&mut self, id: &str, place: u32) -> Arc<str> {
        let name: Arc<str> = id.into();
        self.known.insert(Arc::clone(&name), Known { place: place.into(), named_by: 0.into() });
        name
    }
}
