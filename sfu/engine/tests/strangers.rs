//! What outsiders can cost: cryptography is bounded by address and altogether, answers are no longer than questions, and
//! whoever is known, or comes anew behind an abused address, is heard.

mod client;

use client::*;
use vardrum_engine::address::Address;
use vardrum_engine::counters::Count;
use vardrum_engine::crypto::HmacSha1;
use vardrum_engine::event::Event;
use vardrum_engine::shard::Shard;
use vardrum_engine::stun;

const MS: u64 = 1_000;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// A request with the right USERNAME of client `id` and, unless `None`, integrity by this password.
fn request(id: u32, password: Option<&str>) -> Vec<u8> {
    let name = format!("srv{id:04}:cli{id:04}");
    let mut out = Vec::new();
    match password {
        Some(password) => {
            let check = stun::Check {
                transaction: &[9; 12],
                username: &name,
                priority: 1,
                tie_breaker: 1,
            };
            stun::write_binding_request(&mut out, &check, &HmacSha1::new(password.as_bytes()));
        }
        None => {
            out.extend_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
            out.extend_from_slice(&[9; 12]);
            out.extend_from_slice(&[0, 6, 0, name.len() as u8]);
            out.extend_from_slice(name.as_bytes());
            out.resize((out.len() + 3) / 4 * 4, 0);
            out[3] = (out.len() - 20) as u8;
        }
    }
    out
}

/// Sends a copy; returns how many bytes the shard answers.
fn send(shard: &mut Shard, now: u64, from: Address, bytes: &[u8]) -> usize {
    shard.outbox.clear();
    shard.datagram(now, from, &mut bytes.to_vec());
    let answer = (0..shard.outbox.len()).map(|i| shard.outbox.get(i).1.len()).sum();
    shard.outbox.clear();
    answer
}

fn answered(shard: &mut Shard, now: u64, client: &mut Client) -> bool {
    shard.outbox.clear();
    client.check(shard, now, true);
    let answered = (0..shard.outbox.len()).any(|i| {
        let (to, bytes) = shard.outbox.get(i);
        to == client.address && bytes[..2] == [1, 1]
    });
    shard.outbox.clear();
    answered
}

#[test]
fn nobody_unknown_gets_more_bytes_than_they_sent() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let _anna = Client::join(&mut shard, 1, 0);
    let shortest = request(1, None);
    let mut questions = vec![
        shortest.clone(),
        request(1, Some("wrong")),
        request(2, Some("wrong")),
        // Something that must be understood and isn't, 4 bytes of it.
        [&shortest[..], &[0x7f, 1, 0, 0]].concat(),
        // MESSAGE-INTEGRITY of a wrong length.
        [&shortest[..], &[0, 8, 0, 4, 0, 0, 0, 0]].concat(),
    ];
    for question in &mut questions[3..] {
        question[3] = (question.len() - 20) as u8;
    }
    // Without its FINGERPRINT, which would give every change away.
    let mut real = request(1, Some("srvpasswordxofx22xorxmore0001"));
    real.truncate(real.len() - 8);
    real[3] -= 8;
    for cut in 0..real.len() {
        questions.push(real[..cut].to_vec());
        let mut changed = real.clone();
        changed[cut] ^= 1;
        questions.push(changed);
    }
    let mut answers = 0;
    for (n, question) in questions.iter().enumerate() {
        let from = address(&format!("198.51.100.{}:{}", n % 250, 1000 + n));
        let answer = send(&mut shard, n as u64 * 100 * MS, from, question);
        assert!(answer <= question.len(), "{} bytes for {question:?}", answer);
        answers += usize::from(answer > 0);
    }
    assert!(answers > 10, "only {answers} were answered at all");
}

#[test]
fn one_address_costs_some_checks_and_a_newcomer_behind_it_is_heard_all_the_same() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let mut anna = Client::join(&mut shard, 1, 0);
    let mut bo = Client::join(&mut shard, 2, 0);
    let forged = request(1, Some("wrong"));
    for port in 0..1_000 {
        send(&mut shard, 0, address(&format!("192.0.2.77:{}", 2_000 + port)), &forged);
    }
    let refused = shard.counters.get(Count::DropStunRefused);
    assert!((64..=69).contains(&refused), "{refused} integrity checks");
    assert_eq!(shard.counters.get(Count::DropStrangerRate), 1_000 - refused);
    bo.address = address("192.0.2.77:9000");
    assert!(answered(&mut shard, 0, &mut bo), "another peer behind the same address");
    assert!(
        answered(&mut shard, 250 * MS, &mut anna),
        "the peer whose name was used"
    );
}

