from tests.finished import finished

__all__ = ["finished"]
