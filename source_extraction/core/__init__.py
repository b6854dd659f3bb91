"""Arrays in, arrays out: detection and measurement, independent of file formats."""
