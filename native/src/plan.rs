//! What is encoded and decoded: the parts of a shape, which refer to each other by index.

use std::collections::HashMap;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyString, PyTuple};

/// The index of a part.
pub type At = usize;

pub struct Field {
    pub at: At,
    /// None if only the peer has the field.
    pub attribute: Option<Py<PyString>>,
    pub keyword: Option<Py<PyString>>,
}

pub struct Record {
    pub cls: Py<PyAny>,
    pub fields: Vec<Field>,
    pub positional: bool,
    /// Whether `Helpers::as_tuples` returns the fields of its instances, in order.
    pub as_tuple: bool,
}

/// A call that adds many keys, and watches how long it takes.
pub struct Watch {
    pub fill: Py<PyAny>,
    /// Number of keys up to which nothing is watched.
    pub few: usize,
}

pub enum Part {
    Bool,
    Int {
        bits: u32,
        signed: bool,
    },
    F32,
    F64,
    Char,
    Str,
    Bytes {
        view: bool,
    },
    Unit {
        written: Vec<u8>,
        skipped: Option<At>,
    },
    Option {
        inner: At,
        present: bool,
    },
    List {
        item: At,
        size: u64,
        tuple: bool,
    },
    Octets {
        length: usize,
        counted: bool,
        view: bool,
    },
    Array {
        item: At,
        size: u64,
        length: usize,
        counted: bool,
        tuple: bool,
    },
    Set {
        item: At,
        size: u64,
        frozen: bool,
        watch: Option<Watch>,
    },
    Map {
        key: At,
        value: At,
        size: u64,
        watch: Option<Watch>,
    },
    Tuple(Vec<At>),
    Record(Record),
    Enum {
        members: Vec<Py<PyAny>>,
        indices: HashMap<usize, u32>,
    },
    Union {
        variants: Vec<Record>,
        indices: HashMap<usize, usize>,
        table: Py<PyAny>,
    },
    Converted {
        cls: Py<PyAny>,
        inner: At,
        unstructure: Py<PyAny>,
        structure: Py<PyAny>,
    },
    Channel {
        handle: Py<PyAny>,
    },
}

/// Functions of `codec.primitives` and their constants.
#[derive(FromPyObject)]
pub struct Helpers {
    pub as_bytes: Py<PyAny>,
    pub as_sequence: Py<PyAny>,
    pub as_items: Py<PyAny>,
    pub as_dict: Py<PyAny>,
    pub as_tuples: Py<PyAny>,
    pub check_record: Py<PyAny>,
    pub index_by_class: Py<PyAny>,
    pub clock: Py<PyAny>,
    /// Makes what several encoded values are returned as.
    pub framed: Py<PyAny>,
    pub max_zero_sized: u64,
}

/// The address of an object, for tables that keep the object alive themselves.
pub fn address(object: &Bound<'_, PyAny>) -> usize {
    object.as_ptr() as usize
}

/// The address of the class of an object.
pub fn address_of_class(object: &Bound<'_, PyAny>) -> usize {
    object.get_type_ptr() as usize
}

impl Record {
    fn of(told: &Bound<'_, PyAny>) -> PyResult<Self> {
        type Told<'py> = (
            At,
            Option<Bound<'py, PyString>>,
            Option<Bound<'py, PyString>>,
        );
        let (cls, positional, as_tuple, fields): (_, _, _, Vec<Told<'_>>) = told.extract()?;
        let fields = fields
            .into_iter()
            .map(|(at, attribute, keyword)| Field {
                at,
                attribute: attribute.map(Bound::unbind),
                keyword: keyword.map(Bound::unbind),
            })
            .collect();
        Ok(Self {
            cls,
            fields,
            positional,
            as_tuple,
        })
    }

    fn parts(&self) -> impl Iterator<Item = At> + '_ {
        self.fields.iter().map(|field| field.at)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cls)
    }
}

fn watch(told: Option<(Py<PyAny>, usize)>) -> Option<Watch> {
    told.map(|(fill, few)| Watch { fill, few })
}

