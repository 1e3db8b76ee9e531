"""Checks of `stgcma doctor`: the installation and the machine, with a remedy for each problem."""
