//! Chances: places where the servers may do something that the protocol allows at any time, but
//! that hardly ever happens by itself. A simulation takes some of them, and so comes to states that
//! are rare otherwise (Zhou et al. 2021, §4: "buggification").
//!
//! The sites are in `core` and `net`, where `maybe!(Name)` is the constant `false`; in the twins it
//! asks [`is_taken`]. Whether a chance is taken is a matter of the thread, as with mutants; a run
//! of the simulator stays on one thread.
//!
//! Invariant: what is taken is a function of the run's [`Chances`] and of how often each chance has
//! come up, and of nothing else. None is taken outside of [`with`], or after [`rest`].

use std::cell::{Cell, RefCell};

macro_rules! chances {
    ($($name:ident: $deviation:literal,)*) => {
        /// One place where a run may deviate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Chance {
            $(
                #[doc = concat!("Deviation: ", $deviation, ".")]
                $name,
            )*
        }

        impl Chance {
            /// All of them.
            pub const ALL: &[Chance] = &[$(Chance::$name),*];

            /// What happens when it is taken; the name of the probe that counts it.
            pub const fn deviation(self) -> &'static str {
                match self {
                    $(Chance::$name => concat!("chance: ", $deviation),)*
                }
            }
        }
    };
}

chances! {
    ApplyLater: "what is committed is not applied yet",
    BarrierLater: "a barrier waits for one answer more",
    CheckpointNow: "a snapshot is taken long before it is due",
    EarlyBeat: "a heartbeat round comes early",
    EarlyElection: "a server stands for election early",
    ForwardTwice: "a forward is sent twice",
    HeardUnreported: "a report of sessions heard from is lost",
    HeartbeatUnanswered: "a heartbeat is not answered",
    OneEntryAppend: "an append has one entry",
    ProbeAgain: "a follower is probed though it follows",
    QueueFull: "a queue to a peer is full early",
    SegmentRolled: "a segment of the log ends early",
    ShortRead: "a read brings one byte",
    SmallChunk: "an image comes in small chunks",
    SnapshotInstead: "a snapshot is sent where the log would do",
    TailForgotten: "the log in memory goes with a snapshot",
    SmallPiece: "a restore comes in small pieces",
}

const N: usize = Chance::ALL.len();

/// One chance in so many is active in a run, and an active one is taken one time in so many.
const ONE_IN: u64 = 4;

/// The bits of a counter that is not narrow.
pub const WIDE: u32 = 32;

/// What a run takes, and how often it has.
#[derive(Clone, Debug)]
pub struct Chances {
    seed: u64,
    /// By chance, as bits.
    active: u32,
    counter_bits: u32,
    came_up: [u64; N],
    taken: [u64; N],
}

impl Chances {
    /// None is active.
    pub fn none() -> Self {
        Chances { seed: 0, active: 0, counter_bits: WIDE, came_up: [0; N], taken: [0; N] }
    }

    /// A quarter of them is active in the run of `seed`, each by itself.
    pub fn of(seed: u64) -> Self {
        let is_active = |&&chance: &&Chance| mix([seed, chance as u64, 0]).is_multiple_of(ONE_IN);
        let active = Chance::ALL.iter().filter(is_active).map(|&chance| bit(chance)).sum();
        Chances { seed, active, ..Chances::none() }
    }

    /// The same with a counter of so many bits in zxids.
    ///
    /// # Panics
    /// If there are no such counters: 1 to 32 bits.
    pub fn with_counter_bits(self, counter_bits: u32) -> Self {
        assert!((1..=WIDE).contains(&counter_bits), "a counter of {counter_bits} bits");
        Chances { counter_bits, ..self }
    }

    /// Whether the run may take `chance`.
    pub fn is_active(&self, chance: Chance) -> bool {
        self.active & bit(chance) != 0
    }

    /// Which were taken, and how often.
    pub fn taken(&self) -> impl Iterator<Item = (Chance, u64)> + '_ {
        Chance::ALL.iter().zip(self.taken).map(|(&chance, n)| (chance, n)).filter(|(_, n)| *n > 0)
    }

    fn take(&mut self, chance: Chance) -> bool {
        let at = chance as usize;
        self.came_up[at] += 1;
        let takes = mix([self.seed, chance as u64, self.came_up[at]]).is_multiple_of(ONE_IN);
        self.taken[at] += u64::from(takes);
        takes
    }
}

impl Default for Chances {
    fn default() -> Self {
        Chances::none()
    }
}

thread_local! {
    /// The active ones of `CHANCES`, so that asking for another costs nothing.
    static ACTIVE: Cell<u32> = const { Cell::new(0) };
    static COUNTER_BITS: Cell<u32> = const { Cell::new(WIDE) };
    static CHANCES: RefCell<Option<Chances>> = const { RefCell::new(None) };
}

