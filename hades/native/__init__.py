"""How is a function of arrays compiled for one CPU, with a batch in the lanes of its vectors?"""
