"""Generated studies with known truth: phantoms and dictation scripts. They train and test; none is a patient."""
