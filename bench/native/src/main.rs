//! A crowd of bots: hundreds of real WebRTC participants in one process and one thread, driven by JSON lines.
//!
//! Commands come on standard input (`plan.rs` says which), events and each second's figures go to standard output. The
//! thread wakes up each 2 ms: times of arrival are the kernel's, so that sleeping costs no accuracy, and what is sent
//! late because of it is counted (`late`).
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

mod bot;
mod ear;
mod feedback;
mod figures;
mod ice;
mod io;
mod json;
mod lossy;
mod plan;
mod stream;
mod tls;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};
use std::thread;

use bot::{Bot, Shared};
use figures::Figures;
use json::Value;

const TICK: u64 = 2_000;
const SECOND: u64 = 1_000_000;

fn main() {
    if let Err(problem) = run() {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let profiles = std::env::args().nth(1);
    let profiles = profiles
        .as_deref()
        .unwrap_or("SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80");
    let mut crowd = Crowd::new(tls::Context::new(profiles)?, printer())?;
    crowd.introduce();
    let commands = commands();
    loop {
        loop {
            match commands.try_recv() {
                Ok(line) => {
                    if let Err(problem) = crowd.obey(&line) {
                        crowd.complain(&problem);
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    crowd.leave();
                    return Ok(());
                }
            }
        }
        crowd.tick();
    }
}

/// The lines of standard input; the channel ends with it.
fn commands() -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut lines = std::io::stdin().lock().lines();
        while let Some(Ok(line)) = lines.next() {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Where lines for standard output go: a reader that is slow must not hold the bots up.
fn printer() -> Sender<String> {
    let (sender, receiver) = channel::<String>();
    thread::spawn(move || {
        for line in receiver {
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                std::process::exit(0);
            }
        }
    });
    sender
}

struct Crowd {
    context: tls::Context,
    poll: io::Poll,
    inbox: io::Inbox,
    shared: Shared,
    bots: HashMap<u32, Bot>,
    ready: Vec<u64>,
    out: Sender<String>,
    next: u64,
    report: u64,
}

impl Crowd {
    fn new(context: tls::Context, out: Sender<String>) -> Result<Crowd, String> {
        let start = io::wall();
        Ok(Crowd {
            context,
            poll: io::Poll::new().map_err(|e| e.to_string())?,
            inbox: io::Inbox::default(),
            shared: Shared {
                now: 0,
                start,
                outbox: io::Outbox::default(),
                lossy: lossy::Lossy::default(),
                figures: Figures::default(),
                said: Vec::new(),
                report: Vec::with_capacity(2048),
                lost: Vec::new(),
            },
            bots: HashMap::new(),
            ready: Vec::with_capacity(1024),
            out,
            next: start,
            report: start + SECOND,
        })
    }

    fn introduce(&mut self) {
        let hex: Vec<String> = self
            .context
            .fingerprint
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let _ = self.out.send(format!("{{\"fingerprint\":\"{}\"}}", hex.join(":")));
    }

    fn complain(&mut self, problem: &str) {
        let mut line = "{\"error\":".to_string();
        json::quote(&mut line, problem);
        line.push('}');
        let _ = self.out.send(line);
    }

    fn tick(&mut self) {
        io::sleep_until(self.next);
        let wall = io::wall();
        self.next = (self.next + TICK).max(wall);
        self.shared.now = wall - self.shared.start;
        loop {
            self.poll.ready(&mut self.ready);
            for token in &self.ready {
                if let Some(bot) = self.bots.get_mut(&(*token as u32)) {
                    bot.receive(&self.context, &mut self.inbox, &mut self.shared);
                }
            }
            // Level triggered: whoever did not fit is ready again.
            if self.ready.len() < 1024 {
                break;
            }
        }
        self.shared.now = io::wall() - self.shared.start;
        for bot in self.bots.values_mut() {
            bot.act(&mut self.shared);
        }
        for line in self.shared.said.drain(..) {
            let _ = self.out.send(line);
        }
        if wall >= self.report {
            self.report = (self.report + SECOND).max(wall);
            self.figures();
        }
    }

    fn figures(&mut self) {
        let bots = || self.bots.values().map(|bot| &bot.inside);
        let lost: u64 = bots().map(|bot| bot.lost()).sum();
        let overflow: u64 = bots().map(|bot| u64::from(bot.overflow)).sum();
        let connected = bots().filter(|bot| bot.connected()).count();
        let figures = &mut self.shared.figures;
        let mut line = format!(
            "{{\"figures\":{{\"at\":{},\"cpu\":{},\"bots\":{},\"connected\":{connected},\"lost\":{},\"overflow\":{},",
            io::wall(),
            io::cpu(),
            self.bots.len(),
            lost + figures.lost_before,
            overflow + figures.overflow_before,
        );
        figures.write(&mut line);
        line.push_str("}}");
        let _ = self.out.send(line);
    }

    fn obey(&mut self, line: &str) -> Result<(), String> {
        let command = Value::parse(line)?;
        let now = self.shared.now;
        let id = plan::number(&command, "bot").unwrap_or(0.0) as u32;
        let what = command.get("do").text().unwrap_or_default();
        if what == "add" {
            let bot = Bot::new(plan::read(&command, now)?, now)?;
            self.poll.add(&bot.socket, u64::from(id)).map_err(|e| e.to_string())?;
            if let Some(mut former) = self.bots.insert(id, bot) {
                former.close(&mut self.shared);
            }
            return Ok(());
        }
        if what == "ask" {
            self.answer(command.get("bot").number().map(|bot| bot as u32));
            return Ok(());
        }
        if what == "lossy" {
            self.shared.lossy.set(plan::number(&command, "share")?);
            return Ok(());
        }
        let bot = self.bots.get_mut(&id).ok_or("there is no such bot")?;
        match what {
            "stop" => {
                bot.close(&mut self.shared);
                self.bots.remove(&id);
            }
            "send" => plan::send(&command, &mut bot.inside.streams, now)?,
            "restart" => {
                let (local, remote) = plan::credentials(&command)?;
                bot.inside.agent.restart(Some((&local, &remote)), now);
            }
            "rebind" => {
                bot.rebind(command.get("quiet").is_true(), now)?;
                self.poll.add(&bot.socket, u64::from(id)).map_err(|e| e.to_string())?;
            }
            "deaf" => bot.inside.set_deaf(command.get("on").is_true(), now),
            _ => return Err(format!("{what} is no command")),
        }
        Ok(())
    }

    /// What all bots have sent and heard, or one of them.
    fn answer(&mut self, only: Option<u32>) {
        let mut line = "{\"answer\":[".to_string();
        for (_, bot) in self.bots.iter().filter(|(id, _)| only.map_or(true, |one| one == **id)) {
            if !line.ends_with('[') {
                line.push(',');
            }
            bot.inside.describe(self.shared.now, &mut line);
        }
        let _ = write!(line, "]}}");
        let _ = self.out.send(line);
    }

    fn leave(&mut self) {
        for bot in self.bots.values_mut() {
            bot.close(&mut self.shared);
        }
    }
}
