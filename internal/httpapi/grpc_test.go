package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	rekorpb "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// serveRPC serves what a server has, behind a guard, in HTTP/2 without TLS.
func serveRPC(t testing.TB, h http.Handler) (url string, client *http.Client) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = protocols
	server.Start()
	t.Cleanup(server.Close)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return server.URL, &http.Client{Transport: transport}
}

// newRPCLog serves a log in memory by gRPC, and gives what the requests were logged
// and counted as.
func newRPCLog(t testing.TB, change func(*rekor.Config)) (call func(method string, message []byte, options ...connect.ClientOption) ([]byte, error), signer *note.Signer) {
	t.Helper()
	log, signer := newRekor(t, change)
	mux, ok := log.Config.Handler.(*http.ServeMux)
	if !ok {
		t.Fatal("no mux")
	}
	h, _, _ := guarded(Guard{}, mux)
	url, client := serveRPC(t, h)
	return func(method string, message []byte, options ...connect.ClientOption) ([]byte, error) {
		return callRPC(t.Context(), client, url+rekorRPC+method, message, options...)
	}, signer
}

// clientCodec is the server's, and reads statuses.
type clientCodec struct{ rpcCodec }

func (c clientCodec) Unmarshal(b []byte, message any) error {
	if m, ok := message.(proto.Message); ok {
		return proto.Unmarshal(b, m)
	}
	return c.rpcCodec.Unmarshal(b, message)
}

func callRPC(ctx context.Context, client *http.Client, url string, message []byte, options ...connect.ClientOption) ([]byte, error) {
	options = append([]connect.ClientOption{connect.WithGRPC(), connect.WithCodec(clientCodec{})}, options...)
	answer, err := connect.NewClient[[]byte, []byte](client, url, options...).CallUnary(ctx, connect.NewRequest(&message))
	if err != nil {
		return nil, err
	}
	return *answer.Msg, nil
}

// wantRPCError wants a code and a part of the message.
func wantRPCError(t *testing.T, err error, code connect.Code, part string) *connect.Error {
	t.Helper()
	e, ok := errors.AsType[*connect.Error](err)
	if !ok || e.Code() != code || !strings.Contains(e.Message(), part) {
		t.Fatalf("expected %v with %q, found %v", code, part, err)
	}
	return e
}

func TestRPCCreateEntry(t *testing.T) {
	call, signer := newRPCLog(t, nil)
	key := fixture.Key(t)
	for n := range 3 {
		e := rekorEntry(t, key, n)
		var first []byte
		for range 2 { // the second time it is a duplicate
			answer, err := call("CreateEntry", entry.AppendRequestProto(nil, e))
			if err != nil {
				t.Fatal(err)
			}
			var pb rekorpb.TransparencyLogEntry
			if err := proto.Unmarshal(answer, &pb); err != nil {
				t.Fatal(err)
			}
			text, err := protojson.Marshal(&pb)
			if err != nil {
				t.Fatal(err)
			}
			le, err := entry.ParseLogEntry(text)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := entry.Leaf(e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := note.Open(le.Inclusion.Checkpoint, signer.Verifier()); err != nil || le.LogIndex != int64(n) || !bytes.Equal(le.Body, leaf) {
				t.Errorf("index %d, %v, leaf %s", le.LogIndex, err, le.Body)
			}
			if first == nil {
				first = answer
			} else if !bytes.Equal(first, answer) {
				t.Errorf("the duplicate's answer differs:\n%x\n%x", first, answer)
			}
		}
	}
}

// field makes a field of bytes.
func field(number protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
}

// httpBodyOf takes a google.api.HttpBody apart.
func httpBodyOf(t *testing.T, b []byte) (contentType string, data []byte) {
	t.Helper()
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType {
			t.Fatalf("no HttpBody: %x", b)
		}
		v, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			t.Fatalf("no HttpBody: %x", b)
		}
		if b = b[n+m:]; number == 1 {
			contentType = string(v)
		} else {
			data = v
		}
	}
	return contentType, data
}

