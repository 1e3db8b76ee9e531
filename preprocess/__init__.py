"""The offline stage: raw clips become samples in shards."""
