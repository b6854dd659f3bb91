#!/usr/bin/env python3
"""Find the sources in a FITS or TIFF image: what Galaxy's tool source-extractor calls."""

from source_extraction.faces.source_extractor import program

if __name__ == "__main__":
    program()