func TestRPCReads(t *testing.T) {
	call, signer := newRPCLog(t, nil)
	if _, err := call("CreateEntry", entry.AppendRequestProto(nil, rekorEntry(t, fixture.Key(t), 1))); err != nil {
		t.Fatal(err)
	}
	answer, err := call("GetCheckpoint", nil)
	if err != nil {
		t.Fatal(err)
	}
	contentType, text := httpBodyOf(t, answer)
	if c, err := note.Open(string(text), signer.Verifier()); err != nil || c.Size != 1 || contentType != checkpointType {
		t.Errorf("%s: size %d, %v", contentType, c.Size, err)
	}
	answer, err = call("GetTile", field(2, []byte("000.p/1")))
	if err != nil {
		t.Fatal(err)
	}
	if contentType, tile := httpBodyOf(t, answer); contentType != tileType || len(tile) != 32 {
		t.Errorf("%s of %d bytes", contentType, len(tile))
	}
	answer, err = call("GetEntryBundle", field(1, []byte("000.p/1")))
	if err != nil {
		t.Fatal(err)
	}
	if _, bundle := httpBodyOf(t, answer); len(bundle) < 2 || int(bundle[0])<<8+int(bundle[1]) != len(bundle)-2 {
		t.Errorf("bundle %q", bundle)
	}

	level := func(l uint64, path string) []byte {
		return append(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), l), field(2, []byte(path))...)
	}
	for name, c := range map[string]struct {
		method  string
		message []byte
		code    connect.Code
	}{
		"a level that no tree has":     {"GetTile", level(64, "000"), connect.CodeNotFound},
		"a level beyond 32 bits":       {"GetTile", level(1<<40, "000"), connect.CodeNotFound},
		"a tile beyond the tree":       {"GetTile", level(0, "000.p/2"), connect.CodeNotFound},
		"an index that is none":        {"GetTile", level(0, "0"), connect.CodeNotFound},
		"a way out":                    {"GetTile", level(0, "../entries/000.p/1"), connect.CodeNotFound},
		"no index":                     {"GetTile", nil, connect.CodeNotFound},
		"a long index":                 {"GetEntryBundle", field(1, bytes.Repeat([]byte("x000/"), 100)), connect.CodeInvalidArgument},
		"a bundle beyond the tree":     {"GetEntryBundle", field(1, []byte("001")), connect.CodeNotFound},
		"an unknown field":             {"GetEntryBundle", field(9, []byte("000")), connect.CodeInvalidArgument},
		"a checkpoint of something":    {"GetCheckpoint", field(1, []byte("000")), connect.CodeInvalidArgument},
		"a method that does not exist": {"Forget", nil, connect.CodeUnimplemented},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call(c.method, c.message)
			wantRPCError(t, err, c.code, "")
		})
	}
}

func TestRPCRefused(t *testing.T) {
	call, _ := newRPCLog(t, nil)
	e := rekorEntry(t, fixture.Key(t), 1)
	broken := e
	broken.Signature = append(bytes.Clone(e.Signature[:len(e.Signature)-1]), e.Signature[len(e.Signature)-1]^1)
	large := e
	large.PublicKey, large.Certificate = nil, make([]byte, entry.MaxLeafSize)
	largeKey := e
	largeKey.PublicKey = make([]byte, 9000)
	good := entry.AppendRequestProto(nil, e)
	for name, c := range map[string]struct {
		message []byte
		code    connect.Code
		part    string
	}{
		"nothing":           {nil, connect.CodeInvalidArgument, "neither"},
		"JSON":              {entry.AppendRequest(nil, e), connect.CodeInvalidArgument, "unknown field"},
		"more":              {append(bytes.Clone(good), field(9, nil)...), connect.CodeInvalidArgument, "unknown field 9"},
		"two entries":       {append(bytes.Clone(good), good...), connect.CodeInvalidArgument, "stands twice"},
		"ends early":        {good[:len(good)-1], connect.CodeInvalidArgument, "binary form"},
		"a wrong signature": {entry.AppendRequestProto(nil, broken), connect.CodeInvalidArgument, ""},
		"a large leaf":      {entry.AppendRequestProto(nil, large), connect.CodeInvalidArgument, "65535"},
		"a large key":       {entry.AppendRequestProto(nil, largeKey), connect.CodeInvalidArgument, "at most 8192"},
		"the largest":       {make([]byte, entry.MaxRequestSize), connect.CodeInvalidArgument, ""},
		"larger than that":  {make([]byte, entry.MaxRequestSize+1), connect.CodeResourceExhausted, "4194304 bytes"},
		"much larger":       {make([]byte, 2*entry.MaxRequestSize), connect.CodeResourceExhausted, "4194304 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call("CreateEntry", c.message)
			wantRPCError(t, err, c.code, c.part)
		})
	}
	t.Run("compressed", func(t *testing.T) {
		_, err := call("CreateEntry", good, connect.WithSendGzip())
		wantRPCError(t, err, connect.CodeUnimplemented, "gzip")
	})
}

