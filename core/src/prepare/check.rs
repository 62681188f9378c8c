//! The checks of one DAG: what each task needs, and whether it is there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::{Map, Value};

use super::{Engines, KNOWN_ENGINES, PreparedTask, conditions};
use crate::buckets::Service;
use crate::cache::CacheCounts;
use crate::engine::Engine;
use crate::params::{self, ConnectionKey, Connections};
use crate::plugins::Plugins;
use crate::scripts::{self, Kind, LoadedScript, Progress, Remote, ScriptError, Scripts, Wanted};
use crate::secrets::{Masker, with_password};
use crate::spec::suggest;
use crate::spec::{Dag, Diagnostic, Location, SourceFile, Task};

/// More mistakes in one script are not told: they have one reason.
const MOST_MISTAKES: usize = 20;

/// What scripts are like whose engine is not here.
const NO_ENGINE: Kind<'static> =
    Kind { suffix: "", other_suffixes: &[], by_reference: false, verbatim: false };

/// What the checks came to.
pub(super) struct Found {
    pub(super) mistakes: Vec<Diagnostic>,
    pub(super) missing: Vec<Diagnostic>,
    pub(super) elsewhere: Vec<String>,
    pub(super) engines: Vec<Arc<Engine>>,
    pub(super) connections: Connections,
    pub(super) masker: Masker,
    pub(super) counts: Option<CacheCounts>,
    pub(super) remark: Option<String>,
}

/// The same, before anything is made of it.
pub(super) struct Findings {
    pub(super) mistakes: Vec<Diagnostic>,
    pub(super) missing: Vec<Diagnostic>,
    pub(super) elsewhere: Vec<String>,
    pub(super) engines: Vec<Arc<Engine>>,
    pub(super) connections: Connections,
    pub(super) counts: Option<CacheCounts>,
    pub(super) remark: Option<String>,
    pub(super) secrets: Vec<String>,
}

impl Findings {
    /// Hides secrets in what was found.
    pub(super) fn finish(mut self) -> Found {
        let secrets = self.connections.values().chain(&self.secrets);
        let masker = Masker::new(secrets.map(String::as_str));
        let messages = self.mistakes.iter_mut().chain(&mut self.missing).map(|mistake| &mut mistake.message);
        for message in messages.chain(&mut self.elsewhere) {
            if let Cow::Owned(masked) = masker.mask(message) {
                *message = masked;
            }
        }
        let Self { mistakes, missing, elsewhere, engines, connections, counts, remark, .. } = self;
        Found { mistakes, missing, elsewhere, engines, connections, masker, counts, remark }
    }
}

/// The checks of one DAG on their way.
pub(super) struct Check<'a> {
    dag: &'a Dag,
    /// The DAG file's folder.
    base: &'a Path,
    plugins: &'a Plugins,
    overrides: &'a Map<String, Value>,
    scripts: Scripts,
    loaded: &'a mut Engines,
    engines: Vec<Arc<Engine>>,
    /// Each engine that was looked for, and its place in `engines` if it was found.
    by_name: HashMap<Arc<str>, Option<u32>, RandomState>,
    /// Whether tasks without parameters need a worker, for each engine that was asked.
    without_params: HashMap<u32, bool, RandomState>,
    connections: Connections,
    /// Each connection that was looked for.
    asked: BTreeMap<(String, String), bool>,
    mistakes: Vec<Diagnostic>,
    missing: Vec<Diagnostic>,
    /// Mistakes of `plugins.toml`, for which nothing was fetched.
    elsewhere: Vec<String>,
    /// The values of `connections` and what else is secret.
    secrets: Vec<String>,
    counts: Option<CacheCounts>,
    remark: Option<String>,
    /// Why remote scripts cannot be had, each reason once, with the number of other tasks that it keeps from theirs.
    refused: BTreeMap<String, (Diagnostic, usize)>,
}

