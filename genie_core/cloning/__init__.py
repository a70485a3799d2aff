"""Behaviour cloning from video without actions (Bruce et al. 2024, Section 3.3, Figure 15).

A policy learns to predict latent actions on videos whose actions it never sees; a few labelled transitions then say
what the latent actions mean to the robot. Not for training anything that labels or simulates.
"""
