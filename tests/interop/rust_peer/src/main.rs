//! A peer for roam_trio's tests, made with the published crates.
//!
//!     rust_peer serve listen|dial URL [options]           answers calls
//!     rust_peer call listen|dial URL SCENARIO [NUMBER] [options]
//!     rust_peer proxy URL UPSTREAM                         joins connections
//!     rust_peer vectors                                    prints bytes and method ids
//!
//! Who listens is the acceptor, and says where: `listening URL`. `--requests N` is how
//! many requests it accepts at a time; `--ping MILLISECONDS` makes it ping, that often;
//! `--open NAME` makes it call on a virtual connection for that service.

mod calls;
mod connections;
mod generated;
mod handlers;
mod services;
mod transport;
mod types;
mod vectors;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use roam::{Caller, DriverCaller, SessionHandle};
use tokio::task::{LocalSet, spawn_local};

use connections::{Offering, Proxying};
use handlers::Everything;
use transport::{AnyLink, Listener, Role, Settings, dial, establish};

type Failure = Box<dyn Error + Send + Sync>;

// In one thread, for with several roam 7.3.0 may lose an item that comes while a
// handler takes up the receiver of its channel (docs/interop.md).
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // What sets up a session is not Send, for all that the compiler can tell.
    match LocalSet::new().run_until(run(arguments)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<String>) -> Result<(), Failure> {
    let (options, words) = Options::parse(arguments)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", "listen", url] => serve_all(url, &options).await,
        ["serve", "dial", url] => serve(dial(url).await?, Role::Initiator, &options).await,
        ["call", "listen", url, scenario, ..] => {
            let listener = listen(url).await?;
            let link = listener.accept().await?;
            call(link, Role::Acceptor, scenario, number(&words)?, &options).await
        }
        ["call", "dial", url, scenario, ..] => {
            let link = dial(url).await?;
            call(link, Role::Initiator, scenario, number(&words)?, &options).await
        }
        ["proxy", url, upstream] => proxy(url, upstream, &options).await,
        ["vectors"] => {
            vectors::print();
            Ok(())
        }
        _ => Err(format!("not understood: {words:?}").into()),
    }
}

fn number(words: &[&str]) -> Result<u32, Failure> {
    match words.get(4) {
        Some(word) => Ok(word.parse()?),
        None => Ok(0),
    }
}

#[derive(Clone, Copy)]
struct Options {
    requests: u32,
    ping: Option<Duration>,
    open: Option<&'static str>,
}

impl Options {
    fn parse(arguments: Vec<String>) -> Result<(Self, Vec<String>), Failure> {
        let mut options = Self {
            requests: 64,
            ping: None,
            open: None,
        };
        let mut words = Vec::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or("a value is missing");
            match argument.as_str() {
                "--requests" => options.requests = value()?.parse()?,
                "--ping" => {
                    options.ping = Some(Duration::from_millis(value()?.parse()?));
                }
                "--open" => options.open = Some(value()?.leak()),
                _ => words.push(argument),
            }
        }
        Ok((options, words))
    }

    fn offering(&self, everything: &Everything) -> Offering {
        Offering {
            everything: everything.clone(),
            max_requests: self.requests,
        }
    }
}

async fn listen(url: &str) -> Result<Listener, Failure> {
    let listener = Listener::bind(url).await?;
    println!("listening {}", listener.url()?);
    Ok(listener)
}

async fn begin(
    link: AnyLink,
    role: Role,
    options: &Options,
) -> Result<(DriverCaller, SessionHandle), Failure> {
    let everything = Everything::new();
    let session = Settings {
        role,
        requests: options.requests,
        ping: options.ping,
        on_connection: options.offering(&everything),
    };
    Ok(establish(link, session, everything).await?)
}

/// Serves one session to its end.
async fn serve(link: AnyLink, role: Role, options: &Options) -> Result<(), Failure> {
    let (caller, _session) = begin(link, role, options).await?;
    caller.closed().await;
    println!("ended");
    Ok(())
}

async fn serve_all(url: &str, options: &Options) -> Result<(), Failure> {
    let listener = listen(url).await?;
    loop {
        let link = listener.accept().await?;
        let options = *options;
        spawn_local(async move {
            if let Err(error) = serve(link, Role::Acceptor, &options).await {
                println!("no session: {error}");
            }
        });
    }
}

async fn call(
    link: AnyLink,
    role: Role,
    scenario: &str,
    number: u32,
    options: &Options,
) -> Result<(), Failure> {
    let (root, session) = begin(link, role, options).await?;
    let caller = match options.open {
        Some(service) => connections::open(&session, service).await?.1,
        None => root.clone(),
    };
    calls::run(scenario, number, caller, &session).await?;
    println!("done {scenario}");
    let _ = session.shutdown();
    root.closed().await;
    Ok(())
}

async fn proxy(url: &str, upstream: &str, options: &Options) -> Result<(), Failure> {
    let (far, upstream) = begin(dial(upstream).await?, Role::Initiator, options).await?;
    let listener = listen(url).await?;
    loop {
        let link = listener.accept().await?;
        let session = Settings {
            role: Role::Acceptor,
            requests: options.requests,
            ping: options.ping,
            on_connection: Proxying { upstream: upstream.clone() },
        };
        let far = far.clone();
        spawn_local(async move {
            match establish(link, session, ()).await {
                Ok((near, _session)) => near.closed().await,
                Err(error) => println!("no session: {error}"),
            }
            drop(far);
        });
    }
}
