//! What users do with items.

/// What a user did with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// `pv`: looked at its page.
    #[default]
    PageView,
    /// `cart`: put it into the cart.
    Cart,
    /// `fav`: marked it as a favourite.
    Favourite,
    /// `buy`: bought it.
    Buy,
}

impl Behaviour {
    /// Every behaviour, in the order of reports.
    pub const ALL: [Self; 4] = [Self::PageView, Self::Cart, Self::Favourite, Self::Buy];

    /// The word for it in the raw files.
    pub fn name(self) -> &'static str {
        match self {
            Self::PageView => "pv",
            Self::Cart => "cart",
            Self::Favourite => "fav",
            Self::Buy => "buy",
        }
    }
}
