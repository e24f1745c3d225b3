"""The parts of `benchmarks/gpu.py`: pieces of work and their results, what each of them does, and their processes."""
