//! What a task asks for: which function, whether its source is deployed first, and what it is called with.

use oxidag_google::text_param;
use oxidag_plugin_api::{Error, Result, Task};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Auth, Config, Deployment};

/// Parameters that are the engine's alone: a function never sees them.
const OWN: [&str; 5] = ["function", "url", "deploy", "payload", "idempotent"];

/// The longest name of a function.
const LONGEST_NAME: usize = 63;

/// What a task asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) target: Target,
    /// How the script's source is deployed, if it is.
    pub(crate) deploy: Option<Deployment>,
    /// What the function is called with.
    pub(crate) payload: Value,
    /// Whether a call that may have run may be made again.
    pub(crate) idempotent: bool,
}

/// What is called.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    /// Whatever answers there.
    Url(Url),
    /// A function by its name.
    Function(Function),
}

/// A function by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    pub(crate) project: String,
    pub(crate) region: String,
    pub(crate) name: String,
}

impl Function {
    /// Where functions of its project and region are.
    pub(crate) fn parent(&self) -> String {
        format!("projects/{}/locations/{}", self.project, self.region)
    }

    /// Google's whole name for it.
    pub(crate) fn resource(&self) -> String {
        format!("{}/functions/{}", self.parent(), self.name)
    }

    /// Where people look at it.
    pub(crate) fn link(&self) -> String {
        let Self { project, region, name } = self;
        format!("https://console.cloud.google.com/functions/details/{region}/{name}?project={project}")
    }

    /// Its URL by the config's template, such as `https://{region}-{project}.cloudfunctions.net/{function}`.
    ///
    /// # Errors
    ///
    /// `invalid`, when it is no URL then.
    pub(crate) fn url(&self, template: &str) -> Result<Url> {
        parse_url("the config's `url`", &self.fill(template))
    }

    /// The template with this function's values in it.
    pub(crate) fn fill(&self, template: &str) -> String {
        let url = template.replace("{project}", &self.project).replace("{region}", &self.region);
        url.replace("{function}", &self.name)
    }

    fn parse(resource: &str) -> Option<Self> {
        let mut parts = resource.split('/');
        let mut part =
            |kind: &str| (parts.next() == Some(kind)).then(|| parts.next().map(str::to_owned)).flatten();
        let function =
            Self { project: part("projects")?, region: part("locations")?, name: part("functions")? };
        parts.next().is_none().then_some(function)
    }
}

impl std::fmt::Display for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the function `{}` of {} in {}", self.name, self.project, self.region)
    }
}

impl Request {
    /// Reads the task's parameters.
    ///
    /// # Errors
    ///
    /// `invalid`, when they cannot be meant.
    pub(crate) fn read(task: &Task, config: &Config) -> Result<Self> {
        let deploy = deployment(task, config)?;
        let target = target(task, config, deploy.is_some())?;
        if deploy.is_some() && matches!(target, Target::Url(_)) {
            return Err(Error::invalid(
                "a function that is deployed is called by its name: leave out `url`, and give `function` a name",
            ));
        }
        if let Target::Url(url) = &target {
            check_url(url, config.auth)?;
            check_audience(url, config)?;
        }
        let idempotent = match task.params.get("idempotent") {
            None | Some(Value::Null) => config.idempotent,
            Some(Value::Bool(idempotent)) => *idempotent,
            Some(_) => return Err(Error::invalid("the parameter `idempotent` must be true or false")),
        };
        Ok(Self { target, deploy, payload: payload(task), idempotent })
    }
}

fn deployment(task: &Task, config: &Config) -> Result<Option<Deployment>> {
    let wrong =
        |why: String| Error::invalid(format!("the parameter `deploy` must be true or an object: {why}"));
    let deployment = match task.params.get("deploy") {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(Value::Bool(true)) => Deployment::default(),
        Some(object @ Value::Object(_)) => {
            serde_json::from_value(object.clone()).map_err(|error| wrong(error.to_string()))?
        }
        Some(_) => return Err(wrong("it is neither".to_owned())),
    };
    Ok(Some(deployment.or(&config.deploy)))
}

