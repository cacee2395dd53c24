//! Prints what the crates make of values and signatures, as JSON, one entry a line.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;

use facet::Facet;
use roam::{RoamError, ServiceDescriptor};

use crate::generated;
use crate::services::*;
use crate::types::*;

/// Names, and the bytes of their values.
#[derive(Default)]
pub struct Rows(Vec<(String, String)>);

impl Rows {
    pub fn add<T: Facet<'static> + Debug>(&mut self, name: &str, value: T) {
        let bytes = facet_postcard::to_vec(&value)
            .unwrap_or_else(|error| panic!("{name} has no bytes: {error}"));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // The bytes have to give back what they were made of.
        let again: T = facet_postcard::from_slice(&bytes)
            .unwrap_or_else(|error| panic!("{name} is not decoded: {error}"));
        assert_eq!(format!("{value:?}"), format!("{again:?}"), "{name}");
        self.0.push((name.into(), hex));
    }
}

fn integers_of_every_width(rows: &mut Rows) {
    macro_rules! of {
        ($($type:ident),*) => {$(
            let name = stringify!($type);
            rows.add(&format!("{name}_min"), $type::MIN);
            rows.add(&format!("{name}_max"), $type::MAX);
            for shift in (6..$type::BITS).step_by(7) {
                // On both sides of the places where a varint grows.
                let edge: $type = 1 << shift;
                rows.add(&format!("{name}_2^{shift}"), edge);
                rows.add(&format!("{name}_2^{shift}-1"), edge - 1);
            }
        )*};
    }
    of!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
    rows.add("usize_max", usize::MAX);
    rows.add("isize_min", isize::MIN);
}

fn scalars_one_by_one(rows: &mut Rows) {
    rows.add("bool_false", false);
    rows.add("bool_true", true);
    for (name, value) in [
        ("zero", 0.0),
        ("minus_zero", -0.0),
        ("tenth", 0.1),
        ("largest", f32::MAX),
        ("smallest", f32::MIN_POSITIVE),
        ("infinity", f32::INFINITY),
        ("minus_infinity", f32::NEG_INFINITY),
        ("nan", f32::NAN),
    ] {
        rows.add(&format!("f32_{name}"), value);
    }
    for (name, value) in [
        ("zero", 0.0),
        ("minus_zero", -0.0),
        ("tenth", 0.1),
        ("largest", f64::MAX),
        ("smallest", f64::MIN_POSITIVE),
        ("infinity", f64::INFINITY),
        ("minus_infinity", f64::NEG_INFINITY),
        ("nan", f64::NAN),
    ] {
        rows.add(&format!("f64_{name}"), value);
    }
    rows.add("char_ascii", 'a');
    rows.add("char_nul", '\0');
    rows.add("char_two_bytes", 'é');
    rows.add("char_three_bytes", '世');
    rows.add("char_four_bytes", '🦀');
    rows.add("string_empty", String::new());
    rows.add("string_unicode", "héllo 世界 🦀".to_owned());
    rows.add("string_long", "x".repeat(300));
    rows.add("unit", ());
}

fn containers_one_by_one(rows: &mut Rows) {
    rows.add("bytes_empty", Vec::<u8>::new());
    rows.add("bytes", vec![0_u8, 127, 128, 255]);
    rows.add("bytes_long", vec![7_u8; 200]);
    rows.add("list_empty", Vec::<u32>::new());
    rows.add("list", vec![-1_i32, 0, 300]);
    rows.add("list_long", (0..130).collect::<Vec<u16>>());
    rows.add("lists", vec![vec!["a".to_owned()], vec![]]);
    rows.add("list_of_i8", vec![-1_i8, 1]);
    rows.add("list_of_units", vec![(), ()]);
    rows.add("option_none", None::<u32>);
    rows.add("option_some", Some(300_u32));
    rows.add("option_of_list", Some(vec![Some(1_u8), None]));
    rows.add("array", [1_u32, 2, 300]);
    rows.add("array_of_bytes", [0xde_u8, 0xad, 0xbe, 0xef]);
    rows.add("array_empty", [0_u32; 0]);
    rows.add("array_of_arrays", [[true, false], [false, true]]);
    rows.add(
        "map",
        BTreeMap::from([("a".to_owned(), -1_i64), ("b".to_owned(), 2)]),
    );
    rows.add("map_empty", BTreeMap::<u8, u8>::new());
    rows.add("hash_map", HashMap::from([('k', vec![1.5_f32])]));
    rows.add("set", BTreeSet::from([1_u16, 2, 300]));
    rows.add("set_of_strings", BTreeSet::from(["".to_owned(), "s".to_owned()]));
    rows.add("tuple_of_one", (5_u64,));
    rows.add("tuple", (1_u8, "two".to_owned(), 3.0_f64));
    rows.add("tuple_of_tuples", ((true, -300_i16), ('c', (), 4_u128)));
}

