//! [`Platter`]: files and names, each as the running node sees it and as it is durable, and crashes, which make one of
//! the other.

use super::{
    Fate,
    content::Content,
    faults::{Cost, Course, Faults, crashed},
    file::{Change, File},
};
use bytes::Bytes;
use pangea_kernel::Draw;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    ops::Range,
};

/// What a file is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Segment(u32),
    Index,
    /// An index that was put aside.
    Aside,
}

/// A file, whatever it is called and even if it is not called anything any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u64);

type Names = BTreeMap<Name, FileId>;

/// The durable state at some time.
type Backup = BTreeMap<Name, Content>;

/// Everything on a disk.
pub struct Platter {
    files: BTreeMap<FileId, File>,
    names: Names,
    durable_names: Names,
    created: u64,
    /// Crashes so far: a mount belongs to one life.
    pub life: u64,
    pub faults: Faults,
    pub cost: Cost,
    /// Indexes put aside so far.
    pub put_aside: u64,
    marks: Draw,
    syncs: u64,
    backup_every: u64,
    backups_max: usize,
    backups: VecDeque<Backup>,
}

impl Platter {
    pub fn new(marks: Draw) -> Self {
        Self {
            files: BTreeMap::new(),
            names: Names::new(),
            durable_names: Names::new(),
            created: 0,
            life: 0,
            faults: Faults::default(),
            cost: Cost::default(),
            put_aside: 0,
            marks,
            syncs: 0,
            backup_every: 0,
            backups_max: 1,
            backups: VecDeque::from([Backup::new()]),
        }
    }

    /// What is there now, without faults and without a past.
    pub fn copy(&self, marks: Draw) -> Self {
        let (files, names) = (self.files.clone(), self.names.clone());
        Self { files, durable_names: names.clone(), names, created: self.created, ..Self::new(marks) }
    }

    pub fn mark(&mut self) -> u64 {
        self.marks.u64()
    }

    /// The files there are, with their bytes.
    pub fn names(&self) -> impl Iterator<Item = (Name, u64)> {
        self.names.iter().map(|(name, id)| (*name, self.files.get(id).map_or(0, |file| file.now().len())))
    }

    pub fn find(&self, name: Name) -> Option<FileId> {
        self.names.get(&name).copied()
    }

    pub fn create(&mut self, name: Name) -> io::Result<FileId> {
        if self.names.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let course = self.faults.operation()?;
        self.created += 1;
        let id = FileId(self.created);
        self.files.insert(id, File::default());
        self.names.insert(name, id);
        course.heard(id)
    }

    /// Removes a name, or gives the file another one in its place.
    pub fn rename(&mut self, name: Name, to: Option<Name>) -> io::Result<()> {
        let id = self.find(name).ok_or(io::ErrorKind::NotFound)?;
        let course = self.faults.operation()?;
        self.names.remove(&name);
        if let Some(to) = to {
            self.names.insert(to, id);
            self.put_aside += u64::from(to == Name::Aside);
        }
        self.forget_nameless();
        course.heard(())
    }

    /// Makes durable which of the names for which `these` is true there are.
    pub fn sync_names(&mut self, these: impl Fn(&Name) -> bool) -> io::Result<()> {
        let course = self.sync_begins()?;
        if !self.faults.lying_sync {
            self.durable_names.retain(|name, _| !these(name));
            self.durable_names.extend(self.names.iter().filter(|(name, _)| these(name)).map(|(name, id)| (*name, *id)));
            self.forget_nameless();
        }
        course.heard(())
    }

    pub fn len(&self, id: FileId) -> io::Result<u64> {
        self.files.get(&id).map(|file| file.now().len()).ok_or_else(crashed)
    }

