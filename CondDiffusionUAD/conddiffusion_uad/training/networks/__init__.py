"""Networks that only a training needs: the masked auto-encoder around the encoder."""
