@0xb5c1a4e07d2f9368;
# The control API of a Pangea node: how the command line, SDKs and other programs on the same machine ask a running node.
#
# Transport: Cap'n Proto two-party RPC over the Unix socket `<home>/control.sock` (see `src/control/address.rs`), mode 0600.
# Whoever may open the socket may do everything; there is no further login. The bootstrap capability is `Control`.
#
# Errors: a call that fails for a reason the user can act on returns `Answer.failed` with a kind (which has an exit code)
# and a message. RPC exceptions mean only a broken connection, a broken protocol, or a failed `ByteSink.write` (streaming
# calls cannot return anything; the job's last news then tells why).
#
# Limits: a `write` carries at most 262144 bytes; a list answers in pages of at most 256 objects; a directory's index
# in pages of at most 1024 entries; a connection has at most 64 running jobs, a node at most 64 connections.
#
# Ids travel in their text forms (`12D3KooW…`, `bafkr4i…`, `pangea:…#k=…`, multiaddrs), so that a client needs no codec.
#
# Compatibility: fields and methods are only ever added, at the end. After a change run `protocols/schema/generate.sh`.

interface Control {
  status @0 () -> (answer :Answer(Status));
  # What the node is and does.

  peers @1 () -> (answer :Answer(List(Peer)));
  # Known peers, connected ones first.

  addPeer @2 (peer :Text, addresses :List(Text)) -> (answer :Answer(Nothing));
  # Dials a peer and remembers it.

  ban @3 (peer :Text, reason :Text) -> (answer :Answer(Nothing));
  # Has no more to do with a peer.

  unban @4 (peer :Text) -> (answer :Answer(Nothing));
  # Takes a ban back.

  put @5 (source :Source, options :PutOptions) -> (answer :Answer(PutStarted));
  # Stores a file, directory or stream.

  get @6 (ticket :Text, selection :Selection, sink :Sink, options :GetOptions) -> (answer :Answer(Job));
  # Reads an object, or a part of it. The news `done` with a stream as sink comes after the last byte was written to it.

  info @7 (ticket :Text, options :GetOptions) -> (answer :Answer(Job));
  # Opens an object without reading it: the job's news are `opened`, for a directory `index`, and `done`.

  remove @8 (cid :Text, forget :Bool, detach :Bool) -> (answer :Answer(Job));
  # Asks the holders of a catalog entry to forget it, then forgets it here. With `forget` it leaves the catalog even if
  # holders cannot be reached.

  cancel @9 (job :UInt64) -> (answer :Answer(Nothing));
  # Cancels any job of the node, by the id that `Job.id` tells. Unknown ids are ignored.

  list @10 () -> (answer :Answer(Listing));
  # The catalog as it is now, newest first.

  find @11 (name :Text) -> (answer :Answer(Stored));
  # One catalog entry by CID, a unique beginning of a CID, or name.

  ticket @12 (cid :Text) -> (answer :Answer(Text));
  # A ticket for a catalog entry. It contains the read key: treat it as a secret.

  metrics @13 () -> (answer :Answer(Text));
  # In the Prometheus text format.

  shutdown @14 () -> (answer :Answer(Nothing));
  # Stops the node gracefully. Answered before it has stopped; the connection breaks when it has.

  computations @15 () -> (answer :Answer(Computations));
  # Jobs of WebAssembly on this node and its peers.

  installPlugin @16 (manifest :Text, module :Data) -> (answer :Answer(Installed));
  # Runs a plugin, or replaces the one of that name. Answered when it has started and is durable.

  removePlugin @17 (name :Text) -> (answer :Answer(Nothing));
  # Stops a plugin, and forgets it and what it kept.

  plugins @18 () -> (answer :Answer(List(Plugin)));
  # All plugins, by name.

  askPlugin @19 (name :Text, bytes :Data) -> (answer :Answer(Data));
  # Asks a plugin, or an actor that was added to the node.

  pluginLog @20 (name :Text) -> (answer :Answer(List(Line)));
  # What it has logged lately, oldest first.
}

interface Job {
  # A job that runs in the node. When the last reference to it is dropped, and so when its client disconnects, the job is
  # cancelled, unless it was started with `detach`.

  id @0 () -> (job :UInt64);
  # Its name within this run of the node.

  next @1 () -> (news :News);
  # Waits for the next news. After `done` or `failed` every further call answers `ended`. One call at a time.

  cancel @2 () -> ();
  # Asks the job to end; its last news is then `failed` with kind `interrupted`. Harmless when it has ended.
}

interface ByteSink {
  # Where a stream of bytes goes. Writes are taken in order; the flow control of streaming calls holds the writer back.

