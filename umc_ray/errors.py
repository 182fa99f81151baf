"""Every error that umc_ray raises on purpose.

UmcError
 +- ConfigError    the campaign file asks for something that cannot be
 +- DataError      input data is missing, unreadable or too bad to go on
 +- PoolExhausted  a batch was asked for and no unlabeled sample is left
 +- StageError     a stage of a round failed; says which one
 +- Stopped        not a failure: a signal asked the run to end
 +- StoreError     the run directory or the annotation store contradicts what was asked
 +- Waiting        not a failure: people have not answered everything yet

A message says what was asked, what was found, and where. All errors hold one string, so that they
survive the trip through Ray.
"""


class UmcError(Exception):
    """Root of all errors a user can cause or meet; the command line prints it as one line."""


class ConfigError(UmcError, ValueError):
    """The campaign file asks for something that cannot be."""


class DataError(UmcError, ValueError):
    """Input data is missing, unreadable or too bad to go on."""


class PoolExhausted(UmcError):
    """No unlabeled sample is left to choose from."""


class StageError(UmcError, RuntimeError):
    """A stage of a round failed."""


class Stopped(UmcError):
    """A signal asked the run to end; run the campaign again to go on."""


class StoreError(UmcError, RuntimeError):
    """The run directory or the annotation store contradicts what was asked."""


class AwaitingAnnotations(UmcError):
    """People have not answered everything yet; run the campaign again later."""
