//! Models, and data sets whose ids are others.
