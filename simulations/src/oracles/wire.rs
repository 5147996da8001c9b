//! The wire: every frame can be written within its limits, and reads back as it was. In the fleet the network driver
//! does that anyway; in the swarm nobody else would notice.

use crate::{
    observer::{Findings, Sight, Watch, Who},
    record::NodeId,
};
use pangea_protocols::{
    time::Time,
    wire::{Message, PRELUDE_BYTES, Prelude},
};

/// Writes and reads every frame.
pub struct Wire;

impl Watch for Wire {
    fn name(&self) -> &'static str {
        "wire"
    }

    fn see(&mut self, _: Time, node: Option<NodeId>, _: &Who, sight: Sight<'_>, findings: &mut Findings) {
        let Sight::Send { frame, .. } = sight else { return };
        let read = || -> Result<Message, String> {
            let head = frame.head().map_err(|error| error.to_string())?;
            let (prelude, header) = head.split_first_chunk::<PRELUDE_BYTES>().ok_or("too short")?;
            let prelude = Prelude::read(prelude).map_err(|error| error.to_string())?;
            Message::read(&prelude, header).map_err(|error| error.to_string())
        };
        let wrong = match read() {
            Ok(message) if message == frame.message => return,
            Ok(_) => "reads back as something else".to_owned(),
            Err(error) => error,
        };
        findings.violation(format!("a frame {} of node {node:?}: {wrong}", crate::chronicle::frame_label(frame)));
    }
}
