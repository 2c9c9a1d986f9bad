//! Which address a client asked, on listeners of the wildcard address.
//!
//! An answer must leave from the address that was asked, or the client's NAT does not let it
//! in. To the server each address of such a listener is a listener of its own, numbered when
//! it is first asked: nothing has to be remembered for a client.

use std::net::{IpAddr, SocketAddr};

use parking_lot::RwLock;

use crate::server::ListenerId;

/// Addresses that can be told apart: more than hosts have. (A host that answers for a whole
/// network may have more; those are not served on the wildcard.)
const LOCALS_MAX: usize = 256;

/// The numbers of all workers; they agree, so that a client means the same to each.
#[derive(Debug)]
pub(super) struct Locals {
    /// The first number that is free.
    first: u16,
    numbered: RwLock<Vec<Local>>,
}

/// An address of the host that clients ask through a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// Which of the UDP listeners.
    pub(super) listener: usize,
    /// Which address.
    pub(super) ip: IpAddr,
}

impl Locals {
    /// `listeners` are numbered already.
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            first: u16::try_from(listeners).expect("the configuration bounds listeners"),
            numbered: RwLock::default(),
        }
    }

    fn number(&self, local: Local) -> Option<ListenerId> {
        let mut numbered = self.numbered.write();
        let position = numbered.iter().position(|other| *other == local);
        let index = position.unwrap_or_else(|| {
            if numbered.len() < LOCALS_MAX {
                numbered.push(local);
            }
            numbered.len() - 1
        });
        (numbered[index] == local).then(|| self.id(index))
    }

    fn id(&self, index: usize) -> ListenerId {
        ListenerId(self.first + u16::try_from(index).expect("bounded by LOCALS_MAX"))
    }
}

/// A worker's view: what it has met, without a lock.
#[derive(Debug, Default)]
pub(super) struct Met(Vec<(Local, ListenerId)>);

impl Met {
    /// The number of an address that was asked through a listener. `None`: there are too many.
    #[inline]
    pub(super) fn id(&mut self, all: &Locals, local: Local) -> Option<ListenerId> {
        if let Some((_, id)) = self.0.iter().find(|(other, _)| *other == local) {
            return Some(*id);
        }
        let id = all.number(local)?;
        self.0.push((local, id));
        Some(id)
    }

    /// What a number stands for, if it is one of those given here.
    #[inline]
    pub(super) fn local(&self, all: &Locals, id: ListenerId) -> Option<Local> {
        let index = id.0.checked_sub(all.first)?;
        let met = self.0.iter().find(|(_, other)| *other == id);
        // Another worker may have numbered it and passed its client on.
        met.map(|(local, _)| *local)
            .or_else(|| all.numbered.read().get(usize::from(index)).copied())
    }
}

/// Whether addresses have to be told apart on a listener.
pub(super) fn is_wildcard(address: SocketAddr) -> bool {
    address.ip().is_unspecified()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn workers_agree_on_numbers_and_there_are_so_many() {
        let all = Locals::new(3);
        let (mut one, mut two) = (Met::default(), Met::default());
        let local = |n: u32| Local {
            listener: (n % 2) as usize,
            ip: Ipv4Addr::from_bits(n).into(),
        };
        for n in 0..256 {
            let id = one.id(&all, local(n)).unwrap();
            assert_eq!(id, ListenerId(3 + u16::try_from(n).unwrap()));
            assert_eq!(two.local(&all, id), Some(local(n)), "not met yet");
            assert_eq!(two.id(&all, local(n)), Some(id));
            assert_eq!(one.local(&all, id), Some(local(n)));
        }
        assert_eq!(one.id(&all, local(256)), None);
        assert_eq!(one.local(&all, ListenerId(2)), None, "a listener of its own");
        assert_eq!(one.local(&all, ListenerId(259)), None);
    }
}
