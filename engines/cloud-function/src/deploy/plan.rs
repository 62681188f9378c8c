//! What a deployment does next, and what it asks Google for. Pure.

use std::collections::HashMap;

use google_cloud_functions_v2::model::function::State;
use google_cloud_functions_v2::model::{
    BuildConfig, Environment, Function, ServiceConfig, Source, StorageSource,
};

use crate::config::Deployment;

/// The label that tells what a function's source is.
pub(super) const LABEL: &str = "oxidag-source";

/// So often Google takes the same source from one attempt.
const MOST: u32 = 2;

/// What a deployment does next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// The function is there, with this source.
    Ready(String),
    /// There is no such function.
    Create,
    /// It has another source, or does not work.
    Update,
    /// It is being deployed, or removed.
    Wait,
    /// This source does not work.
    Fail(String),
}

/// What this attempt has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// It has asked for its source; whether Google heard it may be unknown.
    pub(super) asked: bool,
    /// So often Google has taken it.
    pub(super) taken: u32,
}

/// What follows from how the function is found.
pub(super) fn next(found: Option<&Function>, hash: &str, so_far: Done) -> Next {
    let Some(function) = found else {
        let again_and_again = so_far.taken >= MOST;
        return if again_and_again {
            Next::Fail("somebody else deletes it".to_owned())
        } else {
            Next::Create
        };
    };
    let same = function.labels.get(LABEL).is_some_and(|label| label == hash);
    match (&function.state, url(function)) {
        (State::Deploying | State::Deleting, _) => Next::Wait,
        (State::Active, Some(url)) if same => Next::Ready(url),
        (State::Active, None) if same => Next::Fail("it has no URL".to_owned()),
        _ if same && so_far.asked => Next::Fail(why(function)),
        _ if so_far.taken >= MOST => Next::Fail("somebody else deploys another source over it".to_owned()),
        _ => Next::Update,
    }
}

/// Where a function is called.
pub(super) fn url(function: &Function) -> Option<String> {
    let service = function.service_config.as_ref().map(|service| service.uri.clone());
    service.into_iter().chain([function.url.clone()]).find(|url| !url.is_empty())
}

/// Why a function does not work.
pub(super) fn why(function: &Function) -> String {
    let messages: Vec<&str> = function.state_messages.iter().map(|state| state.message.as_str()).collect();
    if messages.is_empty() {
        return format!("its state is {}", function.state.name().unwrap_or("unknown"));
    }
    messages.join("; ")
}

/// What the source becomes.
pub(super) struct Wanted<'a> {
    pub(super) name: String,
    pub(super) runtime: &'a str,
    pub(super) entry_point: &'a str,
    pub(super) hash: &'a str,
    pub(super) deployment: &'a Deployment,
    pub(super) labels: HashMap<String, String>,
    pub(super) archive: StorageSource,
}

impl Wanted<'_> {
    /// The function as it shall be, and which of its fields that says. Other fields of one that exists, and its
    /// other labels, stay as they are.
    pub(super) fn function(self, existing: Option<&Function>) -> (Function, Vec<&'static str>) {
        let mut fields =
            vec!["labels", "build_config.runtime", "build_config.entry_point", "build_config.source"];
        let build = BuildConfig::new()
            .set_runtime(self.runtime)
            .set_entry_point(self.entry_point)
            .set_source(Source::new().set_storage_source(self.archive));
        let mut labels = existing.map(|function| function.labels.clone()).unwrap_or_default();
        labels.extend(self.labels);
        labels.insert(LABEL.to_owned(), self.hash.to_owned());
        let service = service(self.deployment, &mut fields);
        let function = Function::new()
            .set_name(self.name)
            .set_environment(Environment::Gen2)
            .set_build_config(build)
            .set_service_config(service)
            .set_labels(labels);
        (function, fields)
    }
}

