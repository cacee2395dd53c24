//! Services as somebody would write them in Rust.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap as Map, HashSet};
use std::num::{NonZero, NonZeroU8, NonZeroU32};
use std::sync::Arc;

use facet::Facet;
use roam::{Rx, Tx};

pub const DIGEST: usize = 0x20;
pub type Digest = [u8; DIGEST];
pub type Pair<A, B = A> = (A, B);
pub type Twice<T> = (T, T);

/// Money, in the smallest coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Facet)]
#[repr(transparent)]
pub struct Cents(pub i64);

#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Facet)]
#[facet(transparent)]
pub struct Weight(pub f32);

/** What is sold.

    In any size. */
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Facet)]
pub struct Article {
    /// Unique.
    pub r#type: String,
    pub from: char,
    pub str: u8,
    pub x: Option<Box<Article>>,
    pub parts: Vec<u32>,
    pub digest: [u8; 4],
    pub grid: [[u16; 2]; 3],
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<Box<Page<T>>>,
}

#[derive(Debug, Clone, PartialEq, Facet)]
#[repr(u8)]
pub enum Tree<K, V> {
    Leaf,
    Node(Box<Tree<K, V>>, K, V, Box<Tree<K, V>>),
    Value(V),
    Named { key: K },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Facet)]
#[repr(u8)]
pub enum Colour {
    Red = 7,
    /// Like the sea.
    DarkBlue,
    #[allow(non_camel_case_types)]
    r#for,
    None,
}

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Facet)]
#[repr(u8)]
pub enum Failure {
    SoldOut,
    TooFew { left: u32, args: String },
}

#[derive(Debug, Clone, PartialEq, Facet)]
#[repr(C)]
#[facet(rename_all = "camelCase")]
pub enum Event {
    Text(#[facet(sensitive)] String),
    Article(Article),
    Two(u8, Colour),
    Red { from: Colour, class: u8 },
    Quiet,
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Denied {
    pub reason: String,
    pub args: u8,
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Borrowed {
    pub name: Cow<'static, str>,
    pub bytes: Arc<[u8]>,
    pub plain: Arc<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Nothing;

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Wrapper(pub Nothing);

#[derive(Facet)]
pub struct Feed {
    pub events: Tx<Event, 4>,
    pub commands: Option<Rx<Vec<u8>>>,
}

/// Not for the wire.
pub struct Private {
    pub lock: std::sync::Mutex<u8>,
}

pub mod stock {
    use facet::Facet;

    use super::Article as Thing;

    /// Not the one above.
    #[derive(Debug, Clone, PartialEq, Facet)]
    pub struct Page {
        pub thing: Thing,
        pub count: super::Cents,
    }

    pub mod deep {
        pub type Channel<T> = ::roam::Tx<T, 32>;
    }
}

/// Sells things.
///
/// Until they are gone.
#[roam::service]
pub trait Shop {
    /// The articles of a "page".
    async fn getHTTP2Page(&self, number: NonZeroU32, pages: HashSet<NonZeroU8>) -> Page<Article>;
    async fn prices(&self, of: Map<Article, Colour>) -> BTreeMap<String, Cents>;
    async fn weigh(&self, weights: Vec<Weight>, r#type: u8, from: &str) -> Option<Weight>;
    async fn buy(&self, articles: BTreeSet<(Colour, Article)>) -> Result<Cents, Failure>;
    async fn deny(&self, bytes: Vec<NonZeroU8>, more: NonZero<u8>) -> Result<(), Denied>;
    async fn send(&self, event: Event, stock: stock::Page) -> std::result::Result<Event, String>;
    async fn tree(&self, tree: Tree<u8, Option<String>>) -> Tree<String, Page<u8>>;
    async fn digest(&self, digest: Digest, pairs: Twice<u8>, one: (u8,)) -> Digest;
    async fn borrowed(&self, borrowed: Borrowed, sizes: (usize, isize)) -> Wrapper;
    async fn r#type(&self, pass: ());
}

#[roam::service]
pub trait Feeds {
    async fn subscribe(&self, events: Tx<Event>, quiet: stock::deep::Channel<()>);
    async fn talk(&self, texts: Rx<String>, pages: Option<Tx<Page<Colour>>>) -> u64;
    async fn feed(&self, feed: Feed);
}

#[cfg(test)]
mod tests {
    use super::*;
}
