//! What the peer does as a caller: one scenario each, which says what was wrong.

use std::fmt::Debug;
use std::time::Duration;

use roam::{Caller, DriverCaller, Payload, RequestCall, RoamError, Rx, SessionError, SessionHandle,
    channel,
};
use tokio::task::JoinSet;

use crate::connections;
use crate::services::*;
use crate::types::*;

pub type Outcome = Result<(), String>;

fn equal<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, got {got:?}"))
}

fn failed<E: Debug>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error:?}")
}

pub async fn run(
    scenario: &str,
    number: u32,
    caller: DriverCaller,
    session: &SessionHandle,
) -> Outcome {
    match scenario {
        "values" => values(&ValuesClient::new(caller)).await,
        "faults" => faults(caller).await,
        "sum" => sum(&StreamsClient::new(caller), number).await,
        "count" => count(&StreamsClient::new(caller), number).await,
        "reversed" => reversed(&StreamsClient::new(caller), number).await,
        "draw" => draw(&StreamsClient::new(caller)).await,
        "optional" => optional(&StreamsClient::new(caller)).await,
        "take" => take(&StreamsClient::new(caller), number).await,
        "stop" => stop(&StreamsClient::new(caller), number).await,
        "later" => later(&StreamsClient::new(caller), number).await,
        "payloads" => payloads(caller, number).await,
        "concurrent" => concurrent(&WaitingClient::new(caller), number).await,
        "meet" => meet(&WaitingClient::new(caller), number).await,
        "abandon" => abandon(&WaitingClient::new(caller)).await,
        "forever" => forever(&WaitingClient::new(caller)).await,
        "hollow" => hollow(caller).await,
        "reserved" => reserved(session).await,
        "connections" => virtual_connections(session).await,
        "many_connections" => many_connections(session, number).await,
        _ => Err(format!("there is no scenario {scenario}")),
    }
}

async fn values(client: &ValuesClient) -> Outcome {
    for lowest in [true, false] {
        let value = integers(lowest);
        let got = client.integers(value.clone()).await;
        equal("integers", got.map_err(failed("integers"))?, value)?;
    }
    let got = client.scalars(scalars()).await.map_err(failed("scalars"))?;
    equal("scalars", got, scalars())?;
    let got = client.containers(containers()).await;
    equal("containers", got.map_err(failed("containers"))?, containers())?;
    let sent = (
        Point { x: -1, y: 300 },
        Labelled(7, "seven".into()),
        Single(300),
        Metres(-0.5),
        Marker,
    );
    let (point, labelled, single, metres, marker) = sent.clone();
    let got = client.structs(point, labelled, single, metres, marker).await;
    equal("structs", got.map_err(failed("structs"))?, sent)?;
    let colours = vec![Colour::Blue, Colour::Red, Colour::Green];
    let got = client.colours(colours.clone()).await;
    equal("colours", got.map_err(failed("colours"))?, colours)?;
    let got = client.spaced(Spaced::Far).await.map_err(failed("spaced"))?;
    equal("spaced", got, Spaced::Far)?;
    let got = client.figures(figures()).await.map_err(failed("figures"))?;
    equal("figures", got, figures())?;
    let got = client.tree(tree()).await.map_err(failed("tree"))?;
    equal("tree", got, tree())?;
    let got = client.chain(chain(20)).await.map_err(failed("chain"))?;
    equal("chain", got, chain(20))?;
    let got = client.evaluate(expr()).await.map_err(failed("evaluate"))?;
    equal("evaluate", got, expr().value())?;
    let got = client.expr(expr()).await.map_err(failed("expr"))?;
    equal("expr", got, expr())?;
    let got = client.page(page()).await.map_err(failed("page"))?;
    let expected = Page {
        items: vec!["1:2".to_owned(), "-3:4".to_owned()],
        total: 1000,
    };
    equal("page", got, expected)?;
    client.nothing().await.map_err(failed("nothing"))?;
    let got = client
        .spelled(
            u8::MAX,
            u16::MAX,
            u32::MAX,
            u64::MAX,
            u128::MAX,
            i8::MIN,
            i16::MIN,
            i32::MIN,
            i64::MIN,
            i128::MIN,
        )
        .await
        .map_err(failed("spelled"))?;
    let expected = format!(
        "{} {} {} {} {} {} {} {} {} {}",
        u8::MAX,
        u16::MAX,
        u32::MAX,
        u64::MAX,
        u128::MAX,
        i8::MIN,
        i16::MIN,
        i32::MIN,
        i64::MIN,
        i128::MIN
    );
    equal("spelled", got, expected)?;
    let got = client.borrowed("text", &[1, 2, 3]).await;
    equal("borrowed", got.map_err(failed("borrowed"))?, "text 3".into())?;
    let got = client.lent("text".into()).await.map_err(failed("lent"))?;
    equal("lent", *got, "something")?;
    let got = client.owned_or_lent("owned".into()).await;
    let got = got.map_err(failed("owned_or_lent"))?;
    equal("owned_or_lent", got.as_ref(), "owned")
}

