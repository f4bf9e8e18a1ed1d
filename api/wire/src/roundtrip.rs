//! Every message survives both encodings, and a second implementation reads the same from its JSON.
//!
//! The messages are made up from the descriptors, and read by `prost-reflect`, which shares nothing with the
//! generated code but the `.proto` files.

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};

use crate::{Message, json, protobuf};

/// Takes the bytes of a message through the generated code: its JSON, and its bytes again after reading that.
fn recode<M: Message + PartialEq>(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let message: M = protobuf::decode(bytes).unwrap();
    let text = json::to_vec(&message);
    let mut streamed = Vec::new();
    json::to_writer(&mut streamed, &message).unwrap();
    assert_eq!(streamed, text, "to_writer and to_vec differ");
    let again: M =
        json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
    (text, again.encode_to_vec())
}

type Recode = fn(&[u8]) -> (Vec<u8>, Vec<u8>);

const ALL: &[(&str, Recode)] = &include!(concat!(env!("OUT_DIR"), "/all.rs"));

/// A source of choices that is spread out by a linear congruence.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn text(&mut self) -> String {
        const PARTS: [&str; 10] =
            ["", "a", "/b.c-d_", "\"", "\\", "\n\r\t\u{8}\u{c}", "\u{1}\u{7f}", "é", "\u{2028}", "🦀"];
        (0..self.below(4)).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }

    fn double(&mut self) -> f64 {
        const SPECIAL: [f64; 8] = [0.0, -0.0, 1.0, 0.1, 1e21, 5e-324, f64::INFINITY, f64::NEG_INFINITY];
        let random = f64::from_bits(self.next() << 16 | self.next());
        if random.is_finite() && self.below(2) == 0 { random } else { SPECIAL[self.below(SPECIAL.len())] }
    }

    fn value(&mut self, kind: &Kind, depth: usize) -> Value {
        match kind {
            Kind::Double => Value::F64(self.double()),
            Kind::Bool => Value::Bool(self.below(2) == 0),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Int32 => Value::I32(self.next() as i32),
            Kind::Int64 => Value::I64((self.next() << 32 | self.next()) as i64),
            Kind::Uint32 => Value::U32(self.next() as u32),
            Kind::Uint64 => Value::U64(self.next() << 32 | self.next()),
            Kind::Enum(named) => {
                let numbers = named.values().map(|value| value.number()).collect::<Vec<_>>();
                Value::EnumNumber(numbers[self.below(numbers.len())])
            }
            Kind::Message(message) => Value::Message(self.message(message, depth + 1)),
            other => panic!("no arbitrary {other:?}"),
        }
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let required = field.cardinality() == Cardinality::Required;
            let deep = depth > 3 && matches!(field.kind(), Kind::Message(_));
            if !required && (deep || self.below(2) == 0 || is_duration(&field)) {
                continue;
            }
            message.set_field(&field, self.field(&field, depth));
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { panic!("a map without entries") };
            let value = entry.map_entry_value_field().kind();
            let entries =
                (0..=self.below(2)).map(|_| (MapKey::String(self.text()), self.value(&value, depth)));
            Value::Map(entries.collect())
        } else if field.is_list() {
            Value::List((0..=self.below(2)).map(|_| self.value(&field.kind(), depth)).collect())
        } else {
            self.value(&field.kind(), depth)
        }
    }
}

/// The second implementation knows only the canonical form of these.
fn is_duration(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.protobuf.Duration")
}

/// Sets what the JSON prints for unset fields, so that messages can be compared after it.
fn fill_defaults(message: &mut DynamicMessage) {
    for field in message.descriptor().fields().collect::<Vec<_>>() {
        let options = field.field_descriptor_proto().options.as_ref();
        let deprecated = options.is_some_and(|options| options.deprecated());
        if field.field_descriptor_proto().default_value.is_some() && !deprecated && !message.has_field(&field)
        {
            message.set_field(&field, message.get_field(&field).into_owned());
        }
        if message.has_field(&field) {
            fill_value(message.get_field_mut(&field));
        }
    }
}

