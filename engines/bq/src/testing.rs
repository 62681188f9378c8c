//! What the unit tests share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use google_cloud_bigquery_v2::client::JobService;
use google_cloud_bigquery_v2::model::{
    CancelJobRequest, ErrorProto, GetJobRequest, GetQueryResultsRequest, GetQueryResultsResponse,
    InsertJobRequest, Job, JobCancelResponse, JobReference, JobStatus,
};
use google_cloud_bigquery_v2::stub;
use google_cloud_gax::error::Error as Gax;
use google_cloud_gax::error::rpc::{Code, Status, StatusDetails};
use google_cloud_gax::options::RequestOptions;
use google_cloud_gax::response::Response;
use oxidag_plugin_api::{Level, Task};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::remote::{Handle, Remote};
use crate::witness::Witness;

/// A task with this script and these parameters.
pub(crate) fn task(sql: &str, params: Value) -> Task {
    serde_json::from_value(json!({
        "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "oxidag-0123",
        "script": {"text": sql, "name": "inline"}, "params": params, "working_dir": "/",
    }))
    .unwrap()
}

/// Nobody listens, and nobody asks for an end.
pub(crate) struct Silent;

impl Witness for Silent {
    fn log(&self, _: Level, _: &str) {}

    fn progress(&self, _: f64, _: &str) {}

    fn until_cancelled(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Writes down what it is told, and asks for the end when a test does.
#[derive(Default)]
pub(crate) struct Scribe {
    told: Mutex<Vec<String>>,
    stop: watch::Sender<bool>,
}

impl Scribe {
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Asks for the end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn write(&self, line: String) {
        self.told.lock().unwrap().push(line);
    }
}

impl Witness for Scribe {
    fn log(&self, level: Level, text: &str) {
        self.write(format!("{}: {text}", format!("{level:?}").to_lowercase()));
    }

    fn progress(&self, fraction: f64, message: &str) {
        self.write(format!("{:.0} %: {message}", fraction * 100.0));
    }

    fn until_cancelled(&self) -> impl Future<Output = ()> + Send {
        let mut stop = self.stop.subscribe();
        async move {
            stop.wait_for(|stop| *stop).await.unwrap();
        }
    }
}

/// BigQuery's refusal of a call.
pub(crate) fn refused(http: u16, reason: &str, message: &str) -> Gax {
    let code = match http {
        404 => Code::NotFound,
        409 => Code::AlreadyExists,
        503 => Code::Unavailable,
        _ => Code::InvalidArgument,
    };
    let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason});
    let details: StatusDetails = serde_json::from_value(info).unwrap();
    let status = Status::default().set_code(code).set_message(message).set_details([details]);
    Gax::service_with_http_metadata(status, Some(http), None)
}

/// A job in a state, `DONE (reason)` for one that has failed.
pub(crate) fn job(state: &str) -> Job {
    let (state, reason) = match state.split_once(" (") {
        Some((state, reason)) => (state, Some(reason.trim_end_matches(')'))),
        None => (state, None),
    };
    let mut status = JobStatus::new().set_state(state);
    status.error_result = reason.map(|reason| ErrorProto::new().set_reason(reason).set_message("why"));
    let reference = JobReference::new().set_project_id("p").set_job_id("oxidag-0123").set_location("US");
    Job::new().set_job_reference(reference).set_status(status)
}

/// What is known of the tests' job before it is submitted.
pub(crate) fn handle() -> Handle {
    Handle { project: "p".into(), job: "oxidag-0123".into(), location: None }
}

type Answers = Mutex<VecDeque<Result<&'static str, u16>>>;

/// A BigQuery whose answers a test has written: states of the job, or refusals; the last one of a kind lasts.
#[derive(Debug, Default)]
pub(crate) struct Script {
    inserts: Answers,
    looks: Answers,
    cancels: Answers,
    asked: Mutex<Vec<&'static str>>,
}

impl Script {
    pub(crate) fn inserts(self, answers: &[Result<&'static str, u16>]) -> Self {
        Self { inserts: Mutex::new(answers.iter().copied().collect()), ..self }
    }

    pub(crate) fn looks(self, answers: &[Result<&'static str, u16>]) -> Self {
        Self { looks: Mutex::new(answers.iter().copied().collect()), ..self }
    }

    pub(crate) fn cancels(self, answers: &[Result<&'static str, u16>]) -> Self {
        Self { cancels: Mutex::new(answers.iter().copied().collect()), ..self }
    }

    /// The job in it, and what was asked for it.
    pub(crate) fn remote(self) -> (Remote, Arc<Self>) {
        let script = Arc::new(self);
        (Remote::new(JobService::from_stub::<Self>(Arc::clone(&script)), handle()), script)
    }

    /// How often a call was made.
    pub(crate) fn asked(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| **asked == what).count()
    }

    fn answer(&self, what: &'static str, answers: &Answers) -> Result<Job, Gax> {
        self.asked.lock().unwrap().push(what);
        let mut answers = answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
        match answer.unwrap_or_else(|| panic!("nobody expected {what}")) {
            Ok(state) => Ok(job(state)),
            Err(http) => Err(refused(http, "", "Already Exists: Job p:EU.oxidag-0123")),
        }
    }
}

impl stub::JobService for Script {
    async fn insert_job(&self, _: InsertJobRequest, _: RequestOptions) -> Result<Response<Job>, Gax> {
        self.answer("insert", &self.inserts).map(Response::from)
    }

    async fn get_job(&self, _: GetJobRequest, _: RequestOptions) -> Result<Response<Job>, Gax> {
        self.answer("look", &self.looks).map(Response::from)
    }

    async fn cancel_job(
        &self,
        _: CancelJobRequest,
        _: RequestOptions,
    ) -> Result<Response<JobCancelResponse>, Gax> {
        let answer = self.answer("cancel", &self.cancels)?;
        Ok(Response::from(JobCancelResponse::new().set_job(answer)))
    }

    /// No test has rows that can be read.
    async fn get_query_results(
        &self,
        _: GetQueryResultsRequest,
        _: RequestOptions,
    ) -> Result<Response<GetQueryResultsResponse>, Gax> {
        Err(refused(503, "backendError", "away"))
    }
}
