//! Notices to real commands and to servers of the standard library.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process;
use std::sync::mpsc;
use std::time::Instant;

use oxidag_core::spec::Span;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::*;

/// How long a test waits for what must happen before it fails.
const LONG: Duration = Duration::from_secs(60);

/// Nothing is waited for but what is tested.
const QUICK: Pace = Pace { pause: Duration::from_millis(1), webhook: LONG, command: LONG };

const FAILURE: &[NotifyOn] = &[NotifyOn::Failure];

fn notify(on: &[NotifyOn], target: NotifyTarget) -> Notify {
    Notify { on: on.to_vec(), target, span: Span::default() }
}

fn webhook(url: &str) -> Notify {
    notify(FAILURE, NotifyTarget::Webhook(url.to_owned()))
}

fn script(text: &str) -> Notify {
    notify(FAILURE, NotifyTarget::Command(["/bin/sh", "-c", text].map(str::to_owned).into()))
}

fn told() -> Value {
    json!({"event": "run_failure", "dag_id": "flights", "run_id": "run 1", "state": "failed"})
}

/// Tells these targets of a failure and gives what did not get through.
fn fire_in(folder: &Path, pace: Pace, targets: &[Notify]) -> Vec<String> {
    let notices = Notices::with_pace(targets, folder.to_owned(), pace);
    notices.fire(NotifyOn::Failure, told());
    notices.finish(LONG)
}

fn fire(targets: &[Notify]) -> Vec<String> {
    fire_in(&std::env::temp_dir(), QUICK, targets)
}

/// Waits until a condition holds that nobody announces.
fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a server was sent: the lines of its head, and its body.
#[derive(Debug)]
struct Request {
    head: Vec<String>,
    body: String,
}

impl Request {
    fn read(from: impl Read) -> Self {
        let mut from = BufReader::new(from);
        let lines = from.by_ref().lines().map(Result::unwrap);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let length =
            head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap()];
        from.read_exact(&mut body).unwrap();
        Self { head, body: String::from_utf8(body).unwrap() }
    }

    fn has(&self, line: &str) -> bool {
        self.head.iter().any(|found| found.eq_ignore_ascii_case(line))
    }
}

/// An HTTP server that gives these answers, the last one again and again.
struct Server {
    address: SocketAddr,
    requests: mpsc::Receiver<Request>,
}

impl Server {
    fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let (seen, requests) = mpsc::channel();
        thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                seen.send(Request::read(&stream)).unwrap();
                let answer = &answers[i.min(answers.len() - 1)];
                write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}/hook?token=hunter2", self.address)
    }

    /// How many requests came.
    fn count(&self) -> usize {
        self.requests.try_iter().count()
    }

    /// The only failure of a webhook there.
    fn failure(&self) -> String {
        let failures = fire(&[webhook(&self.url())]);
        let [failure] = &failures[..] else { panic!("{failures:?}") };
        failure.replace(&self.address.port().to_string(), "PORT")
    }
}

#[test]
fn a_webhook_is_posted_the_json() {
    let server = Server::start(&["204 No Content"]);
    let url = format!("http://me:hunter2@{}/hook?a=b", server.address);
    assert_eq!(fire(&[webhook(&url)]), [""; 0]);
    let request = server.requests.recv().unwrap();
    assert_eq!(request.head[0], "POST /hook?a=b HTTP/1.1");
    assert!(request.has("content-type: application/json"), "{request:?}");
    assert!(request.has("authorization: Basic bWU6aHVudGVyMg=="), "{request:?}");
    assert_eq!(serde_json::from_str::<Value>(&request.body).unwrap(), told());
}

#[test]
fn a_webhook_is_tried_again_while_its_server_has_no_time() {
    let server = Server::start(&["503 Service Unavailable", "429 Too Many Requests", "200 OK"]);
    assert_eq!(fire(&[webhook(&server.url())]), [""; 0]);
    assert_eq!(server.count(), 3);
}

#[test]
fn a_webhook_is_given_up_after_three_tries() {
    let server = Server::start(&["500 Internal Server Error"]);
    insta::assert_snapshot!(server.failure(), @"notice 1 (webhook at http://127.0.0.1:PORT) of the run's failure did not get through in 3 tries: the server answered 500 Internal Server Error");
    assert_eq!(server.count(), 3);
}

#[test]
fn a_webhook_that_is_refused_is_not_tried_again() {
    let server = Server::start(&["404 Not Found"]);
    insta::assert_snapshot!(server.failure(), @"notice 1 (webhook at http://127.0.0.1:PORT) of the run's failure did not get through: the server answered 404 Not Found");
    assert_eq!(server.count(), 1);
}

#[test]
fn a_webhook_is_not_followed_to_another_place() {
    let other = Server::start(&["200 OK"]);
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"] {
        let server = Server::start(&[&format!("{status}\r\nLocation: {}", other.url())]);
        let expected = format!(
            "the server answered {status}, and redirects are not followed: name the address that it leads to"
        );
        let failure = server.failure();
        assert!(failure.ends_with(&expected), "{failure}");
        assert_eq!((server.count(), other.count()), (1, 0));
    }
}

