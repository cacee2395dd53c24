//! What does not fit into lines of 88 characters.

use std::collections::{BTreeMap, HashMap};

use facet::Facet;
use roam::Tx;

/// A line of documentation that is longer than what fits into a line of Python source, because Rust has 100.
///     An indented line of documentation that is longer than what fits into a line of Python source.
/// https://example.org/a/link/that/cannot/be/broken/anywhere/and/is/longer/than/a/line/of/python/source/is
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Facet)]
pub struct AnAccountOfWhatHasHappenedInTheLastHundredYears {
    pub this_field_has_a_name_of_some_length: Vec<BTreeMapLike<String, Option<Vec<BTreeMapLike<String, u32>>>>>,
    /// Documentation of a field, which goes on and on, until the end of the line is reached, and further.
    pub and_this_is_another_one: (u8, (u16, (u32, (u64, (u128, (i8, (i16, (i32, (i64, i128))))))))),
    pub __mangled: u8,
    pub _private: u8,
    pub class: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Facet)]
pub struct BTreeMapLike<K, V> {
    pub entries: Vec<(K, V)>,
    pub a_field_whose_name_is_as_long_as_a_name_can_be_and_a_bit_longer: Option<Vec<Option<Vec<(K, V)>>>>,
}

#[derive(Debug, Clone, PartialEq, Facet)]
#[repr(u8)]
pub enum Happening<Where, What> {
    SomethingThatTookPlaceALongTimeAgo(What),
    SomethingThatIsGoingToTakePlaceSoon { r#where: Where, what: What },
    SomethingThatNobodyHasEverHeardOf,
}

/// A very short one.
#[derive(Debug, Clone, PartialEq, Facet)]
#[repr(u8)]
pub enum Str {
    /// With "quotes"
    Int,
    List,
    int,
}

#[derive(Debug, Clone, PartialEq, Facet)]
pub struct Service {
    pub r#async: Str,
}

/// "Quoted"
#[roam::service]
pub trait Protocol {
    async fn a_method_with_a_name_that_leaves_little_room_for_anything_else_at_all(&self) -> u8;
    async fn another_method(&self, accounts: HashMap<String, Vec<HashMap<String, AnAccountOfWhatHasHappenedInTheLastHundredYears>>>, happenings: Tx<Happening<String, AnAccountOfWhatHasHappenedInTheLastHundredYears>>) -> Result<BTreeMap<String, BTreeMap<String, AnAccountOfWhatHasHappenedInTheLastHundredYears>>, Happening<Vec<Vec<Vec<u8>>>, Vec<Vec<Vec<String>>>>>;
    async fn list(&self, list: Vec<Service>, int: i64) -> Vec<Vec<u8>>;
    async fn import(&self, import: u8, lambda: u8);
    /// Doc that is exactly as long as it takes to have the closing quotes go over the edge
    async fn edge(&self);
}
