"""The frozen transformers."""