func TestRPCFrozen(t *testing.T) {
	call, _ := newRPCLog(t, func(c *rekor.Config) { seal(t, c.Log) })
	_, err := call("CreateEntry", entry.AppendRequestProto(nil, rekorEntry(t, fixture.Key(t), 1)))
	wantRPCError(t, err, connect.CodeUnimplemented, "takes no further entries")
}

// rpcOf serves one call at /x behind a guard.
func rpcOf(g Guard, call rpcCall) (h http.Handler, metrics func(t *testing.T, class string) float64, log *bytes.Buffer) {
	mux := http.NewServeMux()
	h, reg, log := guarded(g, mux)
	mux.Handle("POST /s/x", newRPC("/s/x", 1<<20, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), call))
	return h, func(t *testing.T, class string) (n float64) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "status" && l.GetValue() == class {
						n += m.GetCounter().GetValue()
					}
				}
			}
		}
		return n
	}, log
}

// wantRetry wants what tells a client to try again.
func wantRetry(t *testing.T, e *connect.Error, seconds byte) {
	t.Helper()
	if found := e.Meta().Get("Grpc-Retry-Pushback-Ms"); found != strconv.Itoa(1000*int(seconds)) {
		t.Errorf("pushback %q", found)
	}
	if len(e.Details()) != 1 || e.Details()[0].Type() != "google.rpc.RetryInfo" || !bytes.Equal(e.Details()[0].Bytes(), []byte{10, 2, 8, seconds}) {
		t.Errorf("details %v", e.Details())
	}
}

// TestRPCKinds: each kind has its code, in the one place that gives its HTTP status,
// and is counted as that.
func TestRPCKinds(t *testing.T) {
	for kind, want := range map[sigbox.Kind]struct {
		code  connect.Code
		class string
	}{
		sigbox.Invalid:         {connect.CodeInvalidArgument, "4xx"},
		sigbox.Unauthenticated: {connect.CodeInvalidArgument, "4xx"},
		sigbox.NotVerified:     {connect.CodeInvalidArgument, "4xx"},
		sigbox.Denied:          {connect.CodePermissionDenied, "4xx"},
		sigbox.NotFound:        {connect.CodeNotFound, "4xx"},
		sigbox.Conflict:        {connect.CodeAlreadyExists, "4xx"},
		sigbox.TooLarge:        {connect.CodeResourceExhausted, "4xx"},
		sigbox.Unavailable:     {connect.CodeUnavailable, "5xx"},
		sigbox.Fatal:           {connect.CodeUnavailable, "5xx"},
		sigbox.Frozen:          {connect.CodeUnimplemented, "4xx"},
		sigbox.Internal:        {connect.CodeInternal, "5xx"},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			h, counted, log := rpcOf(Guard{}, func(context.Context, []byte) ([]byte, error) {
				return nil, sigbox.Errorf(kind, "what anybody may know: ä\n").WithCause(errors.New("the secret cause"))
			})
			url, client := serveRPC(t, h)
			_, err := callRPC(t.Context(), client, url+"/s/x", nil)
			part := "what anybody may know: ä"
			switch kind {
			case sigbox.Internal:
				part = internalMessage
			case sigbox.Fatal:
				part = stoppedMessage
			}
			e := wantRPCError(t, err, want.code, part)
			if strings.Contains(err.Error(), "secret") || !strings.Contains(log.String(), "the secret cause") {
				t.Errorf("shown: %v\nlogged: %s", err, log)
			}
			if n := counted(t, want.class); n != 1 {
				t.Errorf("counted %v times as %s", n, want.class)
			}
			if want.code == connect.CodeUnavailable {
				seconds := byte(retryAfter)
				if kind == sigbox.Fatal {
					seconds = retryStopped
				}
				wantRetry(t, e, seconds)
			} else if len(e.Details()) > 0 {
				t.Errorf("details %v", e.Details())
			}
		})
	}
}