async fn faults(caller: DriverCaller) -> Outcome {
    let client = FaultsClient::new(caller.clone());
    let got = client.divide(-7, 2).await.map_err(failed("divide"))?;
    equal("divide", got, -3)?;
    match client.divide(7, 0).await {
        Err(RoamError::User(DividedByZero { dividend: 7 })) => {}
        other => return Err(format!("divide by zero: {other:?}")),
    }
    match client.refuse(0).await {
        Err(RoamError::User(Refusal::Closed)) => {}
        other => return Err(format!("refuse 0: {other:?}")),
    }
    match client.refuse(1).await {
        Err(RoamError::User(Refusal::TooMany { limit: 300 })) => {}
        other => return Err(format!("refuse 1: {other:?}")),
    }
    match client.refuse(2).await {
        Err(RoamError::User(Refusal::NotOne(text))) if text == "not one" => {}
        other => return Err(format!("refuse 2: {other:?}")),
    }
    let got = client.refuse(3).await.map_err(failed("refuse 3"))?;
    equal("refuse 3", got, "granted".into())?;
    client.paint(Colour::Green).await.map_err(failed("paint green"))?;
    match client.paint(Colour::Blue).await {
        Err(RoamError::User(Colour::Blue)) => {}
        other => return Err(format!("paint blue: {other:?}")),
    }
    match client.complain("why".into()).await {
        Err(RoamError::User(text)) if text == "why" => {}
        other => return Err(format!("complain: {other:?}")),
    }
    match client.break_down().await {
        Err(RoamError::Cancelled) => {}
        other => return Err(format!("break_down: {other:?}")),
    }
    let absent = AbsentClient::new(caller.clone());
    match absent.absent(1).await {
        Err(RoamError::UnknownMethod) => {}
        other => return Err(format!("absent: {other:?}")),
    }
    match absent.refused(1).await {
        Err(RoamError::UnknownMethod) => {}
        other => return Err(format!("refused: {other:?}")),
    }
    // A bool that is neither true nor false, a number that is too short, and nothing.
    match decide_on(&caller, &7_u8).await? {
        Err(RoamError::InvalidPayload) => {}
        other => return Err(format!("decide 7: {other:?}")),
    }
    match decide_on(&caller, &()).await? {
        Err(RoamError::InvalidPayload) => {}
        other => return Err(format!("decide nothing: {other:?}")),
    }
    match decide_on(&caller, &true).await? {
        Ok(true) => Ok(()),
        other => Err(format!("decide true: {other:?}")),
    }
}

async fn decide_on<'a, T: facet::Facet<'a>>(
    caller: &DriverCaller,
    args: &'a T,
) -> Result<Result<bool, RoamError>, String> {
    let methods = faults_service_descriptor().methods;
    let decide = methods.iter().find(|method| method.method_name == "decide");
    let call = RequestCall {
        method_id: decide.expect("it is above").id,
        args: Payload::outgoing(args),
        channels: vec![],
        metadata: Default::default(),
    };
    let response = caller.call(call).await.map_err(failed("decide"))?;
    let Payload::Incoming(bytes) = &response.ret else {
        return Err("the response did not come from the wire".into());
    };
    facet_postcard::from_slice(bytes).map_err(failed("decide"))
}

