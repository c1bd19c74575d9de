"""Who is measured: numpy_siglip and its peers, each in a process of its own, and what they load."""
