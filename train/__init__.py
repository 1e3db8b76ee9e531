"""Training and evaluation on shards."""
