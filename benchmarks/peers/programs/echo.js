// Peer: Node, net. Run with a port; 0 is any free port.
//
// The replies to what one read has brought are written at once. A frame over several reads is
// joined when it is whole: to join at each read would copy a large one again and again.
"use strict";
const net = require("node:net");

function handle(message) {
  return message;
}

function frame(reply) {
  const header = Buffer.allocUnsafe(4);
  header.writeUInt32BE(reply.length);
  return [header, reply];
}

function serve(socket) {
  let pieces = [];
  let collected = 0;
  let wanted = 4;
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (data) => {
    if (collected) {
      pieces.push(data);
      collected += data.length;
      if (collected < wanted) return;
      data = Buffer.concat(pieces, collected);
      pieces = [];
    }
    const replies = [];
    let start = 0;
    wanted = 4;
    while (data.length - start >= 4) {
      const end = start + 4 + data.readUInt32BE(start);
      if (end > data.length) {
        wanted = end - start;
        break;
      }
      replies.push(...frame(handle(data.subarray(start + 4, end))));
      start = end;
    }
    collected = data.length - start;
    if (collected) pieces.push(data.subarray(start));
    if (replies.length) socket.write(Buffer.concat(replies));
  });
}

const server = net.createServer(serve);
server.listen({ host: "127.0.0.1", port: Number(process.argv[2] ?? 0), backlog: 2048 }, () => {
  console.log(`node: serving on 127.0.0.1:${server.address().port}`);
});
process.on("SIGTERM", () => process.exit(0));
