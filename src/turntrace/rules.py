"""What the author of a sampling policy needs: rules, and the facts they are asked about.

Example:
    >>> from turntrace import SamplingPolicy
    >>> chat = Rule(reason="chat", holds=lambda facts: facts.name.startswith("socket.io chat:"))
    >>> policy = SamplingPolicy(rules=(chat,), baseline=0.1)
    >>> policy.decide(Facts(trace_id=1, name="socket.io chat:user_message")).reason
    'chat'
"""

from turntrace.sample.rules import Facts, Rule

__all__ = ["Facts", "Rule"]
