"""The commands of ``numpy-siglip``, one file each.

Each file has ``add_to(commands)``, which describes the command's arguments, and the function that runs it.
What takes long to import is imported by the latter, so that ``--help`` answers at once.
"""