impl Part {
    /// Make a part of `(kind, …)`, as `codec/native.py` tells it.
    pub fn of(told: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let kind: String = told.get_item(0)?.extract()?;
        let rest = told.get_slice(1, told.len());
        Ok(match kind.as_str() {
            "bool" => Self::Bool,
            "int" => {
                let (bits, signed) = rest.extract()?;
                if ![8, 16, 32, 64, 128].contains(&bits) {
                    return Err(PyValueError::new_err("integers of no known size"));
                }
                Self::Int { bits, signed }
            }
            "f32" => Self::F32,
            "f64" => Self::F64,
            "char" => Self::Char,
            "str" => Self::Str,
            "bytes" => Self::Bytes {
                view: rest.extract::<(bool,)>()?.0,
            },
            "unit" => {
                let (written, skipped): (Bound<'_, PyBytes>, _) = rest.extract()?;
                let written = written.as_bytes().to_vec();
                Self::Unit { written, skipped }
            }
            "option" => {
                let (inner, present) = rest.extract()?;
                Self::Option { inner, present }
            }
            "list" => {
                let (item, size, tuple) = rest.extract()?;
                Self::List { item, size, tuple }
            }
            "octets" => {
                let (length, counted, view) = rest.extract()?;
                Self::Octets {
                    length,
                    counted,
                    view,
                }
            }
            "array" => {
                let (item, size, length, counted, tuple) = rest.extract()?;
                Self::Array {
                    item,
                    size,
                    length,
                    counted,
                    tuple,
                }
            }
            "set" => {
                let (item, size, frozen, watched) = rest.extract()?;
                Self::Set {
                    item,
                    size,
                    frozen,
                    watch: watch(watched),
                }
            }
            "map" => {
                let (key, value, size, watched) = rest.extract()?;
                Self::Map {
                    key,
                    value,
                    size,
                    watch: watch(watched),
                }
            }
            "tuple" => Self::Tuple(rest.extract::<(Vec<At>,)>()?.0),
            "record" => Self::Record(Record::of(&rest)?),
            "enum" => {
                let members: Vec<Bound<'_, PyAny>> = rest.extract::<(Vec<_>,)>()?.0;
                Self::Enum {
                    indices: members.iter().map(address).zip(0..).collect(),
                    members: members.into_iter().map(Bound::unbind).collect(),
                }
            }
            "union" => {
                let (variants, table): (Vec<Bound<'_, PyAny>>, _) = rest.extract()?;
                let variants = variants
                    .iter()
                    .map(Record::of)
                    .collect::<PyResult<Vec<_>>>()?;
                Self::Union {
                    indices: variants
                        .iter()
                        .map(|record| address(record.cls.bind(rest.py())))
                        .zip(0..)
                        .collect(),
                    variants,
                    table,
                }
            }
            "converted" => {
                let (cls, inner, unstructure, structure) = rest.extract()?;
                Self::Converted {
                    cls,
                    inner,
                    unstructure,
                    structure,
                }
            }
            "channel" => Self::Channel {
                handle: rest.extract::<(Py<PyAny>,)>()?.0,
            },
            _ => return Err(PyValueError::new_err(format!("no part is a {kind}"))),
        })
    }

    /// Return the parts of this part, which must exist.
    pub fn parts(&self) -> Vec<At> {
        match self {
            Self::Unit { skipped, .. } => skipped.iter().copied().collect(),
            Self::Option { inner, .. } | Self::Converted { inner, .. } => vec![*inner],
            Self::List { item, .. } | Self::Array { item, .. } | Self::Set { item, .. } => {
                vec![*item]
            }
            Self::Map { key, value, .. } => vec![*key, *value],
            Self::Tuple(items) => items.clone(),
            Self::Record(record) => record.parts().collect(),
            Self::Union { variants, .. } => variants.iter().flat_map(Record::parts).collect(),
            _ => vec![],
        }
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Set { watch, .. } | Self::Map { watch, .. } => {
                watch.iter().try_for_each(|watch| visit.call(&watch.fill))
            }
            Self::Record(record) => record.traverse(visit),
            Self::Enum { members, .. } => members.iter().try_for_each(|member| visit.call(member)),
            Self::Union {
                variants, table, ..
            } => {
                visit.call(table)?;
                variants.iter().try_for_each(|each| each.traverse(visit))
            }
            Self::Converted {
                cls,
                unstructure,
                structure,
                ..
            } => {
                visit.call(cls)?;
                visit.call(unstructure)?;
                visit.call(structure)
            }
            Self::Channel { handle } => visit.call(handle),
            _ => Ok(()),
        }
    }
}
