"""Where is a protein in the cell?"""