/// Whether the run of this thread takes `chance` this time.
pub fn is_taken(chance: Chance) -> bool {
    ACTIVE.get() & bit(chance) != 0
        && CHANCES.with_borrow_mut(|chances| chances.as_mut().is_some_and(|it| it.take(chance)))
}

/// How many bits the counter in a zxid has on this thread.
pub fn counter_bits() -> u32 {
    COUNTER_BITS.get()
}

/// No chance is taken any more in the run of this thread. Counters stay as narrow as they are.
pub fn rest() {
    ACTIVE.set(0);
    CHANCES.with_borrow_mut(|chances| {
        if let Some(chances) = chances {
            chances.active = 0;
        }
    });
}

/// Does `run` with `chances` on this thread, and notes in them what was taken.
pub fn with<T>(chances: &mut Chances, run: impl FnOnce() -> T) -> T {
    /// Ends the time of the present ones, even if the run panics.
    struct Former<'a>(Option<Chances>, &'a mut Chances);
    impl Drop for Former<'_> {
        fn drop(&mut self) {
            if let Some(present) = set(self.0.take()) {
                *self.1 = present;
            }
        }
    }
    let former = set(Some(chances.clone()));
    let _former = Former(former, chances);
    run()
}

/// Puts `chances` in force. Which were before.
fn set(chances: Option<Chances>) -> Option<Chances> {
    ACTIVE.set(chances.as_ref().map_or(0, |chances| chances.active));
    COUNTER_BITS.set(chances.as_ref().map_or(WIDE, |chances| chances.counter_bits));
    CHANCES.replace(chances)
}

fn bit(chance: Chance) -> u32 {
    1 << chance as u32
}

/// A number in which every bit depends on every bit of `words` (the finaliser of SplitMix64).
fn mix(words: [u64; 3]) -> u64 {
    words.into_iter().fold(0x9e37_79b9_7f4a_7c15, |mixed, word| {
        let mut z = (mixed ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANCE: Chance = Chance::EarlyBeat;

    /// The first seed whose run may take `CHANCE`.
    fn chances() -> Chances {
        (0..).map(Chances::of).find(|chances| chances.is_active(CHANCE)).unwrap()
    }

    fn series(chances: &mut Chances) -> Vec<bool> {
        with(chances, || (0..100).map(|_| is_taken(CHANCE)).collect())
    }

    #[test]
    fn nothing_is_taken_outside_of_a_run() {
        assert!((0..100).all(|_| !is_taken(CHANCE)));
        let mut chances = chances().with_counter_bits(4);
        assert!(series(&mut chances).contains(&true));
        assert!((0..100).all(|_| !is_taken(CHANCE)));
        assert!(with(&mut chances, || std::thread::spawn(|| !is_taken(CHANCE)).join().unwrap()));
        let panics = || with(&mut chances, || panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!((counter_bits(), ACTIVE.get()), (WIDE, 0));
    }

    #[test]
    fn what_is_active_is_a_function_of_the_seed_and_about_a_quarter() {
        assert_eq!(Chances::of(7).active, Chances::of(7).active);
        for &chance in Chance::ALL {
            let n = (0..1_000).filter(|&seed| Chances::of(seed).is_active(chance)).count();
            assert!((180..320).contains(&n), "{chance:?} is active in {n} of 1,000 runs");
        }
    }

    #[test]
    fn an_active_one_is_taken_a_quarter_of_the_time_and_the_same_way_again() {
        let (mut one, mut other) = (chances(), chances());
        let first = series(&mut one);
        assert_eq!(first, series(&mut other));
        let n = first.iter().filter(|&&taken| taken).count();
        assert!((10..40).contains(&n), "{n} of 100");
        assert_eq!(one.taken().collect::<Vec<_>>(), [(CHANCE, n as u64)]);
        // A run that goes on does not begin anew.
        assert_ne!(first, series(&mut one));
    }

    #[test]
    fn one_chance_does_not_change_when_another_is_taken() {
        let both = |chances: &Chances| Chance::ALL[..8].iter().all(|&it| chances.is_active(it));
        let seed = (0..).find(|&seed| both(&Chances::of(seed))).unwrap();
        let alone = series(&mut Chances::of(seed));
        let among = with(&mut Chances::of(seed), || {
            let asked = (0..100).map(|_| (is_taken(Chance::ApplyLater), is_taken(CHANCE)).1);
            asked.collect::<Vec<bool>>()
        });
        assert_eq!(alone, among);
    }

    #[test]
    fn a_run_may_come_to_rest_with_its_counters_as_they_are() {
        let mut chances = chances().with_counter_bits(4);
        with(&mut chances, || {
            rest();
            assert!((0..100).all(|_| !is_taken(CHANCE)));
            assert_eq!(counter_bits(), 4);
        });
        assert!(series(&mut chances).iter().all(|&taken| !taken));
    }
}