  write @0 (bytes :Data) -> stream;
  # At most 262144 bytes.

  end @1 () -> ();
  # The stream is complete. A sink that is dropped without `end` was cut short, and its job is cancelled.
}

interface Listing {
  # A snapshot of the catalog.

  next @0 () -> (answer :Answer(List(Stored)));
  # The next page; an empty one at the end.
}

struct Answer(T) {
  union {
    ok @0 :T;
    failed @1 :Failure;
  }
}

struct Nothing {}

struct Failure {
  kind @0 :FailureKind;
  message @1 :Text;
  # What happened, to which file or peer, and what to do.
}

enum FailureKind {
  failed @0;      # anything else; exit code 1
  usage @1;       # bad arguments; 2
  notFound @2;    # no such object, file or entry; 3
  unreachable @3; # peers cannot be reached, or did not answer in time; 4
  integrity @4;   # wrong key, wrong signature, or too many bad shards; 5
  denied @5;      # permission, or a peer's or operator's refusal; 6
  quota @6;       # quota or disk full; 7
  interrupted @7; # cancelled; 130
}

struct Status {
  peer @0 :Text;
  version @1 :Text;
  addresses @2 :List(Text);
  home @3 :Data;            # a path: the bytes of the operating system
  uptimeMs @4 :UInt64;
  peersConnected @5 :UInt32;
  objects @6 :UInt64;       # in the catalog
  jobs @7 :UInt32;          # that run
  chunks @8 :ChunkStore;
}

struct ChunkStore {
  # What this node stores for others.
  shards @0 :UInt64;
  diskBytes @1 :UInt64;
  freeBytes @2 :UInt64;     # on the file system
  reservedBytes @3 :UInt64; # promised to uploaders and not used yet
  quotaBytes @4 :UInt64;
  stored @5 :UInt64;        # shards since start
  served @6 :UInt64;        # shards since start
  refused @7 :UInt64;       # requests since start
}

struct Peer {
  peer @0 :Text;
  connected @1 :Bool;
  address @2 :Text;         # empty if unknown
  state @3 :Text;           # new, vetting, good, suspect, quarantined, banned
  reason @4 :Text;          # why it is in that state
  score @5 :Float64;        # 0 to 1
  rttUs @6 :UInt64 = 0xffffffffffffffff; # smoothed round-trip time; all ones if unknown
  bytesIn @7 :UInt64;       # verified bytes received from it
  bytesOut @8 :UInt64;      # bytes it signed for
  lastSeenUnix @9 :UInt64;  # seconds since 1970
}

struct Source {
  union {
    path @0 :Data;          # a file or directory of this machine, absolute: the bytes of the operating system
    stream @1 :Text;        # a stream that is fed to `PutStarted.feed`; the name to store it under, may be empty
    ticket @2 :Text;        # the content of a stored object: for computations only
  }
}

struct Sink {
  union {
    path @0 :Data;          # a file or directory of this machine, absolute: the bytes of the operating system
    stream @1 :ByteSink;    # gets the verified bytes in order, then `end`
  }
  overwrite @2 :Bool;       # a path that exists may be replaced
}

struct PutOptions {
  dataShards @0 :UInt8;     # 0: the node chooses both counts
  parityShards @1 :UInt8;
  profile @2 :Profile;
  leaseSeconds @3 :UInt64;  # how long holders keep it unless renewed
  detach @4 :Bool;          # the job goes on when its client goes away; not with a stream as source
}

enum Profile {
  balanced @0;
  fast @1;
  small @2;
}

struct GetOptions {
  timeoutMs @0 :UInt64 = 60000; # a job that does not move for this long fails
  detach @1 :Bool;          # the job goes on when its client goes away; not with a stream as sink
}

struct PutStarted {
  job @0 :Job;
  feed @1 :ByteSink;        # null unless the source is a stream
}

struct Selection {
  union {
    all @0 :Void;
    range :group {
      offset @1 :UInt64;
      len @2 :UInt64 = 0xffffffffffffffff; # all ones: to the end
    }
    entry @3 :List(Text);   # a file of a directory, or a directory with all below it: components of its path
  }
}

struct News {
  job @0 :UInt64;
  union {
    placed @1 :Placed;
    opened @2 :Opened;
    progress @3 :Progress;
    index @4 :IndexPage;
    done @5 :Outcome;
    failed @6 :Failure;
    ended @7 :Void;
  }
}

struct Placed {
  # Put: the code and the holders are chosen.
  dataShards @0 :UInt8;
  parityShards @1 :UInt8;
  holders @2 :List(Text);   # a peer appears once for each shard it gets per stripe
}

