//! What is kept for a node is made once, and seen whole.

use super::*;
use crate::check::arena::Arena;
use crate::check::model::{LOCK, Model, spawn};
use crate::check::model_surroundings::{ALL, ModelConfig, ModelEnv, Owned};
use crate::provider::Capabilities;

struct Kept {
    arena: Arena,
    regions: Regions<ModelConfig<ALL>>,
    nodes: PerNode<AtomicPtr<u8>, ModelEnv>,
}

impl Kept {
    fn of(&self, node: u16) -> *const AtomicPtr<u8> {
        let new = || AtomicPtr::new(null_mut());
        let made = self.nodes.get_or_make(&self.regions, &self.arena, Node(node), new);
        let made = made.expect("memory");
        made.load(Ordering::Relaxed);
        made
    }
}

#[test]
fn two_who_make_one_get_the_same() {
    Model::new(|| {
        let arena = Arena::new(4096, Capabilities::empty(), 1 << 20);
        let nodes = PerNode::new(AtomicPtr::new(null_mut()));
        let kept = Owned::new(Kept { arena, regions: Regions::new(), nodes });
        let kept = kept.lend();
        kept.of(2);
        let other = spawn(move || kept.of(1).addr());
        let own = kept.of(1);
        assert_eq!(other.join(), own.addr());
        assert_eq!(kept.nodes.all().count(), 3);
        assert_eq!(kept.regions.stats().own, 2 * 4096, "what was too much went back");
    })
    .atomics(2048)
    .preemptions(2)
    .verify(&["nodes.rs: self.further", LOCK]);
}
