"""From an image to a catalog, maps and pictures of its sources, with SEP.

Data goes one way, and a module a step::

    settings    what the user asked for
    inputs      a file -> an Image, or a mask; fits_images and tiff_images read the formats
    images      what an Image is
    kernels     a file -> a filter kernel
    background  an Image -> the Sky: background, noise, working pixels
    detection   a Sky -> Detections: one record a source, segmentation map
    catalog     Detections -> the table
    maps        arrays -> FITS files that keep the sky coordinates
    pictures    arrays -> PNG files
    products    which file needs what, and who writes it
    staging     files appear only when whole
    pipeline    the order of all this

Nothing downstream opens an input file, nothing upstream knows that a picture exists.
"""

__version__ = "1.4.1+galaxy0"
