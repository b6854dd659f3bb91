"""Files and arrays -> what a run works on."""
