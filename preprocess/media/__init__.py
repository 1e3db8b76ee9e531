"""Media files to pictures and sound."""
