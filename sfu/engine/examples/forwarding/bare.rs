//! What the machine itself costs: receive a batch, open each packet once, copy and seal it for each viewer, send.
//!
//! Batches, buffers and waiting are those of `runner.rs`; whom a packet is from is looked up by its port, and nothing
//! else is known, kept, rewritten or counted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, Builder, JoinHandle};
use std::time::Duration;

use vardrum_engine::gather::Gather;
use vardrum_engine::io::{thread_cpu, Clock, Poller, Socket, BATCH};
use vardrum_engine::outbox::Outbox;
use vardrum_engine::srtp::{Receiver, Sender};
use vardrum_engine::Micros;

use crate::case::{Case, HEADER};
use crate::person::Person;
use crate::{Figures, Server};

/// As in `runner.rs`.
const TICK: Micros = 10_000;
const ROUNDS: usize = 8;
const FIGURES: Micros = 100_000;

struct Member {
    open: Receiver,
    seal: Sender,
    address: SocketAddr,
    viewers: Vec<usize>,
}

pub struct Bare {
    name: String,
    figures: Arc<Mutex<Figures>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    /// Starts the loop's thread for these people; returns the address it receives at as well. `gso`: whether it joins
    /// datagrams.
    pub fn start(case: &Case, gso: bool, people: &[Person]) -> Result<(Bare, SocketAddr), String> {
        let mut socket = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(|e| e.to_string())?;
        let address = socket.local_address().map_err(|e| e.to_string())?;
        if socket.join(gso) != gso {
            return Err("this kernel has no UDP GSO".into());
        }
        let poller = Poller::new().map_err(|e| e.to_string())?;
        poller.register(socket.fd(), 0, false).map_err(|e| e.to_string())?;
        let mut by_port = vec![u16::MAX; 1 << 16];
        let mut members = Vec::new();
        for (place, person) in people.iter().enumerate() {
            by_port[usize::from(person.address.port())] = place as u16;
            let (up, down) = (&person.keys.up, &person.keys.down);
            members.push(Member {
                open: Receiver::new(case.profile, &up.0, &up.1).map_err(|e| format!("{e:?}"))?,
                seal: Sender::new(case.profile, &down.0, &down.1).map_err(|e| format!("{e:?}"))?,
                address: person.address,
                viewers: case.others(place).collect(),
            });
        }
        let name = format!("bare-{}", address.port());
        let (figures, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (theirs, stopped) = (Arc::clone(&figures), Arc::clone(&stop));
        let thread = Builder::new()
            .name(name.clone())
            .spawn(move || run(socket, poller, members, &by_port, &theirs, &stopped))
            .map_err(|e| e.to_string())?;
        let bare = Bare {
            name,
            figures,
            stop,
            thread: Some(thread),
        };
        Ok((bare, address))
    }
}

impl Server for Bare {
    fn name(&self) -> &'static str {
        "bare"
    }

    fn thread(&self) -> String {
        self.name.clone()
    }

    fn figures(&self) -> Figures {
        *self.figures.lock().expect("the loop does not panic")
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    mut socket: Socket,
    mut poller: Poller,
    mut members: Vec<Member>,
    by_port: &[u16],
    figures: &Mutex<Figures>,
    stop: &AtomicBool,
) {
    let clock = Clock::start();
    let mut outbox = Outbox::default();
    let (mut gather, mut rest) = (Gather::default(), 0);
    let (mut forwarded, mut figures_at) = (0, 0);
    while !stop.load(Ordering::Acquire) {
        if rest > 0 {
            sleep(Duration::from_micros(rest));
            rest = 0;
        }
        poller.wait(TICK);
        if poller.ready().count() > 0 {
            for _ in 0..ROUNDS {
                let received = socket.receive(|from, bytes| {
                    let place = usize::from(by_port[usize::from(from.port())]);
                    forward(&mut members, place, bytes, &mut outbox);
                });
                forwarded += outbox.len() as u64;
                forwarded -= socket.send(&mut outbox).refused;
                gather.took(clock.now(), received);
                if received < BATCH {
                    rest = gather.rest();
                    break;
                }
            }
        }
        let now = clock.now();
        if now >= figures_at {
            figures_at = now + FIGURES;
            let cpu = thread_cpu();
            *figures.lock().expect("nobody panics while holding it") = Figures { cpu, forwarded };
        }
    }
}

fn forward(members: &mut [Member], place: usize, bytes: &mut [u8], outbox: &mut Outbox) {
    let sender = &mut members[place];
    let (len, index) = sender.open.open_rtp(bytes, HEADER).expect("only people send here");
    let viewers = std::mem::take(&mut sender.viewers);
    for &viewer in &viewers {
        let viewer = &mut members[viewer];
        let room = outbox.room().expect("room for a batch");
        room[..len].copy_from_slice(&bytes[..len]);
        let sealed = viewer.seal.seal_rtp(room, len, HEADER, (index >> 16) as u32);
        outbox.commit(viewer.address, sealed.expect("a whole packet"));
    }
    members[place].viewers = viewers;
}
