"""The networks of Genie: spatio-temporal transformer, quantizer, tokenizer, latent action model, dynamics, bundles."""