fn types_one_by_one(rows: &mut Rows) {
    rows.add("integers_lowest", integers(true));
    rows.add("integers_highest", integers(false));
    rows.add("scalars", scalars());
    rows.add("containers", containers());
    rows.add("point", Point { x: -1, y: 300 });
    rows.add("labelled", Labelled(7, "seven".into()));
    rows.add("single", Single(300));
    rows.add("metres", Metres(-0.5));
    rows.add("marker", Marker);
    rows.add("colours", vec![Colour::Red, Colour::Green, Colour::Blue]);
    rows.add("spaced", vec![Spaced::Near, Spaced::Far]);
    rows.add("figures", figures());
    rows.add("tree", tree());
    rows.add("chain", chain(3));
    rows.add("expr", expr());
    rows.add("page", page());
    rows.add("cow", cow("borrowed"));
}

fn results_one_by_one(rows: &mut Rows) {
    type Plain = Result<u32, RoamError<String>>;
    rows.add("result_ok", Plain::Ok(300));
    rows.add("result_user", Plain::Err(RoamError::User("oops".into())));
    rows.add("result_unknown_method", Plain::Err(RoamError::UnknownMethod));
    rows.add("result_invalid_payload", Plain::Err(RoamError::InvalidPayload));
    rows.add("result_cancelled", Plain::Err(RoamError::Cancelled));
    type Refused = Result<(), RoamError<Refusal>>;
    for (name, refusal) in [
        ("closed", Refusal::Closed),
        ("too_many", Refusal::TooMany { limit: 300 }),
        ("not_one", Refusal::NotOne("no".into())),
    ] {
        rows.add(
            &format!("result_{name}"),
            Refused::Err(RoamError::User(refusal)),
        );
    }
}

fn descriptors() -> Vec<&'static ServiceDescriptor> {
    let mut descriptors = vec![
        values_service_descriptor(),
        faults_service_descriptor(),
        streams_service_descriptor(),
        waiting_service_descriptor(),
        absent_service_descriptor(),
        reflection_service_descriptor(),
        health_service_descriptor(),
        hollow_service_descriptor(),
    ];
    descriptors.extend(generated::descriptors());
    descriptors
}

fn print_object(name: &str, entries: &[(String, String)], comma: &str) {
    println!("  \"{name}\": {{");
    for (index, (key, value)) in entries.iter().enumerate() {
        let comma = if index + 1 < entries.len() { "," } else { "" };
        println!("    \"{key}\": \"{value}\"{comma}");
    }
    println!("  }}{comma}");
}

pub fn print() {
    let mut rows = Rows::default();
    integers_of_every_width(&mut rows);
    scalars_one_by_one(&mut rows);
    containers_one_by_one(&mut rows);
    types_one_by_one(&mut rows);
    results_one_by_one(&mut rows);
    let mut generated_rows = Rows::default();
    generated::values(&mut generated_rows);
    let ids: Vec<_> = descriptors()
        .into_iter()
        .flat_map(|descriptor| descriptor.methods)
        .map(|method| {
            let name = format!("{}.{}", method.service_name, method.method_name);
            (name, format!("{:016x}", method.id.0))
        })
        .collect();
    println!("{{");
    print_object("values", &rows.0, ",");
    print_object("generated_values", &generated_rows.0, ",");
    print_object("method_ids", &ids, "");
    println!("}}");
}
