//! The agent against a browser's side of the conversation: who is selected when, and who never.

use super::*;
use crate::crypto::vectors::hex;
use crate::testing::{for_each_seed, Random};
use stun::StunError;

const A: &str = "192.0.2.1:1000";
const B: &str = "192.0.2.2:2000";
const C: &str = "[2001:db8::3]:3000";
const D: &str = "192.0.2.4:4000";

fn at(text: &str) -> Address {
    text.parse().unwrap()
}

fn ours(n: u32) -> Credentials {
    Credentials::new(format!("ours{}", n), format!("our+password/of+22+characters{}", n))
        .ok()
        .unwrap()
}

fn theirs(n: u32) -> Credentials {
    Credentials::new(format!("theirs{}", n), format!("their+password/of+22+characters{}", n))
        .ok()
        .unwrap()
}

/// A browser's side: its requests, and its answers to our checks.
struct Browser {
    local: Credentials,
    remote: Credentials,
    last: u8,
}

impl Browser {
    fn request(&mut self, nominate: bool) -> Vec<u8> {
        self.last += 1;
        let id = [self.last; 12];
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        let mut raw = Vec::new();
        let check = stun::Check {
            transaction: &id,
            username: &username,
            priority: 1,
            tie_breaker: 7,
        };
        stun::write_binding_request(&mut raw, &check, &HmacSha1::new(b"not yet"));
        let role = raw.windows(4).position(|bytes| bytes == [0x80, 0x29, 0, 8]).unwrap();
        raw[role + 1] = 0x2a; // it is the controlling side
        if nominate {
            let at = role + 12;
            raw.splice(at..at, [0, 0x25, 0, 0]);
        }
        self.sign(raw)
    }

    /// Replaces integrity and fingerprint by ones that fit.
    fn sign(&self, mut raw: Vec<u8>) -> Vec<u8> {
        raw.truncate(raw.len() - 32);
        let len = ((raw.len() + 24 - 20) as u16).to_be_bytes();
        raw[2..4].copy_from_slice(&len);
        let value = HmacSha1::new(self.remote.pwd.as_bytes()).sign(&[&raw]);
        raw.extend([0, 8, 0, 20]);
        raw.extend(value);
        raw
    }

    fn answer(&self, check: &[u8], mapped: Address) -> Vec<u8> {
        let message = Message::parse(check).ok().unwrap();
        let key = HmacSha1::new(self.local.pwd.as_bytes());
        assert!(message.verify_integrity(&key) && message.has_fingerprint());
        assert_eq!(
            message.username(),
            Some(&*format!("{}:{}", self.local.ufrag, self.remote.ufrag))
        );
        assert!(message.ice_controlled().is_some() && message.priority() == Some(CHECK_PRIORITY));
        let mut raw = Vec::new();
        stun::write_binding_success(&mut raw, &message.transaction(), mapped.socket, &key);
        raw
    }
}

fn pair() -> (Agent, Browser) {
    (
        Agent::new(&ours(1), &theirs(1)),
        Browser {
            local: theirs(1),
            remote: ours(1),
            last: 0,
        },
    )
}

fn request(agent: &mut Agent, now: Micros, from: &str, raw: &[u8]) -> (RequestOutcome, Vec<u8>) {
    let mut out = vec![0xff; 9];
    let outcome = agent.on_request(now, at(from), &Message::parse(raw).ok().unwrap(), &mut out);
    (outcome, out)
}

fn answered(agent: &mut Agent, now: Micros, from: &str, raw: &[u8]) {
    let (outcome, _) = request(agent, now, from, raw);
    assert!(matches!(outcome, RequestOutcome::Answered { .. }), "{:?}", outcome);
}

fn respond(agent: &mut Agent, now: Micros, from: &str, raw: &[u8]) -> bool {
    agent.on_response(now, at(from), &Message::parse(raw).ok().unwrap())
}

/// What `poll` sends at `now`.
fn sent(agent: &mut Agent, now: Micros) -> Vec<(Address, Vec<u8>)> {
    let (mut sent, mut seed) = (Vec::new(), Random::new(now));
    let mut random = |buf: &mut [u8]| buf.fill_with(|| seed.next() as u8);
    agent.poll(now, &mut random, &mut |to, raw| sent.push((to, raw.to_vec())));
    sent
}