struct Opened {
  # Get: the manifest is open.
  name @0 :Text;
  directory @1 :Bool;
  rawLen @2 :UInt64;
  dataShards @3 :UInt8;
  parityShards @4 :UInt8;
}

struct Progress {
  # Durable progress: what is counted is safe.
  doneBytes @0 :UInt64;     # put: readable from the network; get: verified and written
  fullBytes @1 :UInt64;     # put: with all receipts
  totalBytes @2 :UInt64 = 0xffffffffffffffff; # all ones if unknown
  shards @3 :UInt64;        # put: receipts; get: received and verified
  healed @4 :UInt64;        # put: moved to another holder; get: bad or missing and replaced by others
  hedged @5 :UInt64;        # requests sent a second time because the first was slow
}

struct IndexPage {
  entries @0 :List(Entry);
  last @1 :Bool;            # no further page follows
}

struct Entry {
  path @0 :List(Text);      # components
  union {
    file :group {
      offset @1 :UInt64;
      len @2 :UInt64;
      executable @3 :Bool;
      modifiedUnix @4 :Int64;
    }
    directory @5 :Void;     # an empty one
  }
}

struct Outcome {
  union {
    put @0 :Stored;
    got :group {
      path @1 :Data;        # empty if streamed
      bytes @2 :UInt64;
      progress @3 :Progress;
    }
    removed :group {
      shards @4 :UInt64;
      unreachable @5 :List(Text); # peers that will forget when the lease ends
    }
  }
}

struct Stored {
  cid @0 :Text;
  key @1 :Data;             # the read key, 32 bytes: a secret
  name @2 :Text;
  directory @3 :Bool;
  rawBytes @4 :UInt64;      # plaintext, with a directory's index
  storedBytes @5 :UInt64;   # sent to holders, with parity and manifest copies
  stripes @6 :UInt64;
  dataShards @7 :UInt8;
  parityShards @8 :UInt8;
  holders @9 :List(Text);   # peers that signed for something, roots first
  missingShards @10 :UInt64; # without a receipt: 0 if all went well
  sealedUnix @11 :UInt64;   # seconds since 1970
  skipped @12 :UInt64;      # symbolic links and special files that were left out
}

interface Computations {
  # What the user of this node has computed. A computation belongs to the node, not to the client that began it: it goes on
  # when its client is gone, and in the next life of the node, unless its input was still being fed. It is named by 12
  # hexadecimal digits; calls take any unique beginning of them.

  run @0 (module :Module, input :Source, terms :Terms, timeoutMs :UInt64 = 60000) -> (answer :Answer(ComputationStarted));
  # Begins one. Of a stored object only the manifest is read now, if chunks are whole stripes of it: whoever runs a task
  # reads its part. That fails if nothing moves for the time given. Other objects are fed like a stream.

  list @1 () -> (answer :Answer(List(Computation)));
  # All that are kept, the newest first.

  watch @2 (name :Text) -> (answer :Answer(ComputationWatch));
  # One of them, as it changes.

  cancel @3 (name :Text) -> (answer :Answer(Nothing));
  # Ends one. Harmless when it has ended.

  remove @4 (name :Text) -> (answer :Answer(Nothing));
  # Forgets one that has ended, with its files.

  read @5 (name :Text, file :ComputationFile, sink :ByteSink) -> (answer :Answer(Nothing));
  # Writes one of its files to `sink`; answered after the last byte. Log and trace may be read while it runs.

  meter @6 () -> (answer :Answer(List(Metered)));
  # What was computed for whom, by peer, the latest first.
}

struct Metered {
  peer @0 :Text;
  by @1 :Work;              # what it has done for this node, and this node has accepted
  for @2 :Work;             # what this node has done for it, and signed for
  lastUnix @3 :UInt64;      # when the last of it was, seconds since 1970
}

struct Work {
  tasks @0 :UInt64;
  gas @1 :UInt64;
  inputBytes @2 :UInt64;
  outputBytes @3 :UInt64;
  refused @4 :UInt64;       # refusals
  wrong @5 :UInt64;         # jobs in which it was caught with a wrong result
}

interface ComputationWatch {
  next @0 () -> (computation :Computation);
  # Answers at once the first time and when it has ended, else when something has changed.
}

struct Module {
  union {
    path @0 :Data;          # a file of this machine, absolute: the bytes of the operating system
    bytes @1 :Data;         # at most 4 MiB
  }
  name @2 :Text;            # for its user
}

