//! Questions that are answered at once.

use super::{World, hub, run};
use pangea::control::{Client, ControlError, serve};
use pangea_protocols::job::ErrorKind;
use std::{fs, os::unix::fs::PermissionsExt};

#[test]
fn a_status_arrives_as_the_hub_told_it() {
    run(async |world: World| {
        let (got, want) = (world.client().await.status().await.unwrap(), hub::status());
        assert_eq!((got.peer, got.version.as_str(), got.uptime), (want.peer, want.version, want.uptime));
        assert_eq!((got.addresses, got.home), (want.addresses, want.home));
        assert_eq!((got.peers_connected, got.objects, got.jobs), (5, 6, 7));
        assert_eq!(got.chunks, want.chunks);
    });
}

#[test]
fn peers_arrive_as_the_hub_told_them() {
    run(async |world: World| {
        let (got, want) = (world.client().await.peers().await.unwrap().remove(0), hub::view());
        assert_eq!((got.peer, got.connected, got.address), (want.peer, want.connected, want.address));
        assert_eq!((got.state.as_str(), got.reason, got.score), (want.state, want.reason, want.score));
        assert_eq!((got.rtt, got.bytes_in, got.bytes_out), (want.rtt, want.bytes_in, want.bytes_out));
        assert_eq!(got.last_seen_unix, want.last_seen_unix);
    });
}

#[test]
fn peers_are_added_banned_and_unbanned() {
    run(async |mut world: World| {
        let client = world.client().await;
        let (peer, address) = (hub::peer(4), "/ip4/192.0.2.4/udp/1/quic-v1".parse().unwrap());
        client.add_peer(peer, &[address]).await.unwrap();
        client.ban(peer, "spam").await.unwrap();
        client.unban(peer).await.unwrap();
        let short = peer.short();
        let told = [world.hub.told.recv().await, world.hub.told.recv().await, world.hub.told.recv().await];
        assert_eq!(
            told.map(Option::unwrap),
            [
                format!("add {short} /ip4/192.0.2.4/udp/1/quic-v1"),
                format!("ban {short} spam"),
                format!("unban {short}"),
            ]
        );
    });
}

#[test]
fn a_catalog_longer_than_a_page_arrives_whole_and_in_order() {
    run(async |world: World| {
        let want: Vec<_> = (0..hub::OBJECTS).map(hub::stored).collect();
        assert_eq!(world.client().await.list().await.unwrap(), want);
    });
}

#[test]
fn a_ticket_and_metrics_arrive_as_the_hub_told_them() {
    run(async |world: World| {
        let client = world.client().await;
        assert_eq!(client.ticket(hub::stored(0).cid).await.unwrap(), hub::ticket());
        assert_eq!(client.metrics().await.unwrap(), "pangea_peers 5\n");
    });
}

#[test]
fn every_kind_of_failure_arrives_with_its_kind_and_its_message() {
    run(async |world: World| {
        let client = world.client().await;
        assert_eq!(client.find("anything").await.unwrap(), hub::stored(0));
        for kind in hub::KINDS {
            let error = client.find(&format!("{kind:?}")).await.unwrap_err();
            assert_eq!((error.kind, error.message), (kind, format!("it is {kind:?}")));
        }
    });
}

#[test]
fn a_shutdown_reaches_the_hub_and_clients_see_the_server_go() {
    run(async |mut world: World| {
        let client = world.client().await;
        client.shutdown().await.unwrap();
        assert_eq!(world.hub.told.recv().await.unwrap(), "shutdown");
        world.server.take().unwrap().close();
        client.closed().await;
        assert!(!world.socket().exists(), "the socket is removed");
        let error = Client::connect(world.home()).await.err().unwrap();
        assert!(matches!(&error, ControlError::NoNode { .. }));
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains("start one with `pangea node`"));
    });
}

#[test]
fn only_its_user_may_open_the_socket() {
    run(async |world: World| {
        let mode = fs::metadata(world.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn a_socket_left_by_a_dead_node_is_replaced_and_anything_else_is_left_alone() {
    run(async |world: World| {
        let (_hub, node) = hub::Hub::start();
        let stale = world.home().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        serve(&stale, node.clone(), crate::jobs_in(world.home())).unwrap().close();
        let file = world.home().join("file");
        fs::write(&file, "precious").unwrap();
        let error = serve(&file, node, crate::jobs_in(world.home())).unwrap_err();
        assert!(matches!(error, ControlError::InTheWay { .. }));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    });
}

#[test]
fn a_client_over_the_limit_is_disconnected_and_the_others_go_on() {
    run(async |world: World| {
        let mut clients = Vec::new();
        for _ in 0..pangea::control::CONNECTIONS_MAX {
            let client = world.client().await;
            client.status().await.unwrap();
            clients.push(client);
        }
        let error = world.client().await.status().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable);
        clients[0].status().await.unwrap();
    });
}

#[test]
fn bytes_that_are_no_message_end_only_their_own_connection() {
    run(async |world: World| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::UnixStream::connect(world.socket()).await.unwrap();
        // A segment table that announces 2^32 words.
        stream.write_all(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        world.client().await.status().await.unwrap();
    });
}
