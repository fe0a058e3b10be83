//! One peer's ICE: a lite agent (RFC 8445, section 2.5) that also finds out where media may be sent, without I/O.
//!
//! A lite agent only answers checks. That alone would let a participant point a room's media at a victim, with a
//! USE-CANDIDATE under a forged source address, and would lose a phone whose NAT rebinds. So: the first nominated
//! address is selected at once (the DTLS handshake proves it); any later one, nominated or seen as the source of
//! authenticated media, is selected after it has answered a check of ours; one that only sent a check never is.

use std::net::SocketAddr;

use crate::crypto::HmacSha1;
use crate::stun::{self, Class, Message, Transaction};
use crate::Micros;

const MS: Micros = 1_000;
const FIRST_WAIT: Micros = 50 * MS; // doubled after each repetition
const GIVE_UP: Micros = 5_000 * MS;
// More at a time would make us a better reflector, and a phone has two interfaces.
const MAX_CHECKS: usize = 2;
// A check this old without an answer gives its place to a newer address.
const STALE: Micros = 500 * MS;
// Media comes each few ms: without an answer in time an address is not checked again for each packet.
const BETWEEN_CHECKS: Micros = 100 * MS;
const MAX_ADDRESSES: usize = 8;
// Peer-reflexive, highest local preference, component 1 (RFC 8445, section 5.1.2.1).
const CHECK_PRIORITY: u32 = 110 << 24 | 65_535 << 8 | 255;

/// Why credentials can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceError {
    /// Not 4 to 256 ice-chars (RFC 8839, section 5.4).
    Ufrag,
    /// Not 22 to 256 ice-chars.
    Pwd,
}

/// One side's short-term credentials. They are secret: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ufrag: String,
    pwd: String,
}

impl Credentials {
    pub fn new(ufrag: impl Into<String>, pwd: impl Into<String>) -> Result<Credentials, IceError> {
        let (ufrag, pwd) = (ufrag.into(), pwd.into());
        let is_ice = |text: &str| {
            text.bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/')
        };
        if !(4..=256).contains(&ufrag.len()) || !is_ice(&ufrag) {
            return Err(IceError::Ufrag);
        }
        if !(22..=256).contains(&pwd.len()) || !is_ice(&pwd) {
            return Err(IceError::Pwd);
        }
        Ok(Credentials { ufrag, pwd })
    }

    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }
}

/// Why a request was not believed or not answered with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// An indication or a response.
    NotRequest,
    /// No USERNAME or no MESSAGE-INTEGRITY.
    NoCredentials,
    /// USERNAME is not of this pair of agents.
    Username,
    /// MESSAGE-INTEGRITY is wrong.
    Integrity,
    /// Something must be understood that isn't.
    UnknownAttribute,
    /// It thinks itself controlled, as we are.
    RoleConflict,
}

/// What became of a request. Send what it put into `out`, if anything, back to where the request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Not believed (`out` may hold an error response); nothing has changed.
    Refused(Refusal),
    /// `out` holds a success response.
    Answered {
        /// This was the first USE-CANDIDATE: there now is a selected address.
        nominated_first: bool,
        /// The address was not known before; it is now.
        new_address: bool,
        /// What had to be forgotten for it.
        forgotten: Option<SocketAddr>,
    },
}

/// What makes a request ours: the USERNAME it must carry and the key of its integrity.
struct Local {
    username: String,
    key: HmacSha1,
    used: bool,
}

impl Local {
    fn new(local: &Credentials, remote: &Credentials) -> Local {
        let username = format!("{}:{}", local.ufrag, remote.ufrag);
        Local {
            username,
            key: HmacSha1::new(local.pwd.as_bytes()),
            used: false,
        }
    }
}

struct Address {
    at: SocketAddr,
    heard: Micros,
    proven: bool, // sent a request or answered a check, with integrity
    nominated: Option<Micros>,
    media: Option<Micros>,
    checked: Option<Micros>,
}

struct OwnCheck {
    to: SocketAddr,
    transaction: Option<Transaction>, // none before it was first sent
    started: Micros,
    due: Micros,
    wait: Micros,
}

/// One peer's agent. All times are on the shard's monotonic axis and never go back.
pub struct Agent {
    local: Local,
    former: Option<Local>,
    remote_name: String, // USERNAME of our checks
    remote_key: HmacSha1,
    tie_breaker: Option<u64>,
    addresses: Vec<Address>, // the selected one first
    selected: bool,
    checks: Vec<OwnCheck>,
    out: Vec<u8>,
}

