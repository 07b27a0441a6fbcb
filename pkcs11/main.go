// Sigstore-kms-pkcs11 signs with keys of hardware tokens, by the library that a token's
// maker has for PKCS #11. It is a program of its own so that sigbox needs no C, and so
// that a library that crashes or hangs takes nothing with it.
//
// It is a plugin like any other, for sigbox and for cosign: run with "v1" and JSON it
// answers one call. With "serve" it answers lines until its input ends, for sigbox,
// which would otherwise log in for each signature. What a key is called, is the part of
// a PKCS #11 URI (RFC 7512) after "pkcs11:".
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox/internal/keys/plugin"
)

func main() {
	s := newServer()
	defer s.close()
	switch {
	case len(os.Args) == 2 && os.Args[1] == plugin.ServeWord:
		if err := serve(s, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "sigstore-kms-pkcs11:", err)
			os.Exit(1) // what it has in the token's library ends with it
		}
	case len(os.Args) == 3 && os.Args[1] == plugin.Version:
		if err := once(s, os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "sigstore-kms-pkcs11:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "sigstore-kms-pkcs11: a plugin of sigbox and cosign for PKCS #11 tokens; it is not run by hand")
		os.Exit(2)
	}
}

// maxMessage bounds what is signed as it is, in bytes: checkpoints, of Ed25519 keys.
const maxMessage = 1 << 20

// once answers one call.
func once(s *server, arg string, stdin io.Reader, stdout io.Writer) error {
	c, err := plugin.ParseCall([]byte(arg))
	if err != nil {
		return err
	}
	var message []byte
	if c.Sign != nil && c.Sign.Options.Message.Digest == nil || c.Verify != nil && c.Verify.Options.Message.Digest == nil {
		if message, err = io.ReadAll(io.LimitReader(stdin, maxMessage+1)); err != nil {
			return err
		}
	}
	a, err := s.answer(c, message)
	if err != nil {
		a = plugin.Answer{Error: err.Error()}
	}
	return json.MarshalWrite(stdout, a)
}

// serve answers lines, many at a time, until there are no more. An error of the token
// ends it: libraries seldom find back by themselves, and a new run does.
func serve(s *server, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	lines := make(chan plugin.Line)
	go func() { cancel(read(ctx, stdin, lines)) }()
	var answers sync.Mutex // held while a line is written
	var running sync.WaitGroup
	for {
		select {
		case <-ctx.Done():
			running.Wait()
			if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		case line := <-lines:
			running.Go(func() {
				a, err := s.answer(line.Call, line.Message)
				if err != nil && broken(err) {
					cancel(err)
				}
				if err != nil {
					a = plugin.Answer{Error: err.Error()}
				}
				answers.Lock()
				defer answers.Unlock()
				b, err := json.Marshal(plugin.LineAnswer{ID: line.ID, Answer: a})
				if err == nil {
					_, err = stdout.Write(append(b, '\n'))
				}
				if err != nil {
					cancel(err)
				}
			})
		}
	}
}

// maxLine bounds a line, in bytes.
const maxLine = 2 * maxMessage

// read gives lines until there are no more: io.EOF.
func read(ctx context.Context, stdin io.Reader, lines chan<- plugin.Line) error {
	in := bufio.NewScanner(stdin)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	for in.Scan() {
		var line plugin.Line
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			return fmt.Errorf("a line that is no call: %w", err)
		}
		select {
		case lines <- line:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return io.EOF
}
