"""The operations of a vision transformer, one file each; installed as ``numpy_siglip.kernels``.

This file stays empty of code on purpose. Another package owns the top-level name ``kernels``
and transformers imports it when it can find it, so this folder must be harmless when a Python
started in the repository root picks it up under that bare name.
"""