/// What is found of a task before its script is looked at.
pub(super) struct Place {
    /// Its engine.
    engine: Option<u32>,
    /// All of its connections are there.
    connected: bool,
}

impl<'a> Check<'a> {
    pub(super) fn new(
        dag: &'a Dag,
        base: &'a Path,
        plugins: &'a Plugins,
        loaded: &'a mut Engines,
        overrides: &'a Map<String, Value>,
    ) -> Self {
        let root = plugins.local_root().unwrap_or(base).to_owned();
        Self {
            dag,
            base,
            plugins,
            overrides,
            scripts: Scripts::new(root),
            loaded,
            engines: Vec::new(),
            by_name: HashMap::default(),
            without_params: HashMap::default(),
            connections: Connections::new(),
            asked: BTreeMap::new(),
            mistakes: Vec::new(),
            missing: Vec::new(),
            elsewhere: Vec::new(),
            secrets: plugins.secrets(),
            counts: None,
            remark: None,
            refused: BTreeMap::new(),
        }
    }

    /// What can be said of a task without its script.
    pub(super) fn place(&mut self, task: &Task) -> Place {
        self.check_pool(task);
        conditions::params(self.dag, task, self.overrides, &mut self.mistakes);
        let connected = self.connections_of(task);
        if task.dag.is_some() {
            return Place { engine: None, connected };
        }
        Place { engine: self.engine_of(task), connected }
    }

    /// What the conditions of rules name.
    pub(super) fn rules(&mut self) {
        conditions::rule_params(self.dag, self.overrides, &mut self.mistakes);
    }

    /// Fetches the scripts that are neither in the DAG nor in files.
    pub(super) fn fetch(&mut self, tasks: &[&Task], places: &[Place], progress: &mut dyn FnMut(Progress)) {
        let (dag, engines) = (self.dag, &self.engines);
        let mut wanted = BTreeSet::new();
        for (task, place) in tasks.iter().zip(places) {
            let engine = place.engine.map(|engine| &engines[engine as usize]);
            wanted.extend(engine.and_then(|engine| Scripts::to_fetch(&task.script, engine.scripts())));
        }
        if wanted.is_empty() {
            return;
        }
        self.secrets.extend(used_secrets(self.plugins, &wanted));
        let wanted = Wanted {
            plugins: self.plugins,
            base: self.base,
            places: wanted,
            cached: dag.script_cache,
            expire: dag.expire_cache.filter(|expire| !expire.is_zero()),
        };
        match scripts::fetch(wanted, progress) {
            Ok(fetched) => {
                (self.counts, self.remark) = (fetched.counts, fetched.remark.clone());
                self.scripts.take(fetched);
            }
            Err(wrong) => self.elsewhere.extend(wrong.iter().map(ToString::to_string)),
        }
    }

    /// Loads a task's script and checks it.
    pub(super) fn task(&mut self, task: &Task, place: &Place) -> Option<PreparedTask> {
        if task.dag.is_some() {
            return Some(PreparedTask::nothing());
        }
        let engine_place = place.engine?;
        let engine = Arc::clone(&self.engines[engine_place as usize]);
        let script = match self.scripts.load(&task.script, engine.scripts()) {
            Ok(script) => script,
            // Why is told once, of plugins.toml.
            Err(ScriptError::NotFetched(_)) if !self.elsewhere.is_empty() => return None,
            Err(error) => {
                self.no_script(task, &error);
                return None;
            }
        };
        // Without its connections a task's placeholders cannot be told from mistakes.
        if !place.connected {
            return None;
        }
        let params = params::effective(&self.dag.params, &task.params, self.overrides, &self.connections);
        let is_formatted = engine.scripts().is_formatted();
        if is_formatted {
            self.check_text(task, &script, &params);
        }
        Some(PreparedTask {
            engine: engine_place,
            blocking: self.blocks(engine_place, &params),
            script,
            is_formatted,
            folder: None,
        })
    }

