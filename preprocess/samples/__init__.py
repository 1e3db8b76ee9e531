"""One clip to the members of a shard."""