#[test]
fn a_server_that_is_not_there_is_said_without_the_urls_secrets() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://me:hunter2@127.0.0.1:{port}/hunter2?hunter2#hunter2");
    let failures = fire(&[webhook(&url)]).join("\n").replace(&port.to_string(), "PORT");
    insta::assert_snapshot!(failures, @"notice 1 (webhook at http://127.0.0.1:PORT) of the run's failure did not get through in 3 tries: Connection refused (os error 111)");
}

#[test]
fn a_url_that_cannot_be_called_is_not_told() {
    for url in ["http://me:hunter2@", "https://me:hunter2@[::1/", "http://a b/hunter2", "http://h:hunter2/"] {
        let failures = fire(&[webhook(url)]);
        let [failure] = &failures[..] else { panic!("{failures:?}") };
        assert!(!failure.contains("hunter2"), "{failure}");
    }
}

/// A server that takes connections and never answers; counts them.
fn mute() -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, connections) = mpsc::channel();
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            open.push(stream.unwrap());
            seen.send(()).unwrap();
        }
    });
    (address, connections)
}

#[test]
fn a_server_that_never_answers_is_tried_three_times() {
    let (address, connections) = mute();
    let pace = Pace { webhook: Duration::from_secs(1), ..QUICK };
    let failures = fire_in(Path::new("/"), pace, &[webhook(&format!("http://{address}"))]).join("\n");
    let failures = failures.replace(&address.to_string(), "ADDRESS");
    insta::assert_snapshot!(failures, @"notice 1 (webhook at http://ADDRESS) of the run's failure did not get through in 3 tries: no answer within 1s");
    for _ in 0..3 {
        connections.recv_timeout(LONG).unwrap();
    }
    assert!(connections.try_recv().is_err(), "it was tried more often");
}

#[test]
fn what_is_under_way_is_given_up_when_the_time_has_come() {
    let (address, connections) = mute();
    let notices = Notices::with_pace(&[webhook(&format!("http://{address}"))], "/".into(), QUICK);
    // It would hold its caller for a minute if it waited.
    notices.fire(NotifyOn::Failure, told());
    connections.recv().unwrap();
    let failures =
        notices.finish(Duration::from_millis(10)).join("\n").replace(&address.to_string(), "ADDRESS");
    insta::assert_snapshot!(failures, @"notice 1 (webhook at http://ADDRESS) of the run's failure had not got through after 10ms and was given up");
    notices.fire(NotifyOn::Failure, told());
    assert_eq!(notices.shared.lock().under_way.len(), 1, "nobody is told any longer");
    assert_eq!(notices.finish(LONG), [""; 0], "it was said already");
}

#[test]
fn a_command_reads_the_json_in_the_dags_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    let text =
        "cat > json; echo $OXIDAG_DAG_ID, $OXIDAG_RUN_ID, $OXIDAG_RUN_STATE, $PWD > variables; echo noise";
    assert_eq!(fire_in(&folder, QUICK, &[script(text)]), [""; 0]);
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read("json")).unwrap(), told());
    assert_eq!(read("variables"), format!("flights, run 1, failed, {}\n", folder.display()));
}

#[test]
fn a_command_may_be_a_path_from_the_dags_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/true", dir.path().join("tell")).unwrap();
    let command = notify(FAILURE, NotifyTarget::Command(vec!["./tell".to_owned()]));
    assert_eq!(fire_in(dir.path(), QUICK, &[command]), [""; 0]);
}

#[test]
fn a_command_that_fails_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let text = "echo >> tries; test $(wc -l < tries) -eq 3";
    assert_eq!(fire_in(dir.path(), QUICK, &[script(text)]), [""; 0]);
    assert_eq!(fs::read_to_string(dir.path().join("tries")).unwrap().len(), 3);
}

#[test]
fn a_command_is_given_up_after_three_tries() {
    let dir = tempfile::tempdir().unwrap();
    let text = "echo >> tries; echo first >&2; printf ' no \\033[1msuch user \\n\\n' >&2; exit 67 # hunter2";
    let failures = fire_in(dir.path(), QUICK, &[script(text)]).join("\n");
    insta::assert_snapshot!(failures, @"notice 1 (command `sh`) of the run's failure did not get through in 3 tries: exit status 67: no such user");
    assert_eq!(fs::read_to_string(dir.path().join("tries")).unwrap().len(), 3);
    insta::assert_snapshot!(fire(&[script("kill -USR1 $$")]).join("\n"), @"notice 1 (command `sh`) of the run's failure did not get through in 3 tries: killed by signal 10");
}

#[test]
fn a_command_that_is_not_there_is_said() {
    let command =
        notify(FAILURE, NotifyTarget::Command(vec!["no-such-program".to_owned(), "hunter2".to_owned()]));
    let failures = fire_in(Path::new("/"), QUICK, &[command]).join("\n");
    insta::assert_snapshot!(failures, @"notice 1 (command `no-such-program`) of the run's failure did not get through: it cannot be started in /: No such file or directory (os error 2)");
}