fn service(deployment: &Deployment, fields: &mut Vec<&'static str>) -> ServiceConfig {
    let mut service = ServiceConfig::new();
    if let Some(memory) = &deployment.memory {
        service = service.set_available_memory(memory);
        fields.push("service_config.available_memory");
    }
    if let Some(cpu) = &deployment.cpu {
        service = service.set_available_cpu(cpu);
        fields.push("service_config.available_cpu");
    }
    if let Some(timeout) = deployment.timeout {
        // Google refuses what is beyond its limit, which is far below this one.
        service = service.set_timeout_seconds(i32::try_from(timeout.0.as_secs()).unwrap_or(i32::MAX));
        fields.push("service_config.timeout_seconds");
    }
    if let Some(most) = deployment.max_instances {
        service = service.set_max_instance_count(most);
        fields.push("service_config.max_instance_count");
    }
    if let Some(account) = &deployment.service_account {
        service = service.set_service_account_email(account);
        fields.push("service_config.service_account_email");
    }
    if !deployment.environment.is_empty() {
        service = service.set_environment_variables(deployment.environment.clone());
        fields.push("service_config.environment_variables");
    }
    service
}

#[cfg(test)]
mod tests {
    use super::*;
    use google_cloud_functions_v2::model::StateMessage;
    use serde_json::json;

    fn found(state: State, hash: &str) -> Function {
        Function::new()
            .set_state(state)
            .set_labels([(LABEL, hash)])
            .set_service_config(ServiceConfig::new().set_uri("https://f"))
            .set_state_messages([StateMessage::new().set_message("no module x")])
    }

    #[test]
    fn a_source_is_deployed_when_it_is_not_there_yet() {
        let next = |state, hash: &str| next(Some(&found(state, hash)), "new", Done::default());
        assert_eq!(super::next(None, "new", Done::default()), Next::Create);
        assert_eq!(next(State::Active, "new"), Next::Ready("https://f".to_owned()));
        assert_eq!(next(State::Active, "old"), Next::Update);
        assert_eq!(next(State::Deploying, "new"), Next::Wait);
        assert_eq!(next(State::Deploying, "old"), Next::Wait);
    }

    #[test]
    fn a_source_that_failed_is_tried_once_by_each_attempt() {
        let next =
            |state, hash: &str, asked, taken| next(Some(&found(state, hash)), "new", Done { asked, taken });
        assert_eq!(next(State::Failed, "new", false, 0), Next::Update);
        assert_eq!(next(State::Failed, "new", true, 1), Next::Fail("no module x".to_owned()));
        assert_eq!(next(State::Failed, "new", true, 0), Next::Fail("no module x".to_owned()));
        assert_eq!(next(State::Unknown, "old", true, 1), Next::Update);
        assert!(matches!(next(State::Active, "other", true, 2), Next::Fail(_)));
        let gone = |taken| super::next(None, "new", Done { asked: true, taken });
        assert_eq!((gone(1), gone(2)), (Next::Create, Next::Fail("somebody else deletes it".to_owned())));
    }

    #[test]
    fn only_what_the_task_says_is_changed() {
        let deployment: Deployment =
            serde_json::from_value(json!({"memory": "1Gi", "timeout": "9m", "environment": {"A": "1"}}))
                .unwrap();
        let wanted = Wanted {
            name: "n".to_owned(),
            runtime: "python312",
            entry_point: "f",
            hash: "new",
            deployment: &deployment,
            labels: [("oxidag-dag".to_owned(), "d".to_owned())].into(),
            archive: StorageSource::new().set_bucket("b").set_object("o"),
        };
        let existing = found(State::Active, "old").set_labels([(LABEL, "old"), ("team", "data")]);
        let (function, fields) = wanted.function(Some(&existing));
        assert_eq!(function.labels["team"], "data");
        assert_eq!(function.labels[LABEL], "new");
        assert_eq!(function.labels["oxidag-dag"], "d");
        let service = function.service_config.unwrap();
        assert_eq!((service.available_memory.as_str(), service.timeout_seconds), ("1Gi", 540));
        let changed: Vec<_> = fields.iter().filter(|field| field.starts_with("service_config")).collect();
        assert_eq!(changed.len(), 3, "{fields:?}");
        assert!(!fields.contains(&"service_config.available_cpu"));
    }
}
