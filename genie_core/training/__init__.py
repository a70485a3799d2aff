"""The training pipeline: frames once to disk, then tokenizer, latent action model, dynamics; resumable to the bit."""
