//! Everybody in all visits, in one thread: sends at the load that is asked for, and takes all that comes back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use vardrum_engine::io::Clock;
use vardrum_engine::outbox::Outbox;
use vardrum_engine::Micros;

use crate::case::{Case, Load};
use crate::person::Person;
use crate::{fresh, Server};

/// What is on its way at most, in packets sent: two batches, and less than the smallest usual socket buffer holds. So
/// a machine that has no time for the server is not taken for a server that loses packets.
const WINDOW: u64 = 128;
/// Packets of each source that the engine remembers at most, and some more: pictures', and sound's.
const HISTORY: (u64, u64) = (520, 40);
/// Sockets are looked at this often under a given load; they hold far more than comes meanwhile.
const SWEEP: Micros = 4_000;
/// As often are packets sent that are due.
const TURN: Duration = Duration::from_micros(200);
/// What has not come when nothing came for so long is lost.
const LOST: Micros = 500_000;
const DEADLINE: Micros = 5_000_000;

pub struct Crowd {
    /// Packets sent, and received by all viewers, since all have met.
    pub sent: u64,
    pub received: u64,
    /// Packets that the server had forwarded until then.
    pub before: u64,
    people: Vec<Person>,
    case: Case,
    to: SocketAddr,
    clock: Clock,
    outbox: Outbox,
    turn: usize,
    /// Visits, by the place of their first person, whose people have not received all yet, and how much that is. Under
    /// full load to look at all sockets would cost more than the server does.
    awaited: VecDeque<(usize, u64)>,
}

impl Crowd {
    pub fn new(case: &Case, people: Vec<Person>, to: SocketAddr) -> Crowd {
        Crowd {
            sent: 0,
            received: 0,
            before: 0,
            people,
            case: *case,
            to,
            clock: Clock::start(),
            outbox: Outbox::default(),
            turn: 0,
            awaited: VecDeque::new(),
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
    pub fn meet(&mut self, server: &dyn Server, reports: bool) -> Result<(), String> {
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
        // What was sent before all were there has not reached everybody: only the server knows how much that is.
        self.until("what was sent at first", |crowd| {
            crowd.sweep();
            crowd.received == fresh(server).forwarded
        })?;
        (self.sent, self.received, self.before) = (0, 0, self.received);
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

    /// Sends what people have sent after some seconds: from then on the engine remembers other packets, but not more.
    pub fn talk(&mut self) {
        let each = if self.case.is_sound() { HISTORY.1 } else { HISTORY.0 };
        let enough = self.sent + each * self.people.len() as u64;
        self.drive(Load::Full, |sent| sent >= enough);
    }

    /// Keeps a load up until `done`, which is asked all the time with the packets sent; then waits for what is still
    /// on its way.
    pub fn drive(&mut self, load: Load, mut done: impl FnMut(u64) -> bool) {
        let start = self.clock.now();
        let (first, mut swept) = (self.sent, start);
        let run = self.case.run();
        while !done(self.sent) {
            let now = self.clock.now();
            match load {
                Load::Rate(forwarded) => {
                    let due = first + (now - start) * forwarded / self.case.fan_out as u64 / 1_000_000;
                    while self.sent < due.min(self.allowed()) {
                        self.send_run(now, run);
                    }
                    if now > swept + SWEEP || self.sent >= self.allowed() {
                        swept = now;
                        self.sweep();
                    }
                    sleep(TURN);
                }
                Load::Full => {
                    while self.sent < self.allowed() {
                        let visit = self.send_run(now, run);
                        self.await_run(visit, run);
                    }
                    self.take_oldest();
                }
            }
        }
        self.awaited.clear();
        self.settle();
    }

    fn allowed(&self) -> u64 {
        self.received / self.case.fan_out as u64 + WINDOW
    }

    /// Lets the next person send; returns the place of the first one of that visit. Who is next is in another visit.
    fn send_run(&mut self, now: Micros, run: usize) -> usize {
        let (visits, visit) = (self.case.visits(), self.case.visit());
        let first = self.turn % visits * visit;
        let person = first + self.turn / visits % visit;
        self.people[person].send(self.to, run, false, now, &mut self.outbox);
        self.turn += 1;
        self.sent += run as u64;
        first
    }

    fn await_run(&mut self, visit: usize, run: usize) {
        let packets = (run * self.case.fan_out) as u64;
        match self.awaited.iter_mut().find(|(awaited, _)| *awaited == visit) {
            Some((_, more)) => *more += packets,
            None => self.awaited.push_back((visit, packets)),
        }
    }

    /// Takes what has come to the visit that has waited longest; where that is not all, it goes on waiting.
    fn take_oldest(&mut self) {
        if let Some((visit, packets)) = self.awaited.pop_front() {
            let people = &mut self.people[visit..visit + self.case.visit()];
            let came: u64 = people.iter_mut().map(Person::receive).sum();
            self.received += came;
            if came < packets {
                self.awaited.push_back((visit, packets - came));
            }
        }
    }

    fn sweep(&mut self) -> u64 {
        let came = self.people.iter_mut().map(Person::receive).sum();
        self.received += came;
        came
    }

    /// Takes what is still on its way, until all has come.
    fn settle(&mut self) {
        let mut last = self.clock.now();
        while self.received < self.sent * self.case.fan_out as u64 && self.clock.now() < last + LOST {
            if self.sweep() > 0 {
                last = self.clock.now();
            }
            sleep(Duration::from_millis(1));
        }
    }
}
