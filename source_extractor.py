#!/usr/bin/env python3
"""Find the sources in a FITS or TIFF image: what Galaxy's tool source-extractor calls."""

import sys
from pathlib import Path

# Python looks beside a program by itself, but not with -P or PYTHONSAFEPATH.
sys.path.insert(0, str(Path(__file__).resolve().parent))

if __name__ == "__main__":
    from source_extraction.faces.source_extractor import program

    program()
