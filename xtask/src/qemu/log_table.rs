//! The log's table of messages in a kernel's ELF file.
//!
//! A frame names its message by the low 16 bits of a symbol's address. The
//! decoder wants these symbols at those addresses, so the section `.defmt` at
//! 0; but code at 2 GiB cannot name what lies there, and a kernel may put the
//! section elsewhere, at a multiple of 64 KiB. So the symbols are moved first.

use anyhow::{Context, Result};
use defmt_decoder::Table;

/// The table in the ELF file `elf`, if it has one.
pub(super) fn parse(mut elf: Vec<u8>) -> Result<Option<Table>> {
    // The decoder has better words for what is no ELF file.
    let _ = move_symbols(&mut elf);
    Table::parse(&elf).context("its table of messages")
}

/// Moves the messages of `.defmt` to the low 16 bits of their addresses, and
/// takes all other symbols out of that section. `None` where a file ends early.
fn move_symbols(elf: &mut [u8]) -> Option<()> {
    // Offsets as in the ELF-64 object file format: all little-endian.
    const MAGIC: [u8; 6] = [0x7F, b'E', b'L', b'F', 2, 1];
    const SYMBOL: usize = 24;
    const ABSOLUTE: u16 = 0xFFF1;
    if elf.get(..MAGIC.len())? != MAGIC {
        return None;
    }
    let sections = Sections {
        start: long(elf, 0x28)?,
        size: short(elf, 0x3A)?.into(),
        count: short(elf, 0x3C)?.into(),
    };
    let names = sections.at(elf, short(elf, 0x3E)?.into())?.offset;
    let all: Vec<_> = (0..sections.count).map_while(|at| sections.at(elf, at)).collect();
    let messages = all
        .iter()
        .position(|section| string(elf, names, section.name).is_some_and(|name| name == b".defmt"));
    let messages = u16::try_from(messages?).ok()?;
    let symbols = all.iter().find(|section| section.kind == Section::SYMBOLS)?;
    let names = all.get(symbols.link)?.offset;
    let end = symbols.offset.checked_add(symbols.length).filter(|end| *end <= elf.len())?;
    // The last one that fits: below, all of its bytes are there.
    for at in (symbols.offset..end.checked_sub(SYMBOL - 1)?).step_by(SYMBOL) {
        if short(elf, at + 6)? != messages {
            continue;
        }
        let is_message = string(elf, names, int(elf, at)?)?.first() == Some(&b'{');
        if is_message {
            elf[at + 10..at + 16].fill(0);
        } else {
            elf[at + 6..at + 8].copy_from_slice(&ABSOLUTE.to_le_bytes());
        }
    }
    Some(())
}

/// The table of sections.
struct Sections {
    start: usize,
    size: usize,
    count: usize,
}

/// What matters of a section here.
struct Section {
    name: usize,
    kind: usize,
    offset: usize,
    length: usize,
    link: usize,
}

impl Section {
    /// The kind that holds symbols.
    const SYMBOLS: usize = 2;
}

impl Sections {
    fn at(&self, elf: &[u8], index: usize) -> Option<Section> {
        let at = index.checked_mul(self.size)?.checked_add(self.start)?;
        Some(Section {
            name: int(elf, at)?,
            kind: int(elf, at.checked_add(0x04)?)?,
            offset: long(elf, at.checked_add(0x18)?)?,
            length: long(elf, at.checked_add(0x20)?)?,
            link: int(elf, at.checked_add(0x28)?)?,
        })
    }
}

/// The bytes up to the next 0 in the table of strings at `table`.
fn string(elf: &[u8], table: usize, at: usize) -> Option<&[u8]> {
    elf.get(table.checked_add(at)?..)?.split(|byte| *byte == 0).next()
}

fn bytes<const N: usize>(elf: &[u8], at: usize) -> Option<[u8; N]> {
    elf.get(at..)?.first_chunk().copied()
}

