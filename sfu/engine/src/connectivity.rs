//! STUN at the shard: which peer a check is for, and which addresses lead to which peer.

use crate::address::Address;
use crate::clock::Micros;
use crate::counters::Count;
use crate::ice::RequestOutcome;
use crate::peer::CONNECTED;
use crate::shard::Shard;
use crate::stun::{Class, Message};

impl Shard {
    pub(crate) fn stun(&mut self, now: Micros, from: Address, bytes: &[u8]) {
        self.counters.one(Count::StunIn);
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(_) => return self.counters.one(Count::DropStunMalformed),
        };
        let refused = if message.class() == Class::Request {
            self.binding_request(now, from, &message, bytes.len())
        } else {
            self.binding_response(now, from, &message)
        };
        if let Err(reason) = refused {
            self.counters.one(reason);
        }
    }

    /// `len`: of the whole request.
    fn binding_request(&mut self, now: Micros, from: Address, message: &Message<'_>, len: usize) -> Result<(), Count> {
        // Before integrity is known nothing is answered to whoever does not even know a user fragment.
        let ufrag = message.ufrag().ok_or(Count::DropStunUnknownUser)?;
        let place = self.place_of_ufrag(ufrag).ok_or(Count::DropStunUnknownUser)?;
        let known = self.place_of_address(from) == Some(place);
        if !self.may_try(now, from, place, known) {
            return Err(if known {
                Count::DropStunRate
            } else {
                Count::DropStrangerRate
            });
        }
        let mut response = std::mem::take(&mut self.scratch);
        let outcome = match self.peer_mut(place) {
            Some(peer) => peer.ice.on_request(now, from, message, &mut response),
            None => return Err(Count::DropStunUnknownUser),
        };
        if let RequestOutcome::Refused(_) = outcome {
            // Under a forged address, a longer answer would help whoever floods it.
            if response.len() > len {
                response.clear();
            }
            if !known {
                self.strangers.failed(now, from.ip());
            }
        }
        let sent = response.is_empty() || self.outbox.push(from, &response);
        self.scratch = response;
        if !sent {
            return Err(Count::DropOutboxFull);
        }
        match outcome {
            RequestOutcome::Refused(_) => Err(Count::DropStunRefused),
            RequestOutcome::Answered { nominated_first, .. } => {
                if !known {
                    self.learn_addresses(now, place);
                }
                if nominated_first {
                    self.path_chosen(now, place);
                }
                Ok(())
            }
        }
    }

    /// Whether a check or packet that names a peer is worth the cryptography. `known`: it comes from that peer's address.
    pub(crate) fn may_try(&mut self, now: Micros, from: Address, place: usize, known: bool) -> bool {
        let trusted = known || self.strangers.may_try(now, from.ip());
        self.peer_mut(place).map_or(false, |peer| {
            if known {
                peer.take_check(now)
            } else {
                peer.take_attempt(now, trusted)
            }
        })
    }

    fn binding_response(&mut self, now: Micros, from: Address, message: &Message<'_>) -> Result<(), Count> {
        let place = self.place_of_address(from).ok_or(Count::DropUnknownAddress)?;
        let selected = match self.peer_mut(place) {
            Some(peer) => peer.ice.on_response(now, from, message),
            None => false,
        };
        if selected {
            self.path_chosen(now, place);
        }
        Ok(())
    }

    /// Makes the shard's table of addresses say what the peer's agent says.
    pub(crate) fn learn_addresses(&mut self, now: Micros, place: usize) {
        let (former, present) = match self.peer_mut(place) {
            Some(peer) => {
                let present: Vec<Address> = peer.ice.addresses().collect();
                (std::mem::replace(&mut peer.addresses, present.clone()), present)
            }
            None => return,
        };
        for address in former {
            if self.by_address.get(&address) == Some(&place) {
                self.by_address.remove(&address);
            }
        }
        for address in present {
            if !self.is_in_use(now, address, place) {
                self.by_address.insert(address, place);
            }
        }
    }

    /// Whether an address is some peer's: one that has shown that it knows the credentials.
    pub fn knows(&self, address: Address) -> bool {
        self.by_address.contains_key(&address)
    }

    /// The connection to `address` has ended: media stops until another address has been found.
    pub fn closed(&mut self, now: Micros, address: Address) {
        let place = match self.place_of_address(address) {
            Some(place) => place,
            None => return,
        };
        if let Some(peer) = self.peer_mut(place) {
            if peer.ice.forget(address) {
                peer.rest();
            }
        }
        self.learn_addresses(now, place);
    }

    /// More waits for the connection to `address` than it takes (`full`), or it has room again. Pictures are left out
    /// meanwhile, and begin anew afterwards: late they would be worth nothing, and sound would have to wait for them.
    pub fn backlogged(&mut self, now: Micros, address: Address, full: bool) {
        let place = match self.place_of_address(address) {
            Some(place) => place,
            None => return,
        };
        if let Some(peer) = self.peer_mut(place) {
            peer.backlogged = Some(address).filter(|_| full);
            if full {
                peer.rest();
            }
        }
        if !full {
            self.ask_for_waiting(now, place);
        }
    }

    /// Whether media of another peer comes from `address`: a participant who forges it must not cut that peer off.
    fn is_in_use(&self, now: Micros, address: Address, place: usize) -> bool {
        self.place_of_address(address)
            .filter(|other| *other != place)
            .and_then(|other| self.peer(other))
            .map_or(false, |other| {
                // A check counts as well as media: whoever comes back after a silence begins with one.
                other.ice.selected() == Some(address) && other.srtp_in.is_some() && other.ice.heard(now, CONNECTED)
            })
    }
}
