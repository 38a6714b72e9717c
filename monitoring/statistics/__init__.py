"""Statistics that hold however often one looks, and some that are descriptive and say so. Pure functions and records.

A comparison counts with the weight `w = f / p`: p is the probability with which it was sampled, and f, the smallest
such probability to be expected, is fixed before the comparison is known (`weights.Scale`). So 0 < w <= 1, and a sum of
weights counts comparisons as if all of them had been sampled with probability f.
"""
