//! The files driver on a real file system: what goes in comes out, and nothing is written anywhere else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use futures::FutureExt;
use pangea::drivers::files::{FilesDriver, FilesHandle, Options};
use pangea_kernel::{Port, Rejected};
use pangea_protocols::{
    JobId,
    codec::{self, Limit},
    files::{Command, Event, Layout, Sink, Source},
    job::{ErrorKind, JobError},
    manifest::{DirectoryIndex, Entry, EntryKind, Kind},
};
use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, TrySendError, sync_channel},
    time::Duration,
};

struct Rig {
    commands: Port<Command>,
    events: Receiver<Event>,
    handle: FilesHandle,
    dir: tempfile::TempDir,
}

fn rig() -> Rig {
    let (send, events) = sync_channel(4);
    let port = Port::new(move |event| {
        send.try_send(event).map_err(|error| match error {
            TrySendError::Full(event) => Rejected::Full(event),
            TrySendError::Disconnected(event) => Rejected::Closed(event),
        })
    });
    let (commands, handle) = FilesDriver::start(port, Options::default()).unwrap();
    Rig { commands, events, handle, dir: tempfile::tempdir().unwrap() }
}

impl Rig {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tell(&self, command: Command) {
        self.commands.send(command).unwrap();
    }

    fn next(&self) -> Event {
        self.events.recv_timeout(Duration::from_secs(30)).expect("an event")
    }

    fn failure(&self) -> JobError {
        match self.next() {
            Event::Failed { error, .. } => error,
            other => panic!("{other:?}"),
        }
    }

    /// Reads all of a source in pieces of `piece` bytes.
    fn put(&self, job: u64, path: &Path, piece: u32) -> Result<(Kind, Vec<u8>, u64), JobError> {
        let job = JobId(job);
        self.tell(Command::OpenSource { job, source: Source::Path(path.to_owned()) });
        let (kind, len, skipped) = match self.next() {
            Event::SourceOpened { kind, len, skipped, .. } => (kind, len.unwrap(), skipped),
            Event::Failed { error, .. } => return Err(error),
            other => panic!("{other:?}"),
        };
        let mut content = Vec::new();
        loop {
            self.tell(Command::Read { job, offset: content.len() as u64, len: piece });
            match self.next() {
                Event::Read { bytes, .. } => {
                    content.extend_from_slice(&bytes);
                    if bytes.len() < piece as usize {
                        break;
                    }
                }
                Event::Failed { error, .. } => return Err(error),
                other => panic!("{other:?}"),
            }
        }
        self.tell(Command::Close { job });
        assert_eq!(len, content.len() as u64);
        Ok((kind, content, skipped))
    }

    fn open_sink(
        &self,
        job: u64,
        path: &Path,
        overwrite: bool,
        layout: Layout,
        start: u64,
    ) -> Result<PathBuf, JobError> {
        let sink = Sink::Path { path: path.to_owned(), overwrite };
        self.tell(Command::OpenSink { job: JobId(job), sink, name: "its own name".to_owned(), layout, start });
        match self.next() {
            Event::SinkOpened { path, .. } => Ok(path.unwrap()),
            Event::Failed { error, .. } => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn write(&self, job: u64, offset: u64, bytes: &[u8]) -> Result<(), JobError> {
        self.tell(Command::Write { job: JobId(job), offset, bytes: Bytes::copy_from_slice(bytes) });
        match self.next() {
            Event::Written { offset: at, len, .. } => {
                assert_eq!((at, len as usize), (offset, bytes.len()));
                Ok(())
            }
            Event::Failed { error, .. } => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn finish(&self, job: u64) -> Result<(), JobError> {
        self.tell(Command::Finish { job: JobId(job) });
        let result = match self.next() {
            Event::Finished { .. } => Ok(()),
            Event::Failed { error, .. } => Err(error),
            other => panic!("{other:?}"),
        };
        self.tell(Command::Close { job: JobId(job) });
        result
    }

    /// Writes `content` in pieces.
    fn get(&self, job: u64, path: &Path, overwrite: bool, layout: Layout, content: &[u8]) -> Result<PathBuf, JobError> {
        let path = self.open_sink(job, path, overwrite, layout, 0)?;
        for (n, piece) in content.chunks(1000).enumerate() {
            self.write(job, n as u64 * 1000, piece)?;
        }
        self.finish(job).map(|()| path)
    }

    /// Waits until all that was sent is carried out: a job of the same worker answers.
    fn settle(&self, job: u64) {
        let job = JobId(job + 1_000_000);
        self.tell(Command::Read { job, offset: 0, len: 1 });
        assert!(matches!(self.next(), Event::Failed { .. }));
    }
}

fn plain() -> Layout {
    Layout::File { executable: false, modified_unix: 1_700_000_000 }
}

fn file(path: &[&str], offset: u64, len: u64) -> Entry {
    let kind = EntryKind::File { offset, len, executable: false, modified_unix: 1_700_000_000 };
    Entry { path: path.iter().map(|name| (*name).to_owned()).collect(), kind }
}

fn tree(entries: Vec<Entry>) -> Layout {
    Layout::Directory(DirectoryIndex { entries })
}

fn index(kind: &Kind, content: &[u8]) -> DirectoryIndex {
    let Kind::Directory { index_len } = kind else { panic!("{kind:?}") };
    codec::decode(&content[content.len() - *index_len as usize..], Limit::Local).unwrap()
}

/// All names below a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                dirs.push(path);
            }
        }
    }
    names.sort();
    names
}

