//! One peer's ICE: a lite agent (RFC 8445, section 2.5) that also finds out where media may be sent, without I/O.
//!
//! A lite agent only answers checks. That alone would let a participant point a room's media at a victim, with a
//! USE-CANDIDATE under a forged source address, and would lose a phone whose NAT rebinds. So: the first nominated
//! address is selected at once (the DTLS handshake proves it); any later one, nominated or seen as the source of
//! authenticated media, is selected after it has answered a check of ours; one that only sent a check never is.

use crate::address::Address;
use crate::clock::Micros;
use crate::crypto::HmacSha1;
use crate::stun::{self, Class, Message, Transaction};

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

/// One side's short-term credentials, of which `pwd` is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ufrag: String,
    pwd: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Credentials {
    /// Credentials whose characters and lengths are those of RFC 8839, section 5.4.
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

    /// The part that names its owner in USERNAME, and isn't secret.
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
        forgotten: Option<Address>,
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

struct Known {
    at: Address,
    heard: Micros,
    proven: bool, // sent a request or answered a check, with integrity
    nominated: Option<Micros>,
    media: Option<Micros>,
    checked: Option<Micros>,
}

struct OwnCheck {
    to: Address,
    transaction: Option<Transaction>, // none before it was first sent
    started: Micros,
    due: Micros,
    wait: Micros,
}

/// Where DTLS went before an address was selected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshake {
    None,
    One(Address),
    Several,
}

/// One peer's agent. All times are on the shard's monotonic axis and never go back.
pub struct Agent {
    local: Local,
    former: Option<Local>,
    remote_name: String, // USERNAME of our checks
    remote_key: HmacSha1,
    tie_breaker: Option<u64>,
    addresses: Vec<Known>, // the selected one first
    selected: bool,
    begun: bool, // an address has been selected before
    handshake: Handshake,
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
            begun: false,
            handshake: Handshake::None,
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
    pub fn on_request(&mut self, now: Micros, from: Address, message: &Message, out: &mut Vec<u8>) -> RequestOutcome {
        out.clear();
        let id = message.transaction();
        let mut refuse = |code: u16, key: Option<&HmacSha1>, why: Refusal| {
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
        if !message.verify_integrity(&local.key) {
            return refuse(401, None, Refusal::Integrity);
        }
        if message.unknown_required().next().is_some() {
            return refuse(420, Some(&local.key), Refusal::UnknownAttribute);
        }
        if message.ice_controlled().is_some() {
            return refuse(487, Some(&local.key), Refusal::RoleConflict);
        }
        local.used = true;
        stun::write_binding_success(out, &id, from.socket, &local.key);
        if current {
            self.former = None;
        }
        let (new_address, forgotten) = self.hear(now, from);
        // The handshake proves an address only if no part of it went elsewhere.
        let alone = self.handshake == Handshake::None || self.handshake == Handshake::One(from);
        let nominated_first = message.use_candidate() && !self.begun && alone;
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
    pub fn on_response(&mut self, now: Micros, from: Address, message: &Message) -> bool {
        let id = Some(message.transaction());
        let of = |check: &OwnCheck| check.transaction == id && check.to == from;
        let check = match self.checks.iter().position(of) {
            Some(check) if message.class() == Class::Success => check,
            _ => return false,
        };
        if !message.verify_integrity(&self.remote_key) {
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

    /// Notes that an authenticated, non-replayed SRTP or SRTCP packet came from `from` (tell it of every one; from
    /// the selected address it costs next to nothing, and a straggler from another is then known for one): when that isn't the selected
    /// address, it gets a check (a NAT has rebound, or a phone has changed networks without telling us yet).
    ///
    /// Returns the address that had to be forgotten for a new one.
    pub fn on_media(&mut self, now: Micros, from: Address) -> Option<Address> {
        if let Some(first) = self
            .addresses
            .first_mut()
            .filter(|first| first.at == from && self.selected)
        {
            first.heard = now;
            first.media = Some(now);
            return None;
        }
        let (_, forgotten) = self.hear(now, from);
        self.address(from).media = Some(now);
        self.want(now, from);
        forgotten
    }

    /// Whether DTLS from this address may be passed up: it has proven to know the credentials, or is selected.
    pub fn on_dtls(&self, from: Address) -> bool {
        self.addresses
            .iter()
            .any(|address| address.at == from && address.proven)
            || self.selected() == Some(from)
    }

    /// Where media and DTLS go.
    pub fn selected(&self) -> Option<Address> {
        self.addresses
            .first()
            .filter(|_| self.selected)
            .map(|address| address.at)
    }

    /// Where DTLS goes: the selected address, or before there is one the address last heard of that knows the
    /// credentials. (A ClientHello may overtake the first USE-CANDIDATE, and an unanswered one costs a second.)
    pub fn dtls_to(&mut self) -> Option<Address> {
        let latest = || {
            self.addresses
                .iter()
                .filter(|address| address.proven)
                .max_by_key(|address| address.heard)
        };
        if let Some(selected) = self.selected() {
            return Some(selected);
        }
        let to = latest()?.at;
        self.handshake = match self.handshake {
            Handshake::None => Handshake::One(to),
            Handshake::One(former) if former == to => Handshake::One(to),
            _ => Handshake::Several,
        };
        Some(to)
    }

    /// The connection to `at` has ended: nothing can be sent there any more. Another address follows by the rules of
    /// every later one; `true`: it was the selected one, so until then there is none.
    pub fn forget(&mut self, at: Address) -> bool {
        let selected = self.selected() == Some(at);
        self.selected &= !selected;
        self.addresses.retain(|address| address.at != at);
        self.checks.retain(|check| check.to != at);
        selected
    }

    /// Whether something authentic came from the selected address within `time`.
    pub fn heard(&self, now: Micros, time: Micros) -> bool {
        self.selected && self.addresses.first().map_or(false, |first| now < first.heard + time)
    }

    /// The addresses by which packets find this peer, at most eight.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.addresses.iter().map(|address| address.at)
    }

    /// Sends the checks that are due: the first at once, then after 50, 100, 200 ms and so on for 5 s.
    ///
    /// `random` fills a buffer: 12 bytes for each new check, 8 once for the tie-breaker.
    pub fn poll(&mut self, now: Micros, random: &mut dyn FnMut(&mut [u8]), send: &mut dyn FnMut(Address, &[u8])) {
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
            stun::write_binding_request(&mut self.out, &request, &self.remote_key);
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
    fn hear(&mut self, now: Micros, at: Address) -> (bool, Option<Address>) {
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
        self.addresses.push(Known {
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
    fn address(&mut self, at: Address) -> &mut Known {
        let index = self
            .addresses
            .iter()
            .position(|address| address.at == at)
            .expect("heard of");
        &mut self.addresses[index]
    }

    fn select(&mut self, at: Address) {
        let index = self
            .addresses
            .iter()
            .position(|address| address.at == at)
            .expect("heard of");
        self.addresses.swap(0, index);
        self.selected = true;
        self.begun = true;
        self.checks.retain(|check| check.to != at);
        // Being selected for its media also outdoes nominations before that, and the other way round.
        let address = &mut self.addresses[0];
        let wanted = address.nominated.max(address.media);
        address.nominated = wanted;
        address.media = wanted;
    }

    /// Begins to check `at`, unless it is selected, being checked, or was checked a moment ago.
    fn want(&mut self, now: Micros, at: Address) {
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
mod tests;
