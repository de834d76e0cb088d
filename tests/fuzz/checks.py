"""What Schemathesis can't know: an error's `code` is one that its operation declares."""

from __future__ import annotations

import schemathesis

PROBLEM_JSON = "application/problem+json"
# Of the path rather than of an operation: no operation takes the method.
OF_NO_OPERATION = {405}


@schemathesis.check
def declared_error_code(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Each refusal is one of the operation's `x-error-codes`."""
    kind = (response.headers.get("content-type") or [""])[0]
    if response.status_code in OF_NO_OPERATION or not kind.startswith(PROBLEM_JSON):
        return
    code = response.json()["code"]
    declared = case.operation.definition.raw["x-error-codes"]
    assert code in declared, f"{code} is not among the codes that {case.operation.label} declares"
