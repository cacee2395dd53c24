//! The services. `tests/interop/services.py` has the same in Python.

use std::borrow::Cow;

use roam::{Rx, Tx};

use crate::types::*;

// The macro parses neither slices nor numbers in the signature of a method.
pub type Octets = [u8];
pub const NARROW: usize = 1;
pub const WIDE: usize = 64;
pub const WIDEST: usize = 200;

/// Values of every wire type, there and back.
#[roam::service]
pub trait Values {
    async fn integers(&self, value: Integers) -> Integers;
    async fn scalars(&self, value: Scalars) -> Scalars;
    async fn containers(&self, value: Containers) -> Containers;
    async fn structs(
        &self,
        point: Point,
        labelled: Labelled,
        single: Single,
        metres: Metres,
        marker: Marker,
    ) -> (Point, Labelled, Single, Metres, Marker);
    async fn colours(&self, value: Vec<Colour>) -> Vec<Colour>;
    async fn spaced(&self, value: Spaced) -> Spaced;
    async fn figures(&self, value: Vec<Figure>) -> Vec<Figure>;
    async fn tree(&self, value: Tree) -> Tree;
    async fn chain(&self, value: Chain) -> Chain;
    async fn evaluate(&self, value: Expr) -> i64;
    async fn expr(&self, value: Expr) -> Expr;
    async fn page(&self, value: Page<Point>) -> Page<String>;
    async fn nothing(&self);
    /// Every integer as an argument of its own; the answer is their texts, joined.
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
    ) -> String;
    async fn borrowed(&self, text: &str, data: &Octets) -> String;
    async fn lent(&self, text: String) -> &'roam str;
    async fn owned_or_lent(&self, text: String) -> Cow<'roam, str>;
    async fn bytes(&self, data: Vec<u8>) -> Vec<u8>;
}

/// Methods that fail in every way there is.
#[roam::service]
pub trait Faults {
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, DividedByZero>;
    async fn refuse(&self, kind: u8) -> Result<String, Refusal>;
    async fn paint(&self, colour: Colour) -> Result<(), Colour>;
    async fn complain(&self, text: String) -> Result<u32, String>;
    /// The handler fails in a way that it does not declare.
    async fn break_down(&self) -> u32;
    /// Takes what not all bytes are.
    async fn decide(&self, yes: bool) -> bool;
}

/// Channels in both directions.
#[roam::service]
pub trait Streams {
    async fn sum(&self, numbers: Rx<i64>) -> i64;
    async fn count(&self, end: u32, numbers: Tx<u32>) -> u32;
    async fn reversed(&self, texts: Rx<String>, reversed: Tx<String>) -> u32;
    async fn draw(&self, corners: Rx<Point>, figures: Tx<Figure>);
    async fn sum_narrow(&self, numbers: Rx<u32, NARROW>) -> u64;
    async fn sum_wide(&self, numbers: Rx<u32, WIDE>) -> u64;
    async fn count_narrow(&self, end: u32, numbers: Tx<u32, NARROW>);
    async fn count_wide(&self, end: u32, numbers: Tx<u32, WIDE>);
    async fn count_widest(&self, end: u32, numbers: Tx<u32, WIDEST>);
    /// Receives nothing for a while.
    async fn sum_late(&self, numbers: Rx<u32, WIDEST>) -> u64;
    /// None if the channel is of no use.
    async fn sum_in_order(&self, order: Order) -> Option<u64>;
    async fn sum_if_given(&self, numbers: Option<Rx<u32>>) -> Option<u64>;
    /// Takes some items, and lets go of the channel.
    async fn take(&self, number: u32, numbers: Rx<u32>) -> u64;
    async fn measure(&self, blobs: Rx<Vec<u8>>) -> u64;
    async fn fill(&self, size: u32, blobs: Tx<Vec<u8>>);
    /// Answers at once, and goes on sending.
    async fn later(&self, end: u32, numbers: Tx<u32>);
}

/// Calls that wait.
#[roam::service]
pub trait Waiting {
    /// Never answers; ends when it is cancelled.
    async fn forever(&self, name: String);
    /// Answers when that many calls of it are in flight.
    async fn meet(&self, number: u32) -> u32;
    /// The names of the calls of `forever` that have begun, and have ended.
    async fn begun(&self) -> Vec<String>;
    async fn ended(&self) -> Vec<String>;
    async fn add(&self, left: u32, right: u32) -> u32;
}

/// Has methods of `Faults`' callers' imagination; nobody serves it.
#[roam::service]
pub trait Absent {
    async fn absent(&self, value: u32) -> u32;
    async fn refused(&self, value: u32) -> Result<u32, String>;
}

/// Which services a roam_trio peer offers; docs/descriptions.md has it.
#[roam::service]
pub trait Reflection {
    async fn services(&self) -> Vec<String>;
    async fn describe(
        &self,
        name: String,
        parts: Tx<Vec<u8>>,
    ) -> Result<u32, ReflectionProblem>;
}

/// Whether they take calls.
#[roam::service]
pub trait Health {
    async fn state(&self, name: String) -> Result<HealthState, HealthProblem>;
    async fn watch(
        &self,
        name: String,
        states: Tx<HealthState>,
    ) -> Result<(), HealthProblem>;
}

/// Without methods.
#[roam::service]
pub trait Hollow {}
