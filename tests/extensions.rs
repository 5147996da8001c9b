//! Whole nodes in this process with an actor of their own and a plugin: what they say to each other, what they keep, what
//! they ask of the node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use bytes::Bytes;
use pangea::{
    config::{Config, Isolation, PeerAddress},
    home::Home,
    identity::Identity,
    node::Node,
};
use pangea_kernel::{Core, Cx};
use pangea_plugins::{
    In, Out, PeerId,
    api::{Package, State},
    template,
};
use pangea_protocols::job::ErrorKind;
use std::{path::Path, time::Duration};

/// Tells peers what it is asked to, answers with what it has heard, and keeps that. It panics when it is told to.
#[derive(Default)]
struct Parrot {
    peers: Vec<PeerId>,
    heard: Bytes,
}

impl Core for Parrot {
    type In = In;
    type Out = Out;

    fn on(&mut self, cx: &mut Cx<'_, Self>, event: In) {
        match event {
            In::Started { snapshot, .. } => self.heard = snapshot.unwrap_or_default(),
            In::Connected { peer } => self.peers.push(peer),
            In::Disconnected { peer } => self.peers.retain(|other| *other != peer),
            In::Message { bytes, .. } => {
                self.heard = bytes.clone();
                cx.emit(Out::Snapshot { bytes });
            }
            In::Ask { request, bytes } if bytes == "panic" => panic!("told to, by {request}"),
            In::Ask { request, bytes } if bytes == "heard" => {
                cx.emit(Out::Answer { request, bytes: self.heard.clone() });
            }
            In::Ask { request, bytes } => {
                cx.emit(Out::Log { level: 2, text: "told something".to_owned() });
                for peer in &self.peers {
                    cx.emit(Out::Send { peer: *peer, bytes: bytes.clone() });
                }
                cx.emit(Out::Answer { request, bytes: self.peers.len().to_string().into() });
            }
            _ => {}
        }
    }
}

fn node(dir: &Path, first: Option<&Node>) -> Node {
    let home = Home::resolve(Some(dir.to_owned())).unwrap();
    if !home.is_initialised() {
        home.create().unwrap();
        Identity::create(&home).unwrap();
    }
    let mut config = Config::default();
    config.network.listen = vec!["127.0.0.1:0".to_owned().try_into().unwrap()];
    config.network.mdns = false;
    // The program of this test cannot be started again as another.
    config.compute.isolation = Isolation::Threads;
    let known = |node: &Node| format!("{}/p2p/{}", node.addresses()[0], node.peer()).parse::<PeerAddress>().unwrap();
    config.network.bootstrap = first.map(known).into_iter().collect();
    Node::builder(home, config).actor("parrot", Parrot::default).start().unwrap()
}

/// Asks until the answer is right.
async fn until(node: &Node, name: &str, ask: &str, right: impl Fn(&str) -> bool) -> String {
    let name: pangea_protocols::wire::extension::Name = name.parse().unwrap();
    let asking = async {
        loop {
            let answer = node.handle().extensions().unwrap().command(name.clone(), ask.to_owned().into()).await;
            if let Ok(answer) = &answer
                && right(&String::from_utf8_lossy(answer))
            {
                return String::from_utf8_lossy(answer).into_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("the right answer comes")
}

/// Waits until an actor was built again.
async fn restarted(node: &Node, actor: &str) {
    let line = format!("pangea_actor_restarts_total{{actor=\"{actor}\"}} 1");
    let waiting = async {
        while !node.handle().metrics().await.unwrap().contains(&line) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it is built again");
}

fn hello() -> Package {
    let files = template::files("wat", "hello").unwrap();
    Package { manifest: files[0].1.clone(), module: wat::parse_str(&files[1].1).unwrap().into() }
}

#[test]
fn actors_and_plugins_of_two_nodes_speak_with_each_other_and_keep_what_they_know() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = node(&dir.path().join("1"), None);
    let second = node(&dir.path().join("2"), Some(&first));
    runtime.block_on(async {
        // A native actor, that of this test.
        until(&first, "parrot", "good day", |peers| peers == "1").await;
        until(&second, "parrot", "heard", |heard| heard == "good day").await;
        let lines = first.handle().extensions().unwrap().lines("parrot".parse().unwrap()).await.unwrap();
        assert_eq!(lines[0].text, "told something");
        let metrics = first.handle().metrics().await.unwrap();
        assert!(metrics.contains("pangea_actor_up{actor=\"parrot\"} 1"), "{metrics}");
        // After a panic it is built again, with what it kept and with its peers.
        let panicked = second.handle().extensions().unwrap().command("parrot".parse().unwrap(), "panic".into());
        tokio::select! { _ = panicked => {}, () = restarted(&second, "parrot") => {} }
        until(&second, "parrot", "heard", |heard| heard == "good day").await;
        until(&second, "parrot", "and to you", |peers| peers == "1").await;
        // A plugin on both.
        for node in [&first, &second] {
            let (view, replaced) = node.handle().extensions().unwrap().install(hello()).await.unwrap();
            assert_eq!((view.state, replaced), (State::Running, None));
        }
        until(&first, "hello", "say pear", |word| word == "pear").await;
        until(&second, "hello", "show", |word| word == "pear").await;
        let refused = first.handle().extensions().unwrap().command("nobody".parse().unwrap(), "x".into()).await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::NotFound);
    });
    // Stopped in order and started again: all is as it was.
    second.stop();
    let second = node(&dir.path().join("2"), Some(&first));
    runtime.block_on(async {
        until(&second, "hello", "show", |word| word == "pear").await;
        until(&second, "parrot", "heard", |heard| heard == "good day" || heard == "and to you").await;
        let extensions = second.handle().extensions().unwrap();
        extensions.remove("hello".parse().unwrap()).await.unwrap();
        assert_eq!(extensions.list().await.unwrap(), []);
    });
    second.stop();
    first.stop();
}

#[test]
fn an_actor_needs_a_name_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let build = |name: &'static str| {
        let home = Home::resolve(Some(dir.path().join(name.replace('/', "")))).unwrap();
        home.create().unwrap();
        let _ = Identity::create(&home);
        let mut config = Config::default();
        config.network.mdns = false;
        config.compute.isolation = Isolation::Threads;
        Node::builder(home, config).actor(name, Parrot::default).start().map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(build("peers"), "two actors of the node are called `peers`");
    assert!(build("a/b").starts_with("`a/b` cannot be the name of an actor"));
}
