"""What do tasks keep when their datasets are merged?"""
