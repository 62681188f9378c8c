//! The test host, with engines that do what an author's do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use oxidag_plugin_api::test::{TestEngine, task};
use oxidag_plugin_api::{
    AsyncEngine, Engine, Error, ErrorKind, Finding, Host, Level, NoConfig, Outcome, Result, Severity, Task,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    minutes: u32,
}

/// Blocks, and does what its script says: by default it looks once a minute whether its job has ended.
struct Blocking(Config);

impl Engine for Blocking {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".test";

    fn create(config: Config) -> Result<Self> {
        if config.minutes == 0 {
            Err(Error::invalid("`minutes` must be 1 at least"))
        } else {
            Ok(Self(config))
        }
    }

    fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        let message = task.script.text.clone();
        Ok(vec![Finding { severity: Severity::Warning, message, line: Some(1), column: None }])
    }

    fn run(&self, task: Task, host: &Host) -> Result<Outcome> {
        match task.script.text.as_str() {
            "panic" => panic!("asked to"),
            "channel" => {
                let (stop, stopped) = channel();
                host.on_cancel(move || stop.send(()).unwrap());
                stopped.recv().map_err(|e| Error::failed(e.to_string()))?;
                Err(Error::cancelled("by the channel"))
            }
            "graph" => {
                host.append(&json!({"tasks": []}))?;
                Ok(Outcome::default().with_result(host.query(&json!({"type": "t"}))?))
            }
            _ => {
                host.log(Level::Stdout, "one\ntwo");
                watch(&task, host)?;
                for minute in 1..=self.0.minutes {
                    host.wait(MINUTE)?;
                    host.progress(Some(f64::from(minute) / f64::from(self.0.minutes)), "waits");
                }
                Ok(Outcome::default().with_metric("minutes", self.0.minutes))
            }
        }
    }
}

fn watch(task: &Task, host: &Host) -> Result<()> {
    match &task.checkpoint {
        Some(job) => host.info(&format!("goes on with {job}")),
        None => host.checkpoint(&json!(task.idempotency_key))?,
    }
    Ok(())
}

/// The same without a thread; tasks with the parameter `block` go to the other one.
struct Waiting(Config);

impl AsyncEngine for Waiting {
    type Config = Config;
    const MIXED: bool = true;

    fn create(config: Config) -> Result<Self> {
        Ok(Self(config))
    }

    fn blocks(&self, params: &Map<String, Value>) -> bool {
        params.contains_key("block")
    }

    fn run_blocking(&self, task: Task, host: &Host) -> Result<Outcome> {
        Blocking(Config { minutes: self.0.minutes }).run(task, host)
    }

    async fn run(&self, task: Task, host: Host) -> Result<Outcome> {
        if task.script.text == "forever" {
            host.until_cancelled().await;
            return Err(Error::cancelled("in no time"));
        }
        watch(&task, &host)?;
        for minute in 1..=self.0.minutes {
            tokio::select! {
                () = tokio::time::sleep(MINUTE) => {}
                () = host.until_cancelled() => return Err(Error::cancelled("asked to")),
            }
            host.progress(Some(f64::from(minute) / f64::from(self.0.minutes)), "waits");
        }
        Ok(Outcome::default().with_metric("minutes", self.0.minutes))
    }
}

/// Both kinds, each of which waits for so many minutes.
fn both(minutes: u32) -> [TestEngine; 2] {
    let config = json!({ "minutes": minutes });
    [TestEngine::new::<Blocking>(config.clone()).unwrap(), TestEngine::new_async::<Waiting>(config).unwrap()]
}

#[test]
fn time_flies_to_the_end() {
    for engine in both(60 * 24 * 7) {
        let ended = engine.attempt(&task("")).run();
        assert_eq!(ended.result.unwrap(), Outcome::default().with_metric("minutes", 60 * 24 * 7));
        assert_eq!(ended.seen.progress.len(), 60 * 24 * 7);
        assert_eq!(ended.seen.checkpoints, ["test-key"]);
    }
}