/// `url`, else `function`, else what the script is called; of a script in the DAG itself, what it says.
fn target(task: &Task, config: &Config, deployed: bool) -> Result<Target> {
    if let Some(url) = text_param(task, "url")? {
        return parse_url("the parameter `url`", url).map(Target::Url);
    }
    let (place, name) = match text_param(task, "function")? {
        Some(name) => ("the parameter `function`", name),
        None if task.script.name != "inline" => ("the script's name", &*script_name(&task.script.name)),
        None if deployed => {
            return Err(Error::invalid(
                "a source that stands in the DAG has no name: set the parameter `function`",
            ));
        }
        None => ("the script", task.script.text.trim()),
    };
    if name.starts_with("https://") || name.starts_with("http://") {
        return parse_url(place, name).map(Target::Url);
    }
    if let Some(function) = Function::parse(name) {
        check_name(place, &function.name)?;
        check_place(&function)?;
        return Ok(Target::Function(function));
    }
    check_name(place, name)?;
    let region = text_param(task, "region")?.or(config.region.as_deref()).ok_or_else(|| {
        Error::invalid("no region: set `region` in the engine's config or the task's parameters")
    })?;
    let project = config.google.project(task)?.to_owned();
    let function = Function { project, region: region.to_owned(), name: name.to_owned() };
    check_place(&function)?;
    Ok(Target::Function(function))
}

/// The last part of a script's place, without its suffix, as Google lets functions be called.
fn script_name(place: &str) -> String {
    let last = place.rsplit('/').next().unwrap_or(place);
    let name = last.split_once('.').map_or(last, |(name, _)| name);
    name.replace('_', "-").to_ascii_lowercase()
}

fn check_name(place: &str, name: &str) -> Result<()> {
    let letter = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if letter && word && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{place}, `{}`, is neither the name of a function (a letter, then letters, digits, `-` and `_`, {LONGEST_NAME} \
         at most) nor a URL",
        name.chars().take(2 * LONGEST_NAME).collect::<String>()
    )))
}

/// They become part of a URL that a token is sent to.
fn check_place(function: &Function) -> Result<()> {
    let of = |more: &[char], text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || more.contains(&c))
    };
    if !of(&['.', ':'], &function.project) {
        return Err(Error::invalid(format!("`{}` is no project of Google Cloud", function.project)));
    }
    if !of(&[], &function.region) {
        return Err(Error::invalid(format!("`{}` is no region of Google Cloud", function.region)));
    }
    Ok(())
}

fn parse_url(place: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| Error::invalid(format!("{place} is no URL: {error}")))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        return Ok(url);
    }
    Err(Error::invalid(format!("{place} must begin with https:// or http://")))
}

/// A token that is sent in the clear is anybody's, so it stays on this machine.
pub(crate) fn check_url(url: &Url, auth: Auth) -> Result<()> {
    let here = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|host| host.is_loopback()),
        None => false,
    };
    if url.scheme() == "https" || here || auth == Auth::None {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "an identity token is not sent to {} unencrypted: use https, or set `auth = \"none\"` in the engine's config",
        shown(url)
    )))
}

/// A token for the config's `audience` opens what is behind it, so a task cannot have it sent anywhere: only to the
/// audience itself, or where the config's `url` says that functions are.
fn check_audience(url: &Url, config: &Config) -> Result<()> {
    let Some(audience) = config.audience.as_deref().filter(|_| config.auth != Auth::None) else {
        return Ok(());
    };
    let host = |text: &str| Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned));
    let known = [Some(audience), config.url.as_deref()];
    if known.into_iter().flatten().filter_map(host).any(|host| Some(host.as_str()) == url.host_str()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a token for the engine's `audience` is not sent to {}: call the function by its name, or at the host of the config's \
         `audience` or `url`",
        shown(url)
    )))
}

/// Whom a token for this URL is for. A service of Cloud Run goes by its host; a function at
/// `cloudfunctions.net` by host and path.
pub(crate) fn audience(url: &Url) -> String {
    let mut audience = url.clone();
    audience.set_query(None);
    audience.set_fragment(None);
    let service = url.host_str().is_some_and(|host| host.ends_with(".run.app"));
    if service {
        audience.set_path("");
    }
    audience.as_str().trim_end_matches('/').to_owned()
}

