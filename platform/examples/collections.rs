//! Collections that say where they live: in a heap of their own, in an arena,
//! in a pool, or in the process's heap, by name.
//!
//! ```sh
//! cargo run --example collections
//! ```

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use granule::Granule;
use granule::arena::Arena;
use granule::doors::AllocError;
use granule::heap::{HeapBuilder, HeapError};
use granule::pools::Pool;
use hashbrown::{DefaultHashBuilder, HashMap};

/// Places for nodes.
type Nodes = Pool<[usize; 4], Granule>;

/// A list whose nodes are boxes in a pool.
struct Node<'p> {
    value: u64,
    next: Option<Box<Node<'p>, &'p Nodes>>,
}

fn words_in_a_heap(text: &str) -> Result<usize, HeapError> {
    // Ends with all of its blocks at once, whatever the map holds.
    let heap = HeapBuilder::new().cap(16 << 20).build()?;
    let mut counts = HashMap::with_hasher_in(DefaultHashBuilder::default(), &*heap);
    for word in text.split_whitespace() {
        *counts.entry(word).or_insert(0u32) += 1;
    }
    let mut often: Vec<_, _> = Vec::new_in(&*heap);
    often.extend(counts.iter().filter(|(_, count)| **count > 1));
    println!("in a heap:    {} words, {} of them more than once", counts.len(), often.len());
    assert!(heap.contains(often.as_ptr().cast()));
    Ok(counts.len())
}

fn numbers_in_an_arena() -> Result<usize, AllocError> {
    let mut arena = Arena::new_in(Granule::new());
    let mut bytes = 0;
    for request in 1..=1000 {
        // A scope for each request: what it takes ends with it.
        arena.scope(|scope| {
            let mut squares = Vec::new_in(&*scope);
            squares.extend((0..100).map(|number| number * request));
            let text = scope.alloc_str("a request")?;
            assert_eq!((squares[99], text.len()), (99 * request, 9));
            Ok::<_, AllocError>(())
        })?;
        bytes = arena.bytes();
    }
    println!("in an arena:  1,000 requests in {bytes} bytes");
    Ok(bytes)
}

fn nodes_in_a_pool() -> u64 {
    let pool = Nodes::new_in(Granule::new());
    let mut head: Option<Box<Node<'_>, _>> = None;
    for value in 0..1000 {
        head = Some(Box::new_in(Node { value, next: head }, &pool));
    }
    let (mut sum, mut at) = (0, &head);
    while let Some(node) = at {
        sum += node.value;
        at = &node.next;
    }
    println!("in a pool:    {} nodes in {} bytes, sum {sum}", pool.len(), pool.bytes());
    // A node at a time, not by recursion.
    while let Some(mut node) = head {
        head = node.next.take();
    }
    assert!(pool.is_empty());
    sum
}

fn main() -> Result<(), std::boxed::Box<dyn std::error::Error>> {
    let text = "the heap of a kernel and the heap of a process are the same heap";
    assert_eq!(words_in_a_heap(text)?, 9);
    assert!(numbers_in_an_arena().map_err(|_| "memory is short")? <= 4096);
    assert_eq!(nodes_in_a_pool(), 499_500);
    Ok(())
}
