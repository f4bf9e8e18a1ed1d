//! What machines have and tasks use: a [`Bag`] of resources and its algebra (spec mesos-v1, sections 3.4 and 9.1).
//!
//! A bag is keyed by everything that keeps two amounts from being one: the name, the stack of reservations, the
//! disk, the provider, whether it may be taken back, whether it is shared, and the role it is allocated to. Its
//! normal form is unique, so that equal bags are equal values.

mod bag;
mod convert;
mod key;
mod quantities;
mod reserve;
mod search;
mod text;
mod value;

pub use bag::{Bag, Item, Lacking};
pub use convert::{Form, ResourceError, Rule};
pub use key::{Disk, Labels, Name, Persistence, Reservation, Source, SourceKind, Tag};
pub use quantities::Quantities;
pub use reserve::ReserveError;
pub use text::TextError;
pub use value::{Set, Value};

pub(crate) use text::{entries as text_entries, parse_value as text_value};

#[cfg(test)]
mod laws;
