"""Who answers: the store of questions and answers, and the backends that fill it."""
