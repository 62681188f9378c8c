//! Waits for Google's work on a function, through faults that pass.

use std::time::{Duration, Instant};

use google_cloud_functions_v2::client::FunctionService;
use google_cloud_functions_v2::model::{OperationMetadata, stage};
use google_cloud_gax::error::rpc::Code;
use google_cloud_longrunning::model::Operation;
use oxidag_google::{Pace, from_gax, request_slot};
use oxidag_plugin_api::{Error, ErrorKind, Host, Result};

/// So long nothing but faults is taken for something that passes: the work goes on meanwhile.
const LONGEST: Duration = Duration::from_secs(600);

/// Bears faults of the service for a while.
#[derive(Debug, Default)]
pub(super) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Takes a fault, unless it is none, or there have been nothing else for too long.
    pub(super) fn try_on(&mut self, error: Error, now: Instant) -> Result<()> {
        let since = *self.since.get_or_insert(now);
        if error.kind == ErrorKind::Transient && now.duration_since(since) < LONGEST {
            return Ok(());
        }
        Err(error)
    }
}

/// Waits until an operation has ended; the inner error is its own. One that Google has forgotten has ended.
pub(super) async fn wait_for(
    service: &FunctionService,
    name: &str,
    host: &Host,
) -> Result<Result<(), (ErrorKind, String)>> {
    let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(15));
    let mut patience = Patience::default();
    let mut told = String::new();
    loop {
        let slot = request_slot().await;
        let looked = service.get_operation().set_name(name).send().await;
        drop(slot);
        match looked {
            Ok(operation) if operation.done => return Ok(end(&operation)),
            Ok(operation) => {
                patience = Patience::default();
                tell(&operation, host, &mut told);
            }
            Err(error) if error.http_status_code() == Some(404) => return Ok(Ok(())),
            Err(error) => {
                patience.try_on(from_gax("cannot look at the deployment", &error), Instant::now())?
            }
        }
        tokio::time::sleep(pace.pause()).await;
    }
}

fn end(operation: &Operation) -> Result<(), (ErrorKind, String)> {
    let Some(error) = operation.error() else { return Ok(()) };
    let kind = match Code::from(error.code) {
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Invalid,
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::Internal => ErrorKind::Transient,
        // A source that cannot be built or does not start.
        _ => ErrorKind::Failed,
    };
    Err((kind, error.message.clone()))
}

/// Tells how far it has come, where that has changed.
fn tell(operation: &Operation, host: &Host, told: &mut String) {
    let metadata = operation.metadata.as_ref().and_then(|any| any.to_msg::<OperationMetadata>().ok());
    let Some(OperationMetadata { stages, .. }) = metadata else { return };
    let Some(now) = stages.iter().find(|stage| stage.state == stage::State::InProgress) else { return };
    let name = now.name.name().unwrap_or("deploying").to_ascii_lowercase().replace('_', " ");
    if *told == name {
        return;
    }
    let ready = stages.iter().filter(|stage| stage.state == stage::State::Complete).count();
    // A handful of stages: exact in any type.
    #[expect(clippy::cast_precision_loss, reason = "a handful of stages")]
    host.progress(Some(ready as f64 / stages.len() as f64), &format!("deploying: {name}"));
    let see = if now.resource_uri.is_empty() { String::new() } else { format!(": {}", now.resource_uri) };
    host.info(&format!("deploying: {name}{see}"));
    *told = name;
}

#[cfg(test)]
mod tests {
    use super::*;
    use google_cloud_longrunning::model::Operation;

    fn ended(code: i32) -> Result<(), (ErrorKind, String)> {
        let status: serde_json::Value = serde_json::json!({"code": code, "message": "no such module"});
        let operation: Operation =
            serde_json::from_value(serde_json::json!({"name": "o", "done": true, "error": status})).unwrap();
        end(&operation)
    }

    #[test]
    fn a_source_that_cannot_be_built_is_its_own_fault() {
        assert_eq!(ended(3), Err((ErrorKind::Failed, "no such module".to_owned())));
        assert_eq!(ended(7).unwrap_err().0, ErrorKind::Invalid);
        assert_eq!(ended(14).unwrap_err().0, ErrorKind::Transient);
        assert_eq!(end(&Operation::new().set_done(true)), Ok(()));
    }

    #[test]
    fn only_faults_are_borne() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        assert!(patience.try_on(Error::transient("later"), now).is_ok());
        assert!(patience.try_on(Error::invalid("never"), now).is_err());
        assert!(patience.try_on(Error::transient("later"), now + LONGEST / 2).is_ok());
        assert!(patience.try_on(Error::transient("later"), now + LONGEST).is_err());
    }
}
