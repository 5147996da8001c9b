//! A directory comes back as it was, and what is in the way is not overwritten unless the user says so.

use super::*;
use pangea_protocols::{
    codec::{self, Limit},
    files::Layout,
    manifest::{DirectoryIndex, Kind},
};

const JOB: JobId = JobId(1);

fn files() -> Files {
    let files = Files::new(Timeline::default());
    for (path, bytes) in [("/d/b", "bb"), ("/d/a/x", "xxx"), ("/d/a.txt", ""), ("/e", "other")] {
        files.write(path, Bytes::from_static(bytes.as_bytes()));
    }
    files
}

/// All that a directory gives.
fn stream(files: &Files, path: &str) -> (Bytes, u64) {
    let opened = files.on_command(Command::OpenSource { job: JOB, source: Source::Path(path.into()) });
    let Some(Event::SourceOpened { kind: Kind::Directory { index_len }, len: Some(len), .. }) = opened else {
        panic!("{opened:?}")
    };
    let mut all = Vec::new();
    loop {
        let read = files.on_command(Command::Read { job: JOB, offset: all.len() as u64, len: 4 });
        let Some(Event::Read { bytes, .. }) = read else { panic!("{read:?}") };
        all.extend_from_slice(&bytes);
        if bytes.len() < 4 {
            break;
        }
    }
    assert_eq!(all.len() as u64, len);
    files.on_command(Command::Close { job: JOB });
    (all.into(), index_len)
}

fn open(files: &Files, path: &str, overwrite: bool, layout: Layout) -> Option<Event> {
    let sink = Sink::Path { path: path.into(), overwrite };
    let opened = files.on_command(Command::OpenSink { job: JOB, sink, name: "own".to_owned(), layout, start: 0 });
    if matches!(opened, Some(Event::Failed { .. })) {
        files.on_command(Command::Close { job: JOB });
    }
    opened
}

#[test]
fn a_directory_comes_back_as_it_was() {
    let files = files();
    let (bytes, index_len) = stream(&files, "/d");
    let at = bytes.len() - usize::try_from(index_len).unwrap();
    assert_eq!(&bytes[..at], b"xxxbb");
    let index: DirectoryIndex = codec::decode(&bytes[at..], Limit::Local).unwrap();
    assert!(matches!(open(&files, "/copy", false, Layout::Directory(index)), Some(Event::SinkOpened { .. })));
    files.on_command(Command::Write { job: JOB, offset: 0, bytes });
    assert!(files.below("/copy".as_ref()).is_empty(), "shows before it is whole");
    assert_eq!(files.on_command(Command::Finish { job: JOB }), Some(Event::Finished { job: JOB }));
    for path in ["b", "a/x", "a.txt"] {
        assert_eq!(files.read(&Path::new("/copy").join(path)), files.read(&Path::new("/d").join(path)), "{path}");
    }
    assert_eq!(files.below("/copy".as_ref()).len(), 3);
}

#[test]
fn what_is_in_the_way_stays_unless_the_user_says_otherwise() {
    let files = files();
    let file = || Layout::File { executable: false, modified_unix: 0 };
    let index = || Layout::Directory(DirectoryIndex { entries: vec![] });
    assert!(matches!(open(&files, "/e", false, file()), Some(Event::Failed { .. })));
    assert!(matches!(open(&files, "/e", true, index()), Some(Event::Failed { .. })));
    assert!(matches!(open(&files, "/d", false, index()), Some(Event::Failed { .. })));
    let Some(Event::SinkOpened { path, .. }) = open(&files, "/d", false, file()) else { panic!("not inside") };
    assert_eq!(path, Some("/d/own".into()));
    files.on_command(Command::Close { job: JOB });
    assert!(matches!(open(&files, "/e", true, file()), Some(Event::SinkOpened { .. })));
    files.crash();
    assert_eq!(files.read("/e".as_ref()), Some(Bytes::from_static(b"other")), "lost by a job that did not finish");
}
