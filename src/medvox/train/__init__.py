"""Training of the models that ship with the package: speech, and vision with language. Stands on the stages."""
