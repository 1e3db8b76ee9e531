"""The modules that are trained inside a frozen block."""
