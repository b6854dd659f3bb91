#!/usr/bin/env python3
"""Join the catalogs of many images: what Galaxy's tool for it calls."""

from source_extraction.faces.join import program

if __name__ == "__main__":
    program()
