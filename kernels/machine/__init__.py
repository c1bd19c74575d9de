"""What kernels are made of: compiling, vectors, elementary functions, threads, memory, and the processor."""
