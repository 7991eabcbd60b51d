//! A click: one answered `GET` of an active code, reduced to what may be kept of it.

/// What is kept of the visitor: a class, never an address, cookie or user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Click {
    /// A person, or a person's tool; counts in the total.
    Person(Device),
    /// A crawler, link preview or HTTP library; counted apart.
    Bot,
    /// A browser that fetched the page before anybody asked for it; counted apart.
    Prefetch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Device {
    Desktop,
    Mobile,
    Tablet,
    /// Televisions, consoles, command-line tools, and whatever doesn't say.
    Others,
}

impl Device {
    pub const ALL: [Self; 4] = [Self::Desktop, Self::Mobile, Self::Tablet, Self::Others];
}

impl Click {
    pub const ALL: [Self; 6] = [
        Self::Person(Device::Desktop),
        Self::Person(Device::Mobile),
        Self::Person(Device::Tablet),
        Self::Person(Device::Others),
        Self::Bot,
        Self::Prefetch,
    ];

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Person(Device::Desktop) => 0,
            Self::Person(Device::Mobile) => 1,
            Self::Person(Device::Tablet) => 2,
            Self::Person(Device::Others) => 3,
            Self::Bot => 4,
            Self::Prefetch => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_a_place_of_its_own() {
        assert_eq!(Click::ALL.map(Click::index), [0, 1, 2, 3, 4, 5]);
    }
}
