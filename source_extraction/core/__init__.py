"""Arrays in, arrays out: what is found in an image, whatever it came from and wherever it goes."""
