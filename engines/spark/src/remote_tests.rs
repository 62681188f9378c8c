//! Tests of what is the same for every service, with a service and a host that exist only here, on a clock of their own.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;

/// A service that answers as it is told, the last answer for ever.
#[derive(Default)]
struct Fake {
    finds: VecDeque<Result<bool>>,
    submits: VecDeque<Result<bool>>,
    looks: VecDeque<Result<Look>>,
    cancels: VecDeque<Result<bool>>,
    /// What looks tell once it was asked to end.
    afterwards: VecDeque<Result<Look>>,
    lines: VecDeque<&'static str>,
    called: Vec<&'static str>,
    /// Calls of this kind are never answered; of output, only the last.
    hangs: &'static str,
}

impl Fake {
    async fn call(&mut self, kind: &'static str) {
        self.called.push(kind);
        if self.hangs == kind {
            std::future::pending().await
        }
    }
}

fn next<T: Clone>(answers: &mut VecDeque<T>) -> T {
    if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
}

impl Remote for Fake {
    fn title(&self) -> String {
        "the job k".to_owned()
    }

    fn link(&self) -> String {
        "https://console/k".to_owned()
    }

    fn checkpoint(&self) -> Value {
        "k".into()
    }

    async fn find(&mut self) -> Result<bool> {
        self.call("find").await;
        next(&mut self.finds)
    }

    async fn submit(&mut self) -> Result<bool> {
        self.call("submit").await;
        next(&mut self.submits)
    }

    async fn look(&mut self) -> Result<Look> {
        next(&mut self.looks)
    }

    async fn output(&mut self, ended: bool, tell: Tell<'_>) -> Result<()> {
        let lines = if ended { self.lines.len() } else { self.lines.len().min(1) };
        if ended && self.hangs == "output" {
            std::future::pending::<()>().await;
        }
        tell(self.lines.drain(..lines).map(str::to_owned).collect());
        Ok(())
    }

    async fn cancel(&mut self) -> Result<bool> {
        self.call("cancel").await;
        let answer = next(&mut self.cancels);
        if answer == Ok(true) && !self.afterwards.is_empty() {
            self.looks = std::mem::take(&mut self.afterwards);
        }
        answer
    }
}

#[derive(Default)]
struct Told {
    log: Mutex<Vec<String>>,
    checkpoints: Mutex<Vec<Value>>,
    cancelled_at: Option<Instant>,
}

impl Sink for Told {
    fn log(&self, level: Level, text: &str) {
        self.log.lock().unwrap().push(format!("{level:?}: {text}"));
    }

    fn progress(&self, _: Option<f64>, _: &str) {}

    fn checkpoint(&self, checkpoint: &Value) -> Result<()> {
        self.checkpoints.lock().unwrap().push(checkpoint.clone());
        Ok(())
    }

    fn cancelled(&self) -> bool {
        self.cancelled_at.is_some_and(|at| Instant::now() >= at)
    }

