//! Tables (filled in next).