#[test]
fn many_forged_addresses_cost_what_one_peer_may_and_nobody_else_is_shut_out() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let mut anna = Client::connect(&mut shard, 1, 0);
    let mut bo = Client::join(&mut shard, 2, 0);
    let forged = request(1, Some("wrong"));
    for n in 0..20_000u32 {
        send(
            &mut shard,
            MS,
            address(&format!("203.0.{}.{}:7", n / 250 % 250, n % 250)),
            &forged,
        );
    }
    let refused = shard.counters.get(Count::DropStunRefused);
    assert!(refused <= 100, "{refused} integrity checks");
    assert!(answered(&mut shard, 2 * MS, &mut bo), "a newcomer");
    assert!(
        answered(&mut shard, 2 * MS, &mut anna),
        "the victim, at a known address"
    );
    let mut packet = anna.picture(0, 0, 0, true);
    shard.datagram(2 * MS, anna.address, &mut packet);
    assert_eq!(shard.counters.get(Count::DropNoListener), 1, "media was taken");
}

#[test]
fn forged_media_is_tried_a_few_times_and_a_nat_that_rebinds_still_heals() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let mut anna = Client::connect(&mut shard, 1, 0);
    let mut first = anna.picture(0, 0, 0, true);
    shard.datagram(0, anna.address, &mut first);
    let mut forged = anna.picture(0, 1, 1, false);
    *forged.last_mut().unwrap() ^= 1;
    for port in 0..500 {
        send(
            &mut shard,
            MS,
            address(&format!("198.51.100.7:{}", 1_000 + port)),
            &forged,
        );
    }
    let tried = shard.counters.get(Count::DropAuthentication);
    assert!((64..=69).contains(&tried), "{tried}");
    let mut moved = anna.picture(0, 2, 2, false);
    shard.datagram(2 * MS, address("203.0.113.9:4000"), &mut moved);
    assert_eq!(
        shard.counters.get(Count::DropNoListener),
        2,
        "the packet from the new address was taken"
    );
}

#[test]
fn a_peer_that_floods_checks_from_its_own_address_is_cut_short_too() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let mut anna = Client::connect(&mut shard, 1, 0);
    let forged = request(1, Some("wrong"));
    for _ in 0..1_000 {
        send(&mut shard, MS, anna.address, &forged);
    }
    assert!(shard.counters.get(Count::DropStunRefused) <= 100);
    assert!(shard.counters.get(Count::DropStunRate) >= 900);
    assert!(answered(&mut shard, 25 * MS, &mut anna));
}

#[test]
fn handshakes_pass_only_from_addresses_that_passed_integrity() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let mut anna = Client::join(&mut shard, 1, 0);
    let hello = [22, 254, 253, 0];
    send(&mut shard, 0, anna.address, &hello);
    send(&mut shard, 0, anna.address, &request(1, Some("wrong")));
    send(&mut shard, 0, anna.address, &hello);
    assert_eq!(shard.counters.get(Count::DropUnknownAddress), 2);
    assert!(shard.events.is_empty());
    assert!(answered(&mut shard, 0, &mut anna));
    while shard.events.pop().is_some() {}
    send(&mut shard, 0, anna.address, &hello);
    assert!(matches!(shard.events.pop(), Some(Event::Dtls { peer: 1, .. })));
}

#[test]
fn a_participant_that_floods_is_cut_short_before_any_cryptography() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let mut anna = Client::connect(&mut shard, 1, 0);
    let mut bo = Client::connect(&mut shard, 2, 0);
    let mut forged = anna.picture(0, 0, 0, true);
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..30_000 {
        send(&mut shard, MS, anna.address, &forged);
    }
    assert_eq!(shard.counters.get(Count::DropAuthentication), 10_000);
    assert_eq!(shard.counters.get(Count::DropPeerRate), 20_000);
    let mut packet = bo.picture(0, 0, 0, true);
    shard.datagram(MS, bo.address, &mut packet);
    assert_eq!(shard.counters.get(Count::DropNoListener), 1, "another's media");
    let mut packet = anna.picture(0, 1, 1, false);
    shard.datagram(2 * MS, anna.address, &mut packet);
    assert_eq!(
        shard.counters.get(Count::DropNoListener),
        2,
        "and hers, once it is over"
    );
}
