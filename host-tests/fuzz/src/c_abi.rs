//! The C interface of `libgranule.so`, loaded beside the program's own
//! allocator. The heap is the library's one, from program to program.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_int, c_void};
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use granule_host_tests::library;

/// A program.
#[derive(Arbitrary, Clone, Debug)]
pub struct Program(Vec<Action>);

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Action {
    Malloc(Size),
    Calloc(u8, Size),
    AlignedAlloc(u8, Size),
    /// Alignments that there are not, too.
    PosixMemalign(u16, Size),
    Realloc(u16, Size),
    Reallocarray(u16, u8, Size),
    Free(u16),
    FreeSized(u16),
    Trim,
    Check,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Small(u8),
    Medium(u16),
    Pages(u8),
    /// From the end of the address space downwards: never to be had.
    Absurd(u8),
}

impl Size {
    fn bytes(self) -> usize {
        match self {
            Self::Small(bytes) => bytes.into(),
            Self::Medium(bytes) => bytes.into(),
            Self::Pages(pages) => usize::from(pages) << 12,
            Self::Absurd(less) => usize::MAX - usize::from(less),
        }
    }
}

type Pointer = *mut c_void;

/// The functions, as C has them.
struct Library {
    malloc: extern "C" fn(usize) -> Pointer,
    calloc: extern "C" fn(usize, usize) -> Pointer,
    aligned_alloc: extern "C" fn(usize, usize) -> Pointer,
    posix_memalign: unsafe extern "C" fn(*mut Pointer, usize, usize) -> c_int,
    realloc: unsafe extern "C" fn(Pointer, usize) -> Pointer,
    reallocarray: unsafe extern "C" fn(Pointer, usize, usize) -> Pointer,
    free: unsafe extern "C" fn(Pointer),
    free_sized: unsafe extern "C" fn(Pointer, usize),
    usable: unsafe extern "C" fn(Pointer) -> usize,
    trim: extern "C" fn(usize) -> c_int,
    check: unsafe extern "C" fn(*mut libc::c_char, usize) -> c_int,
}

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let path = library::shared().expect("the library");
    let path = std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).expect("a path");
    // SAFETY: a path; the library's constructors only set it up.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "{path:?} cannot be loaded");
    let find = |name: &CStr| {
        // SAFETY: a handle, and a name.
        let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
        assert!(!symbol.is_null(), "no {name:?}");
        symbol
    };
    // SAFETY: functions of these types, by `granule.h` and the C library's headers.
    unsafe {
        use std::mem::transmute;
        Library {
            malloc: transmute::<Pointer, extern "C" fn(usize) -> Pointer>(find(c"malloc")),
            calloc: transmute::<Pointer, extern "C" fn(usize, usize) -> Pointer>(find(c"calloc")),
            aligned_alloc: transmute::<Pointer, extern "C" fn(usize, usize) -> Pointer>(find(
                c"aligned_alloc",
            )),
            posix_memalign: transmute::<
                Pointer,
                unsafe extern "C" fn(*mut Pointer, usize, usize) -> c_int,
            >(find(c"posix_memalign")),
            realloc: transmute::<Pointer, unsafe extern "C" fn(Pointer, usize) -> Pointer>(find(
                c"realloc",
            )),
            reallocarray: transmute::<
                Pointer,
                unsafe extern "C" fn(Pointer, usize, usize) -> Pointer,
            >(find(c"reallocarray")),
            free: transmute::<Pointer, unsafe extern "C" fn(Pointer)>(find(c"free")),
            free_sized: transmute::<Pointer, unsafe extern "C" fn(Pointer, usize)>(find(
                c"free_sized",
            )),
            usable: transmute::<Pointer, unsafe extern "C" fn(Pointer) -> usize>(find(
                c"malloc_usable_size",
            )),
            trim: transmute::<Pointer, extern "C" fn(usize) -> c_int>(find(c"malloc_trim")),
            check: transmute::<Pointer, unsafe extern "C" fn(*mut libc::c_char, usize) -> c_int>(
                find(c"granule_check"),
            ),
        }
    }
});

#[derive(Clone, Copy)]
struct Block {
    start: *mut u8,
    size: usize,
    value: u8,
}

impl Block {
    /// Its first and last bytes, of `size` at most, are as they were written.
    fn verify(&self, size: usize) {
        let size = size.min(self.size);
        for at in (0..size.min(64)).chain(size.saturating_sub(64).max(64)..size) {
            // SAFETY: live, and so long.
            let found = unsafe { self.start.add(at).read() };
            assert_eq!(found, self.value, "at {at} of {}", self.size);
        }
    }
}

/// Blocks by address.
#[derive(Default)]
struct Shadow {
    live: BTreeMap<usize, Block>,
    value: u8,
}

impl Shadow {
    fn nth(&self, number: u16) -> Option<Block> {
        let number = usize::from(number).checked_rem(self.live.len())?;
        self.live.values().nth(number).copied()
    }

