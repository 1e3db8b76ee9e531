"""Many clips to a shard directory."""
