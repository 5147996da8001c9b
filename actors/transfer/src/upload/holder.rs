//! One holder of one upload: its grants, what waits for it, what is under way to it.
//!
//! Only state and arithmetic; what is sent when is decided in [`super::holders`].

use super::{group::GroupId, limits::Limits};
use pangea_protocols::{
    PeerId,
    time::{Time, UnixTime},
    wire::store::Refusal,
};
use std::{collections::VecDeque, time::Duration};

/// Shards in flight before the first receipt.
const WINDOW_START: usize = 4;
/// Shards in flight at the slowest holder.
const WINDOW_MIN: usize = 2;
/// A grant that ends within this many seconds is not used.
const GRANT_MARGIN_SECS: u64 = 30;
/// A portion is reserved with one shard allowed per this many bytes: compressed stripes have small shards.
const BYTES_PER_SHARD: u64 = 16 << 10;
/// Fewest shards of a reservation.
const SHARDS_MIN: u32 = 64;
/// Most shards of a reservation: holders promise overhead for each, and refuse more.
const SHARDS_MAX: u32 = 4096;
/// A holder that has no room for this is full: one body of the greatest length.
const PORTION_FLOOR: u64 = pangea_protocols::wire::BODY_BYTES_MAX as u64;

/// Room that the holder has promised.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// Its name at the holder.
    pub id: u64,
    /// Bytes not used yet.
    pub bytes_left: u64,
    /// Shards not used yet.
    pub shards_left: u32,
    /// When it ends.
    pub expires_unix: u64,
}

/// A reservation under way.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Of the request.
    pub request: u64,
    /// When it was sent.
    pub since: Time,
    /// What was asked for.
    pub bytes: u64,
    /// What was asked for.
    pub shards: u32,
}

/// Why a holder gets no more shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It said no.
    Refused(Refusal),
    /// No answer in time.
    TimedOut,
    /// The connection ended or could not be made.
    Disconnected,
    /// A receipt did not verify.
    Misconduct,
    /// Others were faster, again and again.
    Slow,
}

impl Loss {
    /// True if it makes sense to try this holder again.
    pub fn passes(self) -> bool {
        matches!(self, Self::Disconnected | Self::Refused(Refusal::Busy))
    }
}

/// May it get shards?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The first reservation is under way.
    Invited,
    /// It has granted room.
    Ready,
    /// No more.
    Lost(Loss, Time),
}

/// One holder.
#[derive(Debug)]
pub struct Holder {
    /// Who.
    pub peer: PeerId,
    /// May it get shards?
    pub standing: Standing,
    /// Seat on the ring; lost holders have none.
    pub seat: Option<usize>,
    /// Room, oldest first; at most two, because the next is asked for when the last runs low.
    pub grants: VecDeque<Grant>,
    /// The reservation under way.
    pub asking: Option<Asking>,
    /// Shards that wait to be sent; bounded by the job's window.
    pub queue: VecDeque<(GroupId, usize)>,
    /// Shards sent and not receipted.
    pub in_flight: usize,
    /// Their bytes.
    pub in_flight_bytes: usize,
    /// Last time it proved to be alive: a receipt, or the first send after a pause.
    pub heard: Time,
    /// Busy: send nothing until the next tick.
    pub paused: bool,
    /// Hedges lost in a row.
    pub strikes: u8,
    /// Reservations since the last receipt.
    pub barren: u8,
    /// Times it was tried again.
    pub comebacks: u8,
    /// Index in the manifest's list of holders; given at the first receipt.
    pub listed: Option<u8>,
    window: usize,
    portion: u64,
}

impl Holder {
    /// A holder that was not asked yet.
    pub fn new(peer: PeerId, seat: usize, now: Time, limits: &Limits) -> Self {
        Self {
            peer,
            standing: Standing::Invited,
            seat: Some(seat),
            grants: VecDeque::new(),
            asking: None,
            queue: VecDeque::new(),
            in_flight: 0,
            in_flight_bytes: 0,
            heard: now,
            paused: false,
            strikes: 0,
            barren: 0,
            comebacks: 0,
            listed: None,
            window: WINDOW_START,
            portion: limits.portion_bytes_min,
        }
    }

    /// May it get shards now or soon?
    pub fn usable(&self) -> bool {
        self.seat.is_some() && !matches!(self.standing, Standing::Lost(..))
    }

    /// True if one more shard of `bytes` may be under way.
    pub fn has_window(&self, bytes: usize, limits: &Limits) -> bool {
        let shards = self.in_flight < self.window.min(limits.in_flight_shards);
        shards && (self.in_flight == 0 || self.in_flight_bytes + bytes <= limits.in_flight_bytes)
    }

    /// Adapts the window to a receipt that came `took` after its shard was sent: additive increase while the holder
    /// answers within half of `slow`, halved when it is slower than `slow`. A thin line then gets few streams at once,
    /// and each of them ends in time.
    pub fn adapt_window(&mut self, took: Duration, slow: Duration, limits: &Limits) {
        if took > slow {
            self.halve_window();
        } else if took < slow / 2 {
            self.window = (self.window + 1).min(limits.in_flight_shards);
        }
    }