impl Agent {
    /// `local`: what our answer says; `remote`: what the peer's offer says.
    pub fn new(local: &Credentials, remote: &Credentials) -> Agent {
        Agent {
            local: Local::new(local, remote),
            former: None,
            remote_name: format!("{}:{}", remote.ufrag, local.ufrag),
            remote_key: HmacSha1::new(remote.pwd.as_bytes()),
            tie_breaker: None,
            addresses: Vec::new(),
            selected: false,
            checks: Vec::new(),
            out: Vec::new(),
        }
    }

    /// An ICE restart: new credentials on both sides. The former ones go on working until the new ones are first
    /// used, and media stays where it is until another address is selected.
    pub fn restart(&mut self, local: &Credentials, remote: &Credentials) {
        let before = std::mem::replace(&mut self.local, Local::new(local, remote));
        // Credentials that nobody has used (their answer was lost) must not push out those in use.
        if before.used || self.former.is_none() {
            self.former = Some(before);
        }
        self.remote_name = format!("{}:{}", remote.ufrag, local.ufrag);
        self.remote_key = HmacSha1::new(remote.pwd.as_bytes());
        for check in &mut self.checks {
            check.transaction = None;
            check.due = check.started;
            check.wait = FIRST_WAIT;
        }
    }

    /// Whether requests for this local ufrag are this agent's.
    pub fn knows_ufrag(&self, ufrag: &str) -> bool {
        let of = |local: &Local| local.username.split(':').next() == Some(ufrag);
        of(&self.local) || self.former.as_ref().map_or(false, of)
    }

    /// Answers a binding request into `out` (which is cleared first).
    ///
    /// Without valid integrity nothing changes. The error response it then gets is shorter than any request that
    /// could be meant, so that no one gains by reflecting it.
    pub fn on_request(
        &mut self,
        now: Micros,
        from: SocketAddr,
        message: &Message,
        out: &mut Vec<u8>,
    ) -> RequestOutcome {
        out.clear();
        let id = message.transaction();
        let mut refuse = |code: u16, key: Option<&mut HmacSha1>, why: Refusal| {
            stun::write_binding_error(out, &id, code, message.unknown_required(), key);
            RequestOutcome::Refused(why)
        };
        if message.class() != Class::Request {
            return RequestOutcome::Refused(Refusal::NotRequest);
        }
        let name = match message.username() {
            Some(name) if message.has_integrity() => name,
            _ => return refuse(400, None, Refusal::NoCredentials),
        };
        let current = name == self.local.username;
        let local = match &mut self.former {
            _ if current => &mut self.local,
            Some(former) if name == former.username => former,
            _ => return refuse(401, None, Refusal::Username),
        };
        if !message.verify_integrity(&mut local.key) {
            return refuse(401, None, Refusal::Integrity);
        }
        if message.unknown_required().next().is_some() {
            return refuse(420, Some(&mut local.key), Refusal::UnknownAttribute);
        }
        if message.ice_controlled().is_some() {
            return refuse(487, Some(&mut local.key), Refusal::RoleConflict);
        }
        local.used = true;
        stun::write_binding_success(out, &id, from, &mut local.key);
        if current {
            self.former = None;
        }
        let (new_address, forgotten) = self.hear(now, from);
        let nominated_first = message.use_candidate() && !self.selected;
        let address = self.address(from);
        address.proven = true;
        if message.use_candidate() {
            address.nominated = Some(now);
            if nominated_first {
                self.select(from);
            } else {
                self.want(now, from);
            }
        }
        RequestOutcome::Answered {
            nominated_first,
            new_address,
            forgotten,
        }
    }

    /// Takes a binding response. `true`: a check of ours was answered, with valid integrity and from the address
    /// that was checked, and that address is selected now.
    ///
    /// It isn't when meanwhile the selected one was nominated again and sent media again: what came last counts.
    pub fn on_response(&mut self, now: Micros, from: SocketAddr, message: &Message) -> bool {
        let id = Some(message.transaction());
        let of = |check: &OwnCheck| check.transaction == id && check.to == from;
        let check = match self.checks.iter().position(of) {
            Some(check) if message.class() == Class::Success => check,
            _ => return false,
        };
        if !message.verify_integrity(&mut self.remote_key) {
            return false;
        }
        self.checks.swap_remove(check);
        self.hear(now, from);
        let address = self.address(from);
        address.proven = true;
        let (nominated, media) = (address.nominated, address.media);
        let current = self.addresses.first().filter(|_| self.selected);
        let wanted = current.map_or(true, |current| nominated > current.nominated || media > current.media);
        if wanted {
            self.select(from);
        }
        wanted
    }

