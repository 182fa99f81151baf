"""Every error that umc_ray raises on purpose.

UmcError
 +- Busy                 another process works on the run directory
 +- ConfigError          the configuration asks for something impossible
 +- DataError            input data is missing, unreadable or too bad to continue
 +- PoolExhausted        a batch was requested, but no unlabeled sample is left
 +- StageError           a stage of a round failed; the message names it
 +- Stopped              not a failure: a signal asked the run to end
 +- StoreError           the run directory or the annotation store does not fit the request
 +- AwaitingAnnotations  not a failure: annotators have not answered everything yet

A message says what was requested, what was found, and where. Every error holds a single string, so
that Ray can pickle it.
"""


class UmcError(Exception):
    """Root of all errors that a user can cause or run into; the CLI prints it as one line."""


class Busy(UmcError):
    """Another process works on the run directory."""


class ConfigError(UmcError, ValueError):
    """The configuration asks for something impossible."""


class DataError(UmcError, ValueError):
    """Input data is missing, unreadable or too bad to continue."""


class PoolExhausted(UmcError):
    """No unlabeled sample is left to choose from."""


class StageError(UmcError, RuntimeError):
    """A stage of a round failed."""


class Stopped(UmcError):
    """A signal asked the run to end; run the campaign again to resume it."""


class StoreError(UmcError, RuntimeError):
    """The run directory or the annotation store does not fit the request."""


class AwaitingAnnotations(UmcError):
    """Annotators have not answered everything yet; run the campaign again later."""


def message_of(error: BaseException) -> str:
    """Return what an error says, without the trace of the remote process that raised it."""
    cause = getattr(error, "cause", None)  # of ray.exceptions.RayTaskError
    if isinstance(cause, BaseException) and cause is not error:
        return message_of(cause)
    return str(error) if isinstance(error, UmcError) else repr(error)