fn is_selected(agent: &Agent, address: &str) -> bool {
    agent.selected() == Some(at(address))
}

#[test]
fn a_check_is_answered_with_the_address_that_it_came_from() {
    let (mut agent, mut browser) = pair();
    let (outcome, out) = request(&mut agent, 0, C, &browser.request(false));
    let expected = RequestOutcome::Answered {
        nominated_first: false,
        new_address: true,
        forgotten: None,
    };
    assert_eq!(outcome, expected);
    let message = Message::parse(&out).ok().unwrap();
    assert!(message.class() == Class::Success && message.xor_mapped_address() == Some(at(C).socket));
    assert!(message.verify_integrity(&HmacSha1::new(ours(1).pwd.as_bytes())) && message.has_fingerprint());
    assert_eq!(message.transaction(), [1; 12]);
}

#[test]
fn a_check_alone_selects_nothing_and_the_first_nomination_does() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(false));
    assert!(agent.selected().is_none() && agent.on_dtls(at(A)));
    let (outcome, _) = request(&mut agent, 1, B, &browser.request(true));
    let expected = RequestOutcome::Answered {
        nominated_first: true,
        new_address: true,
        forgotten: None,
    };
    assert_eq!(outcome, expected);
    assert!(is_selected(&agent, B) && agent.dtls_to() == Some(at(B)));
    assert!(sent(&mut agent, 1).is_empty() && agent.next_deadline().is_none());
    answered(&mut agent, 2, A, &browser.request(false));
    assert!(is_selected(&agent, B) && sent(&mut agent, 2).is_empty());
}

#[test]
fn without_valid_credentials_nothing_changes_and_the_answer_is_small() {
    let (mut agent, mut browser) = pair();
    let good = browser.request(true);
    browser.remote.pwd = "another+password/of+22+characters".into();
    let integrity = browser.request(true);
    browser.remote = ours(2);
    let username = browser.request(true);
    let mut bare = good[..20].to_vec();
    bare[2..4].copy_from_slice(&[0, 0]);
    let cases = [
        (integrity, 401, Refusal::Integrity),
        (username, 401, Refusal::Username),
        (bare, 400, Refusal::NoCredentials),
    ];
    for (raw, code, why) in cases {
        let (outcome, out) = request(&mut agent, 0, A, &raw);
        assert_eq!(outcome, RequestOutcome::Refused(why));
        let message = Message::parse(&out).ok().unwrap();
        assert_eq!((message.error_code(), message.has_integrity()), (Some(code), false));
        assert!(out.len() <= 60);
        assert!(agent.addresses().next().is_none() && agent.selected().is_none() && !agent.on_dtls(at(A)));
    }
    let mut indication = good;
    indication[1] = 0x11;
    let (outcome, out) = request(&mut agent, 0, A, &indication);
    assert!(outcome == RequestOutcome::Refused(Refusal::NotRequest) && out.is_empty());
}

#[test]
fn a_role_conflict_and_unknown_attributes_are_told_with_integrity() {
    let (mut agent, mut browser) = pair();
    let mut controlled = browser.request(true);
    let role = controlled
        .windows(4)
        .position(|bytes| bytes == [0x80, 0x2a, 0, 8])
        .unwrap();
    controlled[role + 1] = 0x29;
    controlled.extend([0; 8]);
    let mut unknown = browser.request(true);
    unknown.splice(20..20, hex("7abc0000"));
    unknown.extend([0; 8]);
    for (raw, code, why) in [
        (controlled, 487, Refusal::RoleConflict),
        (unknown, 420, Refusal::UnknownAttribute),
    ] {
        let (outcome, out) = request(&mut agent, 0, A, &browser.sign(raw));
        assert_eq!(outcome, RequestOutcome::Refused(why));
        let message = Message::parse(&out).ok().unwrap();
        assert_eq!(message.error_code(), Some(code));
        assert!(message.verify_integrity(&HmacSha1::new(ours(1).pwd.as_bytes())));
        assert!(agent.selected().is_none());
    }
}

