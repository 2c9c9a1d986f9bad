"""A mail server of this machine: takes what is handed over (RFC 5321) and gives the links in it to who waits for them."""

import email
import email.policy
import re
import socketserver
import threading
import time

# A mail is a job, and jobs come after what made them.
WAIT_SECONDS = 30


class Office:
    """Listens on a port of its own until the process ends."""

    def __init__(self):
        self.mails, self.came = [], threading.Condition()
        office = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                office._serve(self.rfile, self.wfile)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Session)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def settings(self):
        """What a control node has to be told, in its environment."""
        port = self.server.server_address[1]
        return {"MEDMESH_MAIL__HOST": "127.0.0.1", "MEDMESH_MAIL__PORT": str(port), "MEDMESH_MAIL__TLS": "none",
                "MEDMESH_MAIL__FROM": "no-reply@demo.example"}

    def token(self, to, kind):
        """What stands in the fragment of the link that comes to this address: `register` or `set-password`."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self.came:
            while True:
                for mail in [mail for mail in self.mails if to in (mail["to"] or "")]:
                    text = mail.get_body(("plain",)).get_content()
                    found = re.search(f"#{kind}=([A-Za-z0-9_-]+)", text)
                    if found:
                        self.mails.remove(mail)
                        return found[1]
                if not self.came.wait(deadline - time.monotonic()):
                    raise SystemExit(f"no mail with a link to {kind} came in {WAIT_SECONDS} s")

    def _serve(self, lines, out):
        def say(text):
            out.write(text.encode() + b"\r\n")

        say("220 here")
        for line in lines:
            verb = line[:4].upper()
            if verb == b"DATA":
                say("354 go on")
                self._take(b"".join(iter(lambda: _unstuffed(lines.readline()), None)))
                say("250 taken")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    def _take(self, raw):
        with self.came:
            self.mails.append(email.message_from_bytes(raw, policy=email.policy.default))
            self.came.notify_all()


def _unstuffed(line):
    """A line of a mail; nothing at its end."""
    if line in (b".\r\n", b""):
        return None
    return line[1:] if line.startswith(b".") else line
