"""roam_trio and the published Rust crates, one with the other."""
