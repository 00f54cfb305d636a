//! A shop that takes orders: rules in [`order`], tables in `orders.yaml` and [`revenue`], HTTP in [`front`].

pub mod front;
pub mod order;
pub mod revenue;
