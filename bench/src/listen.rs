//! How a baseline says where it listens.

use tokio::net::TcpListener;

/// Opens a free port on loopback and prints `listening http://ADDR`.
pub(crate) async fn listen() -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening http://{}", listener.local_addr()?);
    Ok(listener)
}
