//! How users with drifting interests choose items.

use super::catalogue::{Catalogue, Choice};
use super::counter::{Counter, Draws};
use super::planted_sequences_options::PlantedSequencesOptions;

/// Families of random numbers.
const CATALOGUE: u64 = 0;
const TASTES: u64 = 1;

/// The hidden model: every user has a taste, a few categories that were drawn by popularity once and for all, and one of
/// them in mind. Before every event the mind moves, with the probability `drift`, to a category of the taste drawn
/// evenly. The event is then of the category in mind, or, with the probability `noise`, of any category by popularity;
/// the item is one of the category by popularity.
///
/// Tastes are drawn by popularity, so over all users categories and items are as frequent as they are popular.
#[derive(Debug, Clone)]
pub(crate) struct BehaviourModel {
    catalogue: Catalogue,
    tastes: Counter,
    interests: u32,
    drift: f64,
    noise: f64,
}

/// What is hidden of one user, in memory that is reused for the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mind {
    /// Categories; one that was drawn twice counts twice.
    taste: Vec<u32>,
    /// Which one of them is in mind.
    pub(crate) place: usize,
}

impl BehaviourModel {
    pub(crate) fn new(options: &PlantedSequencesOptions) -> Self {
        Self {
            catalogue: Catalogue::new(
                Counter::new(options.seed, CATALOGUE),
                options.items,
                options.categories,
                options.item_exponent,
                options.category_exponent,
            ),
            tastes: Counter::new(options.seed, TASTES),
            interests: options.interests,
            drift: options.drift,
            noise: options.noise,
        }
    }

    /// The items and categories.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Begins with a user, who has any category of the taste in mind.
    #[inline]
    pub(crate) fn begin(&self, user: u64, draws: &mut Draws, mind: &mut Mind) {
        let mut taste = self.tastes.sample(user);
        mind.taste.clear();
        mind.taste
            .extend((0..self.interests).map(|_| self.catalogue.category(taste.bits())));
        mind.place = self.place(draws);
    }

    /// Lets time pass until the next event; whether the mind moved.
    #[inline]
    pub(crate) fn drift(&self, draws: &mut Draws, mind: &mut Mind) -> bool {
        let moves = draws.uniform() < self.drift;
        if moves {
            mind.place = self.place(draws);
        }
        moves
    }

    /// An event of a user, whose mind has drifted.
    #[inline]
    pub(crate) fn event(&self, draws: &mut Draws, mind: &Mind) -> Choice {
        if draws.uniform() < self.noise {
            return self.any(draws);
        }
        self.catalogue.item_of(mind.taste[mind.place], draws.bits())
    }

    /// An item by popularity, whoever the user is.
    #[inline]
    pub(crate) fn any(&self, draws: &mut Draws) -> Choice {
        let category = self.catalogue.category(draws.bits());
        self.catalogue.item_of(category, draws.bits())
    }

    /// How much likelier an item of this category is to be the event after the one at which the user had `place` in mind
    /// than to come by popularity. The item itself tells nothing more.
    #[inline]
    pub(crate) fn likelihood_ratio(&self, mind: &Mind, place: usize, category: u32) -> f64 {
        let liked = mind
            .taste
            .iter()
            .filter(|&&liked| liked == category)
            .count();
        let stays = f64::from(u8::from(mind.taste[place] == category));
        let next =
            (1.0 - self.drift) * stays + self.drift * liked as f64 / f64::from(self.interests);
        self.noise + (1.0 - self.noise) * next / self.catalogue.share(category)
    }

    #[inline]
    fn place(&self, draws: &mut Draws) -> usize {
        (((draws.bits() >> 32) * u64::from(self.interests)) >> 32) as usize
    }
}
