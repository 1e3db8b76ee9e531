"""The commands of `stgcma`, a module for each group of verbs."""
