"""Objects that cannot receive."""

import epollo
import epollo.testing


class Misspelt:
    def recieved(self, message: bytes) -> bytes:
        return message


class NoMethod:
    received = True


class OfClass:
    def received(self, message: bytes) -> bytes:
        return message


epollo.serve(Misspelt())  # wrong
epollo.Server(Misspelt())  # wrong
epollo.Server(NoMethod())  # wrong
epollo.Server(OfClass)  # wrong
epollo.Server("module:attribute")  # wrong
epollo.testing.connect(Misspelt())  # wrong
