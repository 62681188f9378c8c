//! A connection for as long as something is done with it: made, listened to, stopped and closed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use oxidag_database::Server;
use oxidag_plugin_api::{Level, Result};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::errors;
use crate::job::Job;
use crate::reporter::{Reporter, cancelled};

/// How often the server is asked to stop the statement, and how long between two times. One time is not
/// enough: the request may come before the statement does.
const STOP_TRIES: u32 = 20;
const STOP_PAUSE: Duration = Duration::from_millis(250);
/// How long saying goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects, does `work` and closes the connection. The server's notices go to the task's log meanwhile, and
/// a stop of the task to the server; if that does not answer, the work is given up.
pub(super) async fn with_client<T, F: Future<Output = Result<T>>>(
    server: &Server,
    job: &Job<'_>,
    work: impl FnOnce(Client) -> F,
) -> Result<T> {
    let stop = Arc::new(Notify::new());
    let notify = Arc::clone(&stop);
    job.cancel.watch(&*job.reporter, move || notify.notify_one());
    let tls = server.connector()?;
    let (client, connection) = tokio::select! {
        biased;
        () = stop.notified() => return Err(cancelled()),
        connected = timeout(server.patience(), server.config.connect(tls.clone())) => match connected {
            Ok(connected) => connected.map_err(|error| errors::connecting(&error, server))?,
            Err(_) => return Err(errors::silent(server)),
        }
    };
    let mut giving_up = pin!(stop_server(&stop, client.cancel_token(), tls));
    let mut listening = pin!(listen(connection, &*job.reporter));
    let mut work = pin!(work(client));
    let mut connected = true;
    let result = loop {
        tokio::select! {
            biased;
            // Once the connection is lost, the work sees it by itself.
            () = &mut listening, if connected => connected = false,
            result = &mut work => break result,
            () = &mut giving_up => return Err(cancelled()),
        }
    };
    if connected {
        // The work dropped its client, which makes the connection end.
        let _ = timeout(CLOSE_TIMEOUT, listening).await;
    }
    result
}

/// Drives the connection and logs what the server says unasked.
async fn listen<S>(mut connection: Connection<Socket, S>, reporter: &dyn Reporter)
where
    S: tokio_postgres::tls::TlsStream + Unpin,
{
    while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message {
            let level = if notice.severity() == "WARNING" { Level::Warn } else { Level::Info };
            reporter.log(level, &format!("{}: {}", notice.severity().to_lowercase(), notice.message()));
        }
    }
}

/// Waits for a stop, then asks the server to end what it does until there is no more hope.
async fn stop_server(stop: &Notify, token: CancelToken, tls: MakeRustlsConnect) {
    stop.notified().await;
    for _ in 0..STOP_TRIES {
        // If it fails, another try follows.
        let _ = timeout(CLOSE_TIMEOUT, token.cancel_query(tls.clone())).await;
        sleep(STOP_PAUSE).await;
    }
}
