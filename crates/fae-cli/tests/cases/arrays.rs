//! Arrays and weights of other programs.
