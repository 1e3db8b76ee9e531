"""Everything that is HTML for a person: self-contained pages of runs and of shards."""