/// A URL as it may be shown: without what often is secret in one.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // Both fail only for URLs that have no host.
    _ = shown.set_username("");
    _ = shown.set_password(None);
    shown.into()
}

/// `payload`, else all parameters but connections and the engine's own.
fn payload(task: &Task) -> Value {
    if let Some(payload) = task.params.get("payload") {
        return payload.clone();
    }
    let sent = |name: &String| !OWN.contains(&name.as_str()) && !task.connections.contains(name);
    let params = task.params.iter().filter(|(name, _)| sent(name));
    Value::Object(params.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::task_of;
    use serde_json::json;

    fn config() -> Config {
        serde_json::from_value(json!({"project": "p", "region": "r"})).unwrap()
    }

    fn read(script: &str, text: &str, params: Value) -> Result<Request> {
        Request::read(&task_of(script, text, params), &config())
    }

    fn target_of(script: &str, text: &str, params: Value) -> String {
        match read(script, text, params).map(|request| request.target) {
            Ok(Target::Url(url)) => url.into(),
            Ok(Target::Function(function)) => function.resource(),
            Err(error) => error.message,
        }
    }

    #[test]
    fn a_function_is_named_by_its_script_or_by_parameters() {
        let named = |name: &str| format!("projects/p/locations/r/functions/{name}");
        assert_eq!(target_of("gs://b/f/my_function.py", "", json!({})), named("my-function"));
        assert_eq!(target_of("/x/b/f/resize.js", "", json!({})), named("resize"));
        assert_eq!(target_of("database:B/t/resize", "", json!({})), named("resize"));
        assert_eq!(target_of("inline", " resize\n", json!({})), named("resize"));
        assert_eq!(target_of("inline", "https://a.b/c?d=e", json!({})), "https://a.b/c?d=e");
        assert_eq!(target_of("gs://b/f/x.py", "", json!({"function": "resize"})), named("resize"));
        assert_eq!(target_of("inline", "x", json!({"function": "https://a.b/"})), "https://a.b/");
        assert_eq!(target_of("inline", "x", json!({"url": "https://a.b/", "function": "f"})), "https://a.b/");
        let elsewhere = "projects/p2/locations/r2/functions/f";
        assert_eq!(target_of("inline", elsewhere, json!({})), elsewhere);
        let params = json!({"project": "p3", "region": "r3"});
        assert_eq!(target_of("inline", "f", params), "projects/p3/locations/r3/functions/f");
    }

    #[test]
    fn what_cannot_be_called_is_said() {
        let said = |script: &str, text: &str, params| target_of(script, text, params);
        insta::assert_snapshot!(said("inline", "def f(): ...", json!({})), @"the script, `def f(): ...`, is neither the name of a function (a letter, then letters, digits, `-` and `_`, 63 at most) nor a URL");
        insta::assert_snapshot!(said("inline", "f", json!({"function": 1})), @"the parameter `function` must be text");
        insta::assert_snapshot!(said("inline", "f", json!({"url": "ftp://a/b"})), @"the parameter `url` must begin with https:// or http://");
        insta::assert_snapshot!(said("inline", "f", json!({"url": "http://a/b?key=s3cret"})), @r#"an identity token is not sent to http://a/b unencrypted: use https, or set `auth = "none"` in the engine's config"#);
        insta::assert_snapshot!(said("inline", "x", json!({"deploy": true})), @"a source that stands in the DAG has no name: set the parameter `function`");
        insta::assert_snapshot!(said("inline", "x", json!({"deploy": {"runtme": "python312"}, "function": "f"})), @"the parameter `deploy` must be true or an object: unknown field `runtme`, expected one of `runtime`, `entry_point`, `requirements`, `memory`, `cpu`, `timeout`, `max_instances`, `service_account`, `environment`");
        insta::assert_snapshot!(said("inline", "x", json!({"deploy": true, "url": "https://a.b"})), @"a function that is deployed is called by its name: leave out `url`, and give `function` a name");
        let error = Request::read(&task_of("inline", "f", json!({})), &Config::default()).unwrap_err();
        insta::assert_snapshot!(error, @"no region: set `region` in the engine's config or the task's parameters");
    }

    #[test]
    fn tokens_go_unencrypted_to_this_machine_only() {
        let allowed = |url: &str, auth| check_url(&Url::parse(url).unwrap(), auth).is_ok();
        for url in ["https://a.b/", "http://127.0.0.1:80/f", "http://localhost:80", "http://[::1]:80/"] {
            assert!(allowed(url, Auth::IdToken), "{url}");
        }
        assert!(!allowed("http://127.0.0.1.evil.example/", Auth::IdToken));
        assert!(allowed("http://a.b/", Auth::None));
    }

    #[test]
    fn a_token_for_the_configs_audience_goes_to_its_hosts_only() {
        let config = json!({"project": "p", "region": "r", "audience": "https://a.example/x", "url": "https://fn.example/{function}"});
        let config: Config = serde_json::from_value(config).unwrap();
        let read = |url: &str| Request::read(&task_of("inline", url, json!({})), &config);
        for url in ["https://a.example/f", "https://fn.example/g", "f"] {
            assert!(read(url).is_ok(), "{url}");
        }
        insta::assert_snapshot!(read("https://evil.example/?k=s3cret").unwrap_err(), @"a token for the engine's `audience` is not sent to https://evil.example/: call the function by its name, or at the host of the config's `audience` or `url`");
    }

    #[test]
    fn a_project_or_region_cannot_lead_a_token_elsewhere() {
        let said = |params| target_of("inline", "f", params);
        insta::assert_snapshot!(said(json!({"project": "evil.example/#"})), @"`evil.example/#` is no project of Google Cloud");
        insta::assert_snapshot!(said(json!({"region": "evil.example/?"})), @"`evil.example/?` is no region of Google Cloud");
        insta::assert_snapshot!(target_of("inline", "projects/p@e/locations/r/functions/f", json!({})), @"`p@e` is no project of Google Cloud");
    }

    #[test]
    fn whether_a_call_may_be_repeated_is_said_by_the_config_or_the_task() {
        let idempotent = |config: Value, params| {
            let config = serde_json::from_value(config).unwrap();
            Request::read(&task_of("inline", "https://a.b/", params), &config)
                .map(|request| request.idempotent)
        };
        assert_eq!(idempotent(json!({}), json!({})), Ok(false));
        assert_eq!(idempotent(json!({"idempotent": true}), json!({})), Ok(true));
        assert_eq!(idempotent(json!({"idempotent": true}), json!({"idempotent": false})), Ok(false));
        assert!(idempotent(json!({}), json!({"idempotent": "yes"})).is_err());
    }

    #[test]
    fn the_audience_is_the_functions_url() {
        let of = |url: &str| audience(&Url::parse(url).unwrap());
        assert_eq!(of("https://f-1-uc.a.run.app/path?x=1"), "https://f-1-uc.a.run.app");
        assert_eq!(of("https://r-p.cloudfunctions.net/f?x=1"), "https://r-p.cloudfunctions.net/f");
        assert_eq!(of("http://127.0.0.1:8080/functions/f"), "http://127.0.0.1:8080/functions/f");
    }

    #[test]
    fn connections_and_the_engines_own_parameters_are_never_sent() {
        let params = json!({
            "function": "f", "url": null, "deploy": false, "idempotent": true, "day": "2026-01-01", "*v": 1, "GCP_service-account": "s3cret",
        });
        let mut task = task_of("inline", "", params);
        task.connections = vec!["GCP_service-account".to_owned()];
        let request = Request::read(&task, &config()).unwrap();
        assert_eq!(request.payload, json!({"day": "2026-01-01", "*v": 1}));
        task.params.insert("payload".to_owned(), json!([1, 2]));
        assert_eq!(Request::read(&task, &config()).unwrap().payload, json!([1, 2]));
    }
}
