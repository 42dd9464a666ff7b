"""Wires of a conversation over HTTP: sessions of streamable HTTP, requests of the modern era, and SSE of 2024-11-05.

A wire sends one message at a time and hands on what comes back. It knows no clients, none of their sessions, no stages.
"""
