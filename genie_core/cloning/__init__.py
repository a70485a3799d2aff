"""Behaviour cloning from video without actions (Bruce et al. 2024, Section 3.3, Figure 15).

A policy learns to predict latent actions on videos without actions; a few labelled transitions then map the latent
actions to the robot's. Labelling and simulation do not use it.
"""
