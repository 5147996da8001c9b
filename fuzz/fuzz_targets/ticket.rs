//! Text that reads as a ticket prints as one that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pangea_protocols::ticket::Ticket;

fuzz_target!(|text: &str| {
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string().parse(), Ok(ticket));
    }
});
