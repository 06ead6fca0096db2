//! Runs whose outputs or numbers fail.