async fn sum(client: &StreamsClient, number: u32) -> Outcome {
    let (tx, rx) = channel::<i64>();
    let sending = async {
        for item in 0..i64::from(number) {
            tx.send(item).await.map_err(failed("send"))?;
        }
        drop(tx);
        Ok::<_, String>(())
    };
    let (got, sent) = tokio::join!(client.sum(rx), sending);
    sent?;
    let number = i64::from(number);
    equal("sum", got.map_err(failed("sum"))?, number * (number - 1) / 2)
}

async fn received<T: facet::Facet<'static> + Clone, const N: usize>(
    mut rx: Rx<T, N>,
) -> Result<Vec<T>, String> {
    let mut items = Vec::new();
    while let Some(item) = rx.recv().await.map_err(failed("recv"))? {
        items.push((*item).clone());
    }
    Ok(items)
}

async fn count(client: &StreamsClient, number: u32) -> Outcome {
    let (tx, rx) = channel::<u32>();
    let (got, items) = tokio::join!(client.count(number, tx), received(rx));
    equal("count", got.map_err(failed("count"))?, number)?;
    equal("items", items?, (0..number).collect())
}

async fn reversed(client: &StreamsClient, number: u32) -> Outcome {
    let (tx, rx) = channel::<String>();
    let (reversed_tx, reversed_rx) = channel::<String>();
    let sending = async {
        for item in 0..number {
            tx.send(format!("{item:05}é")).await.map_err(failed("send"))?;
        }
        drop(tx);
        Ok::<_, String>(())
    };
    let (got, sent, items) =
        tokio::join!(client.reversed(rx, reversed_tx), sending, received(reversed_rx));
    sent?;
    equal("reversed", got.map_err(failed("reversed"))?, number)?;
    let expected = (0..number).map(|item| {
        let digits: String = format!("{item:05}").chars().rev().collect();
        format!("é{digits}")
    });
    equal("items", items?, expected.collect())
}

async fn draw(client: &StreamsClient) -> Outcome {
    let (tx, rx) = channel::<Point>();
    let (figures_tx, figures_rx) = channel::<Figure>();
    let corners: Vec<_> = (0..20).map(|x| Point { x, y: -x }).collect();
    let sending = async {
        for corner in &corners {
            tx.send(*corner).await.map_err(failed("send"))?;
        }
        drop(tx);
        Ok::<_, String>(())
    };
    let (got, sent, items) =
        tokio::join!(client.draw(rx, figures_tx), sending, received(figures_rx));
    sent?;
    got.map_err(failed("draw"))?;
    let expected = (1..=corners.len()).map(|end| Figure::Polygon(corners[..end].to_vec()));
    equal("figures", items?, expected.collect())
}

async fn optional(client: &StreamsClient) -> Outcome {
    let got = client.sum_if_given(None).await.map_err(failed("not given"))?;
    equal("not given", got, None)?;
    let (tx, rx) = channel::<u32>();
    let sending = async {
        for item in [1, 2, 300] {
            tx.send(item).await.map_err(failed("send"))?;
        }
        drop(tx);
        Ok::<_, String>(())
    };
    let (got, sent) = tokio::join!(client.sum_if_given(Some(rx)), sending);
    sent?;
    equal("given", got.map_err(failed("given"))?, Some(303))
}

/// The other side lets go of the channel, and this one sends until its credit is used.
async fn take(client: &StreamsClient, number: u32) -> Outcome {
    let (tx, rx) = channel::<u32>();
    let sending = async {
        let mut sent = 0;
        while let Ok(Ok(())) =
            tokio::time::timeout(Duration::from_millis(300), tx.send(1)).await
        {
            sent += 1;
        }
        sent
    };
    let (got, sent) = tokio::join!(client.take(number, rx), sending);
    equal("take", got.map_err(failed("take"))?, u64::from(number))?;
    println!("sent {sent}");
    Ok(())
}

