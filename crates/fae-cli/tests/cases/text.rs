//! Raw text of Criteo, and archives.