    /// As [`Check::task`] where scripts are not fetched: that one is not looked at is not the DAG's mistake.
    pub(super) fn look(&mut self, task: &Task, place: &Place) -> Option<PreparedTask> {
        if task.dag.is_some() {
            return Some(PreparedTask::nothing());
        }
        let engine = place.engine.map(|place| (place, Arc::clone(&self.engines[place as usize])));
        // Which name the script has is the engine's to say; that it is elsewhere is not.
        let kind = engine.as_ref().map_or(NO_ENGINE, |(_, engine)| engine.scripts());
        let Some(script) = Scripts::unread(&task.script, kind) else { return self.task(task, place) };
        if !kind.by_reference || script.uri.is_none() {
            let location = task.script.source.location().map_or("", Location::name);
            let error = ScriptError::NotFetched(location);
            self.missing.push(Diagnostic::new(task.script_span, error.to_string()));
        }
        let (engine_place, _) = engine.as_ref().filter(|_| place.connected)?;
        let params = params::effective(&self.dag.params, &task.params, self.overrides, &self.connections);
        let blocking = self.blocks(*engine_place, &params);
        Some(PreparedTask {
            engine: *engine_place,
            blocking,
            script,
            is_formatted: kind.is_formatted(),
            folder: None,
        })
    }

    /// Whether an engine needs a worker for a task with these parameters. Most tasks have none.
    fn blocks(&mut self, engine: u32, params: &Map<String, Value>) -> bool {
        let ask = || self.engines[engine as usize].blocks(params);
        if params.is_empty() { *self.without_params.entry(engine).or_insert_with(ask) } else { ask() }
    }

    fn no_script(&mut self, task: &Task, error: &ScriptError) {
        let ScriptError::Remote { place, reason, shared } = error else {
            self.mistakes.push(Diagnostic::new(task.script_span, error.to_string()));
            return;
        };
        // A reason that is shared is told once.
        let key = shared.as_ref().map_or_else(|| place.clone(), |shared| format!("{shared}: {reason}"));
        match self.refused.get_mut(&key) {
            Some((_, more)) => *more += 1,
            None => {
                let diagnostic = Diagnostic::new(task.script_span, error.to_string());
                self.refused.insert(key, (diagnostic, 0));
            }
        }
    }

    /// What was found, once all tasks were looked at.
    pub(super) fn found(mut self) -> Findings {
        let refused = std::mem::take(&mut self.refused).into_values().map(|(mut diagnostic, more)| {
            if more > 0 {
                let tasks = if more == 1 { "task" } else { "tasks" };
                diagnostic.message += &format!(" (and so for {more} more {tasks})");
            }
            diagnostic
        });
        self.mistakes.extend(refused);
        let Self { mistakes, missing, elsewhere, engines, connections, counts, remark, secrets, .. } = self;
        Findings { mistakes, missing, elsewhere, engines, connections, counts, remark, secrets }
    }

