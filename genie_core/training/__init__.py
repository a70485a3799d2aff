"""Training pipeline: stores frames once, then trains tokenizer, latent action model, dynamics; resumable to the bit."""
