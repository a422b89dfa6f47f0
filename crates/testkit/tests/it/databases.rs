//! A PostgreSQL server that tests may stop and kill.

use postrider_testkit::Postgres;

#[tokio::test]
async fn a_server_that_was_stopped_or_killed_comes_back_in_its_place_with_its_data() {
    let server = Postgres::start(&["max_connections=7"]).await.unwrap();
    assert_eq!(server.sql("SHOW max_connections").await.unwrap(), "7");
    assert_eq!(server.sql("SHOW fsync").await.unwrap(), "on");
    server
        .sql("CREATE TABLE t AS SELECT 42 AS answer")
        .await
        .unwrap();
    server.stop().await.unwrap();
    server.sql("SELECT 1").await.unwrap_err();
    server.restart(&[]).await.unwrap();
    assert_eq!(server.sql("SELECT answer FROM t").await.unwrap(), "42");
    server.kill().await.unwrap();
    server.sql("SELECT 1").await.unwrap_err();
    server.restart(&[]).await.unwrap();
    assert_eq!(server.sql("SELECT answer FROM t").await.unwrap(), "42");
}
