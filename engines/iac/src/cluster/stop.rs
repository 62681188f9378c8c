//! An attempt that is asked to stop: ends what it has begun, and says what it could not end.

use std::time::Duration;

use google_cloud_dataproc_v1::model::cluster_status::State;
use oxidag_google::from_gax;
use oxidag_plugin_api::{Error, Outcome, Result};
use tokio::time::{Instant, timeout_at};

use super::decide::{Goal, Seen, Step, name, next};
use super::place::{Flight, Verb};
use super::work::Work;

/// The host waits for 30 s.
const PATIENCE: Duration = Duration::from_secs(22);

/// So much of it for the answer to a request that is on its way, and for the end of an operation.
const PART: Duration = Duration::from_secs(8);

/// How often the service is asked meanwhile.
const LOOK: Duration = Duration::from_millis(500);

impl Work {
    /// Ends the attempt. One that had reached its goal has reached it.
    ///
    /// # Errors
    ///
    /// What was ended, and what was not.
    pub(crate) async fn stop(&mut self) -> Result<Outcome> {
        let until = Instant::now() + PATIENCE;
        self.quicken();
        match timeout_at(until, self.wind_up(until)).await {
            Ok(Ok(Wound::Reached(seen))) => Ok(self.outcome(seen.as_deref())),
            Ok(Ok(Wound::Ended(what))) => Err(Error::cancelled(format!("cancelled: {what}"))),
            Ok(Ok(Wound::GoesOn(what))) => Err(self.goes_on(&what)),
            Ok(Err(error)) => Err(self.goes_on(&error.message)),
            Err(_) => {
                let trouble = self.patience.trouble().unwrap_or("Dataproc did not answer in time");
                Err(self.goes_on(trouble))
            }
        }
    }

    /// Ends what an attempt has begun that cannot go on, as far as possible: the next one has other ids.
    pub(crate) async fn give_up(&mut self, error: Error) -> Error {
        if self.memory.flight.is_none() && self.request.is_none() {
            return error;
        }
        match self.stop().await {
            Ok(_) => error,
            Err(ended) => Error { message: format!("{}; {}", error.message, ended.message), ..error },
        }
    }

    fn goes_on(&self, what: &str) -> Error {
        let place = &self.memory.place;
        let text = format!(
            "cancelled, but not all could be ended: {what}; {place} may still run and be billed: see to it at {}",
            place.link()
        );
        self.host.warn(&text);
        Error::cancelled(text)
    }

    async fn wind_up(&mut self, until: Instant) -> Result<Wound> {
        if self.request.is_some() && timeout_at(part(until), self.sent()).await.is_err() {
            return Ok(Wound::GoesOn("a request is still without an answer".to_owned()));
        }
        let flight = self.memory.flight.clone();
        let uncancelled = self.cancel_flight(until).await?;
        let seen = self.look().await?;
        if next(&self.goal, seen.as_ref(), &self.memory) == Step::Done {
            return Ok(Wound::Reached(seen.map(Box::new)));
        }
        let place = self.memory.place.clone();
        let state = seen.as_ref().map_or_else(|| "not there".to_owned(), |seen| name(&seen.state()));
        match (seen, uncancelled) {
            (Some(seen), _) if self.goal == Goal::Create && seen.mine => self.unmake(&seen).await,
            (_, Some(why)) => Ok(Wound::GoesOn(why)),
            (Some(_), None) if let Some(Flight { verb, id }) = flight => Ok(Wound::Ended(format!(
                "operation {id} ({}) has ended, {place} is {state}: {}",
                verb.name(),
                place.link()
            ))),
            (_, None) => Ok(Wound::Ended(format!("{place} is {state}"))),
        }
    }

    /// Asks for the operation that is under way to be cancelled, and waits a while for its end; why it goes on,
    /// where it does.
    async fn cancel_flight(&mut self, until: Instant) -> Result<Option<String>> {
        let Some(flight) = self.memory.flight.clone() else { return Ok(None) };
        let what = format!("operation {} ({})", flight.id, flight.verb.name());
        // Where it cannot be looked at it is cancelled all the same.
        if matches!(timeout_at(part(until), self.has_landed()).await, Ok(Ok(true))) {
            return Ok(None);
        }
        if let Err(error) = self.calls.clone().cancel(flight.id).await {
            return Ok(Some(from_gax(&format!("{what} goes on, it cannot be cancelled"), &error).message));
        }
        let until = part(until);
        while Instant::now() < until {
            if matches!(timeout_at(until, self.has_landed()).await, Ok(Ok(true))) {
                self.host.info(&format!("{what} was cancelled"));
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Some(format!("{what} was asked to end and has not yet")))
    }

    /// Whether the operation under way has ended; then that is taken note of.
    async fn has_landed(&mut self) -> Result<bool> {
        let Some(flight) = self.memory.flight.clone() else { return Ok(true) };
        match self.operation(&flight.id).await? {
            Some(operation) if !operation.done => Ok(false),
            Some(operation) => self.landed(flight.verb, &operation).map(|()| true),
            None => {
                self.memory.flight = None;
                Ok(true)
            }
        }
    }

    /// Deletes the cluster that this attempt was making.
    async fn unmake(&mut self, seen: &Seen) -> Result<Wound> {
        let place = self.memory.place.clone();
        if seen.state() != State::Deleting {
            self.memory.flight = None;
            self.send(Verb::Delete, seen.cluster.cluster_uuid.clone());
            self.sent().await?;
        }
        loop {
            let now = self.look().await?;
            let made = now.filter(|now| now.cluster.cluster_uuid == seen.cluster.cluster_uuid);
            match made.map(|now| now.state()) {
                None => return Ok(Wound::Ended(format!("{place}, which was being made, was deleted"))),
                Some(State::Deleting) => {
                    return Ok(Wound::Ended(format!("{place}, which was being made, is being deleted")));
                }
                Some(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

fn part(until: Instant) -> Instant {
    until.min(Instant::now() + PART)
}

/// What came of it.
enum Wound {
    /// The goal was reached before.
    Reached(Option<Box<Seen>>),
    Ended(String),
    GoesOn(String),
}