    fn check_pool(&mut self, task: &Task) {
        let Some(pool) = &task.pool else { return };
        let (dag, environment) = (&self.dag.pools, &self.plugins.pools);
        if dag.contains_key(pool) || environment.contains_key(&**pool) {
            return;
        }
        let known = dag.keys().map(|name| &**name).chain(environment.keys().map(String::as_str));
        let help = match suggest::nearest(pool, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "add `{pool}: SLOTS` to `pools` of the DAG, or `{pool} = SLOTS` below [pools] in plugins.toml"
            ),
        };
        let message = format!("task `{}`: there is no pool `{pool}`", task.task_id);
        self.mistakes.push(Diagnostic::new(task.span, message).with_help(help));
    }

    /// Loads the task's engine, once for all tasks that name it.
    fn engine_of(&mut self, task: &Task) -> Option<u32> {
        let name = &task.script.engine;
        if let Some(&place) = self.by_name.get(name) {
            return place;
        }
        let config = self.plugins.engines.get(&**name);
        let engine = config.map(|config| {
            let load = || Engine::load(name, config).map(Arc::new).map_err(Arc::new);
            self.loaded.0.entry(Arc::clone(name)).or_insert_with(load).clone()
        });
        let place = match engine {
            Some(Ok(engine)) => {
                self.engines.push(engine);
                u32::try_from(self.engines.len() - 1).ok()
            }
            Some(Err(error)) => {
                let problem = Diagnostic::new(task.script_span, format!("engine `{name}`: {error}"));
                if error.is_absent() { &mut self.missing } else { &mut self.mistakes }.push(problem);
                None
            }
            None => {
                self.unknown_engine(task);
                None
            }
        };
        self.by_name.insert(Arc::clone(name), place);
        place
    }

    fn unknown_engine(&mut self, task: &Task) {
        let name = &task.script.engine;
        let known: Vec<&str> = self.plugins.engines.keys().map(String::as_str).collect();
        let help = format!(
            "add a section [engines.{name}] to plugins.toml; it has {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
        if KNOWN_ENGINES.contains(&&**name) {
            let message = format!("engine `{name}` is not in this environment's plugins.toml");
            self.missing.push(Diagnostic::new(task.script_span, message).with_help(help));
        } else {
            let message = format!("unknown engine `{name}`");
            self.mistakes.push(Diagnostic::new(task.script_span, message).with_help(help));
        }
    }

    /// Reads the task's connections, each once; whether all are there.
    fn connections_of(&mut self, task: &Task) -> bool {
        let mut all = true;
        for connection in
            self.dag.params.keys().chain(task.params.keys()).filter_map(|key| ConnectionKey::parse(key))
        {
            let place = (connection.section.to_owned(), connection.key.to_owned());
            if self.overrides.contains_key(connection.name) {
                let name = connection.name;
                let message = format!(
                    "`{name}` is a connection: it cannot be given on the command line, where all can read it"
                );
                let help = "take -p away, and choose another environment with --env";
                self.mistakes.push(Diagnostic::new(task.span, message).with_help(help));
            }
            let there = match self.asked.get(&place) {
                Some(&there) => there,
                None => match self.plugins.connection(connection.section, connection.key) {
                    Ok(value) => {
                        self.connections.insert(place.clone(), value);
                        true
                    }
                    Err(error) => {
                        self.missing.push(Diagnostic::new(task.span, error.to_string()));
                        false
                    }
                },
            };
            self.asked.insert(place, there);
            all &= there;
        }
        all
    }

    fn check_text(&mut self, task: &Task, script: &LoadedScript, params: &Map<String, Value>) {
        let Err(errors) = params::format(&script.text, params) else { return };
        let source = SourceFile::new(script.name.clone().into(), script.text.to_string());
        for error in errors.iter().take(MOST_MISTAKES) {
            let (line, column) = source.line_column(u32::try_from(error.at).unwrap_or(u32::MAX));
            let (id, place) = (&task.task_id, format!("{}:{line}:{column}", script.name));
            let message = format!("{error} ({place}, task `{id}`)");
            let help = "give it a value in the task's `params`, in the DAG's, or by -p NAME=VALUE";
            let diagnostic = Diagnostic::new(task.script_span, message);
            self.mistakes.push(if error.is_missing_value { diagnostic.with_help(help) } else { diagnostic });
        }
    }
}

/// The secrets by which these places are reached, beside those of `[locations]`.
fn used_secrets(plugins: &Plugins, places: &BTreeSet<Remote>) -> Vec<String> {
    let mut secrets = Vec::new();
    for place in places {
        match place {
            Remote::Row(row) => {
                secrets.extend(plugins.database(&row.bucket).into_iter().flat_map(with_password))
            }
            Remote::Object(object) if object.service == Service::S3 => {
                let variables = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
                secrets.extend(variables.into_iter().filter_map(|name| std::env::var(name).ok()));
            }
            Remote::Object(_) => {}
        }
    }
    secrets
}
