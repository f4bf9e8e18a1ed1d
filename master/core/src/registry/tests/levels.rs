//! What a newer program may have written: read, or refused with a sentence, and never read as something else.

use prost::Message;
use wire::registry as w;

use super::super::{Command, Corrupt, Import, LEVEL, LevelCommand, Malformed, Outcome, Registry};

/// Field 2000 with the number one.
const MEMBER: [u8; 3] = [0x80, 0x7d, 0x01];

fn raise(level: u32) -> Command {
    Command::Level(LevelCommand { level })
}

fn weight() -> Vec<u8> {
    let set = w::Weight { role: "dev".into(), thousandths: 2_000 };
    let family = w::command::Family::Weight(w::WeightCommand { set: vec![set] });
    w::Command { family: Some(family) }.encode_to_vec()
}

#[test]
fn a_command_with_a_member_that_is_not_known_is_refused_and_not_shortened() {
    let known = weight();
    assert!(Command::from_bytes(&known).is_ok());
    assert_eq!(
        Command::from_bytes(&[&known[..], &MEMBER].concat()),
        Err(Malformed::Unknown("member")),
        "beside the family"
    );
    // Within the family, whose length it changes.
    let mut inner = known[2..].to_vec();
    inner.extend_from_slice(&MEMBER);
    let mut nested = vec![known[0], u8::try_from(inner.len()).expect("short")];
    nested.extend(inner);
    assert_eq!(Command::from_bytes(&nested), Err(Malformed::Unknown("member")), "within it");
}

#[test]
fn a_command_of_a_family_that_is_not_known_is_refused() {
    // Field 2001, a message of no bytes.
    let refusal = Command::from_bytes(&[0x8a, 0x7d, 0x00]).expect_err("a family of a later version");
    assert!(refusal.to_string().contains("does not know"), "{refusal}");
}

#[test]
fn a_level_above_the_programs_is_refused_in_the_log_and_in_a_snapshot() {
    let bytes = raise(LEVEL + 1).to_bytes();
    assert_eq!(Command::from_bytes(&bytes), Err(Malformed::Newer { found: LEVEL + 1, known: LEVEL }));
    assert_eq!(Command::from_bytes_knowing(&bytes, LEVEL + 1), Ok(raise(LEVEL + 1)));

    let mut raised = Registry::default();
    assert_eq!(raised.apply(2, raise(LEVEL + 1)), Outcome::Changed);
    let refusal = Registry::import(raised.export()).expect_err("of a later version");
    assert_eq!(refusal, Corrupt::Newer { found: LEVEL + 1, known: LEVEL });
    assert!(refusal.to_string().contains("start a newer version"), "{refusal}");
    let mut import = Import::knowing(LEVEL + 1);
    raised.export().for_each(|chunk| import.push(&chunk).expect("its own"));
    let copy = import.finish().expect("whole");
    assert_eq!((copy.level(), copy.digest()), (LEVEL + 1, raised.digest()));
}

#[test]
fn a_level_is_raised_and_never_lowered_and_is_part_of_the_state() {
    let mut registry = Registry::default();
    let first = registry.digest();
    assert_eq!((registry.level(), registry.apply(2, raise(1))), (1, Outcome::Unchanged));
    assert_eq!(registry.digest(), first);
    assert_eq!(registry.apply(3, raise(3)), Outcome::Changed);
    assert_eq!(registry.apply(4, raise(2)), Outcome::Unchanged);
    assert_eq!(registry.level(), 3);
    assert_ne!(registry.digest(), first);
}
