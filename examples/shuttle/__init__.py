"""In which state is a valve of the Space Shuttle?"""
