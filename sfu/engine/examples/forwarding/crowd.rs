//! Everybody in all visits, in one thread: sends at the load that is asked for, and takes all that comes back.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use vardrum_engine::io::Clock;
use vardrum_engine::outbox::Outbox;
use vardrum_engine::Micros;

use crate::case::{Case, Load};
use crate::person::Person;
use crate::Server;

/// What is on its way at most under full load, in packets sent: two batches, and less than the smallest usual socket
/// buffer holds.
const WINDOW: u64 = 128;
/// Sockets are looked at this often under a given load; they hold far more than comes meanwhile.
const SWEEP: Micros = 4_000;
/// As often are packets sent that are due.
const TURN: Duration = Duration::from_micros(200);
const SETTLED: Micros = 20_000;
const DEADLINE: Micros = 5_000_000;

pub struct Crowd {
    pub sent: u64,
    pub received: u64,
    people: Vec<Person>,
    case: Case,
    to: SocketAddr,
    clock: Clock,
    outbox: Outbox,
    turn: usize,
}

impl Crowd {
    pub fn new(case: &Case, people: Vec<Person>, to: SocketAddr) -> Crowd {
        Crowd {
            sent: 0,
            received: 0,
            people,
            case: *case,
            to,
            clock: Clock::start(),
            outbox: Outbox::default(),
            turn: 0,
        }
    }

    /// Nominates everybody's address, and waits for all answers.
    pub fn connect(&mut self) -> Result<(), String> {
        self.until("an answer to each connectivity check", |crowd| {
            for (place, person) in crowd.people.iter_mut().enumerate().filter(|(_, p)| !p.answered) {
                person.check(crowd.to, place, &mut crowd.outbox);
            }
            crowd.sweep();
            crowd.people.iter().all(|person| person.answered)
        })
    }

    /// Sends key frames until everybody sees all others, and reports that.
    pub fn meet(&mut self, reports: bool) -> Result<(), String> {
        let fan_out = self.case.fan_out;
        self.until("everybody to see all others", |crowd| {
            let now = crowd.clock.now();
            for person in &mut crowd.people {
                person.send(crowd.to, 1, true, now, &mut crowd.outbox);
            }
            crowd.sweep();
            crowd.people.iter().all(|person| person.heard.len() == fan_out)
        })?;
        for person in self.people.iter_mut().filter(|_| reports) {
            person.report(self.to, &mut self.outbox);
        }
        self.settle();
        (self.sent, self.received) = (0, 0);
        Ok(())
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Crowd) -> bool) -> Result<(), String> {
        let deadline = self.clock.now() + DEADLINE;
        while !done(self) {
            if self.clock.now() > deadline {
                return Err(format!("waited {} s for {what}", DEADLINE / 1_000_000));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Keeps the load up until `done`, which is asked all the time; then waits for what is still on its way.
    pub fn drive(&mut self, server: &dyn Server, mut done: impl FnMut(&dyn Server) -> bool) {
        let start = self.clock.now();
        let (first, mut swept) = (self.sent, start);
        while !done(server) {
            match self.case.load {
                Load::Rate(forwarded) => {
                    let now = self.clock.now();
                    let due = (now - start) * forwarded / self.case.fan_out as u64 / 1_000_000;
                    while self.sent - first < due {
                        self.send_run(now);
                    }
                    if now > swept + SWEEP {
                        swept = now;
                        self.sweep();
                    }
                    sleep(TURN);
                }
                Load::Full => {
                    let now = self.clock.now();
                    while self.sent < self.received / self.case.fan_out as u64 + WINDOW {
                        self.send_run(now);
                    }
                    self.sweep();
                }
            }
        }
        self.settle();
    }

    fn send_run(&mut self, now: Micros) {
        let run = self.case.run();
        self.people[self.turn].send(self.to, run, false, now, &mut self.outbox);
        self.turn = (self.turn + 1) % self.people.len();
        self.sent += run as u64;
    }

    fn sweep(&mut self) -> u64 {
        let came = self.people.iter_mut().map(Person::receive).sum();
        self.received += came;
        came
    }

    /// Takes what is still on its way, until nothing has come for a while.
    fn settle(&mut self) {
        let mut last = self.clock.now();
        while self.clock.now() < last + SETTLED {
            if self.sweep() > 0 {
                last = self.clock.now();
            }
            sleep(Duration::from_millis(1));
        }
    }
}