    /// The holder or the line is full.
    pub fn halve_window(&mut self) {
        self.window = (self.window / 2).max(WINDOW_MIN);
    }

    /// Counts a shard as under way.
    pub fn depart(&mut self, bytes: usize, now: Time) {
        if self.in_flight == 0 {
            self.heard = now;
        }
        self.in_flight += 1;
        self.in_flight_bytes += bytes;
    }

    /// Counts it no longer.
    pub fn arrive(&mut self, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
    }

    /// Takes room for `bytes` from a grant: the grant's name, or `None` if there is no room. Grants that are too small
    /// or end too soon go to `spent`: they are to be released.
    pub fn take_room(&mut self, bytes: usize, unix: UnixTime, spent: &mut Vec<u64>) -> Option<u64> {
        let bytes = bytes as u64;
        while let Some(grant) = self.grants.front_mut() {
            let lasts = grant.expires_unix > unix.0.saturating_add(GRANT_MARGIN_SECS);
            if lasts && grant.shards_left > 0 && grant.bytes_left >= bytes {
                grant.bytes_left -= bytes;
                grant.shards_left -= 1;
                return Some(grant.id);
            }
            spent.push(grant.id);
            self.grants.pop_front();
        }
        None
    }

    /// The size of the next reservation: twice the last one.
    pub fn next_portion(&mut self, limits: &Limits) -> (u64, u32) {
        let bytes = self.portion;
        self.portion = (self.portion * 2).min(limits.portion_bytes_max);
        (bytes, u32::try_from(bytes / BYTES_PER_SHARD).unwrap_or(SHARDS_MAX).clamp(SHARDS_MIN, SHARDS_MAX))
    }

    /// The holder has no room for `bytes`: ask for less, or (`false`) there is no less.
    pub fn shrink_portion(&mut self, bytes: u64, limits: &Limits) -> bool {
        let floor = PORTION_FLOOR.min(limits.portion_bytes_min);
        self.portion = (bytes / 8).max(floor);
        bytes > floor
    }

    /// True if less than half of the last portion is left and nothing has been asked for.
    pub fn runs_low(&self) -> bool {
        let bytes: u64 = self.grants.iter().map(|grant| grant.bytes_left).sum();
        let shards: u64 = self.grants.iter().map(|grant| u64::from(grant.shards_left)).sum();
        // `portion` is already the next size, which is up to twice the last.
        self.asking.is_none() && (bytes < self.portion / 4 || shards < u64::from(SHARDS_MIN) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder::new(PeerId([1; 32]), 0, Time(0), &Limits::default())
    }

    #[test]
    fn room_is_taken_from_the_oldest_grant_and_spent_ones_are_handed_back() {
        let mut holder = holder();
        holder.grants.push_back(Grant { id: 1, bytes_left: 100, shards_left: 9, expires_unix: 10_000 });
        holder.grants.push_back(Grant { id: 2, bytes_left: 500, shards_left: 1, expires_unix: 10_000 });
        let mut spent = Vec::new();
        assert_eq!(holder.take_room(64, UnixTime(0), &mut spent), Some(1));
        assert_eq!(holder.take_room(64, UnixTime(0), &mut spent), Some(2));
        assert_eq!(holder.take_room(64, UnixTime(0), &mut spent), None);
        assert_eq!(spent, [1, 2]);
    }

    #[test]
    fn a_grant_that_is_about_to_end_is_not_used() {
        let mut holder = holder();
        holder.grants.push_back(Grant { id: 1, bytes_left: 100, shards_left: 9, expires_unix: 129 });
        assert_eq!(holder.take_room(1, UnixTime(100), &mut Vec::new()), None);
    }

    #[test]
    fn the_window_grows_with_quick_receipts_and_halves_with_slow_ones() {
        let (mut holder, limits) = (holder(), Limits::default());
        for _ in 0..100 {
            holder.adapt_window(Duration::from_millis(10), limits.hedge_floor, &limits);
        }
        assert_eq!(holder.window, limits.in_flight_shards);
        for _ in 0..10 {
            holder.adapt_window(Duration::from_secs(3), limits.hedge_floor, &limits);
        }
        assert_eq!(holder.window, WINDOW_MIN);
    }

    #[test]
    fn portions_double_up_to_their_limit() {
        let (mut holder, limits) = (holder(), Limits::default());
        let sizes: Vec<u64> = (0..7).map(|_| holder.next_portion(&limits).0 >> 20).collect();
        assert_eq!(sizes, [8, 16, 32, 64, 128, 256, 256]);
        assert_eq!(holder.next_portion(&limits).1, SHARDS_MAX);
    }

    #[test]
    fn a_holder_that_has_no_room_for_a_portion_is_asked_for_less_until_one_body_does_not_fit() {
        let (mut holder, limits) = (holder(), Limits::default());
        let mut asked = vec![holder.next_portion(&limits).0];
        while holder.shrink_portion(asked[asked.len() - 1], &limits) {
            asked.push(holder.next_portion(&limits).0);
        }
        assert_eq!(asked, [8 << 20, PORTION_FLOOR]);
    }
}