fn fill_value(value: &mut Value) {
    match value {
        Value::Message(message) => fill_defaults(message),
        Value::List(values) => values.iter_mut().for_each(fill_value),
        Value::Map(entries) => entries.values_mut().for_each(|value| {
            fill_required(value);
            fill_value(value);
        }),
        _ => {}
    }
}

/// prost leaves a value out of a map entry when it equals the default, also one whose required number is zero.
fn fill_required(value: &mut Value) {
    let Value::Message(message) = value else { return };
    for field in message.descriptor().fields().collect::<Vec<_>>() {
        if field.cardinality() == Cardinality::Required && !message.has_field(&field) {
            message.set_field(&field, message.get_field(&field).into_owned());
        }
    }
}

fn pool() -> DescriptorPool {
    let descriptors = protox::compile(
        [
            "mesos/v1/mesos.proto",
            "mesos/v1/scheduler/scheduler.proto",
            "mesos/v1/executor/executor.proto",
            "mesos/v1/master/master.proto",
            "mesos/v1/agent/agent.proto",
        ],
        ["proto"],
    );
    DescriptorPool::from_file_descriptor_set(descriptors.unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn every_message_survives_both_encodings(seed in any::<u64>()) {
        let pool = pool();
        for (name, recode) in ALL {
            let descriptor = pool.get_message_by_name(name).unwrap();
            let mut original = Choices(seed).message(&descriptor, 0);
            let (text, bytes) = recode(&original.encode_to_vec());
            prop_assert!(text.is_ascii(), "{name} is not ASCII");
            fill_defaults(&mut original);

            let mut back = DynamicMessage::decode(descriptor.clone(), &*bytes).unwrap();
            fill_defaults(&mut back);
            let shown = String::from_utf8_lossy(&text);
            prop_assert!(back == original, "{name} does not come back from {shown}");

            let mut deserializer = serde_json::Deserializer::from_slice(&text);
            let other = DynamicMessage::deserialize(descriptor.clone(), &mut deserializer).unwrap();
            // Through bytes, since an empty list that is printed is not the same as one that is not.
            let mut other = DynamicMessage::decode(descriptor, &*other.encode_to_vec()).unwrap();
            fill_defaults(&mut other);
            prop_assert!(other == original, "{name} reads otherwise in {shown}");
        }
    }

    #[test]
    fn every_message_without_its_required_fields_is_refused(seed in any::<u64>()) {
        let pool = pool();
        for name in ["mesos.v1.Offer", "mesos.v1.TaskInfo", "mesos.v1.TaskStatus", "mesos.v1.FrameworkInfo"] {
            let descriptor = pool.get_message_by_name(name).unwrap();
            let full = Choices(seed).message(&descriptor, 3);
            for field in descriptor.fields().filter(|field| field.cardinality() == Cardinality::Required) {
                let mut lacking = full.clone();
                lacking.clear_field(&field);
                let bytes = lacking.encode_to_vec();
                let reason = match name {
                    "mesos.v1.Offer" => protobuf::decode::<crate::v1::Offer>(&bytes).map(drop),
                    "mesos.v1.TaskInfo" => protobuf::decode::<crate::v1::TaskInfo>(&bytes).map(drop),
                    "mesos.v1.TaskStatus" => protobuf::decode::<crate::v1::TaskStatus>(&bytes).map(drop),
                    _ => protobuf::decode::<crate::v1::FrameworkInfo>(&bytes).map(drop),
                };
                let expected = format!("Missing required fields: {}", field.name());
                prop_assert!(reason.unwrap_err().to_string().ends_with(&expected), "{name}: {}", field.name());
            }
        }
    }

    #[test]
    fn bytes_at_random_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = json::from_slice::<crate::scheduler::Call>(&bytes);
        let _ = protobuf::decode::<crate::scheduler::Call>(&bytes);
    }

    #[test]
    fn text_near_json_is_read_as_another_reader_does(text in r#"[\[\]{}:, "a\\u0d81\-+.\n]{0,24}"#) {
        // As the value of an unknown member: well formed or not is all that counts.
        let wrapped = format!(r#"{{"unknown":{text}}}"#);
        let ours = json::from_slice::<crate::scheduler::Event>(wrapped.as_bytes());
        let theirs = serde_json::from_str::<serde_json::Value>(&wrapped);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {:?} and {:?}", wrapped, ours, theirs);
    }
}
