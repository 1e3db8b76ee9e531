"""The contract between the stages: what a shard directory holds, how it is written and read."""
