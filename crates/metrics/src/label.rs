//! Labels whose values are known when the program is compiled.

/// A label: an enumeration made by [`crate::label!`], of which the index is a value's place.
pub trait Label: Copy {
    /// The label's name.
    const NAME: &'static str;
    /// Its values, in the order of [`Label::index`].
    const VALUES: &'static [&'static str];
    /// The place of this value, less than the number of values.
    fn index(self) -> usize;
}

/// One label, or a tuple of two or three, counted together.
pub trait Labels: Copy {
    /// How many combinations of values there are.
    const COUNT: usize;
    /// The place of this combination, less than [`Labels::COUNT`].
    fn index(self) -> usize;
    /// The labels' names.
    fn names() -> Vec<&'static str>;
    /// The values of the combination at `index`, in the order of the names.
    fn values(index: usize) -> Vec<&'static str>;
}

impl<A: Label> Labels for A {
    const COUNT: usize = A::VALUES.len();

    fn index(self) -> usize {
        Label::index(self)
    }

    fn names() -> Vec<&'static str> {
        vec![A::NAME]
    }

    fn values(index: usize) -> Vec<&'static str> {
        vec![A::VALUES[index]]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    const COUNT: usize = A::VALUES.len() * B::VALUES.len();

    fn index(self) -> usize {
        self.0.index() * B::VALUES.len() + self.1.index()
    }

    fn names() -> Vec<&'static str> {
        vec![A::NAME, B::NAME]
    }

    fn values(index: usize) -> Vec<&'static str> {
        let radix = B::VALUES.len();
        vec![A::VALUES[index / radix], B::VALUES[index % radix]]
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    const COUNT: usize = <(A, B)>::COUNT * C::VALUES.len();

    fn index(self) -> usize {
        (self.0, self.1).index() * C::VALUES.len() + self.2.index()
    }

    fn names() -> Vec<&'static str> {
        vec![A::NAME, B::NAME, C::NAME]
    }

    fn values(index: usize) -> Vec<&'static str> {
        let radix = C::VALUES.len();
        let mut values = <(A, B)>::values(index / radix);
        values.push(C::VALUES[index % radix]);
        values
    }
}
