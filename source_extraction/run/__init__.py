"""From an image to its products."""
