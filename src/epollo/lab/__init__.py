"""The lab: experiments that test the three claims of the article on epoll on this machine.

1. `select` can watch no more than 1024 descriptors.
2. `select` checks every descriptor each time, so it slows down as it watches more; epoll does not.
3. 100 simultaneous clients need an accept queue of about 100; with 10 some never get connected.

`pollers` tests the first two claims and `backlog` the third; `claims` decides from the figures
whether they hold. `comparison` compares epollo with the servers in `peers`.
"""
