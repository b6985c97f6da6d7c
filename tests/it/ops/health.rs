//! Whether it lives, whether it is ready, and whether it can be stopped.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::support::BINARY;

#[tokio::test]
async fn it_is_ready_while_the_store_answers_and_nothing_else_is_wrong() {
    let world = World::open().await;
    let ready = world.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["ready"], true);
    *world.trouble.lock().unwrap() = Some("the ingest listener does not accept".into());
    let unready = world.get("/readyz").await;
    assert_eq!(unready.status, 503);
    let reasons = &unready.json()["reasons"];
    assert_eq!(reasons[0], "the ingest listener does not accept");
    assert_eq!(world.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_store_that_failed_makes_it_unready_and_is_told_to_everybody_who_asks() {
    let world = World::open().await;
    let _ = world.store.crash();
    let unready = world.get("/readyz").await;
    assert_eq!(unready.status, 503);
    assert_eq!(unready.json()["reasons"][0], "the store is closed");
    for path in ["/metrics", "/api/v1/status", "/api/v1/dead"] {
        assert_eq!(world.get(path).await.refusal(), 503, "{path}");
    }
    assert_eq!(world.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_full_queue_is_told_and_is_no_reason_to_be_unready() {
    let settings = Settings {
        max_jobs: 1,
        ..Settings::default()
    };
    let world = World::on(MapStore::new(settings), Vec::new()).await;
    world.append(vec![running("ada@example.com")]).await;
    let ready = world.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.json()["refusing"].is_string(), "{}", ready.text);
    let status = world.get("/api/v1/status").await.json();
    assert!(status["store"]["refusing"].is_string(), "{status}");
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_or_never_ends_its_request_does_not_keep_it_from_stopping()
 {
    let world = World::open().await;
    let mut idle = TcpStream::connect(world.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let mut slow = TcpStream::connect(world.address).await.unwrap();
    let begun = b"POST /api/v1/dead/replay HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    slow.write_all(begun).await.unwrap();
    world.get("/livez").await;
    world.stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), world.serving).await;
    assert!(ended.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn status_ready_tells_by_its_exit_code_and_needs_no_token() {
    let world = World::with_tokens(vec![("act".into(), Role::Operator)]).await;
    let ops = format!("http://{}", world.address);
    let ask = async |more: &[&str]| {
        let mut command = tokio::process::Command::new(BINARY);
        command
            .args(["status", "--ready", "--ops", &ops])
            .args(more);
        let output = command.output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said)
    };
    assert_eq!(ask(&[]).await, (Some(0), "ready\n".to_owned()));
    *world.trouble.lock().unwrap() = Some("the ingest listener does not accept".into());
    let (code, said) = ask(&[]).await;
    assert_eq!(code, Some(1));
    assert_eq!(said, "not ready: the ingest listener does not accept\n");
    let (code, said) = ask(&["--json"]).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["ready"]), (Some(1), &false.into()));
    let World { stop, serving, .. } = world;
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert_eq!(ask(&[]).await, (Some(3), String::new()));
}
