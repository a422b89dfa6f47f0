//! Every listing is served by an index, in its order.
