//! The failures that both stores tell alike.
