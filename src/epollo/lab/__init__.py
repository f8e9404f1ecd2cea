"""The lab: the three claims of the article on epoll, each as an experiment that anyone can run.

1. `select` can watch no more than 1024 descriptors.
2. `select` asks every descriptor each time, so it slows down as it watches more; epoll does not.
3. 100 simultaneous clients need an accept queue of about 100; with 10 some never get connected.

`pollers` tries the first two and `backlog` the third; `claims` says, from the figures, what holds.
`comparison` is about epollo itself: it sets it beside the servers in `peers`.
"""
