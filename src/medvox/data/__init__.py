"""What comes in and goes out, as plain frozen values, and the readers that build them. Knows no model and no tensor."""