/// Lets go of a channel that the other side sends on.
async fn stop(client: &StreamsClient, number: u32) -> Outcome {
    let (tx, mut rx) = channel::<u32>();
    let receiving = async move {
        for expected in 0..number {
            let item = rx.recv().await.map_err(failed("recv"))?;
            equal("item", item.map(|item| *item), Some(expected))?;
        }
        Ok::<_, String>(())
    };
    let calling = tokio::time::timeout(Duration::from_millis(300), client.count(1000, tx));
    let (got, received) = tokio::join!(calling, receiving);
    received?;
    println!("count {}", if got.is_ok() { "answered" } else { "waits" });
    // Nothing else of the connection is held up.
    count(client, 100).await
}

async fn later(client: &StreamsClient, number: u32) -> Outcome {
    let (tx, rx) = channel::<u32>();
    client.later(number, tx).await.map_err(failed("later"))?;
    equal("items", received(rx).await?, (0..number).collect())
}

async fn payloads(caller: DriverCaller, size: u32) -> Outcome {
    let data: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
    let client = ValuesClient::new(caller.clone());
    let got = client.bytes(data.clone()).await.map_err(failed("bytes"))?;
    equal("bytes are the same", got == data, true)?;

    let client = StreamsClient::new(caller);
    let (tx, rx) = channel::<Vec<u8>>();
    let sending = async {
        for _ in 0..4 {
            tx.send(data.clone()).await.map_err(failed("send"))?;
        }
        drop(tx);
        Ok::<_, String>(())
    };
    let (got, sent) = tokio::join!(client.measure(rx), sending);
    sent?;
    equal("measure", got.map_err(failed("measure"))?, 4 * u64::from(size))?;
    let (tx, rx) = channel::<Vec<u8>>();
    let (got, blobs) = tokio::join!(client.fill(size, tx), received(rx));
    got.map_err(failed("fill"))?;
    let expected: Vec<_> = (0..4).map(|filling| vec![filling; size as usize]).collect();
    equal("blobs are the same", blobs? == expected, true)
}

async fn concurrent(client: &WaitingClient, number: u32) -> Outcome {
    let mut calls = JoinSet::new();
    for left in 0..number {
        let client = client.clone();
        calls.spawn(async move { (left, client.add(left, 1).await) });
    }
    while let Some(done) = calls.join_next().await {
        let (left, got) = done.map_err(failed("task"))?;
        equal("add", got.map_err(failed("add"))?, left + 1)?;
    }
    Ok(())
}

async fn meet(client: &WaitingClient, number: u32) -> Outcome {
    let mut calls = JoinSet::new();
    for _ in 0..number {
        let client = client.clone();
        calls.spawn(async move { client.meet(number).await });
    }
    while let Some(done) = calls.join_next().await {
        let got = done.map_err(failed("task"))?;
        equal("meet", got.map_err(failed("meet"))?, number)?;
    }
    Ok(())
}

