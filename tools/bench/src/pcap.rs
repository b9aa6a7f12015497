//! Capture files in the classic pcap format: written to feed `net_pcap`, read to see what it caught.
//!
//! Refuses: pcapng, link types other than Ethernet, records cut by a snap length. Read first: draft-ietf-opsawg-pcap
//! §4 and §5.

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

/// Magic of files with microsecond time stamps, in the order of the writer's own bytes.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// Magic of files with nanosecond time stamps, which is what `net_pcap` writes.
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The most bytes of a frame that a record holds.
const SNAP_LENGTH: u32 = 65_535;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;

/// Writes frames, one after another, all of them at time zero.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
}

impl Writer<BufWriter<File>> {
    /// Creates the file, or empties it.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Self::new(BufWriter::new(file)).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl<W: Write> Writer<W> {
    /// Writes the file's header.
    pub fn new(mut out: W) -> Result<Self> {
        out.write_all(&MICROSECONDS.to_le_bytes())?;
        out.write_all(&2u16.to_le_bytes())?;
        out.write_all(&4u16.to_le_bytes())?;
        out.write_all(&[0; 8])?;
        out.write_all(&SNAP_LENGTH.to_le_bytes())?;
        out.write_all(&ETHERNET.to_le_bytes())?;
        Ok(Self { out })
    }

    /// Appends a frame, without FCS. Refuses one beyond 65,535 bytes.
    pub fn frame(&mut self, frame: &[u8]) -> Result<()> {
        let length = u32::try_from(frame.len()).ok().filter(|n| *n <= SNAP_LENGTH);
        let length = length.with_context(|| format!("a frame of {} bytes, the most is {SNAP_LENGTH}", frame.len()))?;
        self.out.write_all(&[0; 8])?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&length.to_le_bytes())?;
        Ok(self.out.write_all(frame)?)
    }

    /// Brings the last bytes out. A writer dropped without it may leave a cut file.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Reads frames one by one, in either byte order and either resolution of time.
#[derive(Debug)]
pub struct Reader<R: Read> {
    input: R,
    swapped: bool,
}

impl Reader<BufReader<File>> {
    /// Opens the file and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::new(BufReader::new(file)).with_context(|| format!("cannot read {}", path.display()))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the file's header.
    pub fn new(mut input: R) -> Result<Self> {
        let mut header = [0; 24];
        input.read_exact(&mut header).context("a pcap file's header has 24 bytes")?;
        let magic = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let swapped = match magic {
            MICROSECONDS | NANOSECONDS => false,
            m if m == MICROSECONDS.swap_bytes() || m == NANOSECONDS.swap_bytes() => true,
            _ => bail!("not a pcap file: magic {magic:#010x}"),
        };
        let reader = Self { input, swapped };
        let link = reader.number([header[20], header[21], header[22], header[23]]);
        ensure!(link == ETHERNET, "link type {link}, expected {ETHERNET} (Ethernet)");
        Ok(reader)
    }

    fn number(&self, bytes: [u8; 4]) -> u32 {
        if self.swapped { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// The next frame, without FCS; `None` at the end of the file.
    pub fn frame(&mut self) -> Result<Option<Vec<u8>>> {
        let mut header = [0; 16];
        match self.input.read(&mut header[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => return self.frame(),
            Err(e) => return Err(e.into()),
        }
        self.input.read_exact(&mut header[1..]).context("a record's header is cut")?;
        let captured = self.number([header[8], header[9], header[10], header[11]]);
        let length = self.number([header[12], header[13], header[14], header[15]]);
        ensure!(captured == length && length <= SNAP_LENGTH, "a record holds {captured} of a frame's {length} bytes");
        let mut frame = vec![0; captured as usize];
        self.input.read_exact(&mut frame).context("a record's frame is cut")?;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        for frame in frames {
            writer.frame(frame).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut reader = Reader::new(bytes)?;
        let mut frames = Vec::new();
        while let Some(frame) = reader.frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn the_header_has_the_bytes_of_the_format() {
        let expected = [
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0, // file
            0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 7, 8, 9, // record
        ];
        assert_eq!(written(&[&[7, 8, 9]]), expected);
    }

    #[test]
    fn what_was_written_is_read() {
        let frames: [&[u8]; 3] = [&[1; 60], &[], &[2; 1514]];
        assert_eq!(read(&written(&frames)).unwrap(), frames);
    }

    #[test]
    fn nanoseconds_and_the_other_byte_order_are_read() {
        let mut bytes = Vec::new();
        for word in [NANOSECONDS, 0x0002_0004, 0, 0, SNAP_LENGTH, ETHERNET, 5, 6, 2, 2] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend([0xaa, 0xbb]);
        assert_eq!(read(&bytes).unwrap(), [[0xaa, 0xbb]]);
    }

    #[test]
    fn every_cut_is_an_error_but_the_one_between_frames() {
        let bytes = written(&[&[1; 60], &[2; 60]]);
        for length in 0..bytes.len() {
            let whole = [24, 24 + 76].contains(&length);
            assert_eq!(read(&bytes[..length]).is_ok(), whole, "cut at {length}");
        }
    }

    #[test]
    fn other_formats_are_refused() {
        let mut bytes = written(&[]);
        bytes[20] = 113;
        assert!(read(&bytes).unwrap_err().to_string().contains("113"));
        bytes[0] = 0x0a;
        assert!(read(&bytes).unwrap_err().to_string().contains("not a pcap file"));
        let mut cut = written(&[&[1; 4]]);
        cut[24 + 12] = 9;
        assert!(read(&cut).unwrap_err().to_string().contains("4 of a frame's 9 bytes"));
        assert!(Writer::new(Vec::new()).unwrap().frame(&vec![0; 65_536]).is_err());
    }
}
