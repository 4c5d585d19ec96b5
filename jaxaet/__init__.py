"""jaxaet"""
