"""Values to model input: images, features, token ids, and the receipt of what was fed. No torch but in ``batch.py``."""
