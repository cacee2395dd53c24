//! What the peer does when it is called.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roam::{
    Call, Handler, ReplySink, RequestCall, RoamError, Rx, SelfRef, ServiceDescriptor, Tx,
};
use tokio::sync::Notify;

use crate::services::*;
use crate::types::*;

#[derive(Clone)]
pub struct Echo;

impl Values for Echo {
    async fn integers(&self, value: Integers) -> Integers {
        value
    }

    async fn scalars(&self, value: Scalars) -> Scalars {
        value
    }

    async fn containers(&self, value: Containers) -> Containers {
        value
    }

    async fn structs(
        &self,
        point: Point,
        labelled: Labelled,
        single: Single,
        metres: Metres,
        marker: Marker,
    ) -> (Point, Labelled, Single, Metres, Marker) {
        (point, labelled, single, metres, marker)
    }

    async fn colours(&self, value: Vec<Colour>) -> Vec<Colour> {
        value
    }

    async fn spaced(&self, value: Spaced) -> Spaced {
        value
    }

    async fn figures(&self, value: Vec<Figure>) -> Vec<Figure> {
        value
    }

    async fn tree(&self, value: Tree) -> Tree {
        value
    }

    async fn chain(&self, value: Chain) -> Chain {
        value
    }

    async fn evaluate(&self, value: Expr) -> i64 {
        value.value()
    }

    async fn expr(&self, value: Expr) -> Expr {
        value
    }

    async fn page(&self, value: Page<Point>) -> Page<String> {
        let items = value.items.iter().map(|at| format!("{}:{}", at.x, at.y));
        Page {
            items: items.collect(),
            total: value.total,
        }
    }

    async fn nothing(&self) {}

    async fn spelled(
        &self,
        a: u8,
        b: u16,
        c: u32,
        d: u64,
        e: u128,
        f: i8,
        g: i16,
        h: i32,
        i: i64,
        j: i128,
    ) -> String {
        format!("{a} {b} {c} {d} {e} {f} {g} {h} {i} {j}")
    }

    async fn borrowed(&self, text: &str, data: &[u8]) -> String {
        format!("{text} {}", data.len())
    }

    async fn lent<'roam>(
        &self,
        call: impl Call<'roam, &'roam str, std::convert::Infallible>,
        text: String,
    ) {
        let answer: &'static str = if text.is_empty() { "nothing" } else { "something" };
        call.ok(answer).await;
    }

    async fn owned_or_lent<'roam>(
        &self,
        call: impl Call<'roam, Cow<'roam, str>, std::convert::Infallible>,
        text: String,
    ) {
        let answer = match text.is_empty() {
            true => Cow::Borrowed("lent"),
            false => Cow::Owned(text),
        };
        call.ok(answer).await;
    }

    async fn bytes(&self, data: Vec<u8>) -> Vec<u8> {
        data
    }
}

#[derive(Clone)]
pub struct Failing;

impl Faults for Failing {
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, DividedByZero> {
        dividend
            .checked_div(divisor)
            .ok_or(DividedByZero { dividend })
    }

    async fn refuse(&self, kind: u8) -> Result<String, Refusal> {
        match kind {
            0 => Err(Refusal::Closed),
            1 => Err(Refusal::TooMany { limit: 300 }),
            2 => Err(Refusal::NotOne("not one".into())),
            _ => Ok("granted".into()),
        }
    }

    async fn paint(&self, colour: Colour) -> Result<(), Colour> {
        match colour {
            Colour::Green => Ok(()),
            other => Err(other),
        }
    }

    async fn complain(&self, text: String) -> Result<u32, String> {
        Err(text)
    }

    async fn break_down(&self) -> u32 {
        panic!("on purpose")
    }

    async fn decide(&self, yes: bool) -> bool {
        yes
    }
}

#[derive(Clone)]
pub struct Streaming;

impl Streams for Streaming {
    async fn sum(&self, mut numbers: Rx<i64>) -> i64 {
        let mut sum = 0;
        while let Ok(Some(number)) = numbers.recv().await {
            sum += *number;
        }
        sum
    }

    async fn count(&self, end: u32, numbers: Tx<u32>) -> u32 {
        send_up_to(end, &numbers).await
    }

    async fn reversed(&self, mut texts: Rx<String>, reversed: Tx<String>) -> u32 {
        let mut seen = 0;
        while let Ok(Some(text)) = texts.recv().await {
            if reversed.send(text.chars().rev().collect()).await.is_err() {
                break;
            }
            seen += 1;
        }
        seen
    }

    async fn draw(&self, mut corners: Rx<Point>, figures: Tx<Figure>) {
        let mut seen = Vec::new();
        while let Ok(Some(corner)) = corners.recv().await {
            seen.push(*corner);
            if figures.send(Figure::Polygon(seen.clone())).await.is_err() {
                break;
            }
        }
    }

    async fn sum_narrow(&self, numbers: Rx<u32, NARROW>) -> u64 {
        sum(numbers).await
    }

    async fn sum_wide(&self, numbers: Rx<u32, WIDE>) -> u64 {
        sum(numbers).await
    }

    async fn count_narrow(&self, end: u32, numbers: Tx<u32, NARROW>) {
        send_up_to(end, &numbers).await;
    }

    async fn count_wide(&self, end: u32, numbers: Tx<u32, WIDE>) {
        send_up_to(end, &numbers).await;
    }

