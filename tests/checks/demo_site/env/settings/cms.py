"""Stands for the settings of a site."""