#[test]
fn a_command_that_does_not_read_is_told_all_the_same() {
    let notices = Notices::with_pace(&[script("exit 0")], "/".into(), QUICK);
    // More than fits into a pipe.
    notices.fire(NotifyOn::Failure, json!({"error": "x".repeat(1 << 20)}));
    assert_eq!(notices.finish(LONG), [""; 0]);
}

/// Whether a process whose id stands in this file has ended; not before it stands there.
fn has_ended(file: &Path) -> bool {
    let id = fs::read_to_string(file).unwrap_or_default();
    let stat = || fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    id.ends_with('\n') && stat().rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['Z', 'X']))
}

#[test]
fn a_command_that_does_not_end_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pace = Pace { command: Duration::from_secs(5), ..QUICK };
    let failures = fire_in(dir.path(), pace, &[script("sleep 1000 & echo $! > child; wait")]).join("\n");
    insta::assert_snapshot!(failures, @"notice 1 (command `sh`) of the run's failure did not get through: it did not end within 5s and was killed");
    until("the child has ended", || has_ended(&dir.path().join("child")));
}

#[test]
fn a_command_that_is_given_up_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("id");
    let notices = Notices::with_pace(&[script("echo $$ > id; exec sleep 1000")], dir.path().into(), QUICK);
    notices.fire(NotifyOn::Failure, told());
    until("it runs", || fs::read_to_string(&file).is_ok_and(|id| id.ends_with('\n')));
    let failures = notices.finish(Duration::from_millis(10)).join("\n");
    insta::assert_snapshot!(failures, @"notice 1 (command `sh`) of the run's failure had not got through after 10ms and was given up");
    until("it has ended", || has_ended(&file));
}

#[test]
fn each_target_is_told_what_it_wants_to_know_in_the_order_of_events() {
    use NotifyOn::{Deadline, Failure, Success};
    let dir = tempfile::tempdir().unwrap();
    let append = |on: &[NotifyOn], file: &str| {
        let text = format!("cat >> {file}; echo >> {file}");
        notify(on, NotifyTarget::Command(["/bin/sh", "-c", &text].map(str::to_owned).into()))
    };
    let targets =
        [append(&[Success], "success"), append(&[Deadline, Failure], "late"), append(&[Failure], "failure")];
    let notices = Notices::with_pace(&targets, dir.path().into(), QUICK);
    assert!(notices.wants(Deadline));
    assert!(!Notices::with_pace(&targets[2..], dir.path().into(), QUICK).wants(Deadline));
    notices.fire(Deadline, json!(1));
    notices.fire(Failure, json!(2));
    assert_eq!(notices.finish(LONG), [""; 0]);
    let read = |name| fs::read_to_string(dir.path().join(name)).ok();
    assert_eq!(read("success"), None);
    assert_eq!(read("late").unwrap(), "1\n2\n");
    assert_eq!(read("failure").unwrap(), "2\n");
}

#[test]
fn a_target_that_fails_does_not_keep_another_one_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (address, _connections) = mute();
    let targets = [webhook(&format!("http://{address}")), script("echo > done")];
    let notices = Notices::with_pace(&targets, dir.path().into(), QUICK);
    notices.fire(NotifyOn::Failure, told());
    until("one was told", || notices.shared.lock().under_way.len() == 1);
    assert!(dir.path().join("done").exists());
    assert!(notices.finish(Duration::ZERO)[0].starts_with("notice 1 (webhook"));
}

/// Runs itself anew, since a process cannot safely change its own environment.
#[test]
fn a_private_authority_is_trusted_where_ssl_cert_file_names_it() {
    const TEST: &str = "notice::tests::a_private_authority_is_trusted_where_ssl_cert_file_names_it";
    const FOLDER: &str = "OXIDAG_TEST_CERTIFICATES";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return post_encrypted(Path::new(&folder));
    }
    let dir = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(dir.path().join("cert.pem"), own.cert.pem()).unwrap();
    fs::write(dir.path().join("key.pem"), own.signing_key.serialize_pem()).unwrap();
    let run = |certificates: &Path| {
        let mut test = process::Command::new(std::env::current_exe().unwrap());
        test.args([TEST, "--exact", "--nocapture"])
            .env(FOLDER, dir.path())
            .env("SSL_CERT_FILE", certificates);
        let output = test.env_remove("SSL_CERT_DIR").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (trusted, said) = run(&dir.path().join("cert.pem"));
    assert!(trusted && said.contains("1 passed"), "{said}");
    let (trusted, said) = run(Path::new("/dev/null"));
    assert!(!trusted && said.contains("1 failed"), "{said}");
}

fn post_encrypted(folder: &Path) {
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let connection = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, listener.accept().unwrap().0);
        let request = Request::read(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        request
    });
    assert_eq!(fire(&[webhook(&format!("https://localhost:{port}/hook"))]), [""; 0]);
    assert_eq!(serde_json::from_str::<Value>(&server.join().unwrap().body).unwrap(), told());
}
