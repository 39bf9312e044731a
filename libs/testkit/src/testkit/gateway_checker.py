"""Judges what happened in a world of gateways, by promise. Knows nothing of how gateways work."""

from __future__ import annotations

from collections.abc import Iterable

from testkit.gateway_truth import AgentStory

__all__ = ["check_promises"]


def check_promises(
    stories: Iterable[AgentStory],
    *,
    calm_since: float,
    within_seconds: float,
    since_asked: bool = False,
) -> list[str]:
    """Every broken promise, as a sentence; empty if all were kept.

    `within_seconds` is how long a claim may take to reach its agent, from when it became
    deliverable or, if that was later, from when calm or the agent itself began; with `since_asked`
    from when the stream began that told it, so that agents may leave and return as they like.
    """
    broken: list[str] = []
    for story in stories:
        name = story.token.decode()
        if story.doubled_streams:
            broken.append(
                f"one stream an agent: {name} had two at once {story.doubled_streams} times"
            )
        if story.is_regular:
            if story.refusals != ["NOT_A_PREBUILD"] or story.heard:
                broken.append(f"4: regular agent {name} was told {story.refusals}")
            continue
        if "NOT_A_PREBUILD" in story.refusals:
            broken.append(f"4: agent {name} of a prebuild was told that it is none")
        if story.refusals.count("CLAIM_ALREADY_APPLIED") and story.acknowledged_at is None:
            broken.append(f"3: agent {name} was told that it has applied what it has not")
        owners = {(heard.owner_id, heard.claim_id) for _, heard in story.heard}
        if owners - {(story.owner_id, story.claim_id)}:
            broken.append(f"1: agent {name} was given to {owners}")
        if story.delivered_after_acknowledgement or len(story.applied_at) > 1:
            broken.append(
                f"3: agent {name} applied {len(story.applied_at)} times, was told"
                f" {story.delivered_after_acknowledgement} times after its acknowledgement"
            )
        if story.deliverable_at is None:
            continue
        if not story.heard:
            broken.append(f"2: agent {name} was never told")
            continue
        asked_at = story.asked_at if since_asked else story.began_at
        late = story.heard[0][0] - max(story.deliverable_at, asked_at, calm_since)
        if late > within_seconds:
            broken.append(f"2: agent {name} was told {late:.1f} s late")
        if story.acknowledged_at is None:
            broken.append(f"2: the claim of agent {name} was never acknowledged")
    return broken
