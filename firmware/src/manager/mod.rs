//! The manager: the desired state, what it means, and who asks.
pub mod batch;
pub mod configuration;
pub mod desired;
pub mod key;
pub mod numbers;
pub mod rules;
pub mod translate;
