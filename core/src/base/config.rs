//! Configuration: one type per kind of heap.

use super::env::Environment;
use super::limits::Limits;
use super::sampling::Sampling;
use super::tier::Tier;
use crate::cache::FrontEnd;
use crate::provider::PageProvider;

/// Everything a heap is made of, chosen at compile time: where pages come
/// from, how CPUs (or threads) find their caches, what surrounds it, and how
/// much it keeps. Constants, not features, so that several kinds of heap may
/// live in one program.
pub trait Config: Sized + 'static {
    /// Where memory comes from.
    type Pages: PageProvider;
    /// How a CPU or thread finds its cache.
    type Front: FrontEnd<Self::Env>;
    /// What surrounds the heap.
    type Env: Environment;

    /// How much the heap keeps.
    const LIMITS: Limits = Limits::BALANCED;
    /// Nodes of memory that the heap tells apart at most, if its provider has so
    /// many ([`PageProvider::nodes`]): each has regions, slabs and a depot of its
    /// own. With 1 nothing asks for a node.
    const NODES: u16 = 1;

    /// Pages taken at a time for sheaves and slots, which never go back: many
    /// where untouched pages cost nothing, so that they lie together and do
    /// not pin regions that could be released; few elsewhere.
    const POOL_PAGES: u32 = 4;

    /// Whether pages get memory when they are first touched, so that only
    /// touched ones count. Blocks of more than 32 KiB are then rounded up to
    /// the sizes of classes, four a doubling, and CPUs cache runs of all sizes;
    /// and blocks that grow get room behind them. Elsewhere the pages are worth
    /// more, and only runs that are as long as a class are cached.
    const LAZY_PAGES: bool = false;

    /// How much is checked, at least and unless [`tier`](Self::tier) says more.
    const TIER: Tier = Tier::Basic;
    /// The highest tier that [`tier`](Self::tier) may return.
    const MAX_TIER: Tier = Self::TIER;

    /// The tier that is in force, where it is found out at run time: from
    /// [`TIER`](Self::TIER) to [`MAX_TIER`](Self::MAX_TIER). Asked on slow paths
    /// alone, and may rise once, before there is more than one thread. A front
    /// end whose heap checks calls though its `TIER` does not must be closed to
    /// hits: [`FrontEnd::is_open_for`] and `push_first` must say no.
    #[inline]
    fn tier() -> Tier {
        Self::TIER
    }

    /// Whether blocks may be sampled at all; where not, nothing asks.
    const SAMPLES: bool = false;

    /// How often a block is put between guard pages: in tiers that do not check
    /// calls, where the provider can
    /// [`PROTECT`](crate::provider::Capabilities::PROTECT). Asked on slow paths,
    /// now and then while it is [`Sampling::OFF`], and before each sample.
    #[inline]
    fn sampling() -> Sampling {
        Sampling::OFF
    }

    /// The limits that are in force: those of the type, unless they are found
    /// out at run time. Asked on slow paths alone, and may change.
    #[inline]
    fn limits() -> Limits {
        Self::LIMITS
    }
}
