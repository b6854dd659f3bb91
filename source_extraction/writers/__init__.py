"""What was found -> files."""
