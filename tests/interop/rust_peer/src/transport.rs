//! Links by URL: `tcp://host:port`, `unix:///path` and `ws://host:port/`.

use std::io;
use std::time::Duration;

use roam::{
    ConnectionAcceptor, DriverCaller, DriverReplySink, Handler, Link, MetadataEntry,
    MetadataFlags, MetadataValue, SessionError, SessionHandle, SessionKeepaliveConfig,
    acceptor, initiator,
};
use roam_stream::StreamLink;
use roam_websocket::WsLink;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_tungstenite::client_async;

type Stream = StreamLink<
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
>;

pub enum AnyLink {
    Stream(Stream),
    WebSocket(WsLink<TcpStream>),
}

#[derive(Clone, Copy)]
pub enum Role {
    Initiator,
    Acceptor,
}

enum Address {
    Tcp(String),
    Unix(String),
    WebSocket(String),
}

fn parse(url: &str) -> io::Result<Address> {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    match scheme {
        "tcp" => Ok(Address::Tcp(rest.into())),
        "unix" => Ok(Address::Unix(rest.into())),
        "ws" => Ok(Address::WebSocket(rest.trim_end_matches('/').into())),
        _ => Err(io::Error::other(format!("expected tcp, unix or ws, got {url}"))),
    }
}

pub async fn dial(url: &str) -> io::Result<AnyLink> {
    match parse(url)? {
        Address::Tcp(address) => Ok(over_tcp(TcpStream::connect(address).await?)),
        Address::Unix(path) => Ok(over_unix(UnixStream::connect(path).await?)),
        Address::WebSocket(address) => {
            let stream = TcpStream::connect(address).await?;
            let _ = stream.set_nodelay(true);
            let (socket, _) = client_async(url, stream).await.map_err(io::Error::other)?;
            Ok(AnyLink::WebSocket(WsLink::new(socket)))
        }
    }
}

fn over_tcp(stream: TcpStream) -> AnyLink {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    AnyLink::Stream(StreamLink::new(Box::new(reader), Box::new(writer)))
}

fn over_unix(stream: UnixStream) -> AnyLink {
    let (reader, writer) = stream.into_split();
    AnyLink::Stream(StreamLink::new(Box::new(reader), Box::new(writer)))
}

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, String),
    WebSocket(TcpListener),
}

impl Listener {
    pub async fn bind(url: &str) -> io::Result<Self> {
        Ok(match parse(url)? {
            Address::Tcp(address) => Self::Tcp(TcpListener::bind(address).await?),
            Address::Unix(path) => Self::Unix(UnixListener::bind(&path)?, path),
            Address::WebSocket(address) => {
                Self::WebSocket(TcpListener::bind(address).await?)
            }
        })
    }

    pub fn url(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(listener) => format!("tcp://{}", listener.local_addr()?),
            Self::Unix(_, path) => format!("unix://{path}"),
            Self::WebSocket(listener) => format!("ws://{}/", listener.local_addr()?),
        })
    }

    pub async fn accept(&self) -> io::Result<AnyLink> {
        match self {
            Self::Tcp(listener) => Ok(over_tcp(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(over_unix(listener.accept().await?.0)),
            Self::WebSocket(listener) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok(AnyLink::WebSocket(WsLink::server(stream).await?))
            }
        }
    }
}

/// What a session is set up with.
pub struct Settings<A> {
    pub role: Role,
    pub requests: u32,
    pub ping: Option<Duration>,
    pub on_connection: A,
}

pub async fn establish<A: ConnectionAcceptor>(
    link: AnyLink,
    settings: Settings<A>,
    handler: impl Handler<DriverReplySink> + 'static,
) -> Result<(DriverCaller, SessionHandle), SessionError> {
    match link {
        AnyLink::Stream(link) => on_link(link, settings, handler).await,
        AnyLink::WebSocket(link) => on_link(link, settings, handler).await,
    }
}

async fn on_link<L, A>(
    link: L,
    settings: Settings<A>,
    handler: impl Handler<DriverReplySink> + 'static,
) -> Result<(DriverCaller, SessionHandle), SessionError>
where
    L: Link + Send + 'static,
    L::Tx: Send + 'static,
    L::Rx: Send + 'static,
    A: ConnectionAcceptor,
{
    let metadata = vec![MetadataEntry {
        key: "peer",
        value: MetadataValue::String("rust"),
        flags: MetadataFlags::NONE,
    }];
    // No interval at all is what disables keepalive.
    let interval = settings.ping.unwrap_or(Duration::ZERO);
    let keepalive = SessionKeepaliveConfig {
        ping_interval: interval,
        pong_timeout: Duration::from_secs(5),
    };
    match settings.role {
        Role::Initiator => {
            initiator(link)
                .max_concurrent_requests(settings.requests)
                .metadata(metadata)
                .keepalive(keepalive)
                .on_connection(settings.on_connection)
                .establish(handler)
                .await
        }
        Role::Acceptor => {
            acceptor(link)
                .max_concurrent_requests(settings.requests)
                .metadata(metadata)
                .keepalive(keepalive)
                .on_connection(settings.on_connection)
                .establish(handler)
                .await
        }
    }
}
