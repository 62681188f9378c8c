//! Live progress on a terminal: how far the run is, and a line for each task that runs.
//!
//! Events only change what is known; a thread of its own draws that, ten times a second at most, so a run of many
//! short tasks is not slowed down by its own picture, and times go on while nothing happens.

use std::io::{self, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oxidag_core::event::{Event, Timestamp};
use oxidag_core::runner::Reporter;
use oxidag_core::state::TaskState;

use super::eta::Forecast;
use super::human::{begins, detail};
use super::record::{Attempt, News, Record};
use super::screen::{self, Screen};
use super::{Watched, summary};
use crate::format::{between, duration, one_line, shorten};
use crate::output;
use crate::signals::Notify;
use crate::style::Palette;

/// How often the screen is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Lines of the screen that are left to what was there before.
const MARGIN: usize = 3;

/// Draws a run on standard error, and says on standard output how it went.
pub(super) struct Live {
    /// The thread that draws knows it as well.
    run: Arc<Mutex<Watched>>,
    record: Arc<Mutex<Record>>,
    bar: ProgressBar,
    palette: Palette,
    ticker: Option<Ticker>,
}

/// The thread that draws; it ends when the channel is closed.
struct Ticker {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Live {
    /// Nothing is drawn before the run begins.
    pub(super) fn start(run: Watched, forecast: Option<Forecast>) -> Self {
        let term = console::Term::stderr();
        let size = move || screen::narrowed(term.size());
        let target = ProgressDrawTarget::term_like(Box::new(Screen::stderr()));
        Self::on(target, run, forecast, Palette::stderr(), size)
    }

    fn on(
        target: ProgressDrawTarget,
        run: Watched,
        forecast: Option<Forecast>,
        palette: Palette,
        size: impl Fn() -> (u16, u16) + Send + 'static,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let record = Arc::new(Mutex::new(Record::new(&run.begun)));
        let run = Arc::new(Mutex::new(run));
        let mut frame = Frame { run: Arc::clone(&run), forecast, palette };
        let ticker = Ticker::start({
            let (bar, record) = (bar.clone(), Arc::clone(&record));
            move || bar.set_message(frame.draw(&lock(&record), now(), size()))
        });
        Self { run, record, bar, palette, ticker: ticker.ok() }
    }

    /// Prints above what is drawn.
    pub(super) fn notify(&self) -> Notify {
        let bar = self.bar.clone();
        Box::new(move |text| match bar.is_finished() {
            false => bar.println(text),
            true => output::remark(text),
        })
    }

    fn ended(&mut self, state: TaskState, line: &str) {
        if matches!(state, TaskState::Failed | TaskState::UpForRetry) {
            self.bar.println(format!("{} {line}", self.palette.task(state, state)));
        }
    }

    /// Takes the picture away.
    fn clear(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            ticker.finish();
        }
        self.bar.finish_and_clear();
    }
}

impl Reporter for Live {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let news = lock(&self.record).note(event);
        match news {
            None | Some(News::Started { .. }) => Ok(()),
            Some(News::Grown(growth)) => {
                lock(&self.run).grow(&growth);
                Ok(())
            }
            Some(News::Began) => {
                let mut out = io::stdout().lock();
                writeln!(out, "{}", begins(&lock(&self.run), Palette::stdout()))?;
                out.flush()
            }
            Some(News::Ended { task, attempt, state, took, why }) => {
                let detail = detail(attempt, state, took, why.as_deref());
                let line = format!("{}{detail}", lock(&self.run).name(task));
                self.ended(state, &line);
                Ok(())
            }
            Some(News::RunEnded { state, error }) => {
                self.clear();
                let (run, record, mut out) = (lock(&self.run), lock(&self.record), io::stdout().lock());
                summary::write(&mut out, &run, &record, (state, error), event.ts, Palette::stdout())?;
                out.flush()
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Ticker {
    fn start(mut draw: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                draw();
            }
        };
        let thread = thread::Builder::new().name("oxidag-screen".to_owned()).spawn(tick)?;
        Ok(Self { stop, thread })
    }

    fn finish(self) {
        drop(self.stop);
        // A panic of the thread has been printed by it; the picture is gone anyway.
        let _ = self.thread.join();
    }
}

fn lock<T>(known: &Mutex<T>) -> MutexGuard<'_, T> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().after(since)
}

/// What is drawn, as text; it reads no clock.
struct Frame {
    run: Arc<Mutex<Watched>>,
    forecast: Option<Forecast>,
    palette: Palette,
}

impl Frame {
    fn draw(&mut self, record: &Record, now: Timestamp, (rows, columns): (u16, u16)) -> String {
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let room = rows.saturating_sub(MARGIN + 1).max(1);
        let mut lines = vec![shorten(&self.head(record, now, columns), columns)];
        let run = lock(&self.run);
        let mut tasks: Vec<(&str, &Attempt)> =
            record.in_flight.iter().map(|(&task, live)| (run.name(task), live)).collect();
        tasks.sort_by_key(|(_, live)| live.since);
        let shown = if tasks.len() > room { room - 1 } else { tasks.len() };
        let name =
            tasks[..shown].iter().map(|(name, _)| name.len()).max().unwrap_or_default().min(columns / 2);
        for (task, live) in &tasks[..shown] {
            lines.push(shorten(&self.task(task, live, now, name), columns));
        }
        if tasks.len() > shown {
            lines.push(shorten(&format!("  … and {} more", tasks.len() - shown), columns));
        }
        lines.join("\n")
    }

    /// `[████----] 5/11  12.3s, ~30s left  2 running, 1 failed`.
    fn head(&mut self, record: &Record, now: Timestamp, columns: usize) -> String {
        let (ended, all) = (record.ended(), record.states.len());
        let mut head = String::new();
        if columns >= 60 {
            let width = (columns / 4).min(30);
            let filled = (width * ended).checked_div(all).unwrap_or(width);
            let done = self.palette.task(TaskState::Success, "█".repeat(filled));
            head = format!("{done}{} ", self.palette.faint("░".repeat(width - filled)));
        }
        head += &format!("{ended}/{all}  {}", duration(between(record.started_at, now)));
        if let Some(forecast) = &mut self.forecast {
            let left = forecast.remaining(record, now);
            head += &format!(", {} left", self.palette.strong(format_args!("~{}", guess(left))));
        }
        // What has ended well and what cannot start yet are most of a run, and say least.
        let quiet = [TaskState::None, TaskState::Scheduled, TaskState::Success];
        let told = TaskState::ALL.into_iter().filter(|s| !quiet.contains(s)).chain([TaskState::Success]);
        let counts: Vec<String> = told
            .filter(|&state| record.count(state) > 0)
            .map(|state| {
                self.palette.task(state, format_args!("{} {state}", record.count(state))).to_string()
            })
            .collect();
        format!("{head}  {}", counts.join(", "))
    }

    fn task(&self, task: &str, live: &Attempt, now: Timestamp, width: usize) -> String {
        let name = shorten(task, width);
        let took = duration(between(live.since, now));
        let mut line = format!("  {name:<width$}  {:>6}", self.palette.faint(took));
        if live.number > 1 {
            line += &format!("  attempt {}", live.number);
        }
        if live.is_deferred {
            line += &format!("  {}", self.palette.task(TaskState::Deferred, "waiting"));
        }
        if let Some(progress) = &live.progress {
            line += &format!("  {}", one_line(progress));
        }
        line
    }
}

/// A guess is not told in fractions of a second.
fn guess(left: Duration) -> String {
    let seconds = left.as_secs_f64().ceil().max(1.0);
    if seconds < 60.0 { format!("{seconds:.0}s") } else { duration(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::eta::tests::forecast;
    use crate::report::record::tests::{at, events, run, task, watched};
    use indicatif::InMemoryTerm;
    use oxidag_core::state::RunState;

    fn record(events: &[Event]) -> Record {
        let mut record = Record::new(&[TaskState::None; 4]);
        events.iter().for_each(|event| drop(record.note(event)));
        record
    }

    fn frame(forecast: Option<Forecast>) -> Frame {
        Frame { run: Arc::new(Mutex::new(watched())), forecast, palette: Palette::PLAIN }
    }

    #[test]
    fn running_tasks_are_shown_with_their_time_and_progress() {
        let record = record(&events()[..14]);
        let drawn = frame(Some(forecast([1.5, 4.0, 1.0, 2.0], 2))).draw(&record, at(3200), (24, 80));
        insta::assert_snapshot!(drawn, @"
        █████░░░░░░░░░░░░░░░ 1/4  3.2s, ~5s left  1 running, 1 deferred, 1 success
          clean    1.7s  waiting  50% half
          count   200ms  attempt 2
        ");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let record = record(&events()[..14]);
        let drawn = frame(Some(forecast([1.5, 4.0, 1.0, 2.0], 2))).draw(&record, at(3200), (24, 40));
        assert!(drawn.lines().all(|line| console::measure_text_width(line) <= 40), "{drawn}");
        insta::assert_snapshot!(drawn, @"
        1/4  3.2s, ~5s left  1 running, 1 defer…
          clean    1.7s  waiting  50% half
          count   200ms  attempt 2
        ");
    }

    #[test]
    fn no_more_lines_are_drawn_than_the_terminal_has() {
        let mut all = vec![run(0, RunState::Running)];
        all.extend((0..4).map(|n| task(i64::from(n), n, 1, TaskState::Running)));
        let drawn = frame(None).draw(&record(&all), at(9), (6, 80));
        insta::assert_snapshot!(drawn, @"
        ░░░░░░░░░░░░░░░░░░░░ 0/4  9ms  4 running
          load     9ms
          … and 3 more
        ");
        assert_eq!(frame(None).draw(&record(&all), at(9), (1, 80)).lines().count(), 2);
    }

    #[test]
    fn a_failure_stays_above_the_picture() {
        let term = InMemoryTerm::new(10, 80);
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let size = (10, 80);
        let mut live = Live::on(target, watched(), None, Palette::PLAIN, move || size);
        events()[1..15].iter().for_each(|event| live.event(event).unwrap());
        live.notify()("cancelling");
        live.clear();
        insta::assert_snapshot!(term.contents(), @r#"
        up_for_retry count (500ms): attempt 1 failed, another follows: exit status 1
        failed count (250ms): no such table; near "x"
        cancelling
        "#);
    }
}
