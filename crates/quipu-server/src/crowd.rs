//! How many connections each address has. None gets all there are: the last quarter is for others, so that one machine that
//! opens as many as it can does not lock everybody out. Proxies, whose clients share an address, have room in the rest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::attempts::network;

/// Connections by address. As many entries as there are connections, at most.
pub(crate) struct Crowd {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection of an address; it is gone when this is dropped.
pub(crate) struct Member {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    /// Of so many connections in all.
    pub(crate) fn of(connections_max: usize) -> Arc<Self> {
        Arc::new(Self { most: connections_max - connections_max / 4, open: Mutex::default() })
    }

    /// How many connections one address may have.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// One more connection of an address; nothing if it has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Member> {
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&address).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        open.insert(address, count + 1);
        Some(Member { crowd: Arc::clone(self), address })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut open = self.crowd.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_is_for_others_and_who_is_gone_takes_no_memory() {
        let crowd = Crowd::of(8);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut first: Vec<_> = (0..6).map(|_| crowd.enter(address("1.2.3.4")).unwrap()).collect();
        assert!(crowd.enter(address("1.2.3.4")).is_none() && crowd.enter(address("::ffff:1.2.3.4")).is_none());
        let second = crowd.enter(address("1.2.3.5")).unwrap();
        first.pop();
        assert!(crowd.enter(address("1.2.3.4")).is_some());
        drop((first, second));
        assert!(crowd.open.lock().unwrap().is_empty());
        assert!((0..6).all(|n| crowd.enter(address(&format!("2001:db8::{n}"))).is_some()));
        assert_eq!(Crowd::of(1).most(), 1);
    }
}