    /// Notes that an authenticated, non-replayed SRTP or SRTCP packet came from `from`: when that isn't the selected
    /// address, it gets a check (a NAT has rebound, or a phone has changed networks without telling us yet).
    ///
    /// Returns the address that had to be forgotten for a new one.
    pub fn on_media(&mut self, now: Micros, from: SocketAddr) -> Option<SocketAddr> {
        let (_, forgotten) = self.hear(now, from);
        self.address(from).media = Some(now);
        self.want(now, from);
        forgotten
    }

    /// Whether DTLS from this address may be passed up: it has proven to know the credentials, or is selected.
    pub fn on_dtls(&self, from: SocketAddr) -> bool {
        self.addresses
            .iter()
            .any(|address| address.at == from && address.proven)
            || self.selected() == Some(from)
    }

    /// Where media and DTLS go.
    pub fn selected(&self) -> Option<SocketAddr> {
        self.addresses
            .first()
            .filter(|_| self.selected)
            .map(|address| address.at)
    }

    /// Where DTLS goes: the selected address, or before there is one the address last heard of that knows the
    /// credentials. (A ClientHello may overtake the first USE-CANDIDATE, and an unanswered one costs a second.)
    pub fn dtls_to(&self) -> Option<SocketAddr> {
        let latest = || {
            self.addresses
                .iter()
                .filter(|address| address.proven)
                .max_by_key(|address| address.heard)
        };
        self.selected().or_else(|| latest().map(|address| address.at))
    }

