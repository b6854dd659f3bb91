"""From an image to a catalog, maps and pictures of its sources, with SEP.

Data goes one way, and a module a step::

    settings    what the user asked for
    inputs      a file -> an Image, or a mask; fits_images and tiff_images read the formats
    images      what an Image is
    kernels     a file -> a filter kernel
    noise       a file -> the noise of every pixel
    calibration numbers or header keywords -> gain, zero point, saturation
    background  an Image -> the Sky: background, noise, working pixels
    detection   a Sky -> Detections: one record a source, segmentation map; tiles divides large images among
                the processes of workers, limits keeps SEP's buffers large enough
    photometry  Detections -> fluxes, errors, sizes, windowed positions
    coordinates pixel positions -> positions on the sky or a map
    catalog     all these -> the catalog, and what every column is
    tables      the catalog -> TSV, FITS table, points, DS9 regions
    maps        arrays -> FITS files that keep the sky coordinates; label_images: TIFF
    pictures    arrays -> PNG files, from the thumbnails of large ones; diagnostics: the figure to judge a run by
    bright      the segmentation map -> a mask of the brightest sources, for another run
    summary     a run -> its facts in JSON
    findings    what a run has found so far, for whoever writes
    products    which file needs what, and who writes it
    staging     files appear only when whole
    pipeline    the order of all this

    joining     catalogs of many images -> one
    command_line  what the programs share: exit codes, errors as one sentence

Nothing downstream opens an input file, nothing upstream knows that a picture exists.
"""

__version__ = "1.4.1+galaxy0"
