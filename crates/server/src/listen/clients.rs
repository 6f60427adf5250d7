//! How many connections each client has, by its address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_serving::{MemoryBudget, MemoryShare};

/// The connections of every client that has some. A client may not have all of them: that would
/// lock out others, and health checks too.
pub(super) struct Clients {
    max_each: usize,
    memory: Arc<MemoryBudget>,
    memory_bytes_each: usize,
    connections: Mutex<HashMap<IpAddr, Client>>,
}

struct Client {
    connections: usize,
    /// What its requests may take together, on all its connections.
    memory: Arc<MemoryShare>,
}

impl Clients {
    /// Each client may have so many connections, and so many bytes of `memory`.
    pub(super) fn new(
        max_each: usize,
        memory: Arc<MemoryBudget>,
        memory_bytes_each: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            max_each,
            memory,
            memory_bytes_each,
            connections: Mutex::default(),
        })
    }

    /// Counts a connection of a client; `None` if it has as many as it may have.
    pub(super) fn connect(self: &Arc<Self>, address: IpAddr) -> Option<ClientPlace> {
        // One client, whichever of the two ports it came through.
        let address = network_of(address.to_canonical());
        let mut connections = self.connections.lock();
        let client = connections.entry(address).or_insert_with(|| Client {
            connections: 0,
            memory: self.memory.share(self.memory_bytes_each),
        });
        if client.connections >= self.max_each {
            return None;
        }
        client.connections += 1;
        Some(ClientPlace {
            clients: self.clone(),
            address,
            memory: client.memory.clone(),
        })
    }
}

/// The address of the client's network: with IPv6 a client has a whole network of 2^64 addresses.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
    }
}

/// A connection in the count of its client.
pub(super) struct ClientPlace {
    clients: Arc<Clients>,
    address: IpAddr,
    memory: Arc<MemoryShare>,
}

impl ClientPlace {
    /// What the requests of the client may take.
    pub(super) fn memory(&self) -> &Arc<MemoryShare> {
        &self.memory
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut connections = self.clients.connections.lock();
        if let Some(client) = connections.get_mut(&self.address) {
            client.connections -= 1;
            // Addresses without connections would pile up for ever.
            if client.connections == 0 {
                connections.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_serving::ErrorCode;

    use super::*;

    #[test]
    fn the_connections_of_a_client_share_its_memory() {
        let budget = MemoryBudget::new(100);
        let clients = Clients::new(8, budget.clone(), 75);
        let one = clients.connect("10.0.0.1".parse().unwrap()).unwrap();
        let again = clients.connect("10.0.0.1".parse().unwrap()).unwrap();
        let other = clients.connect("10.0.0.2".parse().unwrap()).unwrap();
        let mut memory = one.memory().begin();
        memory.grow(70, ErrorCode::BodyTooLarge).unwrap();
        let grow = |place: &ClientPlace| place.memory().begin().grow(10, ErrorCode::BodyTooLarge);
        assert_eq!(grow(&again).unwrap_err().code, ErrorCode::MemoryFull);
        grow(&other).unwrap();
    }

    #[test]
    fn a_client_leaves_places_to_others() {
        let clients = Clients::new(2, MemoryBudget::new(100), 75);
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let first = clients.connect(address);
        let second = clients.connect(mapped);
        assert!(first.is_some() && second.is_some());
        assert!(clients.connect(address).is_none());
        assert!(clients.connect("10.0.0.2".parse().unwrap()).is_some());
        let [one, two, three] = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];
        let held = [one, two].map(|address| clients.connect(address.parse().unwrap()));
        assert!(held.iter().all(Option::is_some));
        assert!(clients.connect(three.parse().unwrap()).is_none());
        drop(held);
        drop(first);
        assert!(clients.connect(address).is_some());
        drop(second);
        assert!(clients.connections.lock().is_empty());
    }
}