fn short(elf: &[u8], at: usize) -> Option<u16> {
    bytes(elf, at).map(u16::from_le_bytes)
}

fn int(elf: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes(elf, at)?)).ok()
}

fn long(elf: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes(elf, at)?)).ok()
}

/// An ELF file with these symbols in `.defmt`, for tests: name and address.
#[cfg(test)]
pub(super) fn file_with(symbols: &[(&str, u64)]) -> Vec<u8> {
    let mut names = vec![0];
    let mut table = vec![0; 24];
    for (name, address) in symbols {
        table.extend(u32::try_from(names.len()).expect("few names").to_le_bytes());
        // A global object in section 1.
        table.extend([0x11, 0, 1, 0]);
        table.extend(address.to_le_bytes());
        table.extend(1_u64.to_le_bytes());
        names.extend(name.bytes());
        names.push(0);
    }
    let section_names = b"\0.defmt\0.symtab\0.strtab\0".to_vec();
    // Sections 1 to 4: messages (no bytes), symbols, their names, our names.
    let contents = [vec![], table, names, section_names];
    let kinds: [(u32, u32, u32); 4] = [(1, 8, 0), (8, 2, 3), (16, 3, 0), (16, 3, 0)];
    let mut elf = vec![0x7F, b'E', b'L', b'F', 2, 1, 1];
    elf.resize(64, 0);
    let mut headers = vec![0; 64];
    for (content, (name, kind, link)) in contents.iter().zip(kinds) {
        let place = [elf.len(), content.len()];
        elf.extend(content);
        headers.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
        headers.extend([0; 16]);
        headers.extend(place.iter().flat_map(|n| n.to_le_bytes()));
        headers.extend([link.to_le_bytes(), 1_u32.to_le_bytes()].concat());
        headers.extend([8_u64, if kind == 2 { 24 } else { 0 }].map(u64::to_le_bytes).concat());
    }
    // An executable for RISC-V, version 1.
    elf[16..24].copy_from_slice(&[2, 0, 243, 0, 1, 0, 0, 0]);
    elf.resize(elf.len().next_multiple_of(8), 0);
    let start = elf.len().to_le_bytes();
    elf[0x28..0x30].copy_from_slice(&start);
    elf[0x34..0x40].copy_from_slice(&[64, 0, 56, 0, 0, 0, 64, 0, 5, 0, 4, 0]);
    elf.extend(headers);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_moved_to_their_numbers_and_others_taken_out() {
        const MESSAGE: &str =
            r#"{"package":"p","tag":"defmt_info","data":"x","disambiguator":"1","crate_name":"c"}"#;
        let kernel = file_with(&[
            ("__defmt_start", 0x8009_0000),
            (MESSAGE, 0x8009_0012),
            ("_defmt_version_ = 4", 0x8009_0013),
            ("_defmt_encoding_ = rzcobs", 0x8009_0014),
        ]);
        let table = parse(kernel).expect("well formed").expect("has messages");
        assert_eq!(table.indices().collect::<Vec<_>>(), [0x12]);
    }

    #[test]
    fn a_table_of_another_version_is_refused() {
        let kernel = file_with(&[("_defmt_version_ = 77", 1), ("_defmt_encoding_ = rzcobs", 2)]);
        let error = format!("{:#}", parse(kernel).expect_err("unknown version"));
        assert!(error.contains("77"), "{error}");
    }

    #[test]
    fn a_file_that_ends_early_does_no_harm() {
        let kernel = file_with(&[("_defmt_version_ = 4", 1), ("_defmt_encoding_ = rzcobs", 2)]);
        for length in 0..kernel.len() {
            let _ = move_symbols(&mut kernel[..length].to_vec());
        }
        for at in 0..kernel.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut broken = kernel.clone();
                broken[at] = value;
                let _ = move_symbols(&mut broken);
                broken[at..].fill(value);
                let _ = move_symbols(&mut broken);
            }
        }
    }
}
