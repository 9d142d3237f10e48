"""What do other networks and recipes keep of a dataset's return?"""
