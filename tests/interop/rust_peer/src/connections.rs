//! Virtual connections: which are accepted, how they are opened, and a proxy of them.

use roam::{
    AcceptedConnection, ConnectionAcceptor, ConnectionHandle, ConnectionId,
    ConnectionSettings, Driver, DriverCaller, Handler, Metadata, MetadataEntry,
    MetadataFlags, MetadataValue, Parity, SessionError, SessionHandle, proxy_connections,
};

use crate::handlers::{Empty, Everything};
use crate::services::HollowDispatcher;

const SERVICE: &str = "service";

/// Accepts connections for a service by its name, and rejects all others.
pub struct Offering {
    pub everything: Everything,
    pub max_requests: u32,
}

fn text<'a>(key: &'a str, value: &'a str) -> MetadataEntry<'a> {
    MetadataEntry {
        key,
        value: MetadataValue::String(value),
        flags: MetadataFlags::NONE,
    }
}

fn wanted<'a>(metadata: &'a [MetadataEntry<'_>]) -> Option<&'a str> {
    metadata.iter().find_map(|entry| match entry.value {
        MetadataValue::String(name) if entry.key == SERVICE => Some(name),
        _ => None,
    })
}

/// Of our parity, whichever it is.
fn settings(theirs: &ConnectionSettings, max_requests: u32) -> ConnectionSettings {
    ConnectionSettings {
        parity: theirs.parity.other(),
        max_concurrent_requests: max_requests,
    }
}

fn run<H: Handler<roam::DriverReplySink> + 'static>(handle: ConnectionHandle, handler: H) {
    tokio::spawn(async move { Driver::new(handle, handler).run().await });
}

impl ConnectionAcceptor for Offering {
    fn accept(
        &self,
        _id: ConnectionId,
        theirs: &ConnectionSettings,
        metadata: &[MetadataEntry],
    ) -> Result<AcceptedConnection, Metadata<'static>> {
        let everything = self.everything.clone();
        let setup: Box<dyn FnOnce(ConnectionHandle) + Send> = match wanted(metadata) {
            Some("values" | "faults" | "streams" | "waiting") => {
                Box::new(move |handle| run(handle, everything))
            }
            Some("hollow") => {
                Box::new(move |handle| run(handle, HollowDispatcher::new(Empty)))
            }
            _ => return Err(vec![text("error", "there is no such service")]),
        };
        Ok(AcceptedConnection {
            settings: settings(theirs, self.max_requests),
            metadata: vec![text("accepted-by", "rust")],
            setup,
        })
    }
}

/// A caller on a new connection for the service of that name.
pub async fn open(
    session: &SessionHandle,
    service: &'static str,
) -> Result<(ConnectionId, DriverCaller), SessionError> {
    let settings = ConnectionSettings {
        parity: Parity::Odd,
        max_concurrent_requests: 64,
    };
    let handle = session
        .open_connection(settings, vec![text(SERVICE, service)])
        .await?;
    let id = handle.connection_id();
    let mut driver = Driver::new(handle, ());
    let caller = driver.caller();
    tokio::spawn(async move { driver.run().await });
    Ok((id, caller))
}

/// Opens upstream whatever is opened here, and joins the two.
pub struct Proxying {
    pub upstream: SessionHandle,
}

impl ConnectionAcceptor for Proxying {
    fn accept(
        &self,
        _id: ConnectionId,
        theirs: &ConnectionSettings,
        metadata: &[MetadataEntry],
    ) -> Result<AcceptedConnection, Metadata<'static>> {
        let Some(name) = wanted(metadata) else {
            return Err(vec![text("error", "no service was named")]);
        };
        let name: &'static str = name.to_owned().leak();
        let upstream = self.upstream.clone();
        // Numbers pass a proxy of the crate's unchanged, so both sides of it have to
        // agree on whose are odd.
        let towards = theirs.clone();
        Ok(AcceptedConnection {
            settings: settings(theirs, theirs.max_concurrent_requests),
            metadata: vec![],
            setup: Box::new(move |near| {
                tokio::spawn(async move {
                    let metadata = vec![text(SERVICE, name)];
                    match upstream.open_connection(towards, metadata).await {
                        Ok(far) => proxy_connections(near, far).await,
                        Err(error) => eprintln!("cannot open upstream: {error}"),
                    }
                });
            }),
        })
    }
}