/// Waits until `begun` names the call.
async fn until_begun(client: &WaitingClient, name: &str) -> Outcome {
    for _ in 0..1000 {
        let begun = client.begun().await.map_err(failed("begun"))?;
        if begun.iter().any(|one| one == name) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(format!("{name} has not begun"))
}

/// Drops a call that the other side is busy with.
async fn abandon(client: &WaitingClient) -> Outcome {
    let calling = client.clone();
    let call = tokio::spawn(async move { calling.forever("abandoned".into()).await });
    until_begun(client, "abandoned").await?;
    call.abort();
    let _ = call.await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ended = client.ended().await.map_err(failed("ended"))?;
    println!("ended {}", ended.join(" "));
    Ok(())
}

/// The other side ends the call that it was busy with.
async fn forever(client: &WaitingClient) -> Outcome {
    match client.forever("by-rust".into()).await {
        Err(RoamError::Cancelled) => Ok(()),
        other => Err(format!("forever: {other:?}")),
    }
}

async fn hollow(caller: DriverCaller) -> Outcome {
    match AbsentClient::new(caller).absent(1).await {
        Err(error) => println!("hollow {error:?}"),
        other => return Err(format!("hollow: {other:?}")),
    }
    Ok(())
}

async fn virtual_connections(session: &SessionHandle) -> Outcome {
    let (first, values_caller) =
        connections::open(session, "values").await.map_err(failed("open values"))?;
    let (second, streams_caller) =
        connections::open(session, "streams").await.map_err(failed("open streams"))?;
    println!("opened {} {}", first.0, second.0);
    let values_client = ValuesClient::new(values_caller);
    let streams_client = StreamsClient::new(streams_caller);
    let (one, other) = tokio::join!(values(&values_client), count(&streams_client, 500));
    one?;
    other?;

    match connections::open(session, "nobody").await {
        // Its metadata is not looked at: when it gets here, the crate has freed the
        // buffer that its texts are in.
        Err(SessionError::Rejected(_)) => println!("rejected"),
        Err(error) => return Err(format!("open nobody: {error:?}")),
        Ok(_) => return Err("a connection for nobody was accepted".into()),
    }

    // Each is closed by itself: one by its number, the other by letting go of it.
    session
        .close_connection(second, vec![])
        .await
        .map_err(failed("close"))?;
    // Once its driver has ended, the crate sends what is called on a connection that is
    // closed, and waits.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let call = streams_client.count(1, channel().0);
    match tokio::time::timeout(Duration::from_millis(300), call).await {
        Err(_) => println!("closed"),
        Ok(answer) => return Err(format!("a closed connection: {answer:?}")),
    }
    values(&values_client).await
}

/// Asks what is offered, and watches it until the peer shuts down.
async fn reserved(session: &SessionHandle) -> Outcome {
    let (_, caller) =
        connections::open(session, "reflection").await.map_err(failed("reflection"))?;
    let reflection = ReflectionClient::new(caller);
    let names = reflection.services().await.map_err(failed("services"))?;
    println!("services {}", names.join(" "));
    let (tx, rx) = channel::<Vec<u8>>();
    let (number, parts) =
        tokio::join!(reflection.describe("waiting".into(), tx), received(rx));
    let parts = parts?;
    equal("parts", number.map_err(failed("describe"))?, parts.len() as u32)?;
    let text = String::from_utf8(parts.concat()).map_err(failed("a part"))?;
    println!("described {text}");
    match reflection.describe("nobody".into(), channel().0).await {
        Err(RoamError::User(ReflectionProblem::Unknown)) => {}
        other => return Err(format!("describe nobody: {other:?}")),
    }

    let (_, caller) =
        connections::open(session, "health").await.map_err(failed("health"))?;
    let health = HealthClient::new(caller);
    let state = health.state("waiting".into()).await.map_err(failed("state"))?;
    equal("state", state, HealthState::Serving)?;
    match health.state("nobody".into()).await {
        Err(RoamError::User(HealthProblem::Unknown)) => {}
        other => return Err(format!("the state of nobody: {other:?}")),
    }
    let (tx, mut rx) = channel::<HealthState>();
    let watching = async {
        while let Some(state) = rx.recv().await.map_err(failed("a state"))? {
            println!("state {:?}", *state);
        }
        Ok::<_, String>(())
    };
    let (ended, watched) = tokio::join!(health.watch("waiting".into(), tx), watching);
    watched?;
    ended.map_err(failed("watch"))
}

async fn many_connections(session: &SessionHandle, number: u32) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..number {
        let (_, caller) =
            connections::open(session, "waiting").await.map_err(failed("open"))?;
        clients.push(WaitingClient::new(caller));
    }
    for (left, client) in clients.iter().enumerate() {
        concurrent(client, 3).await?;
        let left = left as u32;
        let got = client.add(left, 1).await.map_err(failed("add"))?;
        equal("add", got, left + 1)?;
    }
    Ok(())
}

