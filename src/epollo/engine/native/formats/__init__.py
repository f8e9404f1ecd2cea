"""What a valid frame looks like, framing by framing, for the native engine.

Only that is repeated here. An invalid frame, and a message that cannot be encoded, go to
`epollo.framing`, which has all rules and all errors; its modules have the same names.
"""
