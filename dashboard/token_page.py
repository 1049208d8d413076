"""The page that asks a browser for the token, and the one that leads on from there; neither needs a script."""

import base64
import hashlib
import html

SIGN_IN_PATH = "/sign-in"
MAX_FORM_BYTES = 16_384
"""A form holds a token and an address; a longer body is neither read nor kept."""

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { display: grid; min-height: 90vh; place-content: center; margin: 0 16px; }
form { display: grid; gap: 12px; width: min(360px, 90vw); }
h1 { font-size: 20px; margin: 0; }
p { margin: 0; }
input, button { font: inherit; padding: 8px 10px; border-radius: 7px; border: 1px solid #8886; }
button { background: #c2410c; color: #fff; border: 0; cursor: pointer; }
:focus-visible { outline: 2px solid #c2410c; outline-offset: 2px; }
.wrong { color: #dc2626; font-weight: 600; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
FORM_POLICY = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Content policy of the form: this very style, and a form that can be sent to this server only."""

_HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>flamebus</title><link rel="icon" href="data:,">'


def own_address(target: str) -> str:
    """The same path on this server, whatever was asked for: one that starts with ``//`` names another host."""
    return "/" + "".join(character for character in target if character.isprintable()).lstrip("/\\")


def form_page(target: str, *, is_wrong: bool) -> str:
    """The form; afterwards the browser goes to ``target``, an address of this server."""
    refusal = '<p class="wrong" role="alert">This is not the token.</p>' if is_wrong else ""
    return (
        f'{_HEAD}<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>'
        f'<form method="post" action="{SIGN_IN_PATH}"><h1>flamebus</h1>'
        "<p>This server is open to the network and asks for its token, once for this browser session.</p>"
        f'{refusal}<input type="hidden" name="next" value="{html.escape(target)}">'
        '<label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
        "<button>Open the page</button></form></html>"
    )


def onward_page(target: str) -> str:
    """Leads on to ``target``. A redirect would not do: a strict cookie is sent only when our page starts a request."""
    return f'{_HEAD}<meta http-equiv="refresh" content="0; url={html.escape(target)}"></html>'
