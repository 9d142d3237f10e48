"""Do these methods differ?"""
