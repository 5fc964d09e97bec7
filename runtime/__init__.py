"""Parties, clients, certificates, the tuning loop and its reports."""
