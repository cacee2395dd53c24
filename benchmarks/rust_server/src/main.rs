//! The server of the adapter "Rust crate": the works of `benchmarks/works.py`, served
//! with the published crates.
//!
//!     rust_server DESCRIPTOR
//!
//! DESCRIPTOR is the number of a file descriptor: that of a TCP socket which listens
//! already. The program ends when its standard input does.

mod handler;
mod services;

use std::error::Error;
use std::io;
use std::net::TcpListener as PlainListener;
use std::os::fd::{FromRawFd, RawFd};
use std::process::exit;
use std::thread;

use roam::{
    AcceptedConnection, Caller, ConnectionAcceptor, ConnectionHandle, ConnectionId,
    ConnectionSettings, Driver, DriverCaller, Metadata, MetadataEntry, acceptor,
};
use roam_stream::StreamLink;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use handler::Worker;
use services::WorkplaceDispatcher;

type Failure = Box<dyn Error + Send + Sync>;

/// Calls that a peer may have in flight on a connection, which is what clients have.
const MAX_REQUESTS: u32 = 64;

// In one thread, as servers in Python are; with several, roam 7.3.0 may lose an item
// that comes while a handler takes up the receiver of its channel (docs/interop.md).
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let descriptor = std::env::args().nth(1).ok_or("a descriptor is missing")?;
    thread::spawn(end_with_input);
    let listener = listener(descriptor.parse()?)?;
    // What sets up a session is not Send, for all that the compiler can tell.
    LocalSet::new().run_until(serve_all(listener)).await
}

fn end_with_input() {
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    exit(0);
}

fn listener(descriptor: RawFd) -> io::Result<TcpListener> {
    // SAFETY: whoever started the program has handed this socket over; nobody else in
    // this process knows of it.
    let listener = unsafe { PlainListener::from_raw_fd(descriptor) };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve_all(listener: TcpListener) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        spawn_local(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("no session: {error}");
            }
        });
    }
}

/// Serves one session to its end.
async fn serve(stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let (caller, _session): (DriverCaller, _) = acceptor(StreamLink::tcp(stream))
        .max_concurrent_requests(MAX_REQUESTS)
        .on_connection(Everywhere)
        .establish(WorkplaceDispatcher::new(Worker))
        .await?;
    caller.closed().await;
    Ok(())
}

/// Serves the works on virtual connections too, whatever service they name.
struct Everywhere;

impl ConnectionAcceptor for Everywhere {
    fn accept(
        &self,
        _id: ConnectionId,
        theirs: &ConnectionSettings,
        _metadata: &[MetadataEntry],
    ) -> Result<AcceptedConnection, Metadata<'static>> {
        Ok(AcceptedConnection {
            settings: ConnectionSettings {
                parity: theirs.parity.other(),
                max_concurrent_requests: MAX_REQUESTS,
            },
            metadata: vec![],
            setup: Box::new(|handle: ConnectionHandle| {
                let mut driver = Driver::new(handle, WorkplaceDispatcher::new(Worker));
                tokio::spawn(async move { driver.run().await });
            }),
        })
    }
}
