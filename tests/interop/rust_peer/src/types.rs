//! Types that between them use every form that a value can have on the wire.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use facet::Facet;
use roam::Rx;

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Integers {
    pub tiny: u8,
    pub small: u16,
    pub medium: u32,
    pub large: u64,
    pub huge: u128,
    pub signed_tiny: i8,
    pub signed_small: i16,
    pub signed_medium: i32,
    pub signed_large: i64,
    pub signed_huge: i128,
    pub size: usize,
    pub signed_size: isize,
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Scalars {
    pub yes: bool,
    pub single: f32,
    pub double: f64,
    pub letter: char,
    pub word: String,
    pub data: Vec<u8>,
    pub nothing: (),
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Containers {
    pub list: Vec<i32>,
    pub lists: Vec<Vec<String>>,
    pub maybe: Option<u32>,
    pub maybe_list: Option<Vec<u16>>,
    pub array: [u16; 3],
    pub digest: [u8; 4],
    pub map: BTreeMap<String, u32>,
    pub hash_map: HashMap<u8, Option<bool>>,
    pub set: BTreeSet<char>,
    pub pair: (u8, String),
    pub nested: (bool, (i16, [f32; 2])),
    pub shared: Arc<String>,
    pub boxed: Box<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Facet)]
pub struct Point {
    pub x: i32,
    pub y: i32,
}

/// A tuple struct.
#[derive(Debug, Clone, PartialEq, Eq, Facet)]
pub struct Labelled(pub u16, pub String);

/// A tuple struct of one field, which is not transparent.
#[derive(Debug, Clone, PartialEq, Eq, Facet)]
pub struct Single(pub u32);

#[derive(Debug, Clone, PartialEq, Facet)]
#[repr(transparent)]
#[facet(transparent)]
pub struct Metres(pub f64);

#[derive(Debug, Clone, PartialEq, Eq, Facet)]
pub struct Marker;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Facet)]
#[repr(u8)]
pub enum Colour {
    Red,
    Green,
    Blue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Facet)]
#[repr(u8)]
pub enum ReflectionProblem {
    Unknown,
    Undescribed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Facet)]
#[repr(u8)]
pub enum HealthState {
    Serving,
    Draining,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Facet)]
#[repr(u8)]
pub enum HealthProblem {
    Unknown,
}

/// The discriminants are not what goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Facet)]
#[repr(u8)]
pub enum Spaced {
    Near = 3,
    Far = 200,
}

/// Every kind of variant.
#[derive(Debug, Clone, PartialEq, Facet)]
#[repr(u8)]
pub enum Figure {
    Nothing,
    Circle(f64),
    Segment(Metres, Metres),
    Rectangle { width: u32, height: u32 },
    Polygon(Vec<Point>),
    Named { label: String, figure: Box<Figure> },
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Tree {
    pub value: i32,
    pub children: Vec<Tree>,
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Chain {
    pub value: u8,
    pub next: Option<Box<Chain>>,
}

#[derive(Debug, Clone, PartialEq, Facet)]
#[repr(u8)]
pub enum Expr {
    Number(i64),
    Sum(Box<Expr>, Box<Expr>),
    Negated { operand: Box<Expr> },
}

impl Expr {
    pub fn value(&self) -> i64 {
        match self {
            Expr::Number(number) => *number,
            Expr::Sum(left, right) => left.value() + right.value(),
            Expr::Negated { operand } => -operand.value(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: u32,
}

/// A channel in a field.
#[derive(Facet)]
pub struct Order {
    pub label: String,
    pub numbers: Rx<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Facet)]
pub struct DividedByZero {
    pub dividend: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Facet)]
#[repr(u8)]
pub enum Refusal {
    Closed,
    TooMany { limit: u32 },
    NotOne(String),
}

pub fn integers(lowest: bool) -> Integers {
    if lowest {
        Integers {
            tiny: 0,
            small: 0,
            medium: 0,
            large: 0,
            huge: 0,
            signed_tiny: i8::MIN,
            signed_small: i16::MIN,
            signed_medium: i32::MIN,
            signed_large: i64::MIN,
            signed_huge: i128::MIN,
            size: 0,
            signed_size: isize::MIN,
        }
    } else {
        Integers {
            tiny: u8::MAX,
            small: u16::MAX,
            medium: u32::MAX,
            large: u64::MAX,
            huge: u128::MAX,
            signed_tiny: i8::MAX,
            signed_small: i16::MAX,
            signed_medium: i32::MAX,
            signed_large: i64::MAX,
            signed_huge: i128::MAX,
            size: usize::MAX,
            signed_size: isize::MAX,
        }
    }
}

pub fn scalars() -> Scalars {
    Scalars {
        yes: true,
        single: -0.1,
        double: 1e300,
        letter: '🦀',
        word: "héllo 世界".into(),
        data: vec![0, 1, 254, 255],
        nothing: (),
    }
}

pub fn containers() -> Containers {
    Containers {
        list: vec![-1, 0, 1],
        lists: vec![vec![], vec!["a".into(), "".into()]],
        maybe: Some(7),
        maybe_list: None,
        array: [1, 300, 65535],
        digest: [0xde, 0xad, 0xbe, 0xef],
        map: BTreeMap::from([("one".into(), 1), ("two".into(), 2)]),
        hash_map: HashMap::from([(9, Some(true))]),
        set: BTreeSet::from(['a', 'é']),
        pair: (255, "last".into()),
        nested: (false, (-300, [0.5, -2.0])),
        shared: Arc::new("shared".into()),
        boxed: Box::new(-(1 << 40)),
    }
}

pub fn figures() -> Vec<Figure> {
    vec![
        Figure::Nothing,
        Figure::Circle(1.5),
        Figure::Segment(Metres(0.25), Metres(-8.0)),
        Figure::Rectangle { width: 300, height: 2 },
        Figure::Polygon(vec![Point { x: -1, y: 1 }, Point { x: 64, y: -65 }]),
        Figure::Named {
            label: "inner".into(),
            figure: Box::new(Figure::Circle(0.0)),
        },
    ]
}

pub fn tree() -> Tree {
    let leaf = |value| Tree { value, children: vec![] };
    Tree {
        value: 1,
        children: vec![
            leaf(-2),
            Tree { value: 3, children: vec![leaf(4)] },
        ],
    }
}

pub fn chain(length: u8) -> Chain {
    let next = (length > 1).then(|| Box::new(chain(length - 1)));
    Chain { value: length, next }
}

/// 5 + -(2 + 1)
pub fn expr() -> Expr {
    let number = |value| Box::new(Expr::Number(value));
    Expr::Sum(
        number(5),
        Box::new(Expr::Negated {
            operand: Box::new(Expr::Sum(number(2), number(1))),
        }),
    )
}

pub fn page() -> Page<Point> {
    Page {
        items: vec![Point { x: 1, y: 2 }, Point { x: -3, y: 4 }],
        total: 1000,
    }
}

pub fn cow(text: &'static str) -> Cow<'static, str> {
    Cow::Borrowed(text)
}