    async fn until_cancelled(&self) {
        match self.cancelled_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// With its turn.
async fn run(remote: &mut Fake, resumed: bool, sink: &Told) -> Result<Outcome> {
    let slot = turn(resumed, sink).await?;
    super::run(remote, resumed, slot, sink).await
}

fn at(state: &str) -> Result<Look> {
    Ok(Look { state: state.to_owned(), ..Look::default() })
}

fn ended(end: End) -> Result<Look> {
    Ok(Look { state: "END".to_owned(), end: Some(end), ..Look::default() })
}

fn service(looks: impl IntoIterator<Item = Result<Look>>) -> Fake {
    Fake {
        finds: [Ok(false)].into(),
        submits: [Ok(true)].into(),
        cancels: [Ok(true)].into(),
        looks: looks.into_iter().collect(),
        ..Fake::default()
    }
}

fn fault() -> Error {
    Error::transient("503")
}

#[tokio::test(start_paused = true)]
async fn a_job_is_stored_before_it_is_submitted_and_each_state_is_told_once() {
    let mut fake = service([at("PENDING"), at("PENDING"), at("RUNNING"), ended(End::Succeeded)]);
    fake.lines = ["one", "two", "three", "four", "five"].into();
    let told = Told::default();
    let outcome = run(&mut fake, false, &told).await.unwrap();
    assert_eq!(outcome.metrics["link"], "https://console/k");
    assert_eq!(*told.checkpoints.lock().unwrap(), ["k"]);
    let log = told.log.into_inner().unwrap().join("\n");
    insta::assert_snapshot!(log, @r"
    Info: submitted the job k: https://console/k
    Info: state: PENDING
    Stdout: one
    Stdout: two
    Info: state: RUNNING
    Stdout: three
    Info: state: END
    Stdout: four
    five
    ");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_makes_no_second_job() {
    let mut fake = service([ended(End::Succeeded)]);
    (fake.submits, fake.finds) = ([Err(fault())].into(), [Ok(true)].into());
    run(&mut fake, false, &Told::default()).await.unwrap();
    assert_eq!(fake.called, ["submit", "find"]);

    let mut fake = service([ended(End::Succeeded)]);
    (fake.submits, fake.finds) = ([Err(fault())].into(), [Err(fault()), Ok(true)].into());
    run(&mut fake, false, &Told::default()).await.unwrap();
    assert_eq!(fake.called, ["submit", "find", "find"], "until the service says so");

    let mut fake = service([ended(End::Succeeded)]);
    fake.submits = [Err(fault())].into();
    assert_eq!(run(&mut fake, false, &Told::default()).await.unwrap_err().kind, ErrorKind::Transient);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_the_job_is_found_or_made() {
    let mut fake = service([ended(End::Succeeded)]);
    fake.finds = [Err(fault()), Ok(true)].into();
    run(&mut fake, true, &Told::default()).await.unwrap();
    assert_eq!(fake.called, ["find", "find"]);

    let mut fake = service([ended(End::Succeeded)]);
    run(&mut fake, true, &Told::default()).await.unwrap();
    assert_eq!(fake.called, ["find", "submit"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_may_be_there_is_ended_before_another_attempt() {
    // Neither after a crash nor after a submission does the service tell whether there is one.
    for resumed in [true, false] {
        let mut fake = service([]);
        (fake.finds, fake.submits) = ([Err(fault())].into(), [Err(fault())].into());
        let error = run(&mut fake, resumed, &Told::default()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient);
        assert_eq!(fake.called.last(), Some(&"cancel"));
        assert_eq!(fake.called.contains(&"submit"), !resumed);
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"lost sight of the job k: 503; it was asked to end");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_while_nobody_knows_whether_there_is_a_job() {
    let mut fake = service([ended(End::Cancelled)]);
    fake.finds = [Err(fault())].into();
    let error = run(&mut fake, true, &cancelled_later()).await.unwrap_err();
    insta::assert_snapshot!(error, @"cancelled: the job k was ended");

    let mut fake = service([]);
    (fake.finds, fake.cancels) = ([Err(fault())].into(), [Ok(false)].into());
    let error = run(&mut fake, true, &cancelled_later()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    insta::assert_snapshot!(error, @"cancelled: the service does not know the job k");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_submission_was_cut_off_is_ended_when_it_comes() {
    let mut fake = service([]);
    fake.hangs = "submit";
    fake.cancels = [Ok(false), Ok(false), Ok(true)].into();
    fake.afterwards = [ended(End::Cancelled)].into();
    let error = run(&mut fake, false, &cancelled_later()).await.unwrap_err();
    insta::assert_snapshot!(error, @"cancelled: the job k was ended");

    let mut fake = service([]);
    (fake.hangs, fake.cancels) = ("submit", [Ok(false)].into());
    let error = run(&mut fake, false, &cancelled_later()).await.unwrap_err();
    insta::assert_snapshot!(error, @"cancelled, but the job k may still run and be billed (its submission was not answered): cancel it at https://console/k");
}

#[tokio::test(start_paused = true)]
async fn output_that_cannot_be_read_keeps_no_attempt_beyond_the_hosts_grace() {
    let (mut fake, told) = (service([ended(End::Succeeded)]), cancelled_later());
    fake.hangs = "output";
    let began = Instant::now();
    run(&mut fake, false, &told).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5 + 30));
    let said = "Warn: the end of the job's output could not be read in time";
    assert_eq!(told.log.into_inner().unwrap().last().unwrap(), said);
}

#[tokio::test(start_paused = true)]
async fn faults_are_sat_out_while_the_job_goes_on_but_not_for_ever() {
    let faults = (0..10).map(|_| Err(fault()));
    let mut fake = service(faults.clone().chain([ended(End::Succeeded)]));
    run(&mut fake, false, &Told::default()).await.unwrap();

    let mut fake = service([at("RUNNING"), Err(fault())]);
    let error = run(&mut fake, false, &Told::default()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    assert_eq!(fake.called, ["submit", "cancel"], "the next attempt must not meet it");
    insta::assert_snapshot!(error, @"lost sight of the job k: 503; it was asked to end");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_look_is_told_at_once() {
    let mut fake = service([Err(Error::invalid("401"))]);
    assert_eq!(run(&mut fake, false, &Told::default()).await.unwrap_err().kind, ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_failure_has_the_end_of_the_output() {
    let mut fake = service([ended(End::Failed(ErrorKind::Failed, "exit status 1".to_owned()))]);
    fake.lines = ["a", "ValueError: b"].into();
    let error = run(&mut fake, false, &Told::default()).await.unwrap_err();
    assert_eq!(error.metrics["state"], "END");
    insta::assert_snapshot!(error, @r"
    the job k failed: exit status 1; see https://console/k; the end of its output:
    a
    ValueError: b
    ");
}

fn cancelled_later() -> Told {
    Told { cancelled_at: Some(Instant::now() + Duration::from_secs(5)), ..Told::default() }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_waited_for_until_it_has_ended() {
    let mut fake = service([at("RUNNING")]);
    fake.afterwards = [at("CANCEL_PENDING"), Err(fault()), ended(End::Cancelled)].into();
    fake.cancels = [Err(fault()), Ok(true)].into();
    let error = run(&mut fake, false, &cancelled_later()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    insta::assert_snapshot!(error, @"cancelled: the job k was ended");
    assert_eq!(fake.called, ["submit", "cancel", "cancel"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_does_not_end_is_said_to_run_on() {
    let mut fake = service([at("RUNNING")]);
    let told = cancelled_later();
    let error = run(&mut fake, false, &told).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    insta::assert_snapshot!(error, @"cancelled, but the job k may still run and be billed (it was asked to end and has not yet): cancel it at https://console/k");
    assert!(told.log.into_inner().unwrap().last().unwrap().starts_with("Warn: the job k may still run"));

    let mut fake = service([at("RUNNING")]);
    fake.hangs = "cancel";
    let error = run(&mut fake, false, &cancelled_later()).await.unwrap_err();
    assert!(error.message.contains("may still run and be billed (the service does not answer)"), "{error}");

    let mut fake = service([at("RUNNING")]);
    fake.cancels = [Err(fault())].into();
    let error = run(&mut fake, false, &cancelled_later()).await.unwrap_err();
    assert!(error.message.contains("may still run and be billed (503)"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ended_before_the_cancellation_is_reported_as_it_ended() {
    let mut fake = service([at("RUNNING")]);
    fake.afterwards = [ended(End::Succeeded)].into();
    run(&mut fake, false, &cancelled_later()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_else_cancelled_has_failed() {
    let mut fake = service([ended(End::Cancelled)]);
    let error = run(&mut fake, false, &Told::default()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.message.contains("though not by oxidag"), "{error}");
}
