"""Every layout in which SigLIP was published, presented under the names of transformers.

One table a layout says what each of its tensors is called, and `turns` holds every way in which its
axes are turned on the way. Whoever loads a model sees transformers' names and shapes and nothing else.
"""
