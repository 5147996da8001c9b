//! Jobs: their news, their streams, and their end when a client goes away.

use super::{World, hub, run};
use bytes::Bytes;
use pangea::{
    control::{CHUNK_BYTES_MAX, client::RemoteJob},
    node::handle::{Get, News, Put},
};
use pangea_ces::api::{Profile, Selection};
use pangea_protocols::{
    files::{Sink, Source},
    job::{ErrorKind, JobError, JobEvent, Outcome, Progress},
};
use pangea_transfer::api::Redundancy;
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::sync::mpsc;

fn put(source: Source) -> Put {
    Put { source, redundancy: Redundancy::Auto, profile: Profile::Fast, lease: Duration::from_secs(60) }
}

fn path(path: &str) -> Source {
    Source::Path(path.into())
}

fn get(only: Selection, sink: Sink) -> Get {
    Get { ticket: hub::ticket(), only, sink, timeout: Duration::from_secs(5) }
}

async fn all_news(job: &RemoteJob) -> Vec<News> {
    let mut all = Vec::new();
    while let Some(news) = job.next().await.unwrap() {
        all.push(news);
    }
    all
}

fn failure(news: Option<&News>) -> &JobError {
    match news {
        Some(News::Event(JobEvent::Failed { error, .. })) => error,
        other => panic!("expected a failure, got {other:?}"),
    }
}

fn outcome(news: Option<&News>) -> &Outcome {
    match news {
        Some(News::Event(JobEvent::Done { outcome, .. })) => outcome,
        other => panic!("expected the end, got {other:?}"),
    }
}

#[test]
fn a_put_from_a_stream_gets_every_byte_in_order_and_tells_its_news() {
    run(async |mut world: World| {
        let client = world.client().await;
        let (job, feed) = client.put(&put(Source::Stream { name: "x".into() }), false).await.unwrap();
        let feed = feed.unwrap();
        for part in hub::content().chunks(700_000) {
            feed.write(part).await.unwrap();
        }
        feed.end().await.unwrap();
        assert_eq!(world.hub.fed.recv().await.unwrap(), hub::content());
        let news = all_news(&job).await;
        let News::Event(JobEvent::Placed { k: 12, m: 8, holders, .. }) = &news[0] else { panic!("{news:?}") };
        assert_eq!(holders, &[hub::peer(1), hub::peer(2)]);
        let want = Progress { done_bytes: 1, full_bytes: 2, total_bytes: Some(3), shards: 4, healed: 5, hedged: 6 };
        let News::Event(JobEvent::Progress { progress, .. }) = news[1] else { panic!("{news:?}") };
        assert_eq!(progress, want);
        assert_eq!(outcome(news.last()), &Outcome::Put(hub::stored(0)));
    });
}

#[test]
fn a_get_into_a_stream_delivers_every_byte_before_its_end_is_told() {
    run(async |world: World| {
        let client = world.client().await;
        let (sender, mut receiver) = mpsc::channel(1);
        let job = client.get_stream(&get(Selection::All, Sink::Stream), sender).await.unwrap();
        let read = Rc::new(RefCell::new(Vec::new()));
        let reader = tokio::task::spawn_local({
            let read = read.clone();
            async move {
                while let Some(bytes) = receiver.recv().await {
                    // A slow reader: an end that does not wait for it overtakes it.
                    for _ in 0..4 {
                        client.status().await.unwrap();
                    }
                    read.borrow_mut().extend_from_slice(&bytes);
                }
            }
        });
        let news = all_news(&job).await;
        assert!(matches!(outcome(news.last()), Outcome::Got { path: None, .. }));
        let late = hub::content().len() - read.borrow().len();
        assert!(late <= 2 * CHUNK_BYTES_MAX, "{late} bytes were not there: more than one read and one queued");
        reader.await.unwrap();
        assert!(*read.borrow() == hub::content(), "the bytes differ");
    });
}

#[test]
fn a_range_and_an_entry_are_what_the_hub_is_asked_for() {
    run(async |world: World| {
        let client = world.client().await;
        let cases: [(Selection, Bytes); 3] = [
            (Selection::Range { offset: 10, len: Some(5) }, hub::content().slice(10..15)),
            (Selection::Range { offset: 1_499_990, len: None }, hub::content().slice(1_499_990..)),
            (Selection::Entry(vec!["a".into(), "b".into()]), Bytes::from_static(b"a/b")),
        ];
        for (only, want) in cases {
            let (sender, mut receiver) = mpsc::channel(4);
            let _job = client.get_stream(&get(only, Sink::Stream), sender).await.unwrap();
            assert_eq!(receiver.recv().await.unwrap(), want);
        }
    });
}

#[test]
fn a_get_to_a_path_ends_with_that_path() {
    run(async |world: World| {
        let sink = Sink::Path { path: "/tmp/there".into(), overwrite: true };
        let job = world.client().await.get(&get(Selection::All, sink), false).await.unwrap();
        let news = all_news(&job).await;
        assert!(matches!(outcome(news.last()), Outcome::Got { path: Some(path), .. } if path.ends_with("there")));
    });
}

