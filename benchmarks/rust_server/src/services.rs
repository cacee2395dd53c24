// Made by `python -m roam_trio rust`. It needs, in Cargo.toml:
//
//     roam = "=7.3.0"
//     facet = "=0.44.1"

use facet::Facet;
use roam::Rx;

/// Channels with an initial credit of 64.
pub mod credit_64 {
    pub type Rx<T> = ::roam::Rx<T, 64>;
    pub type Tx<T> = ::roam::Tx<T, 64>;
}

/// Channels with an initial credit of 256.
pub mod credit_256 {
    pub type Rx<T> = ::roam::Rx<T, 256>;
    pub type Tx<T> = ::roam::Tx<T, 256>;
}

/// The five fields.
#[derive(Debug, Clone, PartialEq, Facet)]
pub struct RoamRecord {
    pub number: u32,
    pub name: String,
    pub score: f64,
    pub active: bool,
    pub note: String,
}

/// The works as a peer in Rust does them: it keeps 64 items that nobody has received
/// yet, and so no more may be under way to it.
#[roam::service]
pub trait Workplace {
    async fn add(&self, left: u32, right: u32) -> u32;

    async fn add_or_wait(&self, left: u32, right: u32) -> u32;

    async fn take_16(&self, items: Rx<u64>) -> (u64, u64);

    async fn take(&self, items: credit_64::Rx<u64>) -> (u64, u64);

    async fn take_many(&self, items: credit_64::Rx<u64>) -> (u64, u64);

    async fn give(&self, count: u64, items: credit_256::Tx<u64>);

    async fn give_back(&self, items: credit_64::Rx<u64>, back: credit_256::Tx<u64>);

    async fn echo(&self, data: Vec<u8>) -> Vec<u8>;

    async fn swap(&self, records: Vec<RoamRecord>) -> Vec<RoamRecord>;
}
