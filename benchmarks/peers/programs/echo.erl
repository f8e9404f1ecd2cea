%% Peer: Erlang, gen_tcp, a process for each connection.
%% Run with a port, 0 is any free port, and `packet4` or `raw`: the frames are cut by the runtime's
%% {packet, 4}, and each reply is sent by itself; or they are cut here, and the replies to what one
%% read has brought are sent at once.
-module(echo).
-export([main/1]).

main([Port, Way]) ->
    Packet = case Way of "packet4" -> 4; "raw" -> raw end,
    {ok, Listener} = gen_tcp:listen(list_to_integer(Port), [
        binary, {ip, {127, 0, 0, 1}}, {packet, Packet}, {active, false}, {nodelay, true},
        {backlog, 2048}, {reuseaddr, true}, {buffer, 65536}
    ]),
    {ok, Bound} = inet:port(Listener),
    io:format("erlang: serving on 127.0.0.1:~b~n", [Bound]),
    accept(Listener, Way).

accept(Listener, Way) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(fun() -> receive go -> start(Socket, Way) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener, Way).

start(Socket, "packet4") ->
    inet:setopts(Socket, [{active, 100}]),
    framed(Socket);
start(Socket, "raw") ->
    inet:setopts(Socket, [{active, 100}]),
    raw(Socket, <<>>).

handle(Message) -> Message.

framed(Socket) ->
    receive
        {tcp, Socket, Message} ->
            gen_tcp:send(Socket, handle(Message)),
            framed(Socket);
        {tcp_passive, Socket} ->
            inet:setopts(Socket, [{active, 100}]),
            framed(Socket);
        {tcp_closed, Socket} -> ok;
        {tcp_error, Socket, _} -> ok
    end.

raw(Socket, Partial) ->
    receive
        {tcp, Socket, Data} ->
            {Replies, Rest} = cut(join(Partial, Data), []),
            case Replies of
                [] -> ok;
                _ -> gen_tcp:send(Socket, lists:reverse(Replies))
            end,
            raw(Socket, Rest);
        {tcp_passive, Socket} ->
            inet:setopts(Socket, [{active, 100}]),
            raw(Socket, Partial);
        {tcp_closed, Socket} -> ok;
        {tcp_error, Socket, _} -> ok
    end.

join(<<>>, Data) -> Data;
join(Partial, Data) -> <<Partial/binary, Data/binary>>.

cut(<<Length:32, Message:Length/binary, Rest/binary>>, Replies) ->
    Reply = handle(Message),
    cut(Rest, [[<<(byte_size(Reply)):32>>, Reply] | Replies]);
cut(Rest, Replies) ->
    {Replies, Rest}.
