//! The core: encode and decode jobs against a files driver in memory, with work run on the spot.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use bytes::Bytes;
use pangea_ces::{
    Ces, Scratch,
    api::{In, Key, Out, Profile, Selection},
    ces::JOBS_MAX,
    decoder::WRITES_MAX,
    encoder::AHEAD_MAX,
    encrypt::frame_key,
    window::STRIPES_AHEAD_MAX,
};
use pangea_kernel::testbed::Testbed;
use pangea_protocols::{
    JobId,
    files::{Command, Event, Layout, Sink, Source},
    job::{ErrorKind, JobError, JobEvent},
    manifest::{EntryKind, FRAME_BYTES, Kind},
    ticket::ReadKey,
};
use std::ops::Range;
use world::*;

#[test]
fn a_file_of_any_size_comes_back_with_its_name_and_mode() {
    for len in [0, 1, 5000, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 5 * FRAME_BYTES / 2] {
        let given = Given::file(random(1, len));
        let encoded = encode(&given, 2);
        assert!(encoded.closed);
        let end = encoded.end.as_ref().unwrap();
        assert_eq!((end.raw_len, end.skipped, end.directory), (len as u64, 2, false));
        for root_first in [false, true] {
            let decoded = decode(&encoded, Drive { root_first, shards: 2..6, ..Drive::new(Selection::All) });
            assert!(decoded.bytes == given.bytes, "{len}");
            assert_eq!(decoded.got(), Some(len as u64));
            assert_eq!(decoded.layout, Some(Layout::File { executable: true, modified_unix: 99 }));
            assert_eq!(decoded.consumed, (0..end.stripes).collect::<Vec<_>>());
        }
    }
}

#[test]
fn small_content_goes_into_the_root_block_and_needs_no_stripes() {
    for (bytes, inline) in
        [(random(1, 60_000), true), (random(1, 70_000), false), (vec![1; FRAME_BYTES], true), (vec![0; 9], true)]
    {
        let encoded = encode(&Given::file(bytes.clone()), 2);
        let end = encoded.end.as_ref().unwrap();
        assert_eq!((end.inline.is_some(), end.stripes), (inline, u64::from(!inline)), "{}", bytes.len());
        let decoded = decode(&encoded, Drive::new(Selection::All));
        assert!(decoded.bytes == bytes && decoded.needed.is_empty() == inline && decoded.consumed.is_empty() == inline);
    }
}

#[test]
fn a_stream_of_unknown_length_ends_where_it_ends() {
    for len in [0, 10, FRAME_BYTES, FRAME_BYTES + 7, 3 * FRAME_BYTES] {
        let given = Given::stream(random(4, len));
        let encoded = encode(&given, 2);
        assert_eq!(encoded.end.as_ref().unwrap().raw_len, len as u64);
        assert!(decode(&encoded, Drive::new(Selection::All)).bytes == given.bytes);
    }
}

#[test]
fn reading_never_runs_ahead_of_the_credit_nor_of_the_limit() {
    let given = Given::file(vec![3; 20 * FRAME_BYTES]);
    for window in [1, 3, 100] {
        let encoded = encode(&given, window);
        assert_eq!(encoded.stripes.len(), 20);
        assert_eq!(encoded.beyond_credit, 0);
        assert!(encoded.ahead_max <= AHEAD_MAX.min(u64::from(window)), "{} of {window}", encoded.ahead_max);
    }
}

