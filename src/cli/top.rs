//! `braze-relay top`: what is going on, in a terminal.
//!
//! Invariants: the terminal is as it was before, however this ends: by a key, a signal, an error or a panic. What is drawn
//! is a function of what was told ([`draw`]); what keys do is a function, too ([`view`]).

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal;
use ratatui::text::Text;
use tokio::signal::unix::{SignalKind, signal};

use self::draw::{ENDLESS, picture};
use self::feed::News;
use self::view::{Act, Change, Key, Target, View};
use super::remote::{Caller, Failed, Remote, write};
use crate::clock::Stopwatch;
use crate::config::Env;
use crate::ops::wire::{LanesChanged, WhichLanes};

mod canvas;
mod draw;
mod feed;
mod lanes;
mod view;
mod write;

#[cfg(test)]
mod tests;

/// How long keys are waited for before the news is looked at again.
const KEYS_WITHIN: Duration = Duration::from_millis(100);

/// How long a relay may take to tell how things are, for who wants to know once.
const ONCE_WITHIN: Duration = Duration::from_secs(20);

/// How wide a picture is that goes to no terminal.
const WIDTH: usize = 100;

/// Watch what is going on: events, lanes, holds, dead letters, as it happens
///
/// Keys: q quits, j and k (or down and up) select a row, h holds and r releases what is selected (each asks once, and needs
/// an operator's token), p pauses the display, ? explains. Colours are left out when NO_COLOR is set. When the relay goes
/// away this waits for it, and says so.
///
/// Exit codes: 0 ok, 1 no (the token may not), 2 usage (no terminal), 3 the relay cannot be reached (--once, --json).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Draw one picture as plain text, and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command with the environment of this process; returns the exit code.
pub fn run(args: &Args) -> u8 {
    answer(args, &Env::from_process()).unwrap_or_else(|failed| failed.tell(&args.remote))
}

fn answer(args: &Args, env: &Env) -> Result<u8, Failed> {
    let caller = args.remote.caller(env)?;
    let out = &mut std::io::stdout();
    if args.remote.json || args.once {
        let view = told_once(caller)?;
        match view.live {
            Some(live) if args.remote.json => write(out, &live)?,
            _ => out.write_all(as_text(&view, columns()).as_bytes())?,
        }
        return Ok(0);
    }
    if !out.is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failed::Usage(
            "this is no terminal: --once draws one picture, --json tells one document".into(),
        ));
    }
    let colour = env.get("NO_COLOR").is_none_or(str::is_empty);
    watch(caller, args.remote.caller(env)?, View::new(colour))?;
    Ok(0)
}

/// How wide the terminal is, if there is one.
fn columns() -> usize {
    let size = std::io::stdout().is_terminal().then(terminal::size);
    size.and_then(Result::ok)
        .map_or(WIDTH, |(columns, _)| usize::from(columns))
}

/// Everything there is to see, with room for all of it.
fn as_text(view: &View, columns: usize) -> String {
    let lines = picture(view, columns, ENDLESS);
    let lines = lines
        .iter()
        .map(|line| format!("{line}").trim_end().to_owned() + "\n");
    lines.collect()
}

/// Listens until the relay has told a moment that is of now.
fn told_once(caller: Caller) -> Result<View, Failed> {
    let (to, news) = channel();
    std::thread::spawn(move || feed::listen(&caller, &to));
    let watch = Stopwatch::start();
    let mut view = View::new(false);
    let mut moments = 0;
    // The first one may be as old as ten seconds: nobody watched.
    while moments < 2 {
        let left = ONCE_WITHIN.saturating_sub(watch.elapsed());
        match news.recv_timeout(left) {
            Ok(News::History(history)) => view.history(*history),
            Ok(News::Now(live)) => {
                view.now(*live);
                moments += 1;
            }
            Ok(News::Refused(failed) | News::Failed(failed)) => return Err(failed),
            Ok(News::Changed(_) | News::Stop) => {}
            Err(_) => {
                return Err(Failed::BrokenOff("nothing was heard of it in time".into()));
            }
        }
    }
    Ok(view)
}

/// Shows what is told until somebody has seen enough.
fn watch(caller: Caller, asker: Caller, mut view: View) -> Result<(), Failed> {
    let (to, news) = channel();
    let (feed, signals) = (to.clone(), to.clone());
    std::thread::spawn(move || feed::listen(&caller, &feed));
    std::thread::spawn(move || stop_by_signal(&signals));
    let (ask, changes) = channel();
    std::thread::spawn(move || carry_out(&asker, &changes, &to));
    // A panic restores the terminal, too.
    let mut screen = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
    let ended = show(&mut screen, &mut view, &news, &ask);
    ratatui::restore();
    ended
}

fn show(
    screen: &mut ratatui::DefaultTerminal,
    view: &mut View,
    news: &Receiver<News>,
    ask: &Sender<Change>,
) -> Result<(), Failed> {
    let mut heard = Stopwatch::start();
    loop {
        view.silent_seconds = heard.elapsed().as_secs_f64();
        screen.draw(|frame| {
            let area = frame.area();
            let (columns, rows) = (usize::from(area.width), usize::from(area.height));
            frame.render_widget(Text::from(picture(view, columns, rows)), area);
        })?;
        if event::poll(KEYS_WITHIN)?
            && let Event::Key(pressed) = event::read()?
        {
            let Some(key) = key(pressed) else { continue };
            view.said = None;
            match view.key(key) {
                Act::Nothing => {}
                Act::Quit => return Ok(()),
                // Whoever carries changes out lives as long as this does.
                Act::Change(change) => drop(ask.send(change)),
            }
        }
        loop {
            match news.recv_timeout(Duration::ZERO) {
                Ok(News::History(history)) => view.history(*history),
                Ok(News::Now(live)) => {
                    heard = Stopwatch::start();
                    view.now(*live);
                }
                Ok(News::Failed(failed)) => view.lost(failed.to_string()),
                Ok(News::Refused(failed)) => return Err(failed),
                Ok(News::Changed(said)) => view.said = Some(said),
                Ok(News::Stop) => return Ok(()),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }
}

/// What a key means here; Ctrl-C ends it, as everywhere.
fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let with = pressed.modifiers;
    match pressed.code {
        KeyCode::Char('c') if with.contains(KeyModifiers::CONTROL) => Some(Key::Letter('q')),
        KeyCode::Char(_) if with.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => None,
        KeyCode::Char(letter) => Some(Key::Letter(letter)),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        _ => None,
    }
}

/// Says when the process is to end.
fn stop_by_signal(to: &Sender<News>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ];
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = kinds.map(signal) else {
            return;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        let _ = to.send(News::Stop);
    });
}

/// Asks the relay for each change in turn, and tells what came of it.
fn carry_out(caller: &Caller, changes: &Receiver<Change>, to: &Sender<News>) {
    while let Ok(Change { hold, target }) = changes.recv() {
        let path = if hold { "hold" } else { "release" };
        let name = target.named();
        let which = match target {
            Target::Lane(lane) => WhichLanes {
                lane: Some(lane),
                ..WhichLanes::default()
            },
            Target::Activation(activation) => WhichLanes {
                activation: Some(activation),
                ..WhichLanes::default()
            },
        };
        let asked = caller.post::<LanesChanged>(&format!("api/v1/lanes/{path}"), &which);
        let said = match asked {
            Ok(_) if hold => format!("{name} is held"),
            Ok(_) => format!("{name} is released"),
            Err(failed) => format!("{name}: {failed}"),
        };
        if to.send(News::Changed(said)).is_err() {
            return;
        }
    }
}
