"""wav2vec 2.0, HuBERT and WavLM encoders of any shape, and their checkpoints."""
