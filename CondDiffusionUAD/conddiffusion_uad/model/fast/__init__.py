"""The same networks in the form in which they compute fastest, for inference only.

Same weights, same results within rounding.
"""