#[test]
fn an_index_longer_than_a_page_arrives_whole() {
    run(async |world: World| {
        let job = world.client().await.info(hub::ticket(), Duration::from_secs(5)).await.unwrap();
        let news = all_news(&job).await;
        assert!(matches!(&news[0], News::Event(JobEvent::Opened { name, directory: true, .. }) if name == "it"));
        assert!(news[1] == News::Index(hub::index()), "the index differs");
        assert_eq!(news.len(), 3);
    });
}

#[test]
fn a_remove_tells_who_could_not_be_reached() {
    run(async |world: World| {
        let job = world.client().await.remove(hub::stored(0).cid, true).await.unwrap();
        let news = all_news(&job).await;
        assert_eq!(outcome(news.last()), &Outcome::Removed { shards: 1, unreachable: vec![hub::peer(3)] });
    });
}

#[test]
fn a_job_that_fails_tells_its_kind_and_then_nothing_more() {
    run(async |world: World| {
        let (job, _) = world.client().await.put(&put(path("/fails")), false).await.unwrap();
        let news = all_news(&job).await;
        assert_eq!(failure(news.last()).kind, ErrorKind::Quota);
        assert_eq!(job.next().await.unwrap(), None);
    });
}

#[test]
fn a_cancelled_job_ends_as_interrupted() {
    run(async |mut world: World| {
        let (job, _) = world.client().await.put(&put(path("/hangs")), false).await.unwrap();
        job.cancel().await.unwrap();
        let news = all_news(&job).await;
        assert_eq!(failure(news.last()).kind, ErrorKind::Interrupted);
        assert!(world.hub.cancelled.recv().await.is_some());
    });
}

#[test]
fn a_client_that_goes_away_takes_its_jobs_with_it() {
    run(async |mut world: World| {
        let client = world.client().await;
        let (job, _) = client.put(&put(path("/hangs")), false).await.unwrap();
        // One call is under way when the connection breaks.
        while job.next().await.is_ok_and(|news| !matches!(news, Some(News::Event(JobEvent::Progress { .. })))) {}
        let waiting = tokio::task::spawn_local(async move { job.next().await.is_err() });
        tokio::task::yield_now().await;
        client.disconnect().await;
        assert!(waiting.await.unwrap());
        assert!(world.hub.cancelled.recv().await.is_some());
    });
}

#[test]
fn a_detached_job_goes_on_without_its_client() {
    run(async |mut world: World| {
        let client = world.client().await;
        let (detached, _) = client.put(&put(path("/hangs")), true).await.unwrap();
        let (attached, _) = client.put(&put(path("/hangs")), false).await.unwrap();
        drop((detached, attached));
        client.disconnect().await;
        let only = world.hub.cancelled.recv().await.unwrap();
        assert_eq!(only.0, 2, "the second job is the one that is not detached");
        world.server.take().unwrap().close();
        assert!(world.hub.cancelled.try_recv().is_err());
    });
}

#[test]
fn a_stream_cannot_be_detached() {
    run(async |world: World| {
        let stream = put(Source::Stream { name: String::new() });
        let error = world.client().await.put(&stream, true).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Usage);
    });
}

#[test]
fn a_reader_that_stops_early_cancels_its_get() {
    run(async |mut world: World| {
        let client = world.client().await;
        let (sender, mut receiver) = mpsc::channel(1);
        let job = client.get_stream(&get(Selection::All, Sink::Stream), sender).await.unwrap();
        receiver.recv().await.unwrap();
        drop(receiver);
        assert!(world.hub.cancelled.recv().await.is_some());
        assert_eq!(failure(all_news(&job).await.last()).kind, ErrorKind::Interrupted);
    });
}

#[test]
fn a_feed_that_is_dropped_without_an_end_cancels_its_put() {
    run(async |mut world: World| {
        let client = world.client().await;
        let (job, feed) = client.put(&put(Source::Stream { name: String::new() }), false).await.unwrap();
        feed.unwrap().write(b"half of it").await.unwrap();
        assert!(world.hub.cancelled.recv().await.is_some());
        assert_eq!(failure(all_news(&job).await.last()).kind, ErrorKind::Interrupted);
        assert!(world.hub.fed.try_recv().is_err(), "half a stream is not a stream");
    });
}

#[test]
fn a_connection_has_a_limit_of_jobs() {
    run(async |world: World| {
        let client = world.client().await;
        let mut jobs = Vec::new();
        for _ in 0..pangea::control::JOBS_PER_CONNECTION_MAX {
            jobs.push(client.put(&put(path("/hangs")), false).await.unwrap());
        }
        let error = client.put(&put(path("/hangs")), false).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Denied);
        drop(jobs);
        client.status().await.unwrap();
        client.put(&put(path("/hangs")), false).await.unwrap();
    });
}

#[test]
fn a_path_that_is_not_absolute_is_refused_and_the_connection_stays() {
    run(async |world: World| {
        let client = world.client().await;
        let error = client.put(&put(path("relative")), false).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Usage);
        client.status().await.unwrap();
    });
}
