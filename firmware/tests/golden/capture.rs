//! Captures in pcap's classic form: little-endian, microseconds, Ethernet. No other is read.

use std::path::Path;

/// A frame, and when it came: seconds and microseconds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) seconds: u32,
    pub(crate) micros: u32,
    pub(crate) bytes: Vec<u8>,
}

const HEAD: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1];

/// The frames of a file; none if there is no file.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, String> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&bytes).ok_or_else(|| format!("{}: not a capture of this form", path.display()))
}

fn parse(bytes: &[u8]) -> Option<Vec<Record>> {
    let (head, mut rest) = bytes.split_first_chunk::<24>()?;
    if *head != words(&HEAD)[..] {
        return None;
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (head, behind) = rest.split_first_chunk::<16>()?;
        let word = |n: usize| head[4 * n..].first_chunk().map(|w| u32::from_le_bytes(*w));
        let (bytes, next) = behind.split_at_checked(word(2)? as usize)?;
        if word(2) != word(3) {
            return None;
        }
        records.push(Record { seconds: word(0)?, micros: word(1)?, bytes: bytes.to_vec() });
        rest = next;
    }
    Some(records)
}

/// Writes frames to a file; no frames, no file.
pub(crate) fn write(path: &Path, records: &[Record]) -> Result<(), String> {
    if records.is_empty() {
        return match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display())),
            _ => Ok(()),
        };
    }
    let mut bytes = words(&HEAD);
    for Record { seconds, micros, bytes: frame } in records {
        let len = frame.len() as u32;
        bytes.extend(words(&[*seconds, *micros, len, len]));
        bytes.extend_from_slice(frame);
    }
    std::fs::write(path, bytes).map_err(|e| format!("{}: {e}", path.display()))
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

#[test]
fn a_capture_reads_back_and_a_cut_one_does_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.pcap");
    let records = [3, 0, 60].map(|n| Record { seconds: n, micros: 7, bytes: vec![n as u8; n as usize] });
    write(&path, &records).expect("written");
    assert!(read(&path).is_ok_and(|back| back == records));
    let bytes = std::fs::read(&path).expect("there");
    assert!(parse(&bytes[..bytes.len() - 1]).is_none() && parse(&bytes[..20]).is_none());
}
