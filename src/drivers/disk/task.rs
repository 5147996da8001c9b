//! Which part of the disk a command is for: the writer or a reader.

use super::{reader::Request, writer::Job};
use pangea_protocols::disk::Command;

/// A command, sorted.
pub enum Task {
    /// It changes something.
    Job(Job),
    /// It does not.
    Request(Request),
}

impl From<Command> for Task {
    fn from(command: Command) -> Self {
        match command {
            Command::Append { tag, shard, meta, body } => Self::Job(Job::Append { tag, shard, meta, body }),
            Command::Delete { tag, owner, shards } => Self::Job(Job::Delete { tag, owner, shards }),
            Command::Expire { tag, now_unix } => Self::Job(Job::Expire { tag, now_unix }),
            Command::Read { tag, shard } => Self::Request(Request::Read { tag, shard }),
            Command::Contains { tag, shards } => Self::Request(Request::Contains { tag, shards }),
        }
    }
}

impl From<Task> for Command {
    fn from(task: Task) -> Self {
        match task {
            Task::Job(Job::Append { tag, shard, meta, body }) => Self::Append { tag, shard, meta, body },
            Task::Job(Job::Delete { tag, owner, shards }) => Self::Delete { tag, owner, shards },
            Task::Job(Job::Expire { tag, now_unix }) => Self::Expire { tag, now_unix },
            // Damage is found by a read.
            Task::Job(Job::Damaged { tag, shard, .. }) | Task::Request(Request::Read { tag, shard }) => {
                Self::Read { tag, shard }
            }
            Task::Request(Request::Contains { tag, shards }) => Self::Contains { tag, shards },
        }
    }
}
