"""Models: tensors and token ids in, tensors and token ids out. Knows no files but weights, and no studies."""
