#!/usr/bin/env escript
%% Erlang's gen_tcp as one end of a connection; see support.py for what its arguments mean.
%%! -noinput
-mode(compile).

main(["server", Packet]) ->
    {ok, Listener} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | options(Packet)]),
    {ok, Port} = inet:port(Listener),
    ok = write([integer_to_list(Port), $\n]),
    spawn_link(fun() -> accept(Listener) end),
    read();  % until the test closes it
main(["client", Packet, Port]) ->
    {ok, Socket} = connect(Packet, Port),
    Messages = unframe(read()),
    spawn_link(fun() -> send(Socket, Packet, Messages) end),
    ok = write([[<<(byte_size(Reply)):32>>, Reply] || Reply <- receive_all(Socket, Packet)]).

options(Packet) ->
    [binary, {packet, packet(Packet)}, {active, false}, {buffer, 1 bsl 17}].

packet("line") -> line;
packet(Size) -> list_to_integer(Size).

connect(Packet, Port) ->
    gen_tcp:connect({127, 0, 0, 1}, list_to_integer(Port), options(Packet)).

accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    ok = gen_tcp:controlling_process(Socket, spawn_link(fun() -> echo(Socket) end)),
    accept(Listener).

echo(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Message} -> gen_tcp:send(Socket, Message), echo(Socket);
        {error, _} -> gen_tcp:close(Socket)
    end.

send(Socket, Packet, Messages) ->
    [gen_tcp:send(Socket, [Message, ending(Packet)]) || Message <- Messages],
    gen_tcp:shutdown(Socket, write).

%% The messages until the end of the stream.
receive_all(Socket, Packet) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Message} ->
            Size = byte_size(Message) - length(ending(Packet)),
            [binary:part(Message, 0, Size) | receive_all(Socket, Packet)];
        {error, _} -> []
    end.

%% {packet, line} leaves it on a line that it has received, and puts none on one that it sends.
ending("line") -> "\n";
ending(_) -> "".

unframe(<<Size:32, Message:Size/binary, Rest/binary>>) -> [Message | unframe(Rest)];
unframe(<<>>) -> [].

read() ->
    {ok, Data} = file:read_file("/dev/stdin"),
    Data.

write(Data) -> file:write_file("/dev/stdout", Data).
