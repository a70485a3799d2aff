"""Statistics that evaluation, alignment and cloning share: probes, metrics, Gaussians, bootstrap intervals."""