    async fn count_widest(&self, end: u32, numbers: Tx<u32, WIDEST>) {
        send_up_to(end, &numbers).await;
    }

    async fn sum_late(&self, numbers: Rx<u32, WIDEST>) -> u64 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sum(numbers).await
    }

    async fn sum_in_order(&self, mut order: Order) -> Option<u64> {
        let mut sum = 0;
        loop {
            match order.numbers.recv().await {
                Ok(Some(number)) => sum += u64::from(*number),
                Ok(None) => return Some(sum),
                Err(_) => return None,
            }
        }
    }

    async fn sum_if_given(&self, numbers: Option<Rx<u32>>) -> Option<u64> {
        match numbers {
            Some(numbers) => Some(sum(numbers).await),
            None => None,
        }
    }

    async fn take(&self, number: u32, mut numbers: Rx<u32>) -> u64 {
        let mut sum = 0;
        for _ in 0..number {
            if let Ok(Some(item)) = numbers.recv().await {
                sum += u64::from(*item);
            }
        }
        sum
    }

    async fn measure(&self, mut blobs: Rx<Vec<u8>>) -> u64 {
        let mut size = 0;
        while let Ok(Some(blob)) = blobs.recv().await {
            size += blob.len() as u64;
        }
        size
    }

    async fn fill(&self, size: u32, blobs: Tx<Vec<u8>>) {
        for filling in 0..4 {
            if blobs.send(vec![filling; size as usize]).await.is_err() {
                break;
            }
        }
    }

    async fn later(&self, end: u32, numbers: Tx<u32>) {
        tokio::spawn(async move {
            send_up_to(end, &numbers).await;
        });
    }
}

async fn sum<const N: usize>(mut numbers: Rx<u32, N>) -> u64 {
    let mut sum = 0;
    while let Ok(Some(number)) = numbers.recv().await {
        sum += u64::from(*number);
    }
    sum
}

pub async fn send_up_to<const N: usize>(end: u32, numbers: &Tx<u32, N>) -> u32 {
    for number in 0..end {
        if numbers.send(number).await.is_err() {
            return number;
        }
    }
    end
}

#[derive(Clone, Default)]
pub struct Patient {
    begun: Arc<Mutex<Vec<String>>>,
    ended: Arc<Mutex<Vec<String>>>,
    meeting: Arc<Mutex<Vec<Arc<Notify>>>>,
}

struct Ending {
    name: String,
    ended: Arc<Mutex<Vec<String>>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ended.lock().unwrap().push(std::mem::take(&mut self.name));
    }
}

impl Waiting for Patient {
    async fn forever(&self, name: String) {
        let _ending = Ending {
            name: name.clone(),
            ended: Arc::clone(&self.ended),
        };
        self.begun.lock().unwrap().push(name);
        std::future::pending::<()>().await;
    }

    async fn meet(&self, number: u32) -> u32 {
        let here = Arc::new(Notify::new());
        {
            let mut meeting = self.meeting.lock().unwrap();
            meeting.push(Arc::clone(&here));
            if meeting.len() == number as usize {
                for one in meeting.drain(..) {
                    one.notify_one();
                }
            }
        }
        here.notified().await;
        number
    }

    async fn begun(&self) -> Vec<String> {
        self.begun.lock().unwrap().clone()
    }

    async fn ended(&self) -> Vec<String> {
        self.ended.lock().unwrap().clone()
    }

    async fn add(&self, left: u32, right: u32) -> u32 {
        left.wrapping_add(right)
    }
}

/// All of the services at once.
#[derive(Clone)]
pub struct Everything {
    values: ValuesDispatcher<Echo>,
    faults: FaultsDispatcher<Failing>,
    streams: StreamsDispatcher<Streaming>,
    waiting: WaitingDispatcher<Patient>,
}

impl Everything {
    pub fn new() -> Self {
        Self {
            values: ValuesDispatcher::new(Echo),
            faults: FaultsDispatcher::new(Failing),
            streams: StreamsDispatcher::new(Streaming),
            waiting: WaitingDispatcher::new(Patient::default()),
        }
    }
}

fn has(descriptor: &ServiceDescriptor, call: &RequestCall<'static>) -> bool {
    descriptor.by_id(call.method_id).is_some()
}

/// Boxed where the handler is not known: where it is, the compiler cannot show that what
/// a method with a borrowed result does is Send.
fn boxed<'a, R: ReplySink>(
    handler: &'a impl Handler<R>,
    call: SelfRef<RequestCall<'static>>,
    reply: R,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    Box::pin(handler.handle(call, reply))
}

impl<R: ReplySink> Handler<R> for Everything {
    async fn handle(&self, call: SelfRef<RequestCall<'static>>, reply: R) {
        if has(values_service_descriptor(), &call) {
            boxed(&self.values, call, reply).await;
        } else if has(faults_service_descriptor(), &call) {
            boxed(&self.faults, call, reply).await;
        } else if has(streams_service_descriptor(), &call) {
            boxed(&self.streams, call, reply).await;
        } else if has(waiting_service_descriptor(), &call) {
            boxed(&self.waiting, call, reply).await;
        } else {
            reply
                .send_error(RoamError::<std::convert::Infallible>::UnknownMethod)
                .await;
        }
    }
}

#[derive(Clone)]
pub struct Empty;

impl Hollow for Empty {}