#[test]
fn a_later_nomination_is_followed_when_it_has_answered_our_check() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    answered(&mut agent, 10, B, &browser.request(true));
    assert!(is_selected(&agent, A));
    assert_eq!(agent.next_deadline(), Some(10));
    let checks = sent(&mut agent, 10);
    assert!(checks.len() == 1 && checks[0].0 == at(B));
    let answer = browser.answer(&checks[0].1, at(D));
    assert!(!respond(&mut agent, 20, A, &answer), "from another address");
    assert!(is_selected(&agent, A));
    assert!(respond(&mut agent, 20, B, &answer));
    assert!(is_selected(&agent, B) && agent.next_deadline().is_none());
    assert!(!respond(&mut agent, 21, B, &answer), "answered already");
}

#[test]
fn media_from_a_new_address_is_followed_when_it_has_answered_our_check() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    agent.on_media(5, at(A));
    assert!(agent.next_deadline().is_none());
    agent.on_media(10, at(B));
    assert!(is_selected(&agent, A) && !agent.on_dtls(at(B)));
    let checks = sent(&mut agent, 10);
    agent.on_media(11, at(B));
    assert!(sent(&mut agent, 11).is_empty(), "one check for all its packets");
    assert!(respond(&mut agent, 20, B, &browser.answer(&checks[0].1, at(B))));
    assert!(is_selected(&agent, B) && agent.on_dtls(at(B)));
}

#[test]
fn a_late_packet_from_the_former_address_does_not_lead_back() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    agent.on_media(10, at(B));
    let check = sent(&mut agent, 10).remove(0).1;
    assert!(respond(&mut agent, 20, B, &browser.answer(&check, at(B))));
    agent.on_media(30, at(A));
    let check = sent(&mut agent, 30).remove(0).1;
    agent.on_media(40, at(B));
    assert!(
        !respond(&mut agent, 50, A, &browser.answer(&check, at(A))),
        "B has sent since"
    );
    assert!(is_selected(&agent, B));
}

#[test]
fn an_old_nomination_does_not_outdo_media_that_came_after_it() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    answered(&mut agent, 10, B, &browser.request(true));
    let to_b = sent(&mut agent, 10).remove(0).1;
    agent.on_media(20, at(C));
    let to_c = sent(&mut agent, 20).remove(0).1;
    assert!(respond(&mut agent, 30, C, &browser.answer(&to_c, at(C))));
    assert!(!respond(&mut agent, 40, B, &browser.answer(&to_b, at(B))));
    assert!(is_selected(&agent, C));
}

#[test]
fn checks_are_repeated_ever_more_slowly_and_then_given_up() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    let start = 1_000 * MS;
    answered(&mut agent, start, B, &browser.request(true));
    let (mut times, mut bytes) = (Vec::new(), Vec::new());
    while let Some(deadline) = agent.next_deadline() {
        for (to, raw) in sent(&mut agent, deadline) {
            assert!(to == at(B));
            times.push((deadline - start) / MS);
            bytes.push(raw);
        }
    }
    assert_eq!(times, [0, 50, 150, 350, 750, 1_550, 3_150]);
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]), "one transaction");
    let late = browser.answer(&bytes[0], at(B));
    assert!(!respond(&mut agent, start + 6_000 * MS, B, &late) && is_selected(&agent, A));
    answered(&mut agent, start + 7_000 * MS, B, &browser.request(true));
    assert_ne!(
        sent(&mut agent, start + 7_000 * MS)[0].1,
        bytes[0],
        "asked again, checked again"
    );
}

#[test]
fn two_addresses_are_checked_at_a_time_and_a_stale_check_makes_room() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    for (now, address) in [(1, B), (2, C), (3, D)] {
        agent.on_media(now, at(address));
    }
    let to: Vec<_> = sent(&mut agent, 3).into_iter().map(|(to, _)| to).collect();
    assert!(to == [at(B), at(C)]);
    agent.on_media(STALE + 1, at(D));
    let to: Vec<_> = sent(&mut agent, STALE + 1).into_iter().map(|(to, _)| to).collect();
    assert!(to.contains(&at(D)) && !to.contains(&at(B)));
}

