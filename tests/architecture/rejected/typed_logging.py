# ruff: noqa: G003, G004
"""What the type checker refuses about logging: each marked line must be an error of those rules.

The lines without a mark are right, and must stay so.
"""

from svckit.log import get_logger

log = get_logger(__name__)


def claim(workspace_id: str, token: str, error: Exception) -> None:
    """Log rightly and wrongly."""
    log.info("Claimed.", action="claim", workspace_id=workspace_id, attempt=1)
    log.error("Not claimed.", error=error)
    log.info("Claimed.", workspace="w")  # refused: reportCallIssue
    log.info("Claimed.", attempt="one")  # refused: reportArgumentType
    log.info(f"Claimed with {token}.")  # refused: reportArgumentType
    log.info("Claimed " + workspace_id)  # refused: reportArgumentType
    log.info(workspace_id)  # refused: reportArgumentType
    log.info("Claimed %s.", workspace_id)  # refused: reportCallIssue
    log.warning("Slow.", elapsed_seconds="3")  # refused: reportArgumentType
    log.error("Not claimed.", error="timeout")  # refused: reportArgumentType
    log.error("Not claimed.", error)  # refused: reportCallIssue
    log.debug()  # refused: reportCallIssue
    log.exception("Not claimed.")  # refused: reportAttributeAccessIssue, reportUnknownMemberType
