//! How the cores of computations are made in all tiers.

use ed25519_dalek::SigningKey;
use pangea_compute::{Coordinator, Worker, worker};
use pangea_protocols::PeerId;
use pangea_sandbox::{Sandbox, pass, sandbox};

/// Workers of a node's sandbox, and tasks at once.
pub const WORKERS: u16 = 2;

/// As in production.
pub fn coordinator(key: &SigningKey) -> Coordinator {
    Coordinator::new(peer(key), key.clone(), pass::VERSION, Default::default())
}

/// As in production, on a small machine.
pub fn worker(key: &SigningKey) -> Worker {
    Worker::new(peer(key), key.clone(), worker::Limits { slots: WORKERS, ..worker::Limits::default() })
}

/// As in production, on a small machine.
pub fn sandbox() -> Sandbox {
    let slices_max = usize::from(WORKERS);
    Sandbox::new(sandbox::Config { slices_max, running_max: 4 * slices_max, ..sandbox::Config::default() })
}

fn peer(key: &SigningKey) -> PeerId {
    PeerId(key.verifying_key().to_bytes())
}
