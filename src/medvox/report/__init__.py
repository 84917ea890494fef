"""Results -> documents for people. Draws and writes; knows no model, no reader and no preset."""
