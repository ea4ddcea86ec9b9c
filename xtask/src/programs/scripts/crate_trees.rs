//! A tree of boxes.

/// A node, boxed below its parent.
#[derive(Default)]
struct Node {
    key: u64,
    below: [Option<Box<Node>>; 2],
}

/// Inserts `count` keys; the number of nodes at each depth.
pub fn depths(count: u64) -> String {
    let mut root = Node::default();
    let mut counts = vec![1u32];
    for at in 1..count {
        let key = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (mut node, mut depth) = (&mut root, 0);
        while node.below[usize::from(key > node.key)].is_some() {
            let side = usize::from(key > node.key);
            node = node.below[side].as_mut().unwrap();
            depth += 1;
        }
        node.below[usize::from(key > node.key)] =
            Some(Box::new(Node { key, ..Node::default() }));
        if counts.len() < depth + 2 {
            counts.resize(depth + 2, 0);
        }
        counts[depth + 1] += 1;
    }
    format!("{counts:?}")
}
