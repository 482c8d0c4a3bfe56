"""What pi can be told, in its own words. Pure; ids are added by the codec.

It must not know what pi answers. Rule: a field that a version of pi does not need is not sent.
"""

from typing import Any

from taskd.model import agent

Fields = dict[str, Any]
"""A line for pi, as an object."""


def fields_of(command: agent.Command) -> Fields:
    """Give the line of a command, without its id where pi answers by it.

    Raises:
        TypeError: a command that is not in the vocabulary.
    """
    match command:
        case agent.Prompt(message=message, images=images):
            return _with_images({"type": "prompt", "message": message}, images)
        case agent.Steer(message=message):
            return {"type": "steer", "message": message}
        case agent.FollowUp(message=message):
            return {"type": "follow_up", "message": message}
        case agent.Abort():
            return {"type": "abort"}
        case agent.Probe():
            return {"type": "get_state"}
        case agent.SetModel(provider=provider, model=model):
            return {"type": "set_model", "provider": provider, "modelId": model}
        case agent.ListModels():
            return {"type": "get_available_models"}
        case agent.AnswerQuestion():
            return {"type": "extension_ui_response", "id": command.request_id, **_answer(command)}
    raise TypeError(f"pi cannot be told {command!r}")


def _with_images(fields: Fields, images: tuple[agent.Image, ...]) -> Fields:
    if images:
        fields["images"] = [{"type": "image", "data": image.data, "mimeType": image.mime_type} for image in images]
    return fields


def _answer(command: agent.AnswerQuestion) -> Fields:
    if command.value is not None:
        return {"value": command.value}
    if command.confirmed is not None:
        return {"confirmed": command.confirmed}
    return {"cancelled": True}
