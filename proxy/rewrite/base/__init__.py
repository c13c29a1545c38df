"""What every part of rewriting is made of: spots, results, layers of spelling, encodings."""
