"""Asking a running server about itself, and steering it.

`inquirer` is the contract: a question goes to every process that serves, and each answers with
values. `epollo.server.inspection` answers for one process, `epollo.workers.inquiry` asks all
workers.
"""
