//! A connection to the ledger service: one JSON object a line, there and back.

use oxidag_plugin_api::{Error, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A job's id in the service.
#[derive(Clone, Copy)]
pub(crate) struct Job(pub(crate) u64);

pub(crate) struct Service {
    /// Who asks, as its environment says.
    by: u32,
    stream: BufReader<TcpStream>,
}

impl Service {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|e| Error::transient(format!("cannot reach {address}: {e}")))?;
        // Requests are small, and each waits for its answer.
        let _ = stream.set_nodelay(true);
        let by = std::env::var("PROCESS").ok().and_then(|number| number.parse().ok()).unwrap_or(0);
        Ok(Self { by, stream: BufReader::new(stream) })
    }

    /// A job for this request, a new one or the one that its key has already.
    pub(crate) async fn submit(&mut self, request: &Value) -> Result<Job> {
        let answer = self.ask(request).await?;
        answer["job"].as_u64().map(Job).ok_or_else(|| unknown(&answer))
    }

    /// Tells that the job's id is stored.
    pub(crate) async fn stored(&mut self, job: Job) -> Result<()> {
        self.ask(&json!({"op": "stored", "job": job.0})).await.map(drop)
    }

    pub(crate) async fn state(&mut self, job: Job) -> Result<String> {
        let answer = self.ask(&json!({"op": "poll", "job": job.0})).await?;
        answer["state"].as_str().map(str::to_owned).ok_or_else(|| unknown(&answer))
    }

    pub(crate) async fn cancel(&mut self, job: Job) -> Result<()> {
        self.ask(&json!({"op": "cancel", "job": job.0})).await.map(drop)
    }

    async fn ask(&mut self, request: &Value) -> Result<Value> {
        let mut request = request.clone();
        request["by"] = self.by.into();
        let lost = |e: std::io::Error| Error::transient(format!("the service does not answer: {e}"));
        self.stream.write_all(format!("{request}\n").as_bytes()).await.map_err(lost)?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await.map_err(lost)?;
        let answer: Value = serde_json::from_str(&line).map_err(|e| lost(e.into()))?;
        if let Some(error) = answer.get("error") {
            return Err(Error::invalid(format!("the service refuses: {error}")));
        }
        Ok(answer)
    }
}

fn unknown(answer: &Value) -> Error {
    Error::invalid(format!("the service's answer is not understood: {answer}"))
}
