"""What grows on a piece of land?"""
