"""Recipes for the shipped models."""
