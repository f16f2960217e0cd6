"""The model factory: which Gemini, where it is, and how it is asked."""

from langchain_google_genai import ChatGoogleGenerativeAI

from renovation.settings import Settings

LOCAL_API_KEY = "local"
"""What the local Gemini is sent in place of a key."""


def chat_model(settings: Settings, base_url: str | None) -> ChatGoogleGenerativeAI:
    """Return the model the agent talks with; `base_url` None is Google's own address.

    The caller closes it with `aclose()` on the loop it was used on. `base_url` has to be this
    argument: `http_options` given to the constructor is ignored.
    """
    return ChatGoogleGenerativeAI(
        model=settings.chat_model,
        base_url=base_url,
        api_key=settings.google_api_key or LOCAL_API_KEY,
        vertexai=False,
        streaming=True,
        temperature=0.7,
        max_retries=settings.model_attempts,
    )
