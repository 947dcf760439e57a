"""What looks at stimuli: generative models used as classifiers, and classifiers."""
