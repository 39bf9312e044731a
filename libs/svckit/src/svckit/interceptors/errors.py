"""Turns what a handler raises into the status its caller gets.

A `ServiceError` becomes its status. Anything else is our fault: it is logged with its traceback,
and the caller gets INTERNAL without a word of it, because the text of an exception may hold a
secret.
"""

from __future__ import annotations

from typing import Any

import grpc.aio

from svckit.errors import Internal, ServiceError
from svckit.interceptors.around import Act, Call
from svckit.log import get_logger
from svckit.status import abort_with

__all__ = ["answer_errors"]

_log = get_logger(__name__)


async def answer_errors(act: Act, call: Call) -> Any:
    """The concern. Everything that raises errors of ours belongs inside it."""
    try:
        return await act(call)
    except grpc.aio.AbortError:
        raise
    except Internal as error:
        _log.error("A call failed.", action="serve", method=call.method, error=error)
        await abort_with(call.context, error)
    except ServiceError as error:
        await abort_with(call.context, error)
    except Exception as error:
        _log.error(
            "A handler raised what it must not.", action="serve", method=call.method, error=error
        )
        await abort_with(call.context, Internal("internal error; the server's log has the details"))
