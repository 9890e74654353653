//! Pickles of every protocol, and hostile ones.

use super::machine::{MAX_STACK, MAX_VALUES};
use super::pickle::{Pickle, Value};
use super::testing::PickleWriter;
use crate::error::Result;

fn parse(bytes: &[u8]) -> Result<Pickle<'_>> {
    Pickle::parse(bytes).map(|(pickle, _)| pickle)
}

fn value(bytes: &[u8]) -> Value<'_> {
    let pickle = parse(bytes).unwrap();
    pickle.get(pickle.root).clone()
}

#[test]
fn scalars_of_every_protocol() {
    for (bytes, expected) in [
        (&b"N."[..], Value::None),
        (b"\x88.", Value::Bool(true)),
        (b"I00\n.", Value::Bool(false)),
        (b"I-7\n.", Value::Int(-7)),
        (b"L12345678901234567890L\n.", Value::Int(12_345_678_901_234_567_890)),
        (b"J\xff\xff\xff\xff.", Value::Int(-1)),
        (b"M\x01\x02.", Value::Int(513)),
        (b"\x8b\x01\x00\x00\x00\x80.", Value::Int(-128)),
        (b"F1.5\n.", Value::Float(1.5)),
        (b"G\x3f\xf8\0\0\0\0\0\0.", Value::Float(1.5)),
        (b"S'a\\x41'\n.", Value::Str("aA".into())),
        (b"V\\u0041b\n.", Value::Str("Ab".into())),
        (b"U\x02ab.", Value::Str("ab".into())),
        (b"U\x01\xff.", Value::Bytes(b"\xff")),
        (b"T\x01\0\0\0a.", Value::Str("a".into())),
        (b"\x8c\x01a.", Value::Str("a".into())),
        (b"\x8d\x01\0\0\0\0\0\0\0a.", Value::Str("a".into())),
        (b"C\x01a.", Value::Bytes(b"a")),
        (b"\x96\x01\0\0\0\0\0\0\0a.", Value::Bytes(b"a")),
    ] {
        assert_eq!(value(bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn containers_of_every_protocol() {
    for bytes in [&b"(K\x01K\x02t."[..], b"K\x01K\x02\x86.", b"(K\x01K\x02\x91.", b"(K\x01K\x02l.", b"](K\x01K\x02e."] {
        let pickle = parse(bytes).unwrap();
        let items = pickle.items(pickle.root).unwrap();
        assert_eq!(items.iter().map(|&id| pickle.size(id)).collect::<Vec<_>>(), [Some(1), Some(2)]);
    }
    for bytes in [
        &b"(U\x01aK\x05d."[..],
        b"}U\x01aK\x04sU\x01aK\x05s.",
        b"}(U\x01aK\x05u.",
        b"\x80\x04\x95\x06\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94K\x05u.",
        b"ccollections\nOrderedDict\n]]U\x01aaK\x05aa\x85R.",
        b"ccollections\nOrderedDict\n)\x81U\x01aK\x05s.",
    ] {
        let pickle = parse(bytes).unwrap();
        let five = pickle.lookup(pickle.root, "a").unwrap();
        assert_eq!(*pickle.get(five), Value::Int(5), "{}", bytes.escape_ascii());
    }
}

#[test]
fn memo_pop_and_duplicate() {
    assert_eq!(value(b"K\x01q\x00K\x020h\x00."), Value::Int(1));
    assert_eq!(value(b"K\x01p7\n0g7\n."), Value::Int(1));
    assert_eq!(value(b"K\x01(K\x02K\x031."), Value::Int(1));
    assert_eq!(value(b"K\x01(0."), Value::Int(1));
    assert!(matches!(value(b"K\x012\x86."), Value::Tuple(items) if items[0] == items[1]));
    for bytes in [&b"h\x00."[..], b"0.", b"1.", b"2.", b"t.", b"(K\x01s.", b"K\x01(\x85.", b"(.", b".", b"}(K\x01u."] {
        assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn calls_are_recorded_and_never_made() {
    for bytes in [
        &b"cos\nsystem\n(U\x02lstR."[..],
        b"(U\x02lsios\nsystem\n.",
        b"(cos\nsystem\nU\x02lso.",
        b"U\x02osU\x06system\x93U\x02ls\x85\x81.",
        b"cos\nsystem\nU\x02ls\x85}\x92.",
        b"cos\nsystem\nU\x02ls\x85R}U\x01aK\x01sb(K\x01e(K\x01K\x02u.",
    ] {
        let pickle = parse(bytes).unwrap();
        let (function, arguments) = pickle.call(pickle.root).unwrap();
        assert_eq!(function, ("os", "system"));
        assert_eq!(pickle.text(arguments[0]), Some("ls"));
        assert!(pickle.describe(pickle.root).contains("os.system"));
    }
    for bytes in [&b"K\x01)R."[..], b"cos\nsystem\nK\x01R.", b"K\x01K\x02\x93.", b"(o.", b"K\x01K\x02a.", b"K\x01NNs."]
    {
        assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn unknown_opcodes_are_named_with_their_place() {
    let error = parse(b"\x80\x02N\x82\x01.").unwrap_err().to_string();
    assert!(error.contains("0x82") && error.contains("byte 3"), "{error}");
    assert!(parse(b"\x80\x06N.").unwrap_err().to_string().contains("protocol 6"));
    for opcode in 0..=255u8 {
        let _ = parse(&[opcode, b'.']);
        let _ = parse(&[b'(', opcode, b'.', b'\n', b'.', b'\n', b'.']);
    }
}

#[test]
fn declared_lengths_are_checked_before_allocating() {
    for bytes in [
        &b"X\xff\xff\xff\xffa."[..],
        b"B\xff\xff\xff\x7f.",
        b"T\xff\xff\xff\xff.",
        b"\x8b\xff\xff\xff\xff.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
        b"\x8a\xff.",
        b"U\xff.",
    ] {
        assert!(parse(bytes).unwrap_err().to_string().contains("ends within"), "{}", bytes.escape_ascii());
    }
    // A memo slot of any number takes room for one.
    assert_eq!(value(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff."), Value::None);
}

#[test]
fn nested_sharing_takes_no_more_room_than_its_opcodes() {
    let mut laughs = PickleWriter::default();
    laughs.raw(b"](K\x00e");
    for _ in 0..10_000 {
        laughs.raw(b"q\x000](h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00e");
    }
    let bytes = laughs.finished();
    assert_eq!(parse(&bytes).unwrap().values.len(), 10_002);
    // Copies made by OrderedDict([...]) are counted as well.
    let mut copies = PickleWriter::default();
    copies.raw(b"(");
    for _ in 0..1000 {
        copies.raw(b"NN\x86");
    }
    copies.raw(b"lq\x000");
    for _ in 0..2000 {
        copies.raw(b"ccollections\nOrderedDict\nh\x00\x85R0");
    }
    let bytes = copies.raw(b"N").finished();
    assert!(parse(&bytes).unwrap_err().to_string().contains("values"));
}

#[test]
fn cycles_and_depth_are_harmless() {
    let bytes = b"]q\x00h\x00a.";
    let pickle = parse(bytes).unwrap();
    assert_eq!(pickle.items(pickle.root), Some(&[pickle.root][..]));
    let bytes = b"}q\x00h\x00h\x00s.";
    assert!(parse(bytes).is_ok());
    let mut deep = vec![b']'; 1_000_000];
    deep.extend(vec![b'a'; 999_999]);
    deep.push(b'.');
    drop(parse(&deep).unwrap());
    let mut calls = b"cos\nsystem\n".to_vec();
    calls.extend(b")R".repeat(500_000));
    calls.push(b'.');
    let pickle = parse(&calls).unwrap();
    assert!(pickle.describe(pickle.root).contains("computed"));
}

#[test]
fn values_stack_and_marks_are_limited() {
    assert!(parse(&[b'N'; MAX_VALUES + 1]).unwrap_err().to_string().contains("values"));
    assert!(parse(&[b'('; MAX_STACK + 1]).unwrap_err().to_string().contains("marks"));
    let mut duplicates = vec![b'2'; MAX_STACK + 1];
    duplicates[0] = b'N';
    assert!(parse(&duplicates).unwrap_err().to_string().contains("stack"));
}