    /// The addresses by which packets find this peer, at most eight.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.iter().map(|address| address.at)
    }

    /// Sends the checks that are due: the first at once, then after 50, 100, 200 ms and so on for 5 s.
    ///
    /// `random` fills a buffer: 12 bytes for each new check, 8 once for the tie-breaker.
    pub fn poll(&mut self, now: Micros, random: &mut dyn FnMut(&mut [u8]), send: &mut dyn FnMut(SocketAddr, &[u8])) {
        self.checks.retain(|check| now < check.started + GIVE_UP);
        for check in self.checks.iter_mut().filter(|check| check.due <= now) {
            let tie_breaker = *self.tie_breaker.get_or_insert_with(|| {
                let mut bytes = [0; 8];
                random(&mut bytes);
                u64::from_be_bytes(bytes)
            });
            let transaction = check.transaction.get_or_insert_with(|| {
                let mut id = [0; 12];
                random(&mut id);
                id
            });
            let request = stun::Check {
                transaction,
                username: &self.remote_name,
                priority: CHECK_PRIORITY,
                tie_breaker,
            };
            self.out.clear();
            stun::write_binding_request(&mut self.out, &request, &mut self.remote_key);
            send(check.to, &self.out);
            check.due = now + check.wait;
            check.wait *= 2;
        }
    }

    /// When `poll` next has something to do.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.checks
            .iter()
            .map(|check| check.due.min(check.started + GIVE_UP))
            .min()
    }

    /// Makes `at` known and notes that it was heard of: whether it is new, and what was forgotten for it.
    fn hear(&mut self, now: Micros, at: SocketAddr) -> (bool, Option<SocketAddr>) {
        if let Some(address) = self.addresses.iter_mut().find(|address| address.at == at) {
            address.heard = now;
            return (false, None);
        }
        let mut forgotten = None;
        if self.addresses.len() >= MAX_ADDRESSES {
            let checks = &self.checks;
            let others = self.addresses.iter().enumerate().skip(usize::from(self.selected));
            let idle = others.filter(|(_, address)| !checks.iter().any(|check| check.to == address.at));
            if let Some((oldest, _)) = idle.min_by_key(|(_, address)| address.heard) {
                forgotten = Some(self.addresses.remove(oldest).at);
            }
        }
        self.addresses.push(Address {
            at,
            heard: now,
            proven: false,
            nominated: None,
            media: None,
            checked: None,
        });
        (true, forgotten)
    }

    /// The entry that `hear` has just made sure of.
    fn address(&mut self, at: SocketAddr) -> &mut Address {
        let index = self
            .addresses
            .iter()
            .position(|address| address.at == at)
            .expect("heard of");
        &mut self.addresses[index]
    }

    fn select(&mut self, at: SocketAddr) {
        let index = self
            .addresses
            .iter()
            .position(|address| address.at == at)
            .expect("heard of");
        self.addresses.swap(0, index);
        self.selected = true;
        self.checks.retain(|check| check.to != at);
        // Being selected for its media also outdoes nominations before that, and the other way round.
        let address = &mut self.addresses[0];
        let wanted = address.nominated.max(address.media);
        address.nominated = wanted;
        address.media = wanted;
    }

    /// Begins to check `at`, unless it is selected, being checked, or was checked a moment ago.
    fn want(&mut self, now: Micros, at: SocketAddr) {
        if self.selected() == Some(at) || self.checks.iter().any(|check| check.to == at) {
            return;
        }
        let address = self.address(at);
        if address.checked.map_or(false, |checked| now < checked + BETWEEN_CHECKS) {
            return;
        }
        if self.checks.len() >= MAX_CHECKS {
            let oldest = (0..self.checks.len()).min_by_key(|&index| self.checks[index].started);
            match oldest.filter(|&index| now >= self.checks[index].started + STALE) {
                Some(index) => drop(self.checks.swap_remove(index)),
                None => return,
            }
        }
        self.address(at).checked = Some(now);
        self.checks.push(OwnCheck {
            to: at,
            transaction: None,
            started: now,
            due: now,
            wait: FIRST_WAIT,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{for_seeds, hex, Random};
    use stun::StunError;

    const A: &str = "192.0.2.1:1000";
    const B: &str = "192.0.2.2:2000";
    const C: &str = "[2001:db8::3]:3000";
    const D: &str = "192.0.2.4:4000";

    fn at(text: &str) -> SocketAddr {
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
            stun::write_binding_request(&mut raw, &check, &mut HmacSha1::new(b"not yet"));
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

        fn answer(&self, check: &[u8], mapped: SocketAddr) -> Vec<u8> {
            let message = Message::parse(check).ok().unwrap();
            let mut key = HmacSha1::new(self.local.pwd.as_bytes());
            assert!(message.verify_integrity(&mut key) && message.has_fingerprint());
            assert_eq!(
                message.username(),
                Some(&*format!("{}:{}", self.local.ufrag, self.remote.ufrag))
            );
            assert!(message.ice_controlled().is_some() && message.priority() == Some(CHECK_PRIORITY));
            let mut raw = Vec::new();
            stun::write_binding_success(&mut raw, &message.transaction(), mapped, &mut key);
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
    fn sent(agent: &mut Agent, now: Micros) -> Vec<(SocketAddr, Vec<u8>)> {
        let (mut sent, mut seed) = (Vec::new(), Random::new(now));
        let mut random = |buf: &mut [u8]| buf.copy_from_slice(&seed.bytes(buf.len()));
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
        assert!(message.class() == Class::Success && message.xor_mapped_address() == Some(at(C)));
        assert!(message.verify_integrity(&mut HmacSha1::new(ours(1).pwd.as_bytes())) && message.has_fingerprint());
        assert_eq!(message.transaction(), [1; 12]);
    }

    #[test]
    fn a_check_alone_selects_nothing_and_the_first_nomination_does() {
        let (mut agent, mut browser) = pair();
        answered(&mut agent, 0, A, &browser.request(false));
        assert!(agent.selected().is_none() && agent.on_dtls(at(A)) && agent.dtls_to() == Some(at(A)));
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
            assert!(message.verify_integrity(&mut HmacSha1::new(ours(1).pwd.as_bytes())));
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
                respond(&mut agent, now, &to.to_string(), &browser.answer(&raw, to));
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
        stun::write_binding_success(&mut forged, &id, at(B), &mut HmacSha1::new(b"guessed"));
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
            .verify_integrity(&mut HmacSha1::new(ours(1).pwd.as_bytes())));
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
            if let RequestOutcome::Answered { forgotten: Some(_), .. } = request(&mut agent, port.into(), &from, &raw).0
            {
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
        for_seeds(150, |random| {
            let (mut agent, mut browser) = pair();
            let originals = [browser.request(false), browser.request(true)];
            answered(&mut agent, 0, A, &browser.request(true));
            for now in (0..100).map(|step| step * 40 * MS) {
                let from = at([A, B, C, D][random.below(4)]);
                let original = &originals[random.below(2)];
                let mut raw = random.mutate(original);
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
}