// TestRPCTurnedAway: what the guard answers is a status of gRPC, too.
func TestRPCTurnedAway(t *testing.T) {
	t.Run("too many in flight", func(t *testing.T) {
		entered, leave := make(chan struct{}), make(chan struct{})
		h, _, _ := rpcOf(Guard{MaxInFlight: 1}, func(context.Context, []byte) ([]byte, error) {
			close(entered)
			<-leave
			return nil, nil
		})
		url, client := serveRPC(t, h)
		done := make(chan error)
		go func() {
			_, err := callRPC(t.Context(), client, url+"/s/x", nil)
			done <- err
		}()
		<-entered
		_, err := callRPC(t.Context(), client, url+"/s/x", nil)
		wantRetry(t, wantRPCError(t, err, connect.CodeUnavailable, "in flight"), retryAfter)
		close(leave)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("too many bytes", func(t *testing.T) {
		h, _, _ := rpcOf(Guard{MaxBodyBytes: 1000}, func(context.Context, []byte) ([]byte, error) { return nil, nil })
		url, client := serveRPC(t, h)
		_, err := callRPC(t.Context(), client, url+"/s/x", make([]byte, smallBody+1))
		wantRetry(t, wantRPCError(t, err, connect.CodeUnavailable, "large requests"), retryAfter)
		if _, err := callRPC(t.Context(), client, url+"/s/x", make([]byte, 900)); err != nil {
			t.Errorf("the room is not given back: %v", err)
		}
	})
	t.Run("a panic", func(t *testing.T) {
		h, counted, log := rpcOf(Guard{}, func(context.Context, []byte) ([]byte, error) { panic("the secret cause") })
		url, client := serveRPC(t, h)
		_, err := callRPC(t.Context(), client, url+"/s/x", nil)
		e := wantRPCError(t, err, connect.CodeInternal, "internal error")
		if strings.Contains(e.Message(), "secret") || !strings.Contains(log.String(), "the secret cause") || counted(t, "5xx") != 1 {
			t.Errorf("shown: %v\nlogged: %s", e, log)
		}
	})
}

// TestRPCEnds: a call ends with its deadline, and with its client.
func TestRPCEnds(t *testing.T) {
	ended := make(chan error, 1)
	entered := make(chan struct{}, 1)
	h, _, log := rpcOf(Guard{}, func(ctx context.Context, _ []byte) ([]byte, error) {
		entered <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, sigbox.Errorf(sigbox.Unavailable, "the request ended").WithCause(context.Cause(ctx))
	})
	url, client := serveRPC(t, h)
	t.Run("deadline", func(t *testing.T) {
		// The client's own clock is left out: it sends the header and waits.
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/s/x", bytes.NewReader(make([]byte, rpcEnvelope)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/grpc")
		request.Header.Set("Grpc-Timeout", "1m")
		resp, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 || len(resp.Trailer) > 0 {
			t.Errorf("the answer is not Trailers-Only: %q, %v, %v", rest, resp.Trailer, err)
		}
		if found := resp.Header.Get("Grpc-Status"); found != "4" {
			t.Errorf("expected DEADLINE_EXCEEDED, found %q", found)
		}
		<-entered
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(log.String(), "status=504") {
			t.Errorf("found %v, logged %s", err, log)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-entered
			cancel()
		}()
		_, err := callRPC(ctx, client, url+"/s/x", nil)
		wantRPCError(t, err, connect.CodeCanceled, "")
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("no time at all", func(t *testing.T) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
		defer cancel()
		_, err := callRPC(ctx, client, url+"/s/x", nil)
		wantRPCError(t, err, connect.CodeDeadlineExceeded, "")
	})
}

// TestRPCAlone: the methods speak gRPC and nothing else.
func TestRPCAlone(t *testing.T) {
	called := false
	h, _, _ := rpcOf(Guard{}, func(context.Context, []byte) ([]byte, error) { called = true; return nil, nil })
	for _, contentType := range []string{
		"", "application/json", "application/proto", "application/connect+proto", "application/grpc-web", "application/grpc-web+proto",
		"application/grpc+json", "application/grpcx", "text/plain",
	} {
		r := httptest.NewRequest(http.MethodPost, "/s/x", bytes.NewReader(make([]byte, rpcEnvelope)))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusUnsupportedMediaType || called {
			t.Errorf("%q: status %d, called: %v", contentType, w.Code, called)
		}
	}
	if w := do(h, http.MethodGet, "/s/x?connect=v1&encoding=json&message={}"); w.Code != http.StatusMethodNotAllowed || called {
		t.Errorf("GET: status %d, called: %v", w.Code, called)
	}
	for name, body := range map[string][]byte{
		"no message":             nil,
		"a part of the envelope": {0, 0},
		"a part of the message":  {0, 0, 0, 0, 9, 1},
		"two messages":           make([]byte, 2*rpcEnvelope),
		"compressed":             {1, 0, 0, 0, 1, 0},
		"a flag that is none":    {4, 0, 0, 0, 0},
	} {
		r := httptest.NewRequest(http.MethodPost, "/s/x", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/grpc")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if status := w.Header().Get("Grpc-Status"); status == "" || status == "0" || called {
			t.Errorf("%s: status %q, called: %v", name, status, called)
		}
	}
}
