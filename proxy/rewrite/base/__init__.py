"""The parts that rewriting shares: spots, results, layers of spelling, encodings."""
