//! Native query parameters: every `@name` of a script gets the task's parameter of that name.

mod names;
mod values;

use google_cloud_bigquery_v2::model::QueryParameter;
use oxidag_plugin_api::{Error, Result, Task};
use serde_json::Value;

/// What is shorter may be in a script by chance.
const SHORTEST_SECRET: usize = 8;

/// The query parameters that the task's script asks for.
///
/// # Errors
///
/// When a parameter is missing, is a connection, or has a value that BigQuery knows no type for.
pub(crate) fn of(task: &Task) -> Result<Vec<QueryParameter>> {
    names::of(&task.script.text).into_iter().map(|name| bound(task, name)).collect()
}

/// A connection whose value a `{name}` has put into the script.
pub(crate) fn connection_in_script(task: &Task) -> Option<&str> {
    let value = |name: &String| task.params.get(name).and_then(Value::as_str).map(str::trim);
    let within = |name: &&String| {
        value(name).is_some_and(|value| value.len() >= SHORTEST_SECRET && task.script.text.contains(value))
    };
    task.connections.iter().find(within).map(String::as_str)
}

fn bound(task: &Task, name: &str) -> Result<QueryParameter> {
    // BigQuery makes no difference between upper and lower case; an exact match comes first.
    let alike = || task.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    let Some((key, value)) = task.params.get_key_value(name).or_else(alike) else {
        return Err(Error::invalid(format!(
            "the script's query parameter `@{name}` has no value: give the task a parameter `{name}`"
        )));
    };
    if task.connections.contains(key) {
        return Err(Error::invalid(format!(
            "the connection `**{key}` cannot be the query parameter `@{name}`: BigQuery shows a job's \
             parameters to whoever may see the job"
        )));
    }
    values::parameter(name, value)
        .map_err(|error| Error::invalid(format!("the query parameter `@{name}` {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::task;

    #[test]
    fn each_name_is_bound_once_whatever_its_case() {
        let task = task("select @Day, @day, @n, '@no', @@version", json!({"day": "d", "N": 1, "other": {}}));
        let parameters = of(&task).unwrap();
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, ["Day", "n"]);
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let error = of(&task("select @day", json!({"days": 1}))).unwrap_err();
        insta::assert_snapshot!(error, @"the script's query parameter `@day` has no value: give the task a parameter `day`");
    }

    #[test]
    fn a_connection_is_never_shown_to_bigquery() {
        let mut task = task("select @PG_url", json!({"PG_url": "s3cret"}));
        task.connections = vec!["PG_url".to_owned()];
        let error = of(&task).unwrap_err();
        assert!(error.message.contains("`**PG_url`") && !error.message.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_connection_that_a_placeholder_has_put_into_the_script_is_noticed() {
        let mut task = task("select 's3cret-key'", json!({"A_key": "s3cret-key\n", "A_user": "select"}));
        task.connections = vec!["A_user".to_owned(), "A_key".to_owned()];
        assert_eq!(connection_in_script(&task), Some("A_key"));
        task.script.text = "select 1".to_owned();
        assert_eq!(connection_in_script(&task), None);
    }

    #[test]
    fn a_value_without_a_type_says_which() {
        insta::assert_snapshot!(of(&task("select @x", json!({"x": null}))).unwrap_err(), @"the query parameter `@x` is null, which has no type: write {type, value}, as in {type: DATE, value: null}");
    }
}