    /// A block that came, or none.
    fn enter(&mut self, start: Pointer, size: usize, align: usize) {
        let start = start.cast::<u8>();
        if start.is_null() {
            return;
        }
        assert!(size < isize::MAX as usize, "{size} bytes cannot be had");
        assert!(start.addr().is_multiple_of(align), "{start:?} is not aligned to {align}");
        // SAFETY: live.
        let usable = unsafe { (LIBRARY.usable)(start.cast()) };
        assert!(usable >= size, "{usable} of {size} bytes");
        let end = start.addr() + size.max(1);
        let below = self.live.range(..end).next_back();
        let apart = below.is_none_or(|(at, old)| at + old.size.max(1) <= start.addr());
        assert!(apart, "{start:?} is somebody's");
        self.value = self.value.wrapping_add(37);
        // SAFETY: as long as asked for.
        unsafe { start.write_bytes(self.value, size) };
        self.live.insert(start.addr(), Block { start, size, value: self.value });
    }

    fn leave(&mut self, number: u16) -> Option<Block> {
        let block = self.nth(number)?;
        block.verify(usize::MAX);
        self.live.remove(&block.start.addr())
    }

    /// What came of an attempt to resize a block, to null where it failed.
    fn resized(&mut self, old: Block, moved: Pointer, size: usize) {
        if moved.is_null() {
            return old.verify(usize::MAX);
        }
        self.live.remove(&old.start.addr());
        let kept = size.min(old.size).min(64);
        Block { start: moved.cast(), size: kept, ..old }.verify(kept);
        self.enter(moved, size, natural(size));
    }

    fn act(&mut self, action: Action) {
        let library = &*LIBRARY;
        match action {
            Action::Malloc(size) => {
                self.enter((library.malloc)(size.bytes()), size.bytes(), natural(size.bytes()));
            }
            Action::Calloc(count, size) => {
                let block = (library.calloc)(count.into(), size.bytes());
                let Some(all) = usize::from(count).checked_mul(size.bytes()) else {
                    return assert!(block.is_null(), "too much for a number");
                };
                if !block.is_null() {
                    // SAFETY: live, and so long.
                    let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>(), all) };
                    assert!(bytes.iter().all(|&byte| byte == 0), "not zero");
                }
                self.enter(block, all, natural(all));
            }
            Action::AlignedAlloc(shift, size) => {
                let align = 1 << (shift % 22);
                self.enter((library.aligned_alloc)(align, size.bytes()), size.bytes(), align);
            }
            Action::PosixMemalign(align, size) => {
                let (mut block, align) = (std::ptr::null_mut(), usize::from(align));
                let valid = align.is_power_of_two() && align >= size_of::<usize>();
                // SAFETY: a pointer that can be written.
                let error = unsafe { (library.posix_memalign)(&mut block, align, size.bytes()) };
                assert!(valid || error == libc::EINVAL, "alignment {align}: {error}");
                if error == 0 {
                    self.enter(block, size.bytes(), align);
                }
            }
            Action::Realloc(number, size) => {
                // Of 0 bytes it frees, which is another action.
                let size = size.bytes().max(1);
                let Some(old) = self.nth(number) else { return };
                old.verify(usize::MAX);
                // SAFETY: live.
                let moved = unsafe { (library.realloc)(old.start.cast(), size) };
                self.resized(old, moved, size);
            }
            Action::Reallocarray(number, count, size) => {
                let (count, size) = (usize::from(count).max(1), size.bytes().max(1));
                let Some(old) = self.nth(number) else { return };
                // SAFETY: live.
                let moved = unsafe { (library.reallocarray)(old.start.cast(), count, size) };
                let all = count.checked_mul(size);
                assert!(all.is_some() || moved.is_null(), "too much for a number");
                self.resized(old, moved, all.unwrap_or(0));
            }
            Action::Free(number) => {
                if let Some(block) = self.leave(number) {
                    // SAFETY: live, and forgotten.
                    unsafe { (library.free)(block.start.cast()) };
                }
            }
            Action::FreeSized(number) => {
                if let Some(block) = self.leave(number) {
                    // SAFETY: live, of that size, and forgotten.
                    unsafe { (library.free_sized)(block.start.cast(), block.size) };
                }
            }
            Action::Trim => {
                (library.trim)(0);
            }
            Action::Check => check(),
        }
    }
}

/// What C promises of a block's alignment.
fn natural(size: usize) -> usize {
    if size > 8 { 16 } else { 8 }
}

fn check() {
    let mut text = [0u8; 128];
    // SAFETY: as long as said.
    let whole = unsafe { (LIBRARY.check)(text.as_mut_ptr().cast(), text.len()) } == 0;
    assert!(whole, "{}", String::from_utf8_lossy(&text));
}

/// Runs a program; every failure is a panic or an abort.
pub fn run(program: &Program) {
    let mut shadow = Shadow::default();
    for &action in &program.0 {
        shadow.act(action);
    }
    while shadow.leave(0).is_some_and(|block| {
        // SAFETY: live, and forgotten.
        unsafe { (LIBRARY.free)(block.start.cast()) };
        true
    }) {}
    check();
}
