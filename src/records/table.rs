//! A table of records: fixed places in the mapping, a free list beside it.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use bytemuck::Pod;

/// Something that stands in a [`Table`].
pub trait Record: Pod {
    /// How this kind of record is pointed at.
    type Slot: Copy + From<usize> + Into<usize>;

    /// Whether the place is taken. All zeroes must read as free.
    fn is_used(&self) -> bool;
}

/// Records of one kind, found by slot. Taking and freeing a place allocates nothing.
pub struct Table<'m, R: Record> {
    records: &'m mut [R],
    /// Places at or above this were never taken: nobody looks there, so their pages stay untouched.
    high: &'m mut u64,
    free: Vec<u32>,
    slot: PhantomData<R::Slot>,
}

impl<'m, R: Record> Table<'m, R> {
    /// Takes over `records` as they are: places in use stay in use. `high` is one past the last place ever taken.
    pub fn attach(records: &'m mut [R], high: &'m mut u64) -> Self {
        let touched = usize::try_from(*high).map_or(records.len(), |high| high.min(records.len()));
        *high = touched as u64;
        let free = (0..touched)
            .rev()
            .filter(|&index| !records[index].is_used())
            .map(|index| u32::try_from(index).expect("tables are far shorter than 2^32"))
            .collect();
        Self { records, high, free, slot: PhantomData }
    }

    /// Puts `record` into a free place, or gives `None` when there is none.
    pub fn insert(&mut self, record: R) -> Option<R::Slot> {
        debug_assert!(record.is_used());
        let index = match self.free.pop() {
            Some(index) => index as usize,
            None if self.touched() < self.records.len() => {
                *self.high += 1;
                self.touched() - 1
            }
            None => return None,
        };
        debug_assert!(!self.records[index].is_used());
        self.records[index] = record;
        Some(index.into())
    }

    /// Frees a place and wipes what stood there, keys included.
    pub fn remove(&mut self, slot: R::Slot) {
        let index: usize = slot.into();
        debug_assert!(self.records[index].is_used());
        self.records[index] = R::zeroed();
        self.free.push(u32::try_from(index).expect("tables are far shorter than 2^32"));
    }

    /// Places in use.
    pub fn len(&self) -> usize {
        self.touched() - self.free.len()
    }

    /// Whether no place is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places there are.
    pub fn capacity(&self) -> usize {
        self.records.len()
    }

    /// The records in use with their slots, in order. Reads every place ever taken: for commands, not for packets.
    pub fn iter(&self) -> impl Iterator<Item = (R::Slot, &R)> {
        self.records[..self.touched()]
            .iter()
            .enumerate()
            .filter(|(_, record)| record.is_used())
            .map(|(i, record)| (i.into(), record))
    }

    /// Places ever taken: everything behind them is free.
    pub const fn touched(&self) -> usize {
        *self.high as usize
    }
}

impl<R: Record> Index<R::Slot> for Table<'_, R> {
    type Output = R;
    fn index(&self, slot: R::Slot) -> &R {
        &self.records[slot.into()]
    }
}

impl<R: Record> IndexMut<R::Slot> for Table<'_, R> {
    fn index_mut(&mut self, slot: R::Slot) -> &mut R {
        &mut self.records[slot.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C)]
    struct Number(u32);

    impl Record for Number {
        type Slot = usize;
        fn is_used(&self) -> bool {
            self.0 != 0
        }
    }

    #[test]
    fn places_are_taken_from_the_front_and_come_back() {
        let (mut memory, mut high) = ([Number(0); 3], 0);
        let mut table = Table::attach(&mut memory, &mut high);
        assert_eq!(
            [table.insert(Number(7)), table.insert(Number(8)), table.insert(Number(9))],
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(table.insert(Number(10)), None);
        table.remove(1);
        assert_eq!((table.len(), table.insert(Number(11))), (2, Some(1)));
    }

    #[test]
    fn a_second_attach_finds_what_the_first_left() {
        let (mut memory, mut high) = ([Number(0); 3], 0);
        let mut table = Table::attach(&mut memory, &mut high);
        let slot = table.insert(Number(7)).unwrap();
        table.insert(Number(8)).unwrap();
        table.remove(slot);
        let table = Table::attach(&mut memory, &mut high);
        assert_eq!(table.iter().map(|(slot, number)| (slot, number.0)).collect::<Vec<_>>(), [(1, 8)]);
    }
}