#[test]
fn without_credit_nothing_is_read() {
    let mut bed = Testbed::new(Ces::new());
    bed.send(encode_request());
    let kind = Kind::File { executable: false, modified_unix: 0 };
    let opened = Event::SourceOpened { job: JOB, name: "a".to_owned(), kind, len: Some(5), skipped: 0 };
    assert!(bed.send(In::Files(opened)).is_empty());
    let outs = bed.send(In::Credit { job: JOB, stripes: 1 });
    assert!(matches!(outs[..], [Out::Files(Command::Read { offset: 0, len: 6, .. })]));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused_by_name() {
    for (len, real) in
        [(100, 99), (100, 101), (0, 1), (FRAME, FRAME + 1), (2 * FRAME, FRAME + 5), (FRAME + 5, 3 * FRAME)]
    {
        let given = Given { len: Some(len), ..Given::file(random(1, real as usize)) };
        let encoded = encode(&given, 2);
        let error = encoded.failed.unwrap();
        assert!(error.message.contains("report.txt") && error.message.contains("changed"), "{error}");
        assert!(encoded.end.is_none() && encoded.closed);
    }
}

#[test]
fn two_encodings_have_different_keys_and_share_nothing() {
    let mut bed = Testbed::new(Ces::new());
    let mut works = Vec::new();
    for job in [JobId(1), JobId(2)] {
        bed.send(In::Encode {
            job,
            source: Source::Stream { name: String::new() },
            k: 4,
            m: 2,
            profile: Profile::Fast,
        });
        bed.send(In::Credit { job, stripes: 2 });
        let kind = Kind::File { executable: false, modified_unix: 0 };
        bed.send(In::Files(Event::SourceOpened { job, name: String::new(), kind, len: None, skipped: 0 }));
        let read = Event::Read { job, offset: 0, bytes: Bytes::from(random(1, FRAME_BYTES)) };
        works.extend(bed.send(In::Files(read)).into_iter().filter_map(|out| match out {
            Out::Work(pangea_ces::work::Work::EncodeFrame(work)) => Some((work.key.0, work.object)),
            _ => None,
        }));
    }
    assert_eq!(works.len(), 2);
    assert!(works[0].0 != works[1].0 && works[0].1 != works[1].1 && works[0].0 != [0; 32]);
}

#[test]
fn any_range_of_a_file_is_read_from_its_stripes_alone() {
    let given = Given::file(random(2, 40 * FRAME_BYTES + 17));
    let encoded = encode(&given, 4);
    let len = given.bytes.len() as u64;
    for (offset, wanted, stripes) in [
        (0, Some(1), 0..1),
        (FRAME - 1, Some(2), 0..2),
        (39 * FRAME, None, 39..41),
        (len - 1, None, 40..41),
        (3 * FRAME, Some(FRAME), 3..4),
        (5, Some(0), 0..0),
        (len, None, 0..0),
    ] {
        let decoded = decode(&encoded, Drive::new(Selection::Range { offset, len: wanted }));
        let end = wanted.map_or(len, |wanted| offset + wanted);
        assert!(decoded.bytes == given.bytes[offset as usize..end as usize]);
        assert_eq!((decoded.start, decoded.got()), (offset, Some(end - offset)));
        let needed: Vec<u64> = decoded.needed.into_iter().flatten().collect();
        assert_eq!(needed, stripes.collect::<Vec<_>>());
    }
    for (offset, wanted) in [(len + 1, None), (len, Some(1)), (0, Some(len + 1)), (5, Some(u64::MAX))] {
        let decoded = decode(&encoded, Drive::new(Selection::Range { offset, len: wanted }));
        assert_eq!(decoded.failed().unwrap().kind, ErrorKind::Usage);
    }
}

#[test]
fn a_long_file_is_asked_for_in_a_window_and_written_at_the_sink_s_pace() {
    let given = Given::file(vec![9; 50 * FRAME_BYTES]);
    let decoded = decode(&encode(&given, 4), Drive::new(Selection::All));
    assert!(decoded.bytes == given.bytes);
    assert_eq!(decoded.ahead_max, STRIPES_AHEAD_MAX);
    assert_eq!(decoded.writes_max, WRITES_MAX);
    let done: Vec<u64> = decoded
        .events
        .iter()
        .filter_map(|event| match event {
            JobEvent::Progress { progress, .. } => Some(progress.done_bytes),
            _ => None,
        })
        .collect();
    assert_eq!(done, (1..=50).map(|n| n * FRAME).collect::<Vec<_>>());
}

fn photos() -> Given {
    let files = [
        ("a.jpg", random(1, 10)),
        ("trip/b.jpg", random(2, 2 * FRAME_BYTES)),
        ("trip/c.jpg", random(3, 3_000_000)),
        ("trip/none.txt", Vec::new()),
        ("z.jpg", random(4, 123_456)),
    ];
    Given::directory(&files, &["empty", "trip/void"])
}

#[test]
fn a_directory_comes_back_whole_and_no_stripe_is_fetched_twice() {
    let given = photos();
    let encoded = encode(&given, 3);
    assert!(encoded.end.as_ref().unwrap().directory);
    let decoded = decode(&encoded, Drive::new(Selection::All));
    let Kind::Directory { index_len } = given.kind else { panic!() };
    assert!(decoded.bytes == given.bytes[..given.bytes.len() - index_len as usize]);
    let index = decoded.index.unwrap();
    assert_eq!(index.entries.len(), 7);
    assert_eq!(decoded.layout, Some(Layout::Directory(index)));
    let mut needed: Vec<u64> = decoded.needed.into_iter().flatten().collect();
    needed.sort_unstable();
    assert_eq!(needed, (0..encoded.stripes.len() as u64).collect::<Vec<_>>());
    let mut consumed = decoded.consumed;
    consumed.sort_unstable();
    assert_eq!(consumed, needed);
}

#[test]
fn an_entry_of_a_directory_is_read_from_its_own_stripes() {
    let encoded = encode(&photos(), 3);
    for (entry, content) in [
        ("a.jpg", random(1, 10)),
        ("trip/c.jpg", random(3, 3_000_000)),
        ("z.jpg", random(4, 123_456)),
        ("trip/none.txt", Vec::new()),
    ] {
        let decoded = decode(&encoded, Drive::new(Selection::Entry(path(entry))));
        assert!(decoded.bytes == content, "{entry}");
        assert_eq!(decoded.name, entry.rsplit('/').next().unwrap());
        assert!(matches!(decoded.layout, Some(Layout::File { modified_unix: 5, .. })));
    }
    let decoded = decode(&encoded, Drive::new(Selection::Entry(path("a.jpg"))));
    assert_eq!(decoded.needed.into_iter().flatten().collect::<Vec<_>>(), [encoded.stripes.len() as u64 - 1, 0]);

    let decoded = decode(&encoded, Drive::new(Selection::Entry(path("trip"))));
    assert!(decoded.bytes == [random(2, 2 * FRAME_BYTES), random(3, 3_000_000)].concat());
    let Some(Layout::Directory(index)) = decoded.layout else { panic!() };
    let names: Vec<_> = index.entries.iter().map(|entry| entry.path.join("/")).collect();
    assert_eq!((names, decoded.start), (["b.jpg", "c.jpg", "none.txt", "void"].map(str::to_owned).to_vec(), 10));
    let EntryKind::File { offset, .. } = index.entries[0].kind else { panic!() };
    assert_eq!(offset, decoded.start, "offsets of the layout are offsets of the stream");

    let decoded = decode(&encoded, Drive::new(Selection::Entry(path("trip/x.jpg"))));
    assert_eq!(decoded.failed().unwrap().kind, ErrorKind::NotFound);
    let decoded = decode(&encoded, Drive::new(Selection::Range { offset: 0, len: None }));
    assert_eq!(decoded.failed().unwrap().kind, ErrorKind::Usage);
}

#[test]
fn info_reads_the_index_and_writes_nothing() {
    let encoded = encode(&photos(), 3);
    let decoded = decode(&encoded, Drive::new(Selection::Info));
    assert_eq!((decoded.got(), decoded.layout, decoded.index.unwrap().entries.len()), (Some(0), None, 7));
    let decoded = decode(&encode(&Given::file(random(1, 5_000_000)), 3), Drive::new(Selection::Info));
    assert!(
        matches!(&decoded.events[0], JobEvent::Opened { name, directory: false, raw_len: 5_000_000, .. } if name == "report.txt")
    );
    assert!(decoded.needed.is_empty() && decoded.got() == Some(0));
}

#[test]
fn a_small_directory_is_inline() {
    let given = Given::directory(&[("a", vec![1, 2]), ("b", vec![3])], &[]);
    let encoded = encode(&given, 1);
    assert!(encoded.end.as_ref().unwrap().inline.is_some());
    assert_eq!(decode(&encoded, Drive::new(Selection::All)).bytes, [1, 2, 3]);
    assert_eq!(decode(&encoded, Drive::new(Selection::Entry(path("b")))).bytes, [3]);
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let encoded = encode(&Given::file(random(1, 3_000_000)), 3);
    let decoded = decode(&encoded, Drive { key: Some(Key::Read(ReadKey([9; 32]))), ..Drive::new(Selection::All) });
    let error = decoded.failed().unwrap();
    assert!(error.kind == ErrorKind::Integrity && error.message.starts_with("this key does not open"), "{error}");
    assert!(decoded.stopped && decoded.layout.is_none());

    let decoded = decode(&encoded, Drive { shards: 0..3, ..Drive::new(Selection::All) });
    assert_eq!(decoded.failed().unwrap().kind, ErrorKind::Integrity);
    assert!(decoded.stopped);
}

#[test]
fn keys_of_frames_read_those_frames_and_nothing_else() {
    let bytes = random(1, 4_500_000);
    let encoded = encode(&Given::file(bytes.clone()), 5);
    let (read, object) = (encoded.end.clone().unwrap().key, root(&encoded).object);
    let keys = |frames: Range<u64>| Key::Frames {
        first: frames.start,
        keys: frames.map(|index| frame_key(&read, &object, index)).collect(),
    };
    let range = |offset: u64, len: u64| Drive::new(Selection::Range { offset, len: Some(len) });
    let frame = FRAME_BYTES as u64;
    for (offset, len) in [(3 * frame, frame), (3 * frame + 5, 100), (4 * frame, 4_500_000 - 4 * frame)] {
        let last = (offset + len).div_ceil(frame);
        let decoded = decode(&encoded, Drive { key: Some(keys(offset / frame..last)), ..range(offset, len) });
        assert!(decoded.bytes == bytes[offset as usize..(offset + len) as usize], "{offset} and {len} bytes");
    }
    // With the keys of chunk 3, chunk 4 is not even asked for; and its shards do not open under another frame's key.
    for (offset, len) in [(4 * frame, 1), (3 * frame, frame + 1), (2 * frame, 2 * frame)] {
        let decoded = decode(&encoded, Drive { key: Some(keys(3..4)), ..range(offset, len) });
        assert!(decoded.failed().is_some() && decoded.needed.is_empty(), "{offset} and {len} bytes");
    }
    let Key::Frames { keys: third, .. } = keys(3..4) else { panic!() };
    let decoded = decode(&encoded, Drive { key: Some(Key::Frames { first: 4, keys: third }), ..range(4 * frame, 9) });
    assert_eq!(decoded.failed().unwrap().kind, ErrorKind::Integrity);
    for only in [Selection::All, Selection::Info, Selection::Entry(path("a"))] {
        let decoded = decode(&encoded, Drive { key: Some(keys(3..4)), ..Drive::new(only) });
        assert!(decoded.bytes.is_empty() && decoded.name.is_empty(), "names are for the read key");
    }
}

#[test]
fn an_index_that_lies_and_a_length_that_lies_are_refused() {
    let mut given = Given::directory(&[("a", vec![1; 100])], &[]);
    let Kind::Directory { index_len } = &mut given.kind else { panic!() };
    *index_len -= 1;
    let decoded = decode(&encode(&given, 1), Drive::new(Selection::All));
    assert_eq!(decoded.failed().unwrap().kind, ErrorKind::Integrity);

    let encoded = encode(&Given::file(random(1, 3_000_000)), 3);
    let mut lying = root(&encoded);
    lying.raw_len += 1;
    let decoded = decode_root(&encoded, lying, Drive::new(Selection::All));
    assert_eq!(decoded.failed().unwrap().kind, ErrorKind::Integrity);
}

#[test]
fn a_failing_source_or_sink_ends_its_job_with_its_own_words() {
    let error = JobError::new(ErrorKind::Denied, "`/x`: permission denied");
    let mut bed = Testbed::new(Ces::new());
    bed.send(encode_request());
    let outs = bed.send(In::Files(Event::Failed { job: JOB, error: error.clone() }));
    assert!(
        matches!(&outs[..], [Out::Files(Command::Close { .. }), Out::Job(JobEvent::Failed { error: told, .. })] if *told == error)
    );
    assert_eq!(bed.core.jobs(), 0);

    let encoded = encode(&Given::file(random(1, 3_000_000)), 3);
    let key = encoded.end.clone().unwrap().key;
    bed.send(In::Decode { job: JOB, key: Key::Read(key), only: Selection::All, sink: Sink::Stream });
    bed.send(In::Root { job: JOB, root: root(&encoded) });
    let outs = bed.send(In::Files(Event::Failed { job: JOB, error }));
    assert!(matches!(
        outs[..],
        [Out::Files(Command::Close { .. }), Out::Stop { .. }, Out::Job(JobEvent::Failed { .. })]
    ));
    assert_eq!(bed.core.jobs(), 0);
}

#[test]
fn cancel_frees_a_job_in_any_state_and_late_answers_are_ignored() {
    let encoded = encode(&Given::file(random(1, 5_000_000)), 3);
    let key = encoded.end.clone().unwrap().key;
    let stripe = |index: u64| {
        let stripe = &encoded.stripes[index as usize];
        let shards = stripe.shards.iter().take(4).enumerate().map(|(n, (bytes, _))| (n as u16, bytes.clone()));
        In::Stripe { job: JOB, index, record: stripe.record.clone(), shards: shards.collect() }
    };
    let kind = Kind::File { executable: false, modified_unix: 0 };
    let encoding = [
        encode_request(),
        In::Credit { job: JOB, stripes: 2 },
        In::Files(Event::SourceOpened { job: JOB, name: "a".to_owned(), kind, len: Some(5_000_000), skipped: 0 }),
        In::Files(Event::Read { job: JOB, offset: 0, bytes: Bytes::from(random(1, FRAME_BYTES)) }),
    ];
    let decoding = [
        In::Decode { job: JOB, key: Key::Read(key), only: Selection::All, sink: Sink::Stream },
        In::Root { job: JOB, root: root(&encoded) },
        In::Files(Event::SinkOpened { job: JOB, path: None }),
        stripe(1),
        stripe(0),
    ];
    for events in [&encoding[..], &decoding[..]] {
        for done in 1..=events.len() {
            let mut bed = Testbed::new(Ces::new());
            let mut outs: Vec<Out> = events[..done].iter().flat_map(|event| bed.send(event.clone())).collect();
            let cancelled = bed.send(In::Cancel { job: JOB });
            assert!(matches!(cancelled[..], [Out::Files(Command::Close { .. })]));
            assert_eq!(bed.core.jobs(), 0);
            for out in outs.drain(..) {
                if let Out::Work(work) = out {
                    assert!(bed.send(In::Worked(work.run(&mut Scratch::new()))).is_empty());
                }
            }
            let late = events[done..]
                .iter()
                .filter(|event| !matches!(event, In::Encode { .. } | In::Decode { .. } | In::Root { .. }));
            assert!(late.flat_map(|event| bed.send(event.clone())).count() == 0);
            assert!(bed.send(In::Cancel { job: JOB }).is_empty());
        }
    }
}

#[test]
fn too_many_jobs_are_refused_and_abandoned_manifests_make_room() {
    let encode = |n: u64| In::Encode {
        job: JobId(n),
        source: Source::Stream { name: String::new() },
        k: 4,
        m: 2,
        profile: Profile::Fast,
    };
    let encoded = crate::encode(&Given::file(random(1, 10)), 3);
    let mut bed = Testbed::new(Ces::new());
    bed.send(In::Root { job: JobId(500), root: root(&encoded) });
    for n in 0..JOBS_MAX as u64 {
        assert!(matches!(bed.send(encode(n))[..], [Out::Files(Command::OpenSource { .. })]), "{n}");
    }
    assert_eq!(bed.core.jobs(), JOBS_MAX);
    assert!(bed.send(encode(3)).is_empty(), "a job id in use is left alone");
    let outs = bed.send(encode(900));
    let [Out::Job(JobEvent::Failed { job: JobId(900), error })] = &outs[..] else { panic!("{outs:?}") };
    assert!(error.message.contains("64 jobs"));
    assert_eq!(bed.core.jobs(), JOBS_MAX);
}

#[test]
fn a_code_that_does_not_exist_is_refused() {
    for (k, m) in [(0, 4), (200, 56)] {
        let mut bed = Testbed::new(Ces::new());
        let outs = bed.send(In::Encode {
            job: JOB,
            source: Source::Stream { name: String::new() },
            k,
            m,
            profile: Profile::Fast,
        });
        assert!(matches!(&outs[..], [Out::Job(JobEvent::Failed { error, .. })] if error.kind == ErrorKind::Usage));
        assert_eq!(bed.core.jobs(), 0);
    }
}