#[test]
fn a_file_comes_back_with_its_bytes_mode_and_time() {
    let rig = rig();
    for (n, len) in [0usize, 1, 999, 1000, 1001, 123_456].into_iter().enumerate() {
        let (from, to) = (rig.path(&format!("from{n}")), rig.path(&format!("to{n}")));
        let bytes: Vec<u8> = (0..len).map(|byte| (byte * 7) as u8).collect();
        fs::write(&from, &bytes).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o755)).unwrap();
        let (kind, content, _) = rig.put(n as u64, &from, 1000).unwrap();
        let Kind::File { executable: true, modified_unix } = kind else { panic!("{kind:?}") };
        assert_eq!(content, bytes);
        let layout = Layout::File { executable: true, modified_unix: modified_unix - 1000 };
        assert_eq!(rig.get(n as u64, &to, false, layout, &content).unwrap(), to);
        let meta = fs::metadata(&to).unwrap();
        assert_eq!((fs::read(&to).unwrap(), meta.mtime()), (bytes, modified_unix - 1000));
        assert!(meta.mode() & 0o100 != 0 && meta.mode() & 0o7002 == 0, "{:o}", meta.mode());
    }
    assert_eq!(names(rig.dir.path()).len(), 12, "no part is left");
}

#[test]
fn a_directory_comes_back_sorted_with_empty_files_and_directories_and_without_links() {
    let rig = rig();
    let from = rig.path("from");
    for dir in ["b/deep/deeper", "a", "empty/inside", "ö"] {
        fs::create_dir_all(from.join(dir)).unwrap();
    }
    for (name, len) in [("b/deep/deeper/x", 5000), ("b/y", 1), ("a/zero", 0), ("a.txt", 2500), ("ö/日本", 7)] {
        fs::write(from.join(name), vec![name.len() as u8; len]).unwrap();
    }
    symlink("/etc/passwd", from.join("link")).unwrap();
    symlink("/etc", from.join("b/linked-directory")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(from.join("pipe")).status().unwrap().success());
    let (kind, content, skipped) = rig.put(1, &from, 777).unwrap();
    assert_eq!(skipped, 3);
    let index = index(&kind, &content);
    assert!(index.entries.windows(2).all(|pair| pair[0].path < pair[1].path));
    assert_eq!(rig.put(2, &from, 4096).unwrap().1, content, "twice the same");
    let to = rig.path("to");
    rig.get(3, &to, false, Layout::Directory(index), &content).unwrap();
    let expected = names(&from).into_iter().filter(|name| !name.contains("link") && name != "pipe").collect::<Vec<_>>();
    assert_eq!(names(&to), expected);
    for name in expected.iter().filter(|name| from.join(name).is_file()) {
        assert_eq!(fs::read(from.join(name)).unwrap(), fs::read(to.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn what_cannot_be_stored_is_named() {
    let rig = rig();
    symlink("/etc/passwd", rig.path("link")).unwrap();
    fs::create_dir(rig.path("dir")).unwrap();
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"b\xff");
    fs::write(rig.path("dir").join(odd), "x").unwrap();
    for (name, kind) in [("nothing", ErrorKind::NotFound), ("link", ErrorKind::Usage), ("dir", ErrorKind::Failed)] {
        let error = rig.put(1, &rig.path(name), 10).unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.message.contains(name), "{error}");
        rig.tell(Command::Close { job: JobId(1) });
    }
    assert_eq!(rig.put(1, Path::new("relative"), 10).unwrap_err().kind, ErrorKind::Usage);
}

#[test]
fn an_unreadable_file_in_a_directory_is_named_before_anything_is_read_unless_root_runs_this() {
    let rig = rig();
    fs::create_dir(rig.path("dir")).unwrap();
    fs::write(rig.path("dir/secret"), "x").unwrap();
    fs::set_permissions(rig.path("dir/secret"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(rig.path("dir/secret")).is_ok() {
        return;
    }
    let error = rig.put(1, &rig.path("dir"), 10).unwrap_err();
    assert!(error.kind == ErrorKind::Denied && error.message.contains("dir/secret"), "{error}");
}

#[test]
fn a_file_that_changes_while_it_is_read_fails_the_job() {
    type Change = fn(&Path);
    let changes: [Change; 3] = [
        |path| fs::File::options().write(true).open(path).unwrap().set_len(1500).unwrap(),
        |path| {
            fs::write(path.with_extension("new"), vec![0; 4000]).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        },
        |path| fs::File::options().write(true).open(path).unwrap().write_all_at(b"more", 4000).unwrap(),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let (rig, job) = (rig(), JobId(1));
        let path = rig.path("dir/victim");
        fs::create_dir(rig.path("dir")).unwrap();
        fs::write(&path, vec![7; 4000]).unwrap();
        // In a directory nothing is open yet when the change comes.
        let source = Source::Path(if n == 1 { rig.path("dir") } else { path.clone() });
        rig.tell(Command::OpenSource { job, source });
        assert!(matches!(rig.next(), Event::SourceOpened { .. }));
        change(&path);
        rig.tell(Command::Read { job, offset: 0, len: 4000 });
        let error = rig.failure();
        assert!(error.message.contains("victim") && error.message.contains("changed"), "{error}");
    }
}

#[test]
fn no_name_in_an_object_leads_out_of_its_directory() {
    let rig = rig();
    for name in ["..", ".", "", "/etc/x", "../x", "a/b", "nul\0"] {
        let error = rig.open_sink(1, &rig.path("out"), true, tree(vec![file(&["ok", name], 0, 1)]), 0).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Integrity, "{name:?}");
        rig.tell(Command::Close { job: JobId(1) });
    }
    // An object's own name is used when the user names a directory to put it in.
    let sink = Sink::Path { path: rig.path(""), overwrite: true };
    let name = "../escaped".to_owned();
    rig.tell(Command::OpenSink { job: JobId(1), sink, name, layout: plain(), start: 0 });
    assert_eq!(rig.failure().kind, ErrorKind::Integrity);
    assert!(names(rig.dir.path()).is_empty());
}

#[test]
fn a_symbolic_link_in_the_way_is_never_written_through() {
    let rig = rig();
    let outside = rig.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    let out = rig.path("out");
    fs::create_dir(&out).unwrap();
    symlink(&outside, out.join("sub")).unwrap();
    let error = rig.get(1, &out, true, tree(vec![file(&["sub", "kept"], 0, 4)]), b"evil").unwrap_err();
    assert!(error.kind == ErrorKind::Denied && error.message.contains("link"), "{error}");
    let error = rig.get(2, &out.join("sub"), true, tree(vec![file(&["kept"], 0, 4)]), b"evil").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    // A link that is the target itself is replaced, not followed.
    symlink(outside.join("kept"), rig.path("alias")).unwrap();
    rig.get(3, &rig.path("alias"), true, plain(), b"new!").unwrap();
    assert!(!rig.path("alias").symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    assert_eq!(names(&outside), ["kept"]);
    assert_eq!(names(&out), ["sub"], "no part is left");
}

#[test]
fn a_link_planted_in_the_unfinished_tree_does_not_redirect_it() {
    let rig = rig();
    let outside = rig.path("outside");
    fs::create_dir(&outside).unwrap();
    let layout = tree(vec![file(&["a"], 0, 4), file(&["sub", "b"], 4, 4)]);
    rig.open_sink(5, &rig.path("out"), false, layout, 0).unwrap();
    rig.write(5, 0, b"aaaa").unwrap();
    symlink(&outside, rig.path(".out.pangea-part-5/sub")).unwrap();
    assert_eq!(rig.write(5, 4, b"evil").unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(names(rig.dir.path()), ["outside"], "the failed tree is gone, the link's target is not");
}

#[test]
fn what_exists_is_only_replaced_when_asked_at_the_beginning_and_at_the_end() {
    let rig = rig();
    let (path, dir) = (rig.path("there"), rig.path("dir"));
    fs::write(&path, "old").unwrap();
    fs::create_dir(&dir).unwrap();
    let layouts = || [(path.clone(), plain()), (dir.clone(), tree(vec![])), (path.clone(), tree(vec![]))];
    for (path, layout) in layouts() {
        let error = rig.open_sink(1, &path, false, layout, 0).unwrap_err();
        assert!(error.kind == ErrorKind::Denied && error.message.contains("--force"), "{error}");
        rig.tell(Command::Close { job: JobId(1) });
    }
    assert_eq!(rig.open_sink(1, &path, true, tree(vec![]), 0).unwrap_err().kind, ErrorKind::Denied);
    rig.tell(Command::Close { job: JobId(1) });
    for (name, layout) in [("late", plain()), ("late-dir", tree(vec![file(&["x"], 0, 1)]))] {
        rig.open_sink(2, &rig.path(name), false, layout, 0).unwrap();
        rig.write(2, 0, b"x").unwrap();
        fs::write(rig.path(name), "somebody else's").unwrap();
        assert_eq!(rig.finish(2).unwrap_err().kind, ErrorKind::Denied);
        assert_eq!(fs::read_to_string(rig.path(name)).unwrap(), "somebody else's");
    }
    rig.get(3, &path, true, plain(), b"new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(names(rig.dir.path()), ["dir", "late", "late-dir", "there"]);
}

#[test]
fn a_directory_is_merged_into_an_existing_one_only_with_force_and_keeps_what_it_does_not_replace() {
    let rig = rig();
    let out = rig.path("out");
    fs::create_dir_all(out.join("sub")).unwrap();
    fs::write(out.join("sub/old"), "old").unwrap();
    fs::write(out.join("sub/mine"), "mine").unwrap();
    let mut entries = vec![file(&["new", "x"], 0, 3), file(&["sub", "old"], 3, 3)];
    entries.insert(0, Entry { path: vec!["empty".into()], kind: EntryKind::Directory });
    rig.get(1, &out, true, tree(entries), b"xxxnew-and-the-index").unwrap();
    rig.settle(1);
    assert_eq!(names(&out), ["empty", "new", "new/x", "sub", "sub/mine", "sub/old"]);
    assert_eq!(fs::read_to_string(out.join("sub/old")).unwrap(), "new");
}

#[test]
fn a_file_goes_into_a_directory_that_the_user_names_under_its_own_name() {
    let rig = rig();
    let path = rig.get(1, rig.dir.path(), false, plain(), b"x").unwrap();
    assert_eq!(path, rig.path("its own name"));
    let path = rig.get(2, &rig.path("new-name"), false, tree(vec![]), b"").unwrap();
    assert_eq!(path, rig.path("new-name"));
    let slash = PathBuf::from(format!("{}/", rig.path("new-name").display()));
    assert_eq!(rig.get(3, &slash, false, tree(vec![]), b"").unwrap(), rig.path("new-name/its own name"));
    assert_eq!(rig.get(4, &rig.path("no/such"), false, plain(), b"").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_range_is_written_from_its_own_beginning() {
    let rig = rig();
    rig.open_sink(1, &rig.path("range"), false, plain(), 5_000_000).unwrap();
    rig.write(1, 5_000_000, b"abc").unwrap();
    rig.write(1, 5_000_003, b"def").unwrap();
    rig.finish(1).unwrap();
    assert_eq!(fs::read(rig.path("range")).unwrap(), b"abcdef");
    let layout = tree(vec![file(&["d", "one"], 700, 2), file(&["d", "two"], 702, 2)]);
    rig.open_sink(2, &rig.path("entry"), false, layout, 690).unwrap();
    rig.write(2, 690, b"----------onetwo").unwrap();
    rig.finish(2).unwrap();
    assert_eq!(fs::read(rig.path("entry/d/one")).unwrap(), b"on");
    assert_eq!(fs::read(rig.path("entry/d/two")).unwrap(), b"et");
}

#[test]
fn an_object_that_ends_early_is_no_result() {
    let rig = rig();
    let error = rig.get(1, &rig.path("out"), false, tree(vec![file(&["x"], 0, 10)]), b"short").unwrap_err();
    assert!(error.kind == ErrorKind::Integrity && error.message.contains("out/x"), "{error}");
    assert!(names(rig.dir.path()).is_empty());
}

#[test]
fn a_cancelled_job_leaves_nothing_behind_and_unfinished_work_is_private() {
    let rig = rig();
    fs::create_dir(rig.path("merged")).unwrap();
    let entries = || tree(vec![file(&["a", "b"], 0, 100)]);
    for (job, name, overwrite, layout) in
        [(1, "file", false, plain()), (2, "dir", false, entries()), (3, "merged", true, entries())]
    {
        rig.open_sink(job, &rig.path(name), overwrite, layout, 0).unwrap();
        rig.write(job, 0, b"half").unwrap();
    }
    let parts = names(rig.dir.path()).into_iter().filter(|name| name.contains("pangea-part")).collect::<Vec<_>>();
    assert!(parts.len() >= 3, "{parts:?}");
    for part in [".file.pangea-part-1", ".dir.pangea-part-2", "merged/.merged.pangea-part-3"] {
        assert_eq!(fs::metadata(rig.path(part)).unwrap().mode() & 0o077, 0, "{part}");
    }
    for job in [1, 2, 3] {
        rig.tell(Command::Close { job: JobId(job) });
        rig.settle(job);
    }
    assert_eq!(names(rig.dir.path()), ["merged"]);
}

#[test]
fn the_end_of_the_driver_removes_unfinished_work_and_leftovers_of_a_crash_are_stepped_over() {
    let rig = rig();
    fs::write(rig.path(".x.pangea-part-1"), "left by a crash").unwrap();
    rig.open_sink(1, &rig.path("x"), false, plain(), 0).unwrap();
    assert!(rig.path(".x.pangea-part-1-1").exists());
    rig.handle.shutdown();
    assert_eq!(names(rig.dir.path()), [".x.pangea-part-1"]);
    assert!(matches!(rig.commands.send(Command::Finish { job: JobId(1) }), Err(Rejected::Closed(_))));
}

#[test]
fn jobs_run_side_by_side() {
    let rig = rig();
    let jobs = 40u64;
    for job in 0..jobs {
        rig.open_sink(job, &rig.path(&format!("f{job}")), false, plain(), 0).unwrap();
    }
    for offset in 0..20u64 {
        for job in 0..jobs {
            rig.write(job, offset * 100, &[job as u8; 100]).unwrap();
        }
    }
    (0..jobs).for_each(|job| rig.finish(job).unwrap());
    for job in 0..jobs {
        assert_eq!(fs::read(rig.path(&format!("f{job}"))).unwrap(), vec![job as u8; 2000]);
    }
}

#[test]
fn a_fed_stream_is_read_in_full_pieces_and_a_feed_waits_while_nobody_reads() {
    let (rig, job) = (rig(), JobId(3));
    let mib = |byte: u8| Bytes::from(vec![byte; 1 << 20]);
    // Fed before it is opened: it waits.
    for byte in 0..4 {
        assert_eq!(rig.handle.feed(job, mib(byte)).now_or_never(), Some(Ok(())));
    }
    let mut fifth = Box::pin(rig.handle.feed(job, mib(4)));
    assert_eq!(fifth.as_mut().now_or_never(), None, "4 MiB are unread");
    rig.tell(Command::OpenSource { job, source: Source::Stream { name: "stdin".into() } });
    assert!(matches!(rig.next(), Event::SourceOpened { len: None, .. }));
    rig.tell(Command::Read { job, offset: 0, len: 1_500_000 });
    let Event::Read { offset: 0, bytes, .. } = rig.next() else { panic!() };
    assert_eq!((bytes.len(), bytes[0], bytes[1_499_999]), (1_500_000, 0, 1));
    futures::executor::block_on(fifth).unwrap();
    rig.tell(Command::Read { job, offset: 1_500_000, len: 4_000_000 });
    rig.handle.finish_feed(job);
    let Event::Read { bytes, .. } = rig.next() else { panic!() };
    assert_eq!(bytes.len(), (5 << 20) - 1_500_000, "what is left, at the end");
    rig.tell(Command::Close { job });
    rig.settle(3);
    assert!(futures::executor::block_on(rig.handle.feed(job, mib(9))).is_err());
}

#[test]
fn a_client_that_fails_fails_its_job_and_a_job_that_is_closed_ends_its_client() {
    let rig = rig();
    rig.tell(Command::OpenSource { job: JobId(1), source: Source::Stream { name: String::new() } });
    rig.next();
    rig.handle.fail_feed(JobId(1), JobError::new(ErrorKind::Interrupted, "client is gone"));
    assert_eq!(rig.failure().message, "client is gone");
    let sink = |job| Command::OpenSink { job, sink: Sink::Stream, name: String::new(), layout: plain(), start: 0 };
    rig.tell(sink(JobId(2)));
    rig.next();
    let mut waiting = Box::pin(rig.handle.drain(JobId(2)));
    assert_eq!(waiting.as_mut().now_or_never(), None);
    rig.tell(Command::Close { job: JobId(2) });
    assert_eq!(futures::executor::block_on(waiting).unwrap_err().kind, ErrorKind::Interrupted);
    rig.tell(sink(JobId(3)));
    rig.next();
    rig.handle.fail_drain(JobId(3), JobError::new(ErrorKind::Interrupted, "pipe closed"));
    assert_eq!(rig.failure().message, "pipe closed");
}

#[test]
fn a_drained_stream_is_written_only_when_the_client_took_it() {
    let (rig, job) = (rig(), JobId(4));
    rig.tell(Command::OpenSink { job, sink: Sink::Stream, name: String::new(), layout: plain(), start: 100 });
    assert_eq!(rig.next(), Event::SinkOpened { job, path: None });
    for (offset, bytes) in [(100, "hello "), (106, "world")] {
        rig.tell(Command::Write { job, offset, bytes: bytes.into() });
    }
    rig.tell(Command::Finish { job });
    rig.settle(4);
    assert_eq!(futures::executor::block_on(rig.handle.drain(job)), Ok(Some("hello ".into())));
    assert_eq!(rig.next(), Event::Written { job, offset: 100, len: 6 });
    rig.settle(4);
    assert_eq!(futures::executor::block_on(rig.handle.drain(job)), Ok(Some("world".into())));
    assert_eq!(rig.next(), Event::Written { job, offset: 106, len: 5 });
    assert_eq!(rig.next(), Event::Finished { job });
    rig.tell(Command::Close { job });
    rig.settle(4);
    assert_eq!(futures::executor::block_on(rig.handle.drain(job)), Ok(None), "also after the job is closed");
}

#[test]
fn a_full_disk_is_a_quota_error_that_names_the_file_if_this_may_mount_a_small_tmpfs() {
    let rig = rig();
    let disk = rig.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount =
        |args: &[&str]| std::process::Command::new(args[0]).args(&args[1..]).output().is_ok_and(|o| o.status.success());
    let at = disk.to_str().unwrap().to_owned();
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", &at]) {
        return;
    }
    rig.open_sink(1, &disk.join("big"), false, plain(), 0).unwrap();
    let failed = (0..100u64).find_map(|n| rig.write(1, n * 4096, &[1; 4096]).err());
    rig.tell(Command::Close { job: JobId(1) });
    rig.settle(1);
    let left = names(&disk);
    assert!(mount(&["umount", &at]));
    let error = failed.expect("the disk is full");
    assert!(error.kind == ErrorKind::Quota && error.message.contains("disk/big"), "{error}");
    assert!(left.is_empty(), "{left:?}");
}
