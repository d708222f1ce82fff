//! How many connections there may be, in all and from one address: [`Places`].

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

/// Bounds on connections that are open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections_max: usize,
    /// From one IPv4 address, or from one network of 64 bits of IPv6, which a single host can have all of. Not from loopback,
    /// where a proxy of this host may speak for all.
    pub connections_per_address_max: usize,
}

impl Default for Limits {
    /// A worker has one connection and an operator another for a moment: ten thousand workers, of which four thousand are
    /// behind one address. Each takes a file descriptor and some 100 KiB.
    fn default() -> Self {
        Self { connections_max: 16_384, connections_per_address_max: 4_096 }
    }
}

/// Counts what is open; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    of: IpAddr,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    /// A place for a connection from there, if there is one.
    pub(crate) fn take(&self, from: IpAddr) -> Option<Place> {
        let of = network(from);
        let mut taken = self.taken();
        if taken.all >= self.limits.connections_max {
            return None;
        }
        let by = taken.by.entry(of).or_default();
        if *by >= self.limits.connections_per_address_max && !of.is_loopback() {
            return None;
        }
        *by += 1;
        taken.all += 1;
        Some(Place { places: self.clone(), of })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().expect("nothing panics while it counts")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(by) = taken.by.get_mut(&self.of) {
            *by -= 1;
            if *by == 0 {
                taken.by.remove(&self.of);
            }
        }
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_takes_the_places_of_all_others_and_a_place_comes_back() {
        let places = Places::new(Limits { connections_max: 3, connections_per_address_max: 2 });
        let take = |text: &str| places.take(text.parse().expect("an address"));
        let (first, second) = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(first.is_some() && second.is_some() && take("2001:db8::3").is_none());
        let third = take("10.0.0.1");
        assert!(third.is_some() && take("10.0.0.2").is_none());
        drop(first);
        assert!(take("::ffff:10.0.0.1").is_some());
        assert!(take("127.0.0.1").is_some(), "a place that is not kept is free at once");
        drop((second, third));
        assert!(places.taken().by.is_empty() && places.taken().all == 0);
    }
}
