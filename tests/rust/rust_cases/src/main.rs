//! Tells what the crate makes of the services in `cases`, to whoever asks.
//!
//! `ids` prints the id of each method. Then it answers lines: for the number of a method,
//! the number of an argument (or `-` for the result) and bytes in hexadecimal digits, the
//! same value as this program encodes it.

mod cases;

use std::io::BufRead;

use facet_core::Shape;
use facet_reflect::Partial;

fn main() {
    let methods: Vec<_> = cases::all()
        .into_iter()
        .flat_map(|(case, service)| service.methods.iter().map(move |method| (case, method)))
        .collect();
    for (case, method) in &methods {
        println!(
            "{case} {}.{} {}",
            method.service_name, method.method_name, method.id.0
        );
    }
    println!();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<_> = line.split(' ').collect();
        let (_, method) = methods[words[0].parse::<usize>().expect("a number")];
        let shape = match words[1] {
            "-" => method.return_shape,
            number => method.args[number.parse::<usize>().expect("a number")].shape,
        };
        match again(shape, &from_hex(words[2])) {
            Ok(bytes) => println!("{}", to_hex(&bytes)),
            Err(error) => println!("error: {error}"),
        }
    }
}

/// Decode a value, and encode it again.
fn again(shape: &'static Shape, bytes: &[u8]) -> Result<Vec<u8>, String> {
    // SAFETY: the shape is that of a type, made by the macros of facet.
    let partial = unsafe { Partial::<false>::alloc_shape_owned(shape) };
    let partial = partial.map_err(|error| error.to_string())?;
    let partial =
        facet_postcard::from_slice_into(bytes, partial).map_err(|error| error.to_string())?;
    let value = partial.build().map_err(|error| error.to_string())?;
    facet_postcard::peek_to_vec(value.peek()).map_err(|error| error.to_string())
}

fn from_hex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