#[test]
fn an_unanswered_address_is_not_checked_for_each_of_its_packets() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    let mut checks = 0;
    for now in (0..10_000 * MS).step_by(5 * MS as usize) {
        agent.on_media(now, at(A));
        agent.on_media(now, at(B));
        checks += sent(&mut agent, now).len();
    }
    assert!(checks <= 14, "{} checks in 10 s", checks);
    let mut answers = 0;
    for now in (10_000 * MS..11_000 * MS).step_by(MS as usize) {
        agent.on_media(now, at(B));
        for (to, raw) in sent(&mut agent, now) {
            agent.on_media(now, at(A));
            respond(&mut agent, now, &to.socket.to_string(), &browser.answer(&raw, to));
            answers += 1;
        }
    }
    assert!(answers <= 11, "{} checks in a second of two addresses in turn", answers);
}

#[test]
fn a_response_without_valid_integrity_selects_nothing() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    agent.on_media(1, at(B));
    let check = sent(&mut agent, 1).remove(0).1;
    let good = browser.answer(&check, at(B));
    let id = Message::parse(&check).ok().unwrap().transaction();
    let mut forged = Vec::new();
    stun::write_binding_success(&mut forged, &id, at(B).socket, &HmacSha1::new(b"guessed"));
    assert!(!respond(&mut agent, 2, B, &forged));
    forged.clear();
    stun::write_binding_error(&mut forged, &id, 487, [], None);
    assert!(!respond(&mut agent, 2, B, &forged));
    assert!(!respond(&mut agent, 2, B, &check), "our own check, reflected");
    assert!(is_selected(&agent, A));
    assert!(
        respond(&mut agent, 3, B, &good),
        "and the check still waits for the true answer"
    );
}

#[test]
fn after_a_restart_the_former_credentials_work_until_the_new_ones_are_used() {
    let (mut agent, mut browser) = pair();
    let mut restarted = Browser {
        local: theirs(3),
        remote: ours(3),
        last: 100,
    };
    let mut lost = Browser {
        local: theirs(2),
        remote: ours(2),
        last: 200,
    };
    answered(&mut agent, 0, A, &browser.request(true));
    agent.restart(&ours(2), &theirs(2)); // its answer is lost
    agent.restart(&ours(3), &theirs(3));
    assert!(agent.knows_ufrag("ours1") && !agent.knows_ufrag("ours2") && agent.knows_ufrag("ours3"));
    assert!(is_selected(&agent, A));
    let (outcome, out) = request(&mut agent, 1, A, &browser.request(true));
    assert!(matches!(outcome, RequestOutcome::Answered { .. }));
    assert!(Message::parse(&out)
        .ok()
        .unwrap()
        .verify_integrity(&HmacSha1::new(ours(1).pwd.as_bytes())));
    let (outcome, _) = request(&mut agent, 1, A, &lost.request(true));
    assert_eq!(outcome, RequestOutcome::Refused(Refusal::Username));

    answered(&mut agent, 2, B, &restarted.request(true));
    assert!(!agent.knows_ufrag("ours1"));
    let (outcome, _) = request(&mut agent, 3, A, &browser.request(true));
    assert_eq!(outcome, RequestOutcome::Refused(Refusal::Username));
    let check = sent(&mut agent, 3).remove(0).1;
    assert!(respond(&mut agent, 4, B, &restarted.answer(&check, at(B))));
    assert!(is_selected(&agent, B));
}

#[test]
fn a_check_under_way_goes_on_with_the_new_credentials() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    agent.on_media(10, at(B));
    let old = sent(&mut agent, 10).remove(0).1;
    agent.restart(&ours(2), &theirs(2));
    let new = sent(&mut agent, 11).remove(0).1;
    assert!(!respond(&mut agent, 12, B, &browser.answer(&old, at(B))));
    let restarted = Browser {
        local: theirs(2),
        remote: ours(2),
        last: 0,
    };
    assert!(respond(&mut agent, 13, B, &restarted.answer(&new, at(B))));
}

#[test]
fn known_addresses_are_bounded_and_the_selected_one_stays() {
    let (mut agent, mut browser) = pair();
    answered(&mut agent, 0, A, &browser.request(true));
    let mut forgotten = 0;
    for port in 1..100u16 {
        let from = format!("198.51.100.1:{}", port);
        let raw = browser.request(false);
        if let RequestOutcome::Answered { forgotten: Some(_), .. } = request(&mut agent, port.into(), &from, &raw).0 {
            forgotten += 1;
        }
    }
    assert!(agent.addresses().count() == MAX_ADDRESSES && is_selected(&agent, A));
    assert_eq!(forgotten, 99 + 1 - MAX_ADDRESSES);
    assert!(agent.on_dtls(at("198.51.100.1:99")) && !agent.on_dtls(at("198.51.100.1:1")));
    let mut all: Vec<_> = agent.addresses().collect();
    agent.on_media(200, at(B));
    all.retain(|address| !agent.addresses().any(|kept| kept == *address));
    assert!(all == [at("198.51.100.1:93")]);
}

