//! Nothing is lost, wherever a stream is split or torn.

use super::*;

fn text(line: &str) -> Event {
    Event::Text(line.to_owned())
}

/// A frame as it travels.
fn sent(bytes: &[u8]) -> Vec<u8> {
    [&[START], rzcobs::encode(bytes).as_slice(), &[END]].concat()
}

fn all(stream: &[u8]) -> Vec<Event> {
    in_pieces(&[stream])
}

/// The events of a stream that arrives in pieces; frames without the zeros
/// that the coding may append to them.
fn in_pieces(pieces: &[&[u8]]) -> Vec<Event> {
    let mut demux = Demux::default();
    let mut events: Vec<Event> = pieces.iter().flat_map(|piece| demux.take(piece)).collect();
    events.extend(demux.end());
    for event in &mut events {
        if let Event::Frame(bytes) = event {
            let last = bytes.iter().rposition(|byte| *byte != 0);
            bytes.truncate(last.map_or(0, |at| at + 1));
        }
    }
    events
}

fn texts(events: &[Event]) -> Vec<&str> {
    let mut lines = Vec::new();
    for event in events {
        if let Event::Text(line) = event {
            lines.push(line.as_str());
        }
    }
    lines
}

#[test]
fn a_stream_means_the_same_wherever_it_is_split() {
    let stream = [
        b"boots\n".as_slice(),
        &sent(&[1, 2, 3, 4, 5, 6, 7]),
        "case \u{e9} ... ok\r\n".as_bytes(),
        &sent(&[0xFF; 7]),
        &sent(b"\n0 failed\n\n\n\n"),
        b"in one ",
        &sent(&[0, 0, 0, 9, 9, 9, 9]),
        b"line\n\n1 passed, 0 failed",
    ]
    .concat();
    let whole = all(&stream);
    let lines = ["boots", "case \u{e9} ... ok", "in one line", "", "1 passed, 0 failed"];
    assert_eq!(texts(&whole), lines);
    assert_eq!(whole[1], Event::Frame(vec![1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(whole[3], Event::Frame(vec![0xFF; 7]));
    for at in 0..stream.len() {
        for next in at..stream.len() {
            let events = in_pieces(&[&stream[..at], &stream[at..next], &stream[next..]]);
            assert_eq!(events, whole, "split at {at} and {next}");
        }
    }
}

#[test]
fn the_end_in_a_frame_gives_back_the_text_it_swallowed() {
    let stream = b"a\n\xFF\x05\x81\nCRASH\n0 passed, 1 failed\n";
    let events = all(stream);
    assert_eq!(texts(&events)[2..], ["CRASH", "0 passed, 1 failed"], "{events:?}");
}

#[test]
fn a_torn_frame_gives_back_the_text_and_the_frame_behind_it() {
    let frame = sent(&[3, 0, 9, 0, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // Of every length, so that some would pass for the end of the torn one.
    for length in 1..250 {
        let next = vec![0x7F; length];
        for torn in 1..frame.len() {
            let stream = [&frame[..torn], b"\ncase a ... ok\n", &sent(&next), b"end\n"].concat();
            let events = all(&stream);
            let (lines, at) = (texts(&events), format!("{length}, torn at {torn}: {events:?}"));
            assert!(lines.ends_with(&["case a ... ok", "end"]), "{at}");
            assert!(events.contains(&Event::Frame(next.clone())), "{at}");
        }
    }
}

#[test]
fn a_logger_may_start_its_first_frame_with_an_end() {
    let stream = [&[START, END], &sent(&[1, 2, 3])[1..], b"x\n"].concat();
    assert_eq!(all(&stream), [Event::Frame(vec![1, 2, 3]), text("x")]);
}

#[test]
fn a_frame_without_an_end_does_not_grow_for_ever() {
    let lines = "case a ... ok\n".repeat(1000);
    let mut demux = Demux::default();
    let mut events = demux.take(&[START, 1, 2]);
    events.extend(demux.take(lines.as_bytes()));
    // Before the end, so that a person sees them arrive.
    assert!(texts(&events).len() > 900, "{}", events.len());
    events.extend(demux.end());
    assert_eq!(texts(&events).len(), 1000);
}

#[test]
fn garbage_is_shown_as_such_and_obeyed_by_no_terminal() {
    assert_eq!(all(b"\xC3\x28\x1b[2J\x00x\n"), [text("\u{FFFD}(\u{FFFD}[2J\u{FFFD}x")]);
    let mut noise = Vec::new();
    let mut state = 1_u32;
    for _ in 0..100_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push(state.to_be_bytes()[0]);
    }
    // A frame may be under way when the noise stops; the line must survive.
    noise.extend(b"\n12 passed, 0 failed\n");
    assert!(texts(&all(&noise)).contains(&"12 passed, 0 failed"));
}

#[test]
fn a_line_without_an_end_does_not_grow_for_ever() {
    let events = Demux::default().take(&vec![b'x'; 3 * LONGEST_LINE]);
    assert_eq!(events.len(), 3);
}