    pub fn read(&mut self, id: FileId, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.faults.read()?;
        let file = self.files.get(&id).ok_or_else(crashed)?;
        if file.now().read(at, buffer) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Writes what fits; returns how much.
    pub fn write(&mut self, id: FileId, at: u64, bytes: Bytes) -> io::Result<usize> {
        let course = self.faults.operation()?;
        let room = self.room().saturating_add(self.len(id)?.saturating_sub(at));
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.slice(..fits);
        self.cost.write(fits as u64, self.faults.speed);
        let landing = self.faults.landing(at);
        let file = self.files.get_mut(&id).ok_or_else(crashed)?;
        let end = at + fits as u64;
        if landing != at && file.now().len() < end {
            file.change(Change::Len(end));
        }
        file.change(Change::Write(landing, bytes));
        course.heard(fits)
    }

    pub fn set_len(&mut self, id: FileId, len: u64) -> io::Result<()> {
        let course = self.faults.operation()?;
        if len.saturating_sub(self.len(id)?) > self.room() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files.get_mut(&id).ok_or_else(crashed)?.change(Change::Len(len));
        course.heard(())
    }

    pub fn sync(&mut self, id: FileId) -> io::Result<()> {
        let course = self.sync_begins()?;
        if !self.faults.lying_sync {
            self.files.get_mut(&id).ok_or_else(crashed)?.sync();
        }
        self.syncs += 1;
        if self.backup_every > 0 && self.syncs.is_multiple_of(self.backup_every) {
            self.back_up();
        }
        course.heard(())
    }

    /// Bytes that still fit.
    pub fn room(&self) -> u64 {
        let used: u64 = self.names().map(|(_, bytes)| bytes).sum();
        self.faults.capacity.unwrap_or(1 << 40).saturating_sub(used)
    }

    /// Flips drawn bits, now and durably.
    pub fn rot(&mut self, name: Name, range: Option<Range<u64>>, bits: u32, draw: &mut Draw) {
        let Some(file) = self.find(name).and_then(|id| self.files.get_mut(&id)) else { return };
        for _ in 0..bits {
            let at = match &range {
                Some(range) => Some(range.start + draw.below(range.end.saturating_sub(range.start))),
                None => file.now().place(draw.below(file.now().written())),
            };
            let bit = (draw.u64() % 8) as u8;
            if let Some(at) = at {
                file.flip(at, bit);
            }
        }
    }

    pub fn set_backups(&mut self, every: u64, kept: usize) {
        self.backup_every = every;
        self.backups_max = kept.max(1);
    }

    pub fn crash(&mut self, fate: Fate, draw: &mut Draw) {
        self.life += 1;
        self.faults.crash_in = None;
        self.faults.down = false;
        match fate {
            Fate::Kept => {}
            Fate::Torn | Fate::Lost => self.lose_power(fate, draw),
            Fate::Old => {
                let nth = usize::try_from(draw.below(self.backups.len() as u64)).unwrap_or(0);
                let backup = self.backups.get(nth).cloned().unwrap_or_default();
                self.restore(backup);
            }
            Fate::Wiped => self.restore(Backup::new()),
        }
    }

    fn lose_power(&mut self, fate: Fate, draw: &mut Draw) {
        let names: BTreeSet<Name> = self.names.keys().chain(self.durable_names.keys()).copied().collect();
        for name in names {
            let (now, durable) = (self.names.get(&name).copied(), self.durable_names.get(&name).copied());
            if now != durable && fate == Fate::Torn && draw.below(2) == 0 {
                self.durable_names.remove(&name);
                self.durable_names.extend(now.map(|id| (name, id)));
            }
        }
        self.names = self.durable_names.clone();
        self.forget_nameless();
        self.files.values_mut().for_each(|file| file.lose_power(fate, draw));
    }

    fn restore(&mut self, backup: Backup) {
        self.files.clear();
        self.names.clear();
        for (name, content) in backup {
            self.created += 1;
            let id = FileId(self.created);
            self.files.insert(id, File::durably(content));
            self.names.insert(name, id);
        }
        self.durable_names = self.names.clone();
    }

    fn back_up(&mut self) {
        let durable = self.durable_names.iter();
        let backup = durable.filter_map(|(name, id)| Some((*name, self.files.get(id)?.durable().clone()))).collect();
        self.backups.push_back(backup);
        if self.backups.len() > self.backups_max {
            self.backups.pop_front();
        }
    }

    fn sync_begins(&mut self) -> io::Result<Course> {
        let course = self.faults.operation()?;
        self.cost.sync(self.faults.speed);
        Ok(course)
    }

    /// A file without a name is gone; its handles find nothing.
    fn forget_nameless(&mut self) {
        let named: BTreeSet<FileId> = self.names.values().chain(self.durable_names.values()).copied().collect();
        self.files.retain(|id, _| named.contains(id));
    }
}
