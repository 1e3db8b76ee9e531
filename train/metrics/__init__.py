"""Metrics and losses of AVSBench (S4, MS3, AVSS) and LLP: as their releases compute them, and corrected.

Pure functions and small accumulators on tensors and arrays; the accumulators of parts of a split merge.
Every module names the source of its formulas and the shapes of its tensors. Dimensions: B clips, N frames
(or clips, where a module says so), T seconds of a clip, C classes or channels, H × W pixels.
"""
