"""python -m source_extraction: the command line that finds the sources in an image."""

from source_extraction.faces.source_extractor import program

program()