#[test]
fn time_stands_still_until_it_is_moved() {
    for engine in both(3) {
        let attempt = engine.attempt(&task("")).start();
        let told = || attempt.seen().progress.len();
        engine.advance(Duration::ZERO);
        assert_eq!((attempt.seen().checkpoints.len(), told()), (1, 0));
        engine.advance(MINUTE - Duration::from_secs(1));
        assert_eq!(told(), 0);
        engine.advance(Duration::from_secs(1));
        assert_eq!(told(), 1);
        engine.advance(2 * MINUTE);
        assert_eq!(told(), 3, "from one wait to the next, not past both");
        assert!(attempt.end().result.is_ok());
    }
}

#[test]
fn a_cancellation_ends_the_wait() {
    for engine in both(3) {
        let attempt = engine.attempt(&task("")).start();
        engine.advance(MINUTE);
        attempt.cancel();
        let ended = attempt.end();
        assert_eq!((ended.result.unwrap_err().kind, ended.seen.progress.len()), (ErrorKind::Cancelled, 1));
    }
}

#[test]
fn a_deadline_comes_with_the_time() {
    for engine in both(100) {
        let ended = engine.attempt(&task("")).deadline(MINUTE * 5 / 2).run();
        assert_eq!((ended.result.unwrap_err().kind, ended.seen.progress.len()), (ErrorKind::Cancelled, 2));
        let attempt = engine.attempt(&task("")).deadline(MINUTE).start();
        engine.advance(Duration::from_secs(59));
        assert_eq!(attempt.seen().progress.len(), 0);
        engine.advance(Duration::from_secs(1));
        assert_eq!(attempt.end().result.unwrap_err().kind, ErrorKind::Cancelled);
    }
    let [blocking, waiting] = both(1);
    let ended = waiting.attempt(&task("forever")).deadline(MINUTE).run();
    assert_eq!(ended.result.unwrap_err().message, "in no time");
    let attempt = blocking.attempt(&task("channel")).start();
    attempt.time_out();
    assert_eq!(attempt.end().result.unwrap_err().message, "by the channel");
}

