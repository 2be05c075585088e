"""Counterfactual streams: overlays made of an intervention."""
