#!/usr/bin/env python3
"""Join the catalogs of many images: what Galaxy's tool for it calls."""

import sys
from pathlib import Path

# Python looks beside a program by itself, but not with -P or PYTHONSAFEPATH.
sys.path.insert(0, str(Path(__file__).resolve().parent))

if __name__ == "__main__":
    from source_extraction.faces.join import program

    program()
