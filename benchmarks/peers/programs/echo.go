// Peer: Go, a goroutine for each connection. Run with a port; 0 is any free port.
//
// Replies are flushed when no whole buffer of input is left: one write for those of a read.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

const bufferSize = 64 << 10

func handle(message []byte) []byte {
	return message
}

func serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, bufferSize)
	writer := bufio.NewWriterSize(connection, bufferSize)
	var header [4]byte
	var message []byte
	for {
		if _, err := io.ReadFull(reader, header[:]); err != nil {
			return
		}
		length := int(binary.BigEndian.Uint32(header[:]))
		if cap(message) < length {
			message = make([]byte, length)
		}
		message = message[:length]
		if _, err := io.ReadFull(reader, message); err != nil {
			return
		}
		reply := handle(message)
		binary.BigEndian.PutUint32(header[:], uint32(len(reply)))
		writer.Write(header[:])
		writer.Write(reply)
		if reader.Buffered() == 0 {
			if writer.Flush() != nil {
				return
			}
		}
	}
}

func main() {
	port := "0"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		os.Exit(0)
	}()
	fmt.Printf("go: serving on %s\n", listener.Addr())
	for {
		connection, err := listener.Accept() // with TCP_NODELAY, as all of Go's
		if err != nil {
			continue
		}
		go serve(connection)
	}
}
