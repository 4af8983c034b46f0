//! The process table: every run that is live, or ended and not yet forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use runlet_proto::ids::{BlockIndex, RunId};
use slab::Slab;

use crate::aged::PlaceId;
use crate::control::{BlockControlObject, WorkflowControlBlock};
use crate::shape::Shape;
use crate::timers::TimerId;

/// Place of a run in the table, for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u32);

/// Where a run finds its entry.
#[derive(Debug)]
pub(crate) struct Table<P> {
    runs: Slab<Run<P>>,
    index: HashMap<u128, Key, IdHash>,
    /// Runs that have not ended.
    pub(crate) live: usize,
}

/// A run: what everybody may know of it, and what only the scheduler does.
#[derive(Debug)]
pub(crate) struct Run<P> {
    pub(crate) control: WorkflowControlBlock<P>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) workflow: u32,
    pub(crate) admission: Admission,
    /// Blocks that are not done.
    pub(crate) left: u16,
    /// Blocks that are ready or woken.
    pub(crate) ready: u16,
    /// Blocks that are running or yielding.
    pub(crate) running: u16,
    pub(crate) timer: Option<TimerId>,
    pub(crate) observe: bool,
    pub(crate) record: bool,
    pub(crate) promoted: bool,
}

/// Whether `concurrency` lets a run begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It does, until the run ends.
    Admitted,
    /// It waits for another run of its workflow to end.
    InLine(PlaceId),
    /// It was paused before it was admitted, and left the line.
    Held,
}

impl<P> Table<P> {
    pub(crate) fn new() -> Self {
        Self { runs: Slab::new(), index: HashMap::default(), live: 0 }
    }

    pub(crate) fn insert(&mut self, run: Run<P>) -> Key {
        let id = run.control.id.as_u128();
        let key = Key(u32::try_from(self.runs.insert(run)).expect("live runs are bounded far below 2^32"));
        self.index.insert(id, key);
        self.live += 1;
        key
    }

    pub(crate) fn find(&self, run: RunId) -> Option<Key> {
        self.index.get(&run.as_u128()).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Run<P> {
        let run = self.runs.remove(key.0 as usize);
        self.index.remove(&run.control.id.as_u128());
        run
    }

    pub(crate) fn get(&self, key: Key) -> &Run<P> {
        &self.runs[key.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> &mut Run<P> {
        &mut self.runs[key.0 as usize]
    }

    pub(crate) fn block(&self, key: Key, block: BlockIndex) -> &BlockControlObject<P> {
        &self.runs[key.0 as usize].control.blocks[block.as_usize()]
    }

    pub(crate) fn block_mut(&mut self, key: Key, block: BlockIndex) -> &mut BlockControlObject<P> {
        &mut self.runs[key.0 as usize].control.blocks[block.as_usize()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Run<P>)> {
        let key = |at| Key(u32::try_from(at).expect("live runs are bounded far below 2^32"));
        self.runs.iter().map(move |(at, run)| (key(at), run))
    }
}

impl<P> Run<P> {
    /// All block indices.
    pub(crate) fn indices(&self) -> impl DoubleEndedIterator<Item = BlockIndex> + use<P> {
        (0..u16::try_from(self.control.blocks.len()).expect("a plan has at most 1,000 blocks")).map(BlockIndex)
    }
}

/// Builds [`IdHasher`]s.
pub(crate) type IdHash = BuildHasherDefault<IdHasher>;

/// A fast hasher for run ids. Only the supervisor makes run ids, and 74 of their bits are random, so nobody can choose
/// them to collide.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl IdHasher {
    fn mix(&mut self, value: u64) {
        // Both halves of the 128-bit product are kept, so that high bits of the value reach the low bits of the hash.
        let product = u128::from(self.0 ^ value) * 0x9E37_79B9_7F4A_7C15_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }

    fn write_u16(&mut self, value: u16) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u128(&mut self, value: u128) {
        self.mix(value as u64);
        self.mix((value >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