struct Terms {
  cut :union {
    whole @0 :Void;         # one chunk
    bytes @1 :UInt64;       # every so many bytes
    lines @2 :UInt64;       # whole lines, as many as fit into so many bytes
    records :group {
      record @3 :UInt64;    # bytes of one
      chunk @4 :UInt64;     # as many as fit into so many bytes
    }
  }
  split @5 :Bool;           # the module cuts the input
  merge @6 :Bool;           # the module joins the outputs
  verification :union {
    audit @7 :UInt16;       # so many of 1000 results are run again elsewhere
    quorum @8 :UInt8;       # so many hosts must agree on every result
    none @9 :Void;
  }
  priority @10 :UInt8 = 8;  # higher goes first
  timeoutMs @11 :UInt64 = 0xffffffffffffffff; # all ones: none
  gas @12 :UInt64;          # of every task
  memoryBytes @13 :UInt64;
  tableElements @14 :UInt32;
  stackSlots @15 :UInt32;
  outputBytes @16 :UInt32;
  logBytes @17 :UInt32;
  depth @18 :UInt8;         # how often tasks may be passed on from node to node
}

struct ComputationStarted {
  computation @0 :Computation;
  feed @1 :ByteSink;        # null unless the input is to be fed; dropped without `end` it ends the computation
}

enum ComputationState {
  receiving @0;             # its input is on its way
  running @1;               # or waiting for others
  done @2;
  failed @3;
  cancelled @4;
}

enum ComputationFile {
  output @0;
  receipt @1;
  log @2;                   # lines of JSON
  trace @3;                 # lines of JSON
}

struct Computation {
  name @0 :Text;
  module @1 :Text;          # BLAKE3, hexadecimal
  moduleName @2 :Text;
  inputName @3 :Text;
  inputBytes @4 :UInt64;
  chunks @5 :UInt32;
  terms @6 :Terms;
  state @7 :ComputationState;
  ahead @8 :UInt32 = 0xffffffff; # computations that go first; all ones unless it waits
  progress @9 :ComputationProgress;
  outputBytes @10 :UInt64;
  failure @11 :Failure;     # null unless it failed or was cancelled
  submittedUnix @12 :UInt64; # seconds since 1970
  endedUnix @13 :UInt64 = 0xffffffffffffffff; # all ones: not yet
  tookMs @14 :UInt64 = 0xffffffffffffffff; # all ones: not yet, or the node was started again meanwhile
}

struct ComputationProgress {
  stage @0 :Text;           # split, execute or merge; empty before the first
  done @1 :UInt32;          # tasks that are accepted, and kept: of all stages so far
  total @2 :UInt32;
  running @3 :UInt32;       # tasks that hosts have
  hosts @4 :UInt32;         # that compute, this node among them
  executions @5 :UInt64;    # results that have come
  audited @6 :UInt64;       # results that were run again to be checked
  retried @7 :UInt64;       # tasks that were given out again
  restored @8 :UInt32;      # tasks that an earlier life of the node had done
  speculated @9 :UInt64;    # second copies of late tasks
  banned @10 :UInt32;       # hosts that gave wrong results
  busyHosts @11 :UInt32;    # hosts that are full
  busyWaiting @12 :UInt32;  # tasks that wait at the one of them that has fewest
  etaMs @13 :UInt64 = 0xffffffffffffffff; # until the end of the stage; all ones if unknown
  readBytes @14 :UInt64;    # of inputs that hosts read from stored objects themselves, checks included
  ownBytes @15 :UInt64;     # of these, from their own disks, as they say
}

struct Installed {
  plugin @0 :Plugin;
  replaced @1 :Text;        # the version that it replaced; empty if it is new
}

struct Plugin {
  name @0 :Text;
  version @1 :Text;
  about @2 :Text;
  commands @3 :List(Command); # what it can be asked; none: anything
  capabilities @4 :List(Text); # what it may do beside computing
  state @5 :Text;           # starting, running, pausing, disabled
  waiting @6 :UInt64;       # events in its mailbox
  handled @7 :UInt64;       # events
  dropped @8 :UInt64;       # messages of peers that found its mailbox full
  restarts @9 :UInt64;
  gas @10 :UInt64;          # of all calls
  busyUs @11 :UInt64;       # time of all calls
  memoryBytes @12 :UInt64;  # after the last call
  snapshotBytes @13 :UInt64;
  failure @14 :Text;        # why it failed the last time; empty if it has not
}

struct Command {
  name @0 :Text;
  about @1 :Text;
}

struct Line {
  level @0 :UInt8;          # 0 error, 1 warning, 2 information, 3 and more for debugging
  text @1 :Text;
}