#[test]
fn credentials_are_bounded() {
    let (name, secret) = ("abcd".to_string(), "a".repeat(22));
    assert!(Credentials::new(name.clone(), secret.clone()).is_ok());
    assert!(Credentials::new("a".repeat(256), "b+/Z".repeat(64)).is_ok());
    for ufrag in ["", "abc", "ab:d", "abc d", "åäö", &"a".repeat(257)] {
        assert_eq!(Credentials::new(ufrag, secret.clone()).err(), Some(IceError::Ufrag));
    }
    for pwd in ["", "short", &"a".repeat(21), &"a".repeat(257), &"-".repeat(22)] {
        assert_eq!(Credentials::new(name.clone(), pwd).err(), Some(IceError::Pwd));
    }
}

#[test]
fn no_matter_what_comes_nothing_panics_and_only_an_answer_moves_the_selection() {
    for_each_seed(150, |random| {
        let (mut agent, mut browser) = pair();
        let originals = [browser.request(false), browser.request(true)];
        answered(&mut agent, 0, A, &browser.request(true));
        for now in (0..100).map(|step| step * 40 * MS) {
            let from = at([A, B, C, D][random.below(4)]);
            let original = &originals[random.below(2)];
            let mut raw = random.mutated(original);
            if raw.len() > 52 && random.below(2) == 0 {
                raw = browser.sign(raw);
            }
            let parsed: Result<Message, StunError> = Message::parse(&raw);
            if let Ok(message) = parsed {
                let mut out = Vec::new();
                let _ = agent.on_request(now, from, &message, &mut out);
                assert!(!agent.on_response(now, from, &message));
            }
            if random.below(3) == 0 {
                agent.on_media(now, from);
            }
            assert!(sent(&mut agent, now).len() <= MAX_CHECKS);
            assert!(is_selected(&agent, A) && agent.addresses().count() <= MAX_ADDRESSES);
        }
    });
}

#[test]
fn a_peer_is_found_again_however_it_moves_and_a_victim_never_gets_media() {
    for_each_seed(200, |random| {
        let (mut agent, mut browser) = pair();
        let (mut now, mut wish) = (0, A);
        answered(&mut agent, now, A, &browser.request(true));
        let mut on_the_way: Vec<(Micros, String, Vec<u8>)> = Vec::new();
        for _ in 0..400 {
            now += 1 + random.below(30) as Micros * MS;
            match random.below(12) {
                0 => wish = [A, B, C][random.below(3)],
                1 => answered(&mut agent, now, wish, &browser.request(true)),
                2 => answered(&mut agent, now, [A, B, C][random.below(3)], &browser.request(false)),
                // Someone on the way sends what the browser sent from an address that never answers.
                3 => answered(&mut agent, now, D, &browser.request(true)),
                4 => drop(agent.on_media(now, at(D))),
                _ => drop(agent.on_media(now, at(wish))),
            }
            for (to, check) in sent(&mut agent, now) {
                if to != at(D) && !random.one_in(3) {
                    let after = 10 * MS + random.below(100) as Micros * MS;
                    on_the_way.push((now + after, to.socket.to_string(), browser.answer(&check, to)));
                }
            }
            let (due, later) = on_the_way.drain(..).partition(|(when, ..)| *when <= now);
            on_the_way = later;
            for (_, from, answer) in due as Vec<(Micros, String, Vec<u8>)> {
                respond(&mut agent, now, &from, &answer);
            }
            assert!(!is_selected(&agent, D));
        }
        // Once it stays where it is and all else is quiet, it is found within a few round trips.
        for _ in 0..10 {
            now += 6_000 * MS;
            agent.on_media(now, at(wish));
            for (to, check) in sent(&mut agent, now) {
                if to == at(wish) {
                    respond(&mut agent, now + 50 * MS, wish, &browser.answer(&check, to));
                }
            }
        }
        assert!(is_selected(&agent, wish));
    });
}
