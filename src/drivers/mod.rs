//! Everything that touches the outside world, each behind the messages of `pangea_protocols`.

pub mod files;