#[test]
fn an_attempt_goes_on_after_a_crash_with_the_checkpoint_that_was_stored() {
    for engine in both(2) {
        let before = engine.attempt(&task("")).crash_before_checkpoint(1).start().until_crash();
        assert_eq!((before.resumed, &before.checkpoint), (true, &None));
        let after = engine.attempt(&before).crash_after_checkpoint(1).start().until_crash();
        assert_eq!(after.checkpoint, Some(json!("test-key")));
        let ended = engine.attempt(&after).run();
        assert!(ended.result.is_ok());
        assert_eq!(ended.seen.checkpoints.len(), 0);
        assert_eq!(ended.seen.lines().last(), Some(&r#"goes on with "test-key""#));
    }
}

#[test]
fn a_crash_ends_all_attempts_where_they_wait() {
    for engine in both(2) {
        let [first, second] = [(); 2].map(|()| engine.attempt(&task("")).start());
        engine.advance(MINUTE);
        engine.crash();
        engine.advance(10 * MINUTE);
        assert_eq!([first.seen().progress.len(), second.seen().progress.len()], [1, 1]);
        assert_eq!(first.until_crash().checkpoint, Some(json!("test-key")));
        assert!(engine.attempt(&second.until_crash()).run().result.is_ok());
    }
}

#[test]
fn after_a_crash_the_engine_is_created_anew() {
    static CREATED: Mutex<u32> = Mutex::new(0);
    struct Counted;
    impl Engine for Counted {
        type Config = NoConfig;

        fn create(_: NoConfig) -> Result<Self> {
            *CREATED.lock().unwrap() += 1;
            Ok(Self)
        }

        fn run(&self, _: Task, _: &Host) -> Result<Outcome> {
            Ok(Outcome::default())
        }
    }
    let engine = TestEngine::new::<Counted>(json!({})).unwrap();
    assert!(engine.attempt(&task("")).run().result.is_ok() && engine.attempt(&task("")).run().result.is_ok());
    assert_eq!(*CREATED.lock().unwrap(), 1);
    engine.crash();
    assert!(engine.attempt(&task("")).run().result.is_ok());
    assert_eq!(*CREATED.lock().unwrap(), 2);
}

#[test]
fn a_mixed_engine_blocks_where_it_says_so() {
    let [_, engine] = both(3);
    let mut blocks = task("");
    blocks.params.insert("block".into(), true.into());
    let attempt = engine.attempt(&blocks).start();
    engine.advance(MINUTE);
    assert_eq!(attempt.seen().progress.len(), 1);
    let ended = attempt.end();
    assert_eq!(ended.seen.logs[..2], [(Level::Stdout, "one".into()), (Level::Stdout, "two".into())]);
    let ended = engine.attempt(&blocks).deadline(MINUTE).run();
    assert_eq!(ended.result.unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn the_graph_answers_what_the_test_says() {
    let [engine, _] = both(1);
    let ended = engine.attempt(&task("graph")).answer(|question| Ok(json!([question]))).run();
    assert_eq!(ended.result.unwrap().result, Some(json!([{"type": "t"}])));
    assert_eq!(
        (ended.seen.additions, ended.seen.queries),
        (vec![json!({"tasks": []})], vec![json!({"type": "t"})])
    );
    let message = |ended: oxidag_plugin_api::test::Ended| ended.result.unwrap_err().message;
    assert!(message(engine.attempt(&task("graph")).run()).contains("Start::answer"));
    let refused = engine.attempt(&task("graph")).refuse_additions("no such engine").run();
    assert_eq!((refused.seen.additions.len(), message(refused).as_str()), (0, "no such engine"));
    let panicked = engine.attempt(&task("graph")).answer(|_| panic!("no answer")).run();
    assert!(message(panicked).ends_with("no answer"));
}

#[test]
fn a_checkpoint_that_is_refused_is_an_error_of_the_engine() {
    for engine in both(1) {
        let ended = engine.attempt(&task("")).refuse_checkpoints("the disk is full").run();
        let error = ended.result.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Transient, "the disk is full"));
        assert_eq!(ended.seen.checkpoints.len(), 0);
    }
}

#[test]
fn a_panic_ends_the_attempt_as_in_oxidag() {
    let [engine, _] = both(1);
    let error = engine.attempt(&task("panic")).run().result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Panicked);
    assert!(error.message.ends_with("asked to"), "{error}");
}

#[test]
fn configuration_description_and_dry_run_go_through_the_abi() {
    let error = TestEngine::new::<Blocking>(json!({"minutes": 0})).unwrap_err();
    assert_eq!(error.message, "`minutes` must be 1 at least");
    let error = TestEngine::new::<Blocking>(json!({"hours": 1})).unwrap_err();
    assert!(error.message.contains("unknown field `hours`"), "{error}");
    let [engine, _] = both(1);
    assert_eq!(engine.description().script_suffix, ".test");
    assert_eq!(engine.description().config_schema["required"], json!(["minutes"]));
    assert_eq!(engine.validate(&task("odd")).unwrap()[0].message, "odd");
}

#[test]
#[should_panic(expected = "neither ended nor called `Host::wait`")]
fn a_wait_that_no_test_can_move_is_told() {
    let [engine, _] = both(1);
    let engine = engine.with_patience(Duration::from_millis(10)).unwrap();
    let _attempt = engine.attempt(&task("channel")).start();
    engine.advance(MINUTE);
}

#[test]
#[should_panic(expected = "the attempt has not ended")]
fn an_attempt_that_does_not_end_is_told() {
    let [_, engine] = both(1);
    let engine = engine.with_patience(Duration::from_millis(10)).unwrap();
    let _ = engine.attempt(&task("forever")).run();
}

#[test]
#[should_panic(expected = "the attempt ended before")]
fn a_crash_that_does_not_come_is_told() {
    let [engine, _] = both(1);
    let _ = engine.attempt(&task("")).crash_after_checkpoint(2).start().until_crash();
}

#[test]
fn what_a_helper_thread_does_can_be_waited_for() {
    struct Helped;
    impl Engine for Helped {
        type Config = NoConfig;

        fn create(_: NoConfig) -> Result<Self> {
            Ok(Self)
        }

        fn run(&self, _: Task, host: &Host) -> Result<Outcome> {
            let helper = host.clone();
            let helper = std::thread::spawn(move || helper.info("here"));
            host.wait(MINUTE)?;
            helper.join().map_err(|_| Error::failed("the helper panicked"))?;
            Ok(Outcome::default())
        }
    }
    let engine = TestEngine::new::<Helped>(json!({})).unwrap();
    let attempt = engine.attempt(&task("")).start();
    assert_eq!(attempt.wait_for(|seen| !seen.logs.is_empty()).lines(), ["here"]);
    assert!(attempt.end().result.is_ok());
}
